//! When to try again, and how long to wait before that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::error::Fault;
use super::transport::Response;
use crate::progress::Notice;

/// Shorter pauses are not worth a line.
const SILENT_PAUSE: Duration = Duration::from_secs(2);

/// Waits before another try, and says so.
#[derive(Default)]
pub(super) struct Waiting {
    pub notice: Option<Notice>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Waiting {
    /// Waits for `host`.
    pub fn wait(&self, host: &str, pause: Duration) {
        if let Some(notice) = self.notice.as_ref().filter(|_| pause >= SILENT_PAUSE) {
            notice(&format!("`{host}` is busy or away: trying again in {} s", pause.as_secs()));
        }
        std::thread::sleep(pause);
    }
}

/// How often and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries after the first one.
    pub attempts: u32,
    /// Before the second try; doubled each time.
    pub first_pause: Duration,
    /// Longer than this is not waited, whatever a server asks for.
    pub longest_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_millis(300), longest_pause: Duration::from_secs(30) }
    }
}

impl Retry {
    /// How long to wait after try number `attempt`, counted from 0; `None` when there were enough. `wanted` is what the
    /// server asks for.
    pub fn pause(&self, attempt: u32, wanted: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let own = self.first_pause.saturating_mul(1 << attempt.min(16));
        // Clients that failed together should not come back together: half to all of it.
        let jittered = own.mul_f64(0.5 + random_fraction() / 2.0);
        Some(jittered.max(wanted.unwrap_or_default()).min(self.longest_pause))
    }
}

/// Between 0 and 1. Every `RandomState` has another seed.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 32) as f64 / f64::from(u32::MAX)
}

/// For an answer that may be better in a moment: how long the server asks to wait, if it says.
pub(super) fn retry_after(response: &Response) -> Option<Option<Duration>> {
    let status = response.status.as_u16();
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
        .then(|| parse_retry_after(response.header("retry-after")?, jiff::Timestamp::now()))
}

/// Seconds, or a date.
fn parse_retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Whether the same request may succeed in a moment.
pub(super) fn is_worth_another_try(fault: &Fault) -> bool {
    matches!(fault, Fault::Broken { .. } | Fault::TimedOut { .. })
        || matches!(fault, Fault::Unreachable { source, .. } if source.kind() != std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_limits() {
        let retry = Retry { attempts: 3, ..Retry::default() };
        for (attempt, least, most) in [(0, 150, 300), (1, 300, 600), (2, 600, 1200)] {
            let pause = retry.pause(attempt, None).unwrap().as_millis();
            assert!((least..=most).contains(&pause), "{attempt}: {pause}");
        }
        assert_eq!(retry.pause(3, None), None);
        assert_eq!(retry.pause(0, Some(Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(retry.pause(0, Some(Duration::from_secs(1 << 40))), Some(Duration::from_secs(30)));
    }

    #[test]
    fn servers_say_when() {
        let now = "2026-11-21T07:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 07:00:09 GMT", Some(9)),
            ("Sat, 21 Nov 2026 06:59:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
