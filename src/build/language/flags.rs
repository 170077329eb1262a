//! The flags of one instruction, asked for by name.

use std::time::Duration;

use super::containerfile::{Source, Word};
use super::duration::parse_duration;
use super::suggest::choose;
use super::words::Flag;
use crate::profile::Diagnostic;
use crate::text::closest;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Flags that were found; what nobody asks for is a mistake.
pub(super) struct Flags<'a> {
    source: &'a Source,
    keyword: &'a str,
    found: Vec<Flag>,
    known: Vec<&'static str>,
}

impl<'a> Flags<'a> {
    /// The flags of the instruction `keyword`.
    pub fn new(source: &'a Source, keyword: &'a str, found: Vec<Flag>) -> Self {
        Self { source, keyword, found, known: Vec::new() }
    }

    /// `--name=value`, any number of times.
    pub fn values(&mut self, name: &'static str) -> Result<Vec<Word>> {
        let source = self.source;
        let needs_value =
            |flag: Flag| flag.value.ok_or_else(|| source.error(&flag.span, format!("`--{name}` needs a value")));
        self.take(name).into_iter().map(needs_value).collect()
    }

    /// `--name=value`, at most once.
    pub fn value(&mut self, name: &'static str) -> Result<Option<Word>> {
        self.check_single(name)?;
        Ok(self.values(name)?.pop())
    }

    /// `--name`, `--name=true` or `--name=false`, at most once.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>> {
        self.check_single(name)?;
        let Some(flag) = self.take(name).pop() else { return Ok(None) };
        match flag.value {
            None => Ok(Some(true)),
            Some(value) => choose(self.source, &value, [("true", true), ("false", false)]).map(Some),
        }
    }

    /// One value of a set, at most once.
    pub fn one_of<T, const N: usize>(
        &mut self,
        name: &'static str,
        known: [(&'static str, T); N],
    ) -> Result<Option<T>> {
        self.value(name)?.map(|word| choose(self.source, &word, known)).transpose()
    }

    /// A duration of at least a millisecond; zero is like none.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        let Some(word) = self.value(name)?.filter(|word| !word.text.is_empty()) else { return Ok(None) };
        let Some(duration) = parse_duration(&word.text) else {
            let error = self.source.error(&word.span, format!("`{}` is not a duration", word.text));
            return Err(Box::new(error.help("write it like `30s`, `1m30s` or `500ms`")));
        };
        if !duration.is_zero() && duration < Duration::from_millis(1) {
            return Err(self.source.error(&word.span, format!("`{}` is less than a millisecond", word.text)));
        }
        Ok((!duration.is_zero()).then_some(duration))
    }

    /// Refuses what nobody asked for.
    pub fn finish(self) -> Result<()> {
        let Some(flag) = self.found.first() else { return Ok(()) };
        let error = self.source.error(&flag.span, format!("`{}` has no flag `--{}`", self.keyword, flag.name));
        Err(match closest(&flag.name, self.known.iter().copied()) {
            Some(meant) => Box::new(error.label(format!("did you mean `--{meant}`?"))),
            None => error,
        })
    }

    fn take(&mut self, name: &'static str) -> Vec<Flag> {
        self.known.push(name);
        self.found.extract_if(.., |flag| flag.name == name).collect()
    }

    fn check_single(&self, name: &str) -> Result<()> {
        match self.found.iter().filter(|flag| flag.name == name).nth(1) {
            Some(second) => Err(self.source.error(&second.span, format!("`--{name}` is given twice"))),
            None => Ok(()),
        }
    }
}
