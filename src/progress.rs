//! How long work reports itself.
//!
//! Nobody below `ui` prints: work that takes longer than a blink is handed a [`Progress`], and `ui` decides whether
//! that is a bar, plain lines or nothing.

/// Receives the progress of one piece of work at a time.
pub trait Progress {
    /// A piece of work begins. `total` is the number of steps (files, bytes) when it is known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// `done` steps of the current piece are finished, counted from its beginning.
    fn advance(&self, done: u64);
    /// The current piece is finished.
    fn end(&self);
    /// One line worth saying: a decision taken on the user's behalf, a fallback.
    fn note(&self, text: &str);
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn end(&self) {}
    fn note(&self, _text: &str) {}
}
