//! Settings in JSON with comments: adding to a text, and taking exactly that back. Pure.
//!
//! A change is a *splice*: so many bytes more at one place, or others. Nothing else of the text is touched, and the splices are kept: what was added is looked for
//! by its very text, so that a file that was edited meanwhile loses what is ours, and nothing else.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::profile::ProfileError;
use crate::profile::devcontainer::json::{Json, Node, Source};

/// What a settings file is to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The keys that lead there.
    pub place: Vec<String>,
    /// The value, or an element of the list that is there.
    pub value: Value,
    /// The place is a list.
    pub element: bool,
}

/// One change of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    /// What was there.
    pub before: String,
    /// What is there instead.
    pub after: String,
}

/// Adds `entries` to `text`. `file` is for messages.
pub fn add(file: &Path, text: &str, entries: &[Entry]) -> Result<(String, Vec<Splice>), ProfileError> {
    let (mut text, mut splices) = (text.to_owned(), Vec::new());
    for entry in entries {
        let root = Source { file, text: &text }.parse()?;
        let Some((range, after)) = splice(file, &text, &root, entry)? else { continue };
        splices.push(Splice { before: text[range.clone()].to_owned(), after: after.clone() });
        text.replace_range(range, &after);
    }
    Ok((text, splices))
}

/// Takes `splices` back; returns the text, and how many of them are there no more. With `is_json` the text stays JSON.
#[must_use]
pub fn take_back(text: &str, splices: &[Splice], is_json: bool) -> (String, usize) {
    let (mut text, mut lost) = (text.to_owned(), 0);
    let good = |text: &str| !is_json || text.trim().is_empty() || Source { file: Path::new(""), text }.parse().is_ok();
    for splice in splices.iter().rev() {
        let whole = [splice.after.clone(), splice.after.replace("\r\n", "\n"), splice.after.replace('\n', "\r\n")];
        // Somebody may have written behind it, before the end of its last line.
        let shorter: Vec<String> = whole.iter().map(|after| after.trim_end().to_owned()).collect();
        let ends: Vec<String> = whole.into_iter().chain(shorter).collect();
        let found = ends.iter().find_map(|after| Some((text.find(after.as_str())?, after.len())));
        let candidates = found.into_iter().flat_map(|(at, length)| {
            let mut without = text.clone();
            without.replace_range(at..at + length, &splice.before);
            // Somebody wrote behind what was the only entry.
            let rest = &without[at + splice.before.len()..];
            let comma = rest.trim_start().starts_with(',').then(|| without.len() - rest.trim_start().len());
            let shorter = comma.map(|comma| format!("{}{}", &without[..comma], &without[comma + 1..]));
            [Some(without), shorter].into_iter().flatten()
        });
        match candidates.into_iter().find(|candidate| good(candidate)) {
            Some(without) => text = without,
            None => lost += 1,
        }
    }
    (text, lost)
}

/// What has to be replaced by what. `None`: it is there already.
fn splice(file: &Path, text: &str, root: &Node, entry: &Entry) -> Result<Option<(Range<usize>, String)>, ProfileError> {
    let (mut node, mut depth) = (root, 0);
    let mut replaced = None;
    while let (Json::Table(pairs), Some(key)) = (&node.value, entry.place.get(depth)) {
        let Some((name, value)) = pairs.iter().find(|(name, _)| name.value == *key) else { break };
        replaced = Some(name.span.start..value.span.end);
        (node, depth) = (value, depth + 1);
    }
    // What is not there yet, from within.
    let mut value = entry.value.clone();
    let missing = &entry.place[depth..];
    if entry.element && !missing.is_empty() {
        value = Value::Array(vec![value]);
    }
    for key in missing.iter().skip(1).rev() {
        value = Value::Object([(key.clone(), value)].into_iter().collect());
    }
    let wrong = |kind: &str| {
        let place = format!("`{}` is no {kind}", entry.place[..depth].join("."));
        Err(Source { file, text }.wrong(&node.span, place).into())
    };
    match (&node.value, missing.first()) {
        (Json::Table(pairs), Some(key)) => {
            let first = pairs.first().map(|(name, _)| name.span.start);
            Ok(Some(insert(text, &node.span, first, Some(key), &value)))
        }
        (_, Some(_)) => wrong("table"),
        (Json::List(elements), None) if entry.element => {
            if elements.iter().any(|element| plain(&element.value) == value) {
                return Ok(None);
            }
            Ok(Some(insert(text, &node.span, elements.first().map(|first| first.span.start), None, &value)))
        }
        (_, None) if entry.element => wrong("list"),
        (found, None) if plain(found) == value => Ok(None),
        (_, None) => {
            let range = replaced.unwrap_or(node.span.clone());
            let key = entry.place.last().cloned().unwrap_or_default();
            let written = render(text, &indent_at(text, range.start), &value);
            Ok(Some((range, format!("{}: {written}", Value::from(key)))))
        }
    }
}

/// A new first entry of the table or list at `span`, whose first one begins at `first`.
fn insert(
    text: &str,
    span: &Range<usize>,
    first: Option<usize>,
    key: Option<&String>,
    value: &Value,
) -> (Range<usize>, String) {
    let line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let outer = indent_at(text, span.start);
    let own_line = first.map(|first| indent_at(text, first)).filter(|indent| *indent != outer);
    let indent = own_line.unwrap_or_else(|| format!("{outer}{}", unit(text)));
    let key = key.map(|key| format!("{}: ", Value::from(key.as_str()))).unwrap_or_default();
    let mut after = format!("{line}{indent}{key}{}", render(text, &indent, value));
    if first.is_some() {
        after.push(',');
    } else if !text[span.start + 1..span.end].contains('\n') {
        after.push_str(&format!("{line}{outer}"));
    }
    (span.start + 1..span.start + 1, after)
}

/// The white space that the line around `at` begins with.
fn indent_at(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..at].chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
}

/// One step of indentation, as the text has it.
fn unit(text: &str) -> String {
    let indents = text.lines().map(|line| &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]);
    indents.filter(|indent| !indent.is_empty()).min_by_key(|indent| indent.len()).unwrap_or("  ").to_owned()
}

fn render(text: &str, indent: &str, value: &Value) -> String {
    let line = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let unit = unit(text);
    let mut written = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut written, formatter);
    if value.serialize(&mut serializer).is_err() {
        return value.to_string();
    }
    String::from_utf8_lossy(&written).replace('\n', &format!("{line}{indent}"))
}

/// A value without its places.
fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Boolean(value) => Value::from(*value),
        Json::Number(value) => Value::from(*value),
        Json::Text(text) => Value::from(text.as_str()),
        Json::List(elements) => elements.iter().map(|element| plain(&element.value)).collect(),
        Json::Table(pairs) => {
            Value::Object(pairs.iter().map(|(key, value)| (key.value.clone(), plain(&value.value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |place: &[&str], value: Value, element: bool| Entry {
            place: place.iter().map(|key| (*key).to_owned()).collect(),
            value,
            element,
        };
        vec![
            entry(&["profiles", "devbox"], json!({ "path": "devbox", "args": ["enter"] }), false),
            entry(&["default"], json!("devbox"), false),
            entry(&["tasks"], json!({ "label": "devbox: test" }), true),
        ]
    }

    fn file() -> &'static Path {
        Path::new("settings.json")
    }

    #[test]
    fn what_was_added_is_taken_back_to_the_byte() {
        let texts = [
            "{}",
            "{ }\n",
            "{\n}\n",
            "{\n    // mine\n}\n",
            "// head\n{\n    // mine\n    \"a\": [1, 2,], /* x */\n    \"default\" : \"bash\", // old\n}\n// tail",
            "\u{feff}{\r\n\t\"profiles\": { \"bash\": {\"path\": \"bash\"} },\r\n\t\"tasks\": [ ]\r\n}\r\n",
            "{\"profiles\":{},\"tasks\":[{\"label\":\"x\"}],\"default\":null}",
        ];
        for text in texts {
            let (added, splices) = add(file(), text, &entries()).unwrap();
            let value = plain(&Source { file: file(), text: &added }.parse().unwrap().value);
            assert_eq!(value["default"], json!("devbox"), "{added}");
            assert_eq!(value["profiles"]["devbox"]["args"], json!(["enter"]), "{added}");
            assert!(value["tasks"].as_array().unwrap().contains(&json!({ "label": "devbox: test" })), "{added}");
            assert_eq!(add(file(), &added, &entries()).unwrap(), (added.clone(), Vec::new()));
            assert_eq!(take_back(&added, &splices, true), (text.to_owned(), 0), "{added}");
        }
    }

    #[test]
    fn what_was_edited_meanwhile_stays() {
        let (added, splices) = add(file(), "{}", &entries()).unwrap();
        // Something behind ours, in a table that was empty; other line ends.
        let end = added.rfind('}').unwrap();
        let edited = format!("{}, \"mine\": 1 // yes\n}}", added[..end].trim_end());
        let (left, lost) = take_back(&edited.replace('\n', "\r\n"), &splices, true);
        assert_eq!(lost, 0, "{left}");
        assert_eq!(plain(&Source { file: file(), text: &left }.parse().unwrap().value), json!({ "mine": 1.0 }));
        assert!(left.contains("// yes"));
        // A value of ours that was changed belongs to who changed it.
        let (left, lost) = take_back(&added.replace("\"default\": \"devbox\"", "\"default\": \"zsh\""), &splices, true);
        assert_eq!(
            (plain(&Source { file: file(), text: &left }.parse().unwrap().value), lost),
            (json!({ "default": "zsh" }), 1)
        );
    }

    #[test]
    fn what_is_no_settings_file_is_an_error() {
        for text in ["", "{", "not json", "[]", "{\"profiles\": 1}", "{\"tasks\": {}}", "{'a': 1}"] {
            assert!(add(file(), text, &entries()).is_err(), "{text}");
        }
    }
}
