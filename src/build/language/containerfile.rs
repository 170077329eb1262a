//! A Containerfile that was read: its stages and steps, and where in the text they stand.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::instruction::{Argument, Instruction};
use crate::profile::Diagnostic;

/// Byte offsets into the text of a [`Source`].
pub type Span = Range<usize>;

/// The text that words and steps point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, or what stands for it: `<ONBUILD of IMAGE>`.
    pub file: PathBuf,
    /// All of it.
    pub text: String,
}

impl Source {
    /// A mistake at `span`.
    pub fn error(&self, span: &Span, message: impl AsRef<str>) -> Box<Diagnostic> {
        Box::new(Diagnostic::new(&self.file, &self.text, span.clone(), message))
    }
}

/// Text as it was written, and where. Quotes, escapes and variables are still in it, unless its field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text, continuation lines joined.
    pub text: String,
    /// From its first to its last byte in the source; line ends and comments may lie between.
    pub span: Span,
}

/// The character that escapes, and joins lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``, from the directive `escape`.
    Backtick,
}

impl Escape {
    /// The character itself.
    pub fn character(self) -> char {
        match self {
            Self::Backslash => '\\',
            Self::Backtick => '`',
        }
    }
}

/// The directives at the top of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=IMAGE`: the builder's own front end. Nothing follows from it here.
    pub syntax: Option<Word>,
    /// `# escape=`
    pub escape: Escape,
    /// `# check=skip=...;error=true`: see [`lint`](super::lint).
    pub check: Option<Word>,
}

/// A file with at least one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerfile {
    /// What the spans point into.
    pub source: Arc<Source>,
    /// The directives.
    pub directives: Directives,
    /// `ARG` before the first `FROM`, in order.
    pub arguments: Vec<Argument>,
    /// In order; never empty.
    pub stages: Vec<Stage>,
    /// The keywords of all instructions as they are written, in order.
    pub keywords: Vec<Word>,
    /// Lines without anything that stand inside an instruction.
    pub empty_lines: Vec<Span>,
}

/// `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// An image, an earlier stage, a build context, or `scratch`. Expanded with the global arguments.
    pub base: Word,
    /// `AS name`, in lower case.
    pub name: Option<Word>,
    /// `--platform=`. Expanded with the global arguments.
    pub platform: Option<Word>,
    /// The instruction as one line.
    pub text: String,
    /// The instruction.
    pub span: Span,
    /// The other instructions.
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub instruction: Instruction,
    /// The instruction as one line, without the bodies of its heredocs.
    pub text: String,
    /// The instruction, with the bodies of its heredocs.
    pub span: Span,
    /// What the spans of this step point into.
    pub source: Arc<Source>,
    /// What escapes in the words of this step.
    pub escape: Escape,
}

impl Step {
    /// A mistake at one of its words, or at the step itself.
    pub fn error(&self, span: &Span, message: impl AsRef<str>) -> Box<Diagnostic> {
        self.source.error(span, message)
    }
}
