//! What a build tells while it goes on.

use serde::{Deserialize, Serialize};

use super::language::lint::Brief;

/// Something that happened. Steps are told apart by their stage and their number in it, both from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A step begins.
    Started {
        /// Which.
        step: StepId,
        /// The instruction as one line.
        text: String,
    },
    /// A piece of work of the step: a download.
    Working {
        /// Of which step.
        step: StepId,
        /// What is done.
        what: String,
        /// How much of it is done.
        done: u64,
        /// Of how much.
        total: Option<u64>,
    },
    /// What a command of the step wrote.
    Output {
        /// Of which step.
        step: StepId,
        /// As it came: neither whole lines nor whole characters.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Something worth saying.
    Note {
        /// At which step.
        step: StepId,
        /// One line.
        text: String,
    },
    /// It is known what something that comes from elsewhere is now.
    Resolved {
        /// At which step.
        step: StepId,
        /// What was named.
        input: Input,
        /// How it is named after expansion.
        name: String,
        /// A digest, or a commit.
        pin: String,
    },
    /// The checks found something in the Containerfile.
    Warning(Brief),
    /// A step ended.
    Ended {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        milliseconds: u64,
    },
}

/// What a build takes from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// An image.
    Image,
    /// A file of `ADD URL`.
    File,
    /// A repository.
    Commit,
}

/// One step of the build.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// Of which stage, counted from 0 in the order of the file.
    pub stage: usize,
    /// The stage's name, or `stage-N`; empty where the file has only one.
    pub stage_name: String,
    /// Counted from 1; `FROM` is the first.
    pub number: usize,
    /// How many the stage has.
    pub total: usize,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was done by an earlier build.
    Cached,
    /// It failed; the build ends.
    Failed,
}

/// Is told what happens.
pub trait Listener {
    /// Something happened.
    fn hear(&mut self, event: &Event);
    /// A moment passed in which something on the screen may move on; called about ten times a second.
    fn tick(&mut self) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaf;

impl Listener for Deaf {
    fn hear(&mut self, _: &Event) {}
}
