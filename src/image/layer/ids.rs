//! Which owners files can be given.

use crate::userns::idmap::RANGE_SIZE;

/// The ids of the user namespace that this process is in, as far as a box has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids {
    uids: Vec<(u32, u32)>,
    gids: Vec<(u32, u32)>,
}

impl Ids {
    /// Reads `/proc/self/uid_map` and `gid_map`; without them every id of a box counts as there.
    pub fn of_this_namespace() -> Self {
        let load =
            |path: &str| std::fs::read_to_string(path).map_or_else(|_| vec![(0, RANGE_SIZE)], |text| parse(&text));
        Self { uids: load("/proc/self/uid_map"), gids: load("/proc/self/gid_map") }
    }

    /// The uid, if files can belong to it.
    pub fn uid(&self, untrusted: u64) -> Option<u32> {
        find(&self.uids, untrusted)
    }

    /// The gid, if files can belong to it.
    pub fn gid(&self, untrusted: u64) -> Option<u32> {
        find(&self.gids, untrusted)
    }

    /// Whether all files belong to one user.
    pub fn is_single(&self) -> bool {
        self.uids.iter().map(|(_, count)| u64::from(*count)).sum::<u64>() == 1
    }
}

fn find(extents: &[(u32, u32)], untrusted: u64) -> Option<u32> {
    let id = u32::try_from(untrusted).ok().filter(|id| *id < RANGE_SIZE)?;
    extents.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|at| at < *count)).then_some(id)
}

/// First ids and counts of the lines `inside outside count`.
fn parse(map: &str) -> Vec<(u32, u32)> {
    map.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mapped() {
        let uids = parse("         0       1000          1\n         1     100000       1000\n");
        let ids = Ids { gids: parse("0 0 4294967295\n"), uids };
        for (uid, expected) in [(0, Some(0)), (1000, Some(1000)), (1001, None), (1 << 33, None)] {
            assert_eq!(ids.uid(uid), expected, "{uid}");
        }
        // The host's namespace has them all; a box does not.
        for (gid, expected) in [(65_535, Some(65_535)), (65_536, None), (u64::MAX, None)] {
            assert_eq!(ids.gid(gid), expected, "{gid}");
        }
    }
}
