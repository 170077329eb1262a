//! Durations as Go writes them: `1h30m`, `1.5s`, `500ms`.

use std::time::Duration;

/// Nanoseconds of each unit. Longer names come before those that they begin with.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Reads a duration that is not negative, of at most 290 years.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        nanoseconds += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    (nanoseconds < 9.2e18).then_some(Duration::from_nanos(nanoseconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("+500ms", Some(500)),
            ("2000us", Some(2)),
            ("2000µs", Some(2)),
            ("", None),
            ("5", None),
            ("-5s", None),
            ("s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("5d", None),
            ("99999999999h", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
