//! What was changed in a text, and how exactly that is taken back. Pure.
//!
//! A change is a *splice*: so many bytes more at one place, or others. Nothing else of the text is touched, and the splices are kept. One
//! is undone by its very text, to the byte, where that means what it should; in a file that was written anew meanwhile, by its value.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{json, toml};
use crate::profile::ProfileError;

/// What a settings file is to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The keys that lead there.
    pub place: Vec<String>,
    /// The value, or an element of the list that is there.
    pub value: Value,
    /// The place is a list.
    pub element: bool,
}

/// One change of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Splice {
    /// What was there.
    pub before: String,
    /// What is there instead.
    pub after: String,
    /// What it sets, and how many keys of its place were there before; `None`: lines, or the outermost brackets.
    #[serde(default)]
    pub sets: Option<(Entry, usize)>,
}

impl Splice {
    /// Text that sets nothing of its own.
    #[must_use]
    pub fn plain(after: &str) -> Self {
        Self { before: String::new(), after: after.to_owned(), sets: None }
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// With comments.
    Json,
    /// TOML.
    Toml,
    /// Anything: any text is good.
    #[default]
    Text,
}

impl Format {
    /// What `text` says.
    fn value(self, file: &Path, text: &str) -> Result<Value, ProfileError> {
        match self {
            Self::Json => json::value(file, text),
            Self::Toml => toml::value(file, text),
            Self::Text => Ok(Value::Null),
        }
    }

    /// `text` without what `splice` set, wherever it stands now. `None`: somebody changed it, and it is theirs.
    fn without(self, file: &Path, text: &str, splice: &Splice) -> Option<String> {
        match (self, &splice.sets) {
            (Self::Json, Some((entry, kept))) => json::without(text, &splice.before, entry, *kept),
            (Self::Toml, Some((entry, kept))) => toml::without(text, entry, *kept),
            _ => {
                let found = by_text(text, splice).into_iter().find(|left| self.value(file, left).is_ok());
                let is_rest = |line: &str| !line.trim().is_empty() && text.contains(line.trim());
                match found {
                    // Brackets around what is somebody else's now are theirs too.
                    None if self == Self::Text && splice.after.lines().any(is_rest) => None,
                    found => Some(found.unwrap_or_else(|| text.to_owned())),
                }
            }
        }
    }
}

/// Takes `splices` back; returns the text, and those of them that stay because somebody changed what they set. A text that is not what
/// it should be is an error.
pub fn take_back(
    file: &Path,
    text: &str,
    splices: &[Splice],
    format: Format,
) -> Result<(String, Vec<Splice>), ProfileError> {
    format.value(file, text)?;
    let (mut text, mut stay) = (text.to_owned(), Vec::new());
    for splice in splices.iter().rev() {
        let left = format.without(file, &text, splice);
        let left = left.and_then(|left| Some((format.value(file, &left).ok()?, left)));
        let Some((meant, by_value)) = left else {
            stay.insert(0, splice.clone());
            continue;
        };
        let is_meant = |left: &String| format.value(file, left).is_ok_and(|value| value == meant);
        text = by_text(&text, splice).into_iter().find(is_meant).unwrap_or(by_value);
    }
    Ok((text, stay))
}

/// What `text` could be without the very text of `splice`.
fn by_text(text: &str, splice: &Splice) -> Vec<String> {
    let whole = [splice.after.clone(), splice.after.replace("\r\n", "\n"), splice.after.replace('\n', "\r\n")];
    // Somebody may have written behind it, before the end of its last line.
    let shorter: Vec<String> = whole.iter().map(|after| after.trim_end().to_owned()).collect();
    let ends: Vec<String> = whole.into_iter().chain(shorter).collect();
    let found = ends.iter().find_map(|after| Some((text.find(after.as_str())?, after.len())));
    let Some((at, length)) = found else { return Vec::new() };
    let mut without = text.to_owned();
    without.replace_range(at..at + length, &splice.before);
    // Somebody wrote behind what was the only entry.
    let rest = &without[at + splice.before.len()..];
    let comma = rest.trim_start().starts_with(',').then(|| without.len() - rest.trim_start().len());
    let shorter = comma.map(|comma| format!("{}{}", &without[..comma], &without[comma + 1..]));
    [Some(without), shorter].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_back_or_belong_to_who_changed_them() {
        let splices = [Splice::plain("-- ours\nour.line = 1\n")];
        let taken = |text: &str| {
            let (text, stay) = take_back(Path::new(".nvim.lua"), text, &splices, Format::Text).unwrap();
            (text, stay.len())
        };
        for (text, expected) in [
            ("-- ours\nour.line = 1\nreturn {}\n", ("return {}\n", 0)),
            ("-- mine\r\n-- ours\r\nour.line = 1\r\n", ("-- mine\r\n", 0)),
            ("-- ours\nour.line = 2\n", ("-- ours\nour.line = 2\n", 1)),
            ("return {}\n", ("return {}\n", 0)),
        ] {
            assert_eq!(taken(text), (expected.0.to_owned(), expected.1), "{text}");
        }
    }
}
