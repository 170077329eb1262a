//! Words of a fixed set, and what to say when a word is none of them.

use super::containerfile::{Source, Word};
use crate::profile::Diagnostic;
use crate::text::closest;

/// Adds what the unknown `word` was probably meant to be.
pub(super) fn suggest<'a>(error: Diagnostic, word: &str, known: impl IntoIterator<Item = &'a str>) -> Box<Diagnostic> {
    Box::new(match closest(word, known) {
        Some(meant) => error.label(format!("did you mean `{meant}`?")),
        None => error,
    })
}

/// What a word of a set stands for; case does not matter.
pub(super) fn choose<T, const N: usize>(
    source: &Source,
    word: &Word,
    known: [(&'static str, T); N],
) -> Result<T, Box<Diagnostic>> {
    let lower = word.text.to_ascii_lowercase();
    let names = known.each_ref().map(|(name, _)| *name);
    known.into_iter().find(|(name, _)| *name == lower).map(|(_, found)| found).ok_or_else(|| {
        let list = names.map(|name| format!("`{name}`")).join(", ");
        let error = source.error(&word.span, format!("unknown value `{}`", word.text));
        suggest(error.help(format!("the values are {list}")), &lower, names)
    })
}
