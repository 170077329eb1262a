//! Points in time as docker writes and reads them.

use jiff::{SignedDuration, Timestamp};
use nix::unistd::{SysconfVar, sysconf};

use crate::limits::state::start_time;

/// RFC 3339 with nanoseconds; of what never happened the year 1.
#[must_use]
pub fn rfc3339(time: Option<Timestamp>) -> String {
    time.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string())
}

/// `2026-11-21 02:53:18 +0000 UTC`.
#[must_use]
pub fn listed(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// `5 minutes`: how long ago `then` was, in the largest unit.
#[must_use]
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (count, unit) = match seconds {
        0 => return "Less than a second".to_owned(),
        1..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// When this process began, a hundredth of a second early rather than late.
#[must_use]
pub fn own_start() -> Timestamp {
    let now = Timestamp::now();
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let Some(ticks) = start_time(pid) else { return now };
    let a_second =
        sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
    let begun_ms = ticks.saturating_mul(1000) / a_second.max(1);
    let boot_ms = i128::from(since_boot.tv_sec) * 1000 + i128::from(since_boot.tv_nsec) / 1_000_000;
    let age_ms = i64::try_from(boot_ms - i128::from(begun_ms)).unwrap_or_default().max(0);
    now.checked_sub(SignedDuration::from_millis(age_ms + 10)).unwrap_or(now)
}

/// A time as `--since` and `--until` have it: seconds since 1970, RFC 3339, or so long ago (`10m`, `1h30m`).
#[must_use]
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Timestamp::from_millisecond((seconds * 1000.0) as i64).ok();
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    now.checked_sub(text.parse::<SignedDuration>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let time: Timestamp = "2026-11-21T02:53:18.5Z".parse().unwrap();
        assert_eq!(rfc3339(Some(time)), "2026-11-21T02:53:18.500000000Z");
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
        assert_eq!(listed(time), "2026-11-21 02:53:18 +0000 UTC");
        let before = |seconds| time.checked_sub(SignedDuration::from_secs(seconds)).unwrap();
        for (seconds, shown) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(ago(time, before(seconds)), shown);
        }
        assert_eq!(parse("1h30m", time), Some(before(5400)));
        assert_eq!(parse("10s", time), Some(before(10)));
        assert_eq!(parse("1h30m5s", time), Some(before(5405)));
        assert_eq!(parse("1.5h", time), Some(before(5400)));
        assert_eq!(parse("9223372036854775807h", time), None, "nothing was so long ago");
        assert_eq!(parse("2026-11-21T02:53:18.5Z", before(9)), Some(time));
        assert_eq!(parse("1000", time).unwrap().as_second(), 1000);
        assert_eq!((parse("yesterday", time), parse("", time), parse("5", time).is_some()), (None, None, true));
        let began = own_start();
        assert!(began < Timestamp::now());
    }
}
