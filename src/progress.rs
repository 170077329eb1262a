//! How long work reports itself.
//!
//! Nobody below `ui` prints: work that takes longer than a blink is handed a [`Progress`], and `ui` decides whether
//! that is a bar, plain lines or nothing.

/// Says a line to the user; from any thread.
pub type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// One of several things, as layers are, that are worked on at the same time within one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is, unique within the work.
    pub name: String,
    /// Bytes that are to be moved for it.
    pub size_bytes: u64,
}

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its bytes begin to move; an earlier try has kept so many.
    Begun(u64),
    /// So many bytes have moved.
    At(u64),
    /// No more work is to be done for it: `done`, or, if it never began, why there was none.
    Ended(&'static str),
}

/// Receives the progress of one piece of work at a time.
///
/// A piece begins and ends in the same process: a fork's screen is not known to its parent.
pub trait Progress {
    /// A piece of work begins. `total` is the number of steps (files, bytes) when it is known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// `done` steps of the current piece are finished, counted from its beginning.
    fn advance(&self, done: u64);
    /// The current piece is finished.
    fn end(&self);
    /// One line worth saying: a decision taken on the user's behalf, a fallback.
    fn note(&self, text: &str);

    /// A part of the current piece. Whoever shows only the whole needs nothing of it.
    fn part(&self, _part: &Part, _step: Step) {}

    /// [`note`](Self::note) for work that has threads.
    fn notice(&self) -> Notice {
        Box::new(|_| {})
    }
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
