//! Settings in JSON with comments: adding to a text, and cutting values out of it. Pure.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::splice::{Entry, Splice};
use crate::profile::ProfileError;
use crate::profile::devcontainer::json::{Json, Node, Source};
use crate::profile::edit::line_end;

/// What elements of a list are known by when the rest of them was changed.
const NAMES: [&str; 3] = ["label", "name", "path"];

/// What `text` says, which is nothing if it has only comments. `file` is for messages.
pub fn value(file: &Path, text: &str) -> Result<Value, ProfileError> {
    Ok(Source { file, text }.parse_any()?.map_or(Value::Null, |root| plain(&root.value)))
}

/// Adds `entries` to `text`; one that has only comments gets `empty` first. `file` is for messages.
pub fn add(file: &Path, text: &str, empty: &str, entries: &[Entry]) -> Result<(String, Vec<Splice>), ProfileError> {
    let (mut text, mut splices) = (text.to_owned(), Vec::new());
    if (Source { file, text: &text }).parse_any()?.is_none() {
        let line = line_end(&text);
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { line };
        let after = format!("{gap}{}", empty.replace('\n', line));
        text.push_str(&after);
        splices.push(Splice::plain(&after));
    }
    for entry in entries {
        let root = Source { file, text: &text }.parse()?;
        let Some((range, after, kept)) = splice(file, &text, &root, entry)? else { continue };
        let before = text[range.clone()].to_owned();
        text.replace_range(range, &after);
        splices.push(Splice { before, after, sets: Some((entry.clone(), kept)) });
    }
    Ok((text, splices))
}

/// `text` with `before` in place of `entry`, and without the tables and lists around it if they are empty now and were not there
/// before, when the first `kept` keys were. `None`: somebody changed it.
pub fn without(text: &str, before: &str, entry: &Entry, kept: usize) -> Option<String> {
    let parsed = |text: &str| Source { file: Path::new(""), text }.parse_any().ok();
    let Some(root) = parsed(text)? else { return Some(text.to_owned()) };
    let mut text = text.to_owned();
    let holder = entry.place.len() - usize::from(!entry.element);
    match (walk(&root, &entry.place[..holder]), entry.place.get(holder)) {
        (Some(list @ Node { value: Json::List(elements), .. }), None) => {
            let is_named = |element: &Node| {
                let element = plain(&element.value);
                NAMES.iter().any(|name| element.get(name).is_some_and(|known| entry.value.get(name) == Some(known)))
            };
            match elements.iter().position(|element| plain(&element.value) == entry.value) {
                Some(index) => text = cut(&text, list, index),
                None if elements.iter().any(is_named) => return None,
                None => {}
            }
        }
        (Some(table @ Node { value: Json::Table(pairs), .. }), Some(key)) => {
            if let Some(index) = pairs.iter().position(|(name, _)| name.value == *key) {
                let (name, value) = &pairs[index];
                let span = name.span.start..value.span.end;
                match plain(&value.value) == entry.value {
                    true if before.is_empty() => text = cut(&text, table, index),
                    true => text.replace_range(span, before),
                    // It may have been taken back already.
                    false if text[span.clone()] == *before => {}
                    false => return None,
                }
            }
        }
        _ => {}
    }
    for depth in (kept + 1..=holder).rev() {
        let root = parsed(&text)??;
        let (around, key) = (walk(&root, &entry.place[..depth - 1]), &entry.place[depth - 1]);
        let Some(table @ Node { value: Json::Table(pairs), .. }) = around else { continue };
        let Some(index) = pairs.iter().position(|(name, _)| name.value == *key) else { continue };
        // With a comment in it, it is somebody's.
        if matches!(text[pairs[index].1.span.clone()].split_whitespace().collect::<String>().as_str(), "{}" | "[]") {
            text = cut(&text, table, index);
        }
    }
    Some(text)
}

fn walk<'a>(root: &'a Node, place: &[String]) -> Option<&'a Node> {
    place.iter().try_fold(root, |node, key| match &node.value {
        Json::Table(pairs) => pairs.iter().find(|(name, _)| name.value == *key).map(|(_, value)| value),
        _ => None,
    })
}

/// `text` without an entry of the table or list `around`, the comma that parted it from another, and its line if nothing else is in that.
fn cut(text: &str, around: &Node, index: usize) -> String {
    let spans: Vec<Range<usize>> = match &around.value {
        Json::Table(pairs) => pairs.iter().map(|(name, value)| name.span.start..value.span.end).collect(),
        Json::List(elements) => elements.iter().map(|element| element.span.clone()).collect(),
        _ => Vec::new(),
    };
    let Some(mut span) = spans.get(index).cloned() else { return text.to_owned() };
    let previous = index.checked_sub(1).map(|index| spans[index].end);
    let mut text = text.to_owned();
    let comma = Some(skip(&text, span.end)).filter(|comma| text[*comma..].starts_with(','));
    let comma_before = || Some(skip(&text, previous?)).filter(|comma| text[*comma..].starts_with(','));
    match comma.or_else(comma_before) {
        Some(comma) if comma == span.end => span.end += 1,
        Some(comma) => {
            text.remove(comma);
            if comma < span.start {
                span = span.start - 1..span.end - 1;
            }
        }
        None => {}
    }
    let blanks = [' ', '\t'];
    let (head, tail) = (text[..span.start].trim_end_matches(blanks), text[span.end..].trim_start_matches(blanks));
    let is_alone = tail.starts_with(['\r', '\n']);
    match head.strip_suffix('\n') {
        Some(above) if is_alone => format!("{}{tail}", above.strip_suffix('\r').unwrap_or(above)),
        Some(_) => format!("{}{tail}", &text[..span.start]),
        None => format!("{head}{}", &text[span.end..]),
    }
}

/// The first byte from `at` that is neither blank nor of a comment.
fn skip(text: &str, at: usize) -> usize {
    let mut rest = &text[at..];
    loop {
        rest = rest.trim_start();
        let end = match rest.get(..2) {
            Some("//") => rest.find('\n'),
            Some("/*") => rest.find("*/").map(|end| end + 2),
            _ => return text.len() - rest.len(),
        };
        rest = end.map_or("", |end| &rest[end..]);
    }
}

/// What has to be replaced by what, and how many keys of the place are there.
type Change = (Range<usize>, String, usize);

/// The change that adds `entry`. `None`: it is there already.
fn splice(file: &Path, text: &str, root: &Node, entry: &Entry) -> Result<Option<Change>, ProfileError> {
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
        let what = match depth {
            0 => "the file's top level".to_owned(),
            depth => format!("`{}`", entry.place[..depth].join(".")),
        };
        Err(Source { file, text }.wrong(&node.span, format!("{what} is no {kind}")).into())
    };
    match (&node.value, missing.first()) {
        (Json::Table(pairs), Some(key)) => {
            let first = pairs.first().map(|(name, _)| name.span.start);
            let (range, after) = insert(text, &node.span, first, Some(key), &value);
            Ok(Some((range, after, depth)))
        }
        (_, Some(_)) => wrong("table"),
        (Json::List(elements), None) if entry.element => {
            if elements.iter().any(|element| plain(&element.value) == value) {
                return Ok(None);
            }
            let first = elements.first().map(|first| first.span.start);
            let (range, after) = insert(text, &node.span, first, None, &value);
            Ok(Some((range, after, depth)))
        }
        (_, None) if entry.element => wrong("list"),
        (found, None) if plain(found) == value => Ok(None),
        (_, None) => {
            let range = replaced.unwrap_or(node.span.clone());
            let key = entry.place.last().cloned().unwrap_or_default();
            let written = render(text, &indent_at(text, range.start), &value);
            Ok(Some((range, format!("{}: {written}", Value::from(key)), depth)))
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
    let line = line_end(text);
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
    let line = line_end(text);
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

    use super::super::splice::{self, Format};
    use super::*;

    fn take_back(text: &str, splices: &[Splice]) -> (String, usize) {
        let (text, stay) = splice::take_back(file(), text, splices, Format::Json).unwrap();
        (text, stay.len())
    }

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
            "",
            "// only this",
            "\u{feff}/* mine */\r\n",
            "{}",
            "{ }\n",
            "{\n}\n",
            "{\n    // mine\n}\n",
            "// head\n{\n    // mine\n    \"a\": [1, 2,], /* x */\n    \"default\" : \"bash\", // old\n}\n// tail",
            "\u{feff}{\r\n\t\"profiles\": { \"bash\": {\"path\": \"bash\"} },\r\n\t\"tasks\": [ ]\r\n}\r\n",
            "{\"profiles\":{},\"tasks\":[{\"label\":\"x\"}],\"default\":null}",
        ];
        for text in texts {
            let (added, splices) = add(file(), text, "{\n}\n", &entries()).unwrap();
            let value = plain(&Source { file: file(), text: &added }.parse().unwrap().value);
            assert_eq!(value["default"], json!("devbox"), "{added}");
            assert_eq!(value["profiles"]["devbox"]["args"], json!(["enter"]), "{added}");
            assert!(value["tasks"].as_array().unwrap().contains(&json!({ "label": "devbox: test" })), "{added}");
            assert_eq!(add(file(), &added, "", &entries()).unwrap(), (added.clone(), Vec::new()));
            assert_eq!(take_back(&added, &splices), (text.to_owned(), 0), "{added}");
        }
    }

    #[test]
    fn what_was_edited_meanwhile_stays() {
        let (added, splices) = add(file(), "{}", "", &entries()).unwrap();
        // Something behind ours, in a table that was empty; other line ends.
        let end = added.rfind('}').unwrap();
        let edited = format!("{}, \"mine\": 1 // yes\n}}", added[..end].trim_end());
        let (left, lost) = take_back(&edited.replace('\n', "\r\n"), &splices);
        assert_eq!(lost, 0, "{left}");
        assert_eq!(plain(&Source { file: file(), text: &left }.parse().unwrap().value), json!({ "mine": 1.0 }));
        assert!(left.contains("// yes"));
        // A value of ours that was changed belongs to who changed it.
        let (left, lost) = take_back(&added.replace("\"default\": \"devbox\"", "\"default\": \"zsh\""), &splices);
        assert_eq!(
            (plain(&Source { file: file(), text: &left }.parse().unwrap().value), lost),
            (json!({ "default": "zsh" }), 1)
        );
    }

    #[test]
    fn values_are_found_where_the_text_is_another() {
        let list = "[{\"label\":\"mine\"}/* a */,/* b */{\"label\": \"devbox: test\"}]";
        let cases = [
            // What somebody put beside ours.
            (
                "{\n  // a\n  \"profiles\": {\n    \"devbox\": { \"args\": [\"enter\"], \"path\": \"devbox\" }, // b\n    \"x\": 1\n  },\n  \"default\": \"devbox\"\n}",
                "{\n  // a\n  \"profiles\": {\n    // b\n    \"x\": 1\n  }\n}",
            ),
            // All on one line, or with other indentation.
            ("{\"profiles\":{\"devbox\":{\"path\":\"devbox\",\"args\":[\"enter\"]}},\"default\":\"devbox\"}", "{}"),
            (
                "{\n    \"default\":\n        \"devbox\",\n    \"tasks\": [ {\n        \"label\": \"devbox: test\" } ],\n}",
                "{\n}",
            ),
            (&format!("{{\"tasks\":{list}}}"), "{\"tasks\":[{\"label\":\"mine\"}/* a *//* b */]}"),
            ("{\"tasks\":[/* mine */ { \"label\": \"devbox: test\" }]}", "{\"tasks\":[/* mine */]}"),
            // Ours are gone, with all around them.
            ("{ \"a\": 1 }", "{ \"a\": 1 }"),
            ("// nothing\n", "// nothing\n"),
        ];
        let (_, splices) = add(file(), "{}", "", &entries()).unwrap();
        for (text, expected) in cases {
            assert_eq!(take_back(text, &splices), (expected.to_owned(), 0), "{text}");
        }
        // The value that was there before comes back; a task that was changed stays.
        let (_, splices) = add(file(), "{\"default\": \"zsh\"}", "", &entries()).unwrap();
        assert_eq!(take_back("{\"default\" : \"devbox\"}", &splices), ("{\"default\": \"zsh\"}".to_owned(), 0));
        let changed = "{\"default\": \"zsh\", \"tasks\": [{\"label\": \"devbox: test\", \"mine\": 1}]}";
        assert_eq!(take_back(changed, &splices), (changed.to_owned(), 1));
        assert!(splice::take_back(file(), "{ \"a\": ", &splices, Format::Json).is_err());
    }

    #[test]
    fn what_is_no_settings_file_is_an_error() {
        for text in ["{", "not json", "[]", "{\"profiles\": 1}", "{\"tasks\": {}}", "{'a': 1}"] {
            assert!(add(file(), text, "{\n}\n", &entries()).is_err(), "{text}");
        }
    }
}
