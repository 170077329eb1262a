//! Settings in TOML: adding keys to a text, and cutting them out of it. Pure.

use std::path::Path;

use serde_json::Value;
use toml_edit::{Document, Item, Key, Table};

use super::splice::{Entry, Splice};
use crate::profile::ProfileError;
use crate::profile::diagnostic::Diagnostic;
use crate::profile::edit::{line_around, line_end};

/// The line before a table of ours.
const COMMENT: &str = "# devbox: from the box";

/// What `text` says. `file` is for messages.
pub fn value(file: &Path, text: &str) -> Result<Value, ProfileError> {
    let table: ::toml::Table = ::toml::from_str(text).map_err(|error| Diagnostic::from_toml(file, text, &error))?;
    Ok(serde_json::to_value(table).unwrap_or_default())
}

/// Adds `entries` to `text`. A key that has another value is an error: an order of tables and keys has no place for both.
pub fn add(file: &Path, text: &str, entries: &[Entry]) -> Result<(String, Vec<Splice>), ProfileError> {
    let wrong = |entry: &Entry, depth: usize, what: &str| {
        let span = span(text, &entry.place[..depth]);
        Err(Diagnostic::new(file, text, span, format!("`{}` {what}", entry.place.join("."))).into())
    };
    let found = value(file, text)?;
    let new = |entry: &&Entry| at(&found, &entry.place).is_none();
    if let Some(entry) = entries.iter().find(|entry| !new(entry) && at(&found, &entry.place) != Some(&entry.value)) {
        return wrong(entry, entry.place.len(), "is set to something else already");
    }
    let (mut added, mut splices) = (text.to_owned(), Vec::new());
    for entry in entries.iter().filter(new) {
        // What is written in braces or with dotted keys takes no more keys elsewhere.
        let good = |text: &String| value(file, text).is_ok_and(|said| at(&said, &entry.place) == Some(&entry.value));
        let change = splice(&added, entry).map(|(place, after, kept)| {
            let text = format!("{}{after}{}", &added[..place], &added[place..]);
            (text, Splice { before: String::new(), after, sets: Some((entry.clone(), kept)) })
        });
        let Some((text, splice)) = change.filter(|(text, _)| good(text)) else {
            return wrong(entry, entry.place.len() - 1, "cannot be added to what is there");
        };
        splices.push(splice);
        added = text;
    }
    Ok((added, splices))
}

/// `text` without `entry`, and without its table if only the first `kept` keys of its place were there before. `None`: it has another
/// value now, or stands where it cannot be cut out.
pub fn without(text: &str, entry: &Entry, kept: usize) -> Option<String> {
    let (key, parent) = entry.place.split_last()?;
    let mut text = text.to_owned();
    let now = value(Path::new(""), &text).ok()?;
    if let Some(found) = at(&now, &entry.place) {
        let document = Document::parse(text.as_str()).ok()?;
        let (key, item) = table(&document, parent)?.get_key_value(key).filter(|_| *found == entry.value)?;
        let lines = line_around(&text, key.span()?.start).start..line_around(&text, item.span()?.end).end;
        text = cut(&text, lines);
    }
    if kept < parent.len() {
        let document = Document::parse(text.as_str()).ok()?;
        let header = table(&document, parent).filter(|table| table.iter().all(|(_, item)| has_header(item)));
        if let Some(span) = header.and_then(Table::span) {
            let mut lines = line_around(&text, span.start);
            if let Some(end) = text[..lines.start].strip_suffix('\n').map(str::len) {
                let above = line_around(&text, end);
                if text[above.clone()] == *COMMENT {
                    lines.start = above.start;
                }
            }
            text = cut(&text, lines);
        }
    }
    Some(text)
}

/// Where `entry` goes, its text, and how many keys of its place are there.
fn splice(text: &str, entry: &Entry) -> Option<(usize, String, usize)> {
    let (key, parent) = entry.place.split_last()?;
    let line = line_end(text);
    let setting = format!("{} = {}", Key::new(key), ::toml::Value::try_from(&entry.value).ok()?);
    let document = Document::parse(text).ok()?;
    if let Some(header) = table(&document, parent).filter(|table| !table.is_implicit()).and_then(Table::span) {
        return Some((line_around(text, header.start).end, format!("{line}{setting}"), parent.len()));
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { line };
    let name: Vec<String> = parent.iter().map(|key| Key::new(key).to_string()).collect();
    Some((text.len(), format!("{gap}{COMMENT}{line}[{}]{line}{setting}{line}", name.join(".")), 0))
}

/// The table at `place`, if it has a header or those of its tables.
fn table<'a>(document: &'a Document<&str>, place: &[String]) -> Option<&'a Table> {
    place.iter().try_fold(document.as_table(), |table, key| table.get(key).and_then(Item::as_table))
}

/// Whether `item` stands outside of the table that it belongs to.
fn has_header(item: &Item) -> bool {
    item.is_array_of_tables() || item.as_table().is_some_and(|table| !table.is_dotted())
}

fn at<'a>(value: &'a Value, place: &[String]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, key| value.get(key))
}

/// Where the innermost part of `place` stands.
fn span(text: &str, place: &[String]) -> std::ops::Range<usize> {
    let Ok(document) = Document::parse(text) else { return 0..0 };
    let mut item = document.as_item();
    let mut span = 0..0;
    for key in place {
        let Some(next) = item.get(key.as_str()) else { break };
        (item, span) = (next, next.span().unwrap_or(span));
    }
    span
}

/// `text` without these lines and the end of the last one.
fn cut(text: &str, lines: std::ops::Range<usize>) -> String {
    let rest = &text[lines.end..];
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    format!("{}{rest}", &text[..lines.start])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::splice::{Format, take_back};
    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |name: &str, key: &str, value: Value| Entry {
            place: ["language-server", name, key].map(str::to_owned).to_vec(),
            value,
            element: false,
        };
        ["clangd", "gopls"]
            .into_iter()
            .flat_map(|name| [entry(name, "args", json!(["run", name])), entry(name, "command", json!("devbox"))])
            .collect()
    }

    fn file() -> &'static Path {
        Path::new("languages.toml")
    }

    #[test]
    fn what_was_added_is_taken_back_to_the_byte() {
        for text in [
            "",
            "# mine",
            "[[language]]\r\nname = \"c\" # see\r\n",
            "[language-server.clangd]\nconfig = { a = 1 }\n\n[editor]\nx = 1\n",
            "[language-server.clangd] # mine",
            "[language-server.clangd.config]\na = 1\n",
            "[language-server.clangd]\nargs = [\n  'run', \"clangd\",\n]\ncommand = 'devbox'\n",
        ] {
            let (added, splices) = add(file(), text, &entries()).unwrap();
            let said = value(file(), &added).unwrap();
            for entry in entries() {
                assert_eq!(at(&said, &entry.place), Some(&entry.value), "{added}");
            }
            assert_eq!(add(file(), &added, &entries()).unwrap(), (added.clone(), Vec::new()));
            assert_eq!(
                take_back(file(), &added, &splices, Format::Toml).unwrap(),
                (text.to_owned(), vec![]),
                "{added}"
            );
        }
    }

    #[test]
    fn what_was_edited_meanwhile_stays() {
        let (added, splices) = add(file(), "# mine\n", &entries()).unwrap();
        // Keys that somebody put into a table of ours keep it, and other blanks hide nothing.
        let edited = added.replace(" = ", "=").replace("\"gopls\"]\n", "\"gopls\"]\nconfig.a=1 # yes\n");
        let (left, stay) = take_back(file(), &edited, &splices, Format::Toml).unwrap();
        assert_eq!(stay, []);
        assert_eq!(left, format!("# mine\n{COMMENT}\n[language-server.gopls]\nconfig.a=1 # yes\n"));
        let edited = added.replacen("\"devbox\"", "\"mine\"", 1);
        let (left, stay) = take_back(file(), &edited, &splices, Format::Toml).unwrap();
        assert_eq!(value(file(), &left).unwrap(), json!({ "language-server": { "clangd": { "command": "mine" } } }));
        assert_eq!(stay.len(), 1);
        assert!(take_back(file(), "[language-server", &splices, Format::Toml).is_err());
    }

    #[test]
    fn what_takes_no_more_is_an_error() {
        for (text, expected) in [
            ("[language-server", "languages.toml:1:"),
            (
                "a = 1\n[language-server.clangd]\ncommand = \"c\"\n",
                "languages.toml:3:11: `language-server.clangd.command` is set",
            ),
            ("language-server = { clangd = { config = 1 } }\n", "languages.toml:1:"),
            ("language-server.gopls.config.x = 1\n", "languages.toml:1:"),
            ("language-server = 1\n", "languages.toml:1:19: `language-server.clangd.args` cannot be added"),
        ] {
            let error = add(file(), text, &entries()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
