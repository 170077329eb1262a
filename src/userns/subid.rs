//! Subordinate id ranges: `/etc/subuid` and `/etc/subgid`, as subuid(5) has them. Pure.

/// The ranges `(first, count)` that the text of `/etc/subuid` or `/etc/subgid` gives to a user, by name or by number,
/// in the order of the file. Lines that make no sense are passed over, as the setuid helpers do.
#[must_use]
pub fn parse_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let first = fields.next()?.parse::<u32>().ok()?;
            let count = fields.next()?.parse::<u32>().ok()?;
            let mine = owner == number || Some(owner) == name;
            // A range that runs past the last id is cut there; 4294967295 itself means "no id".
            (fields.next().is_none() && mine && count > 0).then(|| (first, count.min(u32::MAX - first)))
        })
        .collect()
}

/// How many ids the ranges have together.
#[must_use]
pub fn total(ranges: &[(u32, u32)]) -> u64 {
    ranges.iter().map(|(_, count)| u64::from(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let text =
            "alice:100000:65536\n1000:300000:10\nbob:165536:65536\n# comment\nalice:x:1\nalice:1:2:3\nalice:5:0\n";
        for (name, uid, expected) in [
            (Some("alice"), 1000, vec![(100_000, 65_536), (300_000, 10)]),
            (Some("bob"), 7, vec![(165_536, 65_536)]),
            (None, 1000, vec![(300_000, 10)]),
            (Some("carol"), 8, vec![]),
        ] {
            assert_eq!(parse_ranges(text, name, uid), expected, "{name:?} {uid}");
        }
    }

    #[test]
    fn a_range_past_the_last_id_is_cut() {
        assert_eq!(parse_ranges("a:4294967290:100", Some("a"), 1), [(4_294_967_290, 5)]);
    }
}
