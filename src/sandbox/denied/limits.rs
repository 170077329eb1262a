//! How much of what is refused is written down, and how fast it is answered. Pure: the time comes from the caller.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::line::Line;

/// How long the same call is counted before that is written down.
const WINDOW: Duration = Duration::from_secs(5);
/// How many different calls are written down in a window.
const MOST_LINES: usize = 64;
/// How long [`EFFORT`] has to last.
const BREATH: Duration = Duration::from_millis(100);
/// What may be done in a breath: 4,000 refused calls a second, or 20,000 changes of owner, take some per cent of a processor.
const EFFORT: u32 = 2000;
/// What a refused call takes of it.
pub const REFUSED: u32 = 5;
/// What a call takes that is only passed on.
pub const PASSED_ON: u32 = 1;

/// What makes two calls the same: thread, number, arguments.
pub type Key = (u32, i64, [u64; 6]);

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It has to be written down, and given to [`Window::remember`].
    First,
    /// It was written down, and is counted.
    Again,
    /// There were too many; it is counted with others.
    TooMany,
}

/// The calls of the last seconds.
#[derive(Debug, Default)]
pub struct Window {
    begun: Option<Instant>,
    known: HashMap<Key, (Line, u64)>,
    others: u64,
}

impl Window {
    /// When what was counted should be written down.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + WINDOW)
    }

    /// Counts a call.
    pub fn count(&mut self, key: &Key, now: Instant) -> Counted {
        self.begun.get_or_insert(now);
        if let Some((_, more)) = self.known.get_mut(key) {
            *more += 1;
            return Counted::Again;
        }
        if self.known.len() < MOST_LINES {
            return Counted::First;
        }
        self.others += 1;
        Counted::TooMany
    }

    /// `line` was written down for the first call of its kind.
    pub fn remember(&mut self, key: Key, line: Line) {
        self.known.insert(key, (line, 0));
    }

    /// Ends the window; what is still to be written down.
    pub fn end(&mut self) -> Vec<Line> {
        let Self { known, others, .. } = std::mem::take(self);
        let again = known.into_values().filter(|(_, more)| *more > 0);
        let mut lines: Vec<Line> = again.map(|(line, more)| Line { more: Some(more), ..line }).collect();
        if others > 0 {
            lines.push(Line { more: Some(others), ..Line::default() });
        }
        lines
    }
}

/// How many calls may still be answered.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    spent: u32,
}

impl Pace {
    /// Nothing was answered yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { begun: now, spent: 0 }
    }

    /// How long nothing may be answered.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        let left = (self.begun + BREATH).saturating_duration_since(now);
        (self.spent >= EFFORT && !left.is_zero()).then_some(left)
    }

    /// A call is answered that takes `effort`.
    pub fn count(&mut self, effort: u32, now: Instant) {
        if now.saturating_duration_since(self.begun) >= BREATH {
            *self = Self::new(now);
        }
        self.spent += effort;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_is_counted() {
        let now = Instant::now();
        let mut window = Window::default();
        let key = (7, 165, [0; 6]);
        assert_eq!((window.ends(), window.count(&key, now)), (None, Counted::First));
        window.remember(key, Line { time: "then".to_owned(), ..Line::default() });
        assert_eq!(window.count(&key, now), Counted::Again);
        assert_eq!(window.count(&(8, 165, [0; 6]), now), Counted::First);
        assert_eq!(window.ends(), Some(now + WINDOW));
        assert_eq!(window.end(), [Line { time: "then".to_owned(), more: Some(1), ..Line::default() }]);
        assert_eq!((window.ends(), window.end()), (None, vec![]));
    }

    #[test]
    fn too_many_are_one_line() {
        let now = Instant::now();
        let mut window = Window::default();
        for thread in 0..1000 {
            let key = (thread, 165, [0; 6]);
            if window.count(&key, now) == Counted::First {
                window.remember(key, Line::default());
            }
        }
        assert_eq!(window.end(), [Line { more: Some(1000 - MOST_LINES as u64), ..Line::default() }]);
    }

    #[test]
    fn a_flood_is_answered_slowly() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..EFFORT / REFUSED {
            assert_eq!(pace.pause(now), None);
            pace.count(REFUSED, now);
        }
        assert_eq!(pace.pause(now + BREATH / 4), Some(BREATH * 3 / 4));
        assert_eq!(pace.pause(now + BREATH), None);
        pace.count(REFUSED, now + BREATH);
        assert_eq!(pace.pause(now + BREATH), None);
    }
}
