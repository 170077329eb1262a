//! Every error as it is shown: a sentence, its causes, and what can be done.
//!
//! Modules below return facts; this is the one place where a fact gets its hint.

use std::error::Error as StdError;
use std::io::ErrorKind;

use crate::paths::PathsError;
use crate::profile::ProfileError;

mod boxes;
mod docker;
mod editor;
mod image;

/// What the user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The sentence, or a drawing with the line of a file, which then has its own `error:`.
    pub message: Message,
    /// Each cause on its own, the nearest first.
    pub causes: Vec<String>,
    /// What to do, each an action.
    pub hints: Vec<String>,
    /// The exit status.
    pub status: i32,
}

/// How an error begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One sentence.
    Sentence(String),
    /// A report that is complete in itself.
    Report(Box<crate::profile::Diagnostic>),
}

/// The exit status of a command of devbox that failed.
pub const FAILED: i32 = 1;
/// The exit status when what was typed makes no sense.
pub const USAGE: i32 = 2;
/// The exit status of `run` and `enter` when devbox itself failed, so that it differs from the command's own.
pub const COULD_NOT_RUN: i32 = 125;

impl Error {
    /// A sentence without causes.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: Message::Sentence(message.into()), causes: Vec::new(), hints: Vec::new(), status: FAILED }
    }

    /// Adds what can be done.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With another exit status.
    #[must_use]
    pub fn with_status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    /// The same as the cause of a larger failure. A report stands for itself.
    #[must_use]
    pub fn within(mut self, sentence: impl Into<String>) -> Self {
        if let Message::Sentence(inner) = &self.message {
            self.causes.insert(0, inner.clone());
            self.message = Message::Sentence(sentence.into());
        }
        self
    }

    /// The error itself if it is one, and else `sentence` with each as a cause; `None`: there are none.
    pub fn of_several(mut errors: Vec<Self>, sentence: String) -> Option<Self> {
        if errors.len() < 2 {
            return errors.pop();
        }
        let mut whole = Self::new(sentence);
        for Self { message, causes, hints, status } in errors {
            let text = match message {
                Message::Sentence(text) => text,
                Message::Report(diagnostic) => diagnostic.message,
            };
            whole.causes.extend([text].into_iter().chain(causes));
            whole.status = status;
            whole.hints.extend(hints);
        }
        whole.hints.dedup();
        Some(whole)
    }

    /// The chain of `error`.
    fn chain(error: &dyn StdError) -> Self {
        let mut shown = Self::new(error.to_string());
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // A transparent or forwarding error repeats its source.
            if shown.causes.last() != Some(&text) && shown.message != Message::Sentence(text.clone()) {
                shown.causes.push(text);
            }
            next = cause.source();
        }
        shown.explain_full_disk()
    }

    /// Adds a hint if the disk is full. Some causes crossed a process boundary as text, so the text is what counts.
    fn explain_full_disk(self) -> Self {
        const SIGNS: [&str; 5] = ["No space left on device", "ENOSPC", "Disk quota exceeded", "EDQUOT", "` is full"];
        let message = match &self.message {
            Message::Sentence(text) => text,
            Message::Report(diagnostic) => &diagnostic.message,
        };
        if self.causes.iter().chain([message]).any(|text| SIGNS.iter().any(|sign| text.contains(sign))) {
            self.hint("make room on the disk; `devbox gc`, `devbox rm` and `devbox snapshot rm` need none themselves")
        } else {
            self
        }
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        if let ProfileError::Directory(error) = error {
            return error.into();
        }
        match error.diagnostic() {
            Some(diagnostic) => Self { message: Message::Report(Box::new(diagnostic.clone())), ..Self::chain(&error) },
            None if matches!(error, ProfileError::SeveralDevcontainers { .. }) => {
                Self::chain(&error).hint("choose one: `devbox enter --devcontainer NAME`")
            }
            None if matches!(error, ProfileError::Undone { .. }) => Self::chain(&error)
                .hint("take one of the two out; `devbox profile show` says which file each comes from"),
            None if matches!(error, ProfileError::GivenAndTaken { .. }) => {
                Self::chain(&error).hint("each capability and each system call goes with one of the options")
            }
            None if matches!(&error, ProfileError::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied) => {
                Self::chain(&error)
                    .hint("`chmod u+r` and `chown` let you read it; it is not left out, for it may restrict the box")
            }
            None => Self::chain(&error),
        }
    }
}

impl From<PathsError> for Error {
    fn from(error: PathsError) -> Self {
        let shown = Self::chain(&error);
        match error {
            PathsError::ForeignOwner { .. } => {
                shown.hint("set `XDG_DATA_HOME` to a directory of your own, or `HOME` after `su` and `sudo`")
            }
            PathsError::NoHome { .. } => shown.hint("set `HOME`"),
            PathsError::Create { .. } => shown,
        }
    }
}
