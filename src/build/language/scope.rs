//! What variables hold at a step: arguments, and the environment above them.
//!
//! - Global arguments (before the first `FROM`) are seen by `FROM` only. A stage takes one over with `ARG name`.
//! - A value from the command line beats every default. It counts only where its argument is declared.
//! - A stage inherits the arguments of the stage that it stands on, and the environment of its base.
//! - `ENV` beats `ARG`, wherever it stands.
//! - The platforms' arguments are global without a declaration. The proxies' are not expanded without one, but every
//!   `RUN` has them in its environment; they are in no image and in no cache key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::containerfile::{Containerfile, Escape, Source, Step, Word};
use super::expand::{ExpandError, Variables, expand, expand_text, expand_words};
use super::heredoc::Heredoc;
use super::instruction::{Argument, Pair};
use super::mount::{Mount, MountFlag};
use crate::image::platform::Platform;
use crate::profile::Diagnostic;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// The arguments that need no declaration to reach a `RUN`.
pub const PROXY_ARGUMENTS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// `TARGETPLATFORM`, `BUILDPLATFORM` and their parts, and `TARGETSTAGE`: the target's name or `default`.
pub fn platform_arguments(build: &Platform, target: &Platform, stage: Option<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        for (part, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("OSVERSION", platform.os_version.clone().unwrap_or_default()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ] {
            found.insert(format!("{prefix}{part}"), value);
        }
    }
    found.insert("TARGETSTAGE".to_owned(), stage.unwrap_or("default").to_owned());
    found
}

/// The variables of an image, in the order in which they were first set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// With the place of each in that order.
    values: BTreeMap<String, (usize, String)>,
}

impl Environment {
    /// From the `NAME=value` of an image's configuration.
    pub fn from_config<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let mut environment = Self::default();
        for entry in entries {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            environment.set(name, value);
        }
        environment
    }

    /// As an image's configuration has it.
    pub fn to_config(&self) -> Vec<String> {
        let mut entries: Vec<_> =
            self.values.iter().map(|(name, (place, value))| (*place, format!("{name}={value}"))).collect();
        entries.sort_unstable();
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    /// A variable keeps its place when its value changes.
    pub fn set(&mut self, name: &str, value: &str) {
        let next = self.values.len();
        let (_, old) = self.values.entry(name.to_owned()).or_insert((next, String::new()));
        value.clone_into(old);
    }
}

/// What holds for the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globals {
    /// From the command line.
    given: BTreeMap<String, String>,
    /// The platforms' and the declared ones that have a value.
    values: BTreeMap<String, String>,
    source: Arc<Source>,
    escape: Escape,
}

impl Globals {
    /// Evaluates the arguments before the first `FROM`. `given`: `--build-arg`. `predefined`: [`platform_arguments`].
    pub fn new(
        file: &Containerfile,
        given: BTreeMap<String, String>,
        predefined: BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut values = predefined;
        for (name, value) in &mut values {
            if let Some(given) = given.get(name) {
                given.clone_into(value);
            }
        }
        let mut globals = Self { given, values, source: file.source.clone(), escape: file.directives.escape };
        for Argument { name, value } in &file.arguments {
            let name = name.text.clone();
            let value = match (globals.given.get(&name), value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(globals.expand(default)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.values.insert(name, value);
            }
        }
        Ok(globals)
    }

    /// What the command line gives the argument `name`.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// Expands a word of a `FROM`. What becomes empty is a mistake.
    pub fn from(&self, word: &Word) -> Result<String> {
        let value = self.expand(word)?;
        if !value.is_empty() {
            return Ok(value);
        }
        let error = self.source.error(&word.span, format!("`{}` is empty", word.text));
        Err(Box::new(
            error.help("`FROM` sees only what an `ARG` before the first `FROM` or `--build-arg` gives a value"),
        ))
    }

    /// The scope of a stage that stands on an image with this environment, or on nothing. A stage that stands on another
    /// stage begins with a clone of that one's scope.
    pub fn stage(self: &Arc<Self>, environment: Environment) -> Scope {
        Scope { globals: self.clone(), arguments: BTreeMap::new(), environment }
    }

    fn expand(&self, word: &Word) -> Result<String> {
        expand(&word.text, &self.values, self.escape).map_err(|error| explain(&self.source, word, &error))
    }
}

impl Variables for Globals {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// What holds at a step of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    globals: Arc<Globals>,
    /// Those that were declared and have a value.
    arguments: BTreeMap<String, String>,
    environment: Environment,
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.environment.get(name).or_else(|| self.arguments.get(name).map(String::as_str))
    }
}

impl Scope {
    /// `ENV` so far, and the base's.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Takes over the arguments of the stage that this one stands on.
    pub fn inherit(&mut self, arguments: BTreeMap<String, String>) {
        self.arguments.extend(arguments);
    }

    /// The names of all that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.environment.values.keys().chain(self.arguments.keys()).map(String::as_str)
    }

    /// The arguments that have a value, without those that `ENV` hides: with the environment, all that a cache key needs.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_seen = |(name, _): &(&String, &String)| self.environment.get(name).is_none();
        self.arguments.iter().filter(is_seen).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What a `RUN` has in its environment beside [`environment`](Self::environment) and
    /// [`arguments`](Self::arguments): the proxies of the command line, where nothing else sets them.
    pub fn proxies(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let given = |name: &'static str| Some((name, self.globals.given.get(name)?.as_str()));
        PROXY_ARGUMENTS.into_iter().filter_map(given).filter(|(name, _)| self.get(name).is_none())
    }

    /// Performs an `ARG`. Returns each name with its value, as the image's history shows them.
    pub fn declare(&mut self, step: &Step, arguments: &[Argument]) -> Result<Vec<(String, Option<String>)>> {
        let mut shown = Vec::new();
        for Argument { name, value } in arguments {
            let name = self.word(step, name)?;
            let value = match (self.globals.given.get(&name), value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(step, default)?),
                (None, None) => self.globals.values.get(&name).cloned(),
            };
            if let Some(value) = &value {
                self.arguments.insert(name.clone(), value.clone());
            }
            shown.push((name, value));
        }
        Ok(shown)
    }

    /// Performs an `ENV`: all values are expanded before the first is set. Returns the pairs.
    pub fn assign(&mut self, step: &Step, pairs: &[Pair]) -> Result<Vec<(String, String)>> {
        let pairs = self.pairs(step, pairs)?;
        for (name, value) in &pairs {
            self.environment.set(name, value);
        }
        Ok(pairs)
    }

    /// The pairs of a `LABEL`.
    pub fn pairs(&self, step: &Step, pairs: &[Pair]) -> Result<Vec<(String, String)>> {
        pairs.iter().map(|pair| Ok((self.word(step, &pair.key)?, self.word(step, &pair.value)?))).collect()
    }

    /// Expands a word.
    pub fn word(&self, step: &Step, word: &Word) -> Result<String> {
        expand(&word.text, self, step.escape).map_err(|error| explain(&step.source, word, &error))
    }

    /// Expands a word into any number of words, for `EXPOSE`.
    pub fn words(&self, step: &Step, word: &Word) -> Result<Vec<String>> {
        expand_words(&word.text, self, step.escape).map_err(|error| explain(&step.source, word, &error))
    }

    /// What a `RUN --mount=` mounts.
    pub fn mount(&self, step: &Step, mount: &MountFlag) -> Result<Mount> {
        mount.resolve(&step.source, |value| self.word(step, value))
    }

    /// The content of a file that stands in the Containerfile.
    pub fn heredoc(&self, step: &Step, heredoc: &Heredoc) -> Result<String> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        expand_text(&heredoc.content, self).map_err(|error| {
            step.error(&heredoc.span, format!("cannot expand the content of `{}`: {error}", heredoc.name))
        })
    }
}

fn explain(source: &Source, word: &Word, error: &ExpandError) -> Box<Diagnostic> {
    match error {
        ExpandError::Required { .. } => source.error(&word.span, error.to_string()),
        error => source.error(&word.span, format!("cannot expand `{}`: {error}", word.text)),
    }
}
