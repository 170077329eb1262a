//! What in a Containerfile is probably not meant, or will surprise: the checks of docker's builder, under its names.
//!
//! Nothing that is found keeps a file from being built, unless the file itself says so.

mod rule;
mod stages;
mod text;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::containerfile::{Containerfile, Source, Span};
use super::scope::{Environment, Globals};
use crate::profile::Diagnostic;

pub use rule::{CHECK_ARGUMENT, Checks, Rule};

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// By which rule.
    pub rule: Rule,
    /// What, and where.
    pub diagnostic: Box<Diagnostic>,
}

/// A warning for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The rule's name.
    pub rule: String,
    /// What was found.
    pub message: String,
    /// In which file.
    pub file: String,
    /// Where, from 1.
    pub line: usize,
    /// Where, from 1, in characters.
    pub column: usize,
}

impl Warning {
    /// Without the text of the file.
    #[must_use]
    pub fn brief(&self) -> Brief {
        let (line, column) = self.diagnostic.position();
        let file = crate::text::sanitize(&self.diagnostic.file.to_string_lossy()).into_owned();
        Brief { rule: self.rule.name().to_owned(), message: self.diagnostic.message.clone(), file, line, column }
    }
}

/// What the checks need to know beside the file.
#[expect(missing_debug_implementations, reason = "closures have none")]
pub struct Surroundings<'a> {
    /// The arguments that hold for all of it.
    pub globals: &'a Arc<Globals>,
    /// Arguments that nobody has to declare: see [`platform_arguments`](super::platform_arguments).
    pub predefined: BTreeMap<String, String>,
    /// The variables of an image or a named context; `None`: nobody knows.
    pub environment: &'a dyn Fn(&str) -> Option<Environment>,
    /// Whether the ignore file leaves a path of the context out, with everything below it.
    pub is_ignored: &'a dyn Fn(&Path) -> bool,
}

/// Looks for what `checks` wants looked for; in the order of the file.
#[must_use]
pub fn lint(file: &Containerfile, checks: &Checks, around: &Surroundings<'_>) -> Vec<Warning> {
    let mut found = Found { source: &file.source, checks, warnings: Vec::new() };
    text::check(file, &mut found);
    stages::check(file, &mut found);
    variables::check(file, around, &mut found);
    found.warnings.sort_by_key(|warning| (warning.diagnostic.span.start, warning.rule));
    found.warnings
}

/// What was found so far.
struct Found<'a> {
    source: &'a Source,
    checks: &'a Checks,
    warnings: Vec<Warning>,
}

impl Found<'_> {
    fn add(&mut self, rule: Rule, span: &Span, message: impl AsRef<str>) {
        self.add_with_help(rule, span, message, None);
    }

    fn add_with_help(&mut self, rule: Rule, span: &Span, message: impl AsRef<str>, help: Option<String>) {
        if self.checks.wants(rule) {
            let diagnostic = self.source.error(span, message);
            let diagnostic = help.map_or(diagnostic.clone(), |help| Box::new(diagnostic.help(help)));
            self.warnings.push(Warning { rule, diagnostic });
        }
    }
}

#[cfg(test)]
mod tests;
