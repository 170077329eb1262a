//! An error as it leaves the process of a stage.

use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::BuildError;
use super::language::Step;
use crate::boxes::session::SessionError;
use crate::profile::Diagnostic;
use crate::sandbox::channel::Phase;

/// Why a stage could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    place: Place,
    message: String,
    label: String,
    help: Option<String>,
    causes: Vec<String>,
    phase: Option<Phase>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    file: PathBuf,
    text: String,
    span: Range<usize>,
}

impl Failure {
    /// `error`, with its causes, happened at the instruction that stands at `span` of `text`.
    #[must_use]
    pub fn at(file: PathBuf, text: String, span: Range<usize>, error: &BuildError) -> Box<Self> {
        if let BuildError::Language(diagnostic) = error {
            return diagnostic.clone().into();
        }
        let (mut message, mut causes, mut phase) = (error.to_string(), Vec::new(), None);
        if let BuildError::Session(SessionError::Start(failure)) = error {
            message = "cannot start the sandbox of the command".to_owned();
            causes.clone_from(&failure.causes);
            phase = Some(failure.phase);
        }
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        // The drawing shows where it begins: of an instruction of many lines the first one.
        let end = text[span.clone()].find('\n').map_or(span.end, |end| span.start + end);
        let place = Place { file, span: span.start..end, text };
        Box::new(Self { place, message, label: String::new(), help: error.hint(), causes, phase })
    }

    /// As [`Failure::at`], at a step.
    #[must_use]
    pub fn of_step(step: &Step, error: &BuildError) -> Box<Self> {
        Self::at(step.source.file.clone(), step.source.text.clone(), step.span.clone(), error)
    }

    /// As the error of the whole build.
    #[must_use]
    pub fn into_error(self) -> BuildError {
        let mut diagnostic = Diagnostic::new(self.place.file, &self.place.text, self.place.span, self.message);
        diagnostic.label = self.label;
        diagnostic.help = self.help;
        BuildError::Step { diagnostic: Box::new(diagnostic), causes: self.causes, phase: self.phase }
    }
}

impl From<Box<Diagnostic>> for Box<Failure> {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        let Diagnostic { file, text, span, message, label, help } = *diagnostic;
        Self::new(Failure { place: Place { file, text, span }, message, label, help, causes: Vec::new(), phase: None })
    }
}
