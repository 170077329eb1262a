//! Changing `packages` in the text of a profile.
//!
//! Pure, but for [`write`]. The text is cut and spliced, not printed anew: comments, order, blanks, quotes and line ends stay as they were
//! written. The result is read again before it is given away, so that no odd layout can lead to a list that says something
//! else than was meant.

use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use toml_edit::{Document, Item, TomlError};

use super::error::ProfileError;
use super::load::{PROFILE_FILE, resolve_links};

/// The text could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no TOML. Who has loaded the profile before does not see this.
    #[error("`{PROFILE_FILE}` is no TOML any more")]
    Toml(#[from] TomlError),
    /// A layout that is not understood.
    #[error("cannot change `packages` in `{PROFILE_FILE}`: its layout is not understood")]
    Layout,
}

/// The keys that `packages` belongs behind when it is new: they say what the packages are for.
const HEAD_KEYS: &[&str] = &["name", "extends", "base", "distro", "rootfs", "image"];

/// `text` with `names` at the end of `packages`, which is made if it is not there. Names that are there already are not
/// named twice.
pub fn add_packages(text: &str, names: &[String]) -> Result<String, EditError> {
    let before = packages(text)?;
    let mut new: Vec<&str> = Vec::new();
    for name in names.iter().map(String::as_str) {
        if !before.values.iter().any(|value| value == name) && !new.contains(&name) {
            new.push(name);
        }
    }
    if new.is_empty() {
        return Ok(text.to_owned());
    }
    let changed = match (&before.list, before.items.last()) {
        (None, _) => create(text, &new)?,
        (Some(list), None) => splice(text, list.start + 1..list.start + 1, &quoted(&new).join(", ")),
        (Some(list), Some(last)) => append(text, list, last, &before.items, &new),
    };
    let expected = before.values.iter().map(String::as_str).chain(new).collect::<Vec<_>>();
    verified(changed, &expected)
}

/// `text` without `names` in `packages`. An entry that has a line of its own goes with that line and its comment.
pub fn remove_packages(text: &str, names: &[String]) -> Result<String, EditError> {
    let before = packages(text)?;
    let is_kept = |value: &&String| !names.contains(value);
    let expected: Vec<&str> = before.values.iter().filter(is_kept).map(String::as_str).collect();
    let mut changed = text.to_owned();
    loop {
        let now = packages(&changed)?;
        let found = now.values.iter().rposition(|value| names.contains(value));
        let (Some(list), Some(index)) = (now.list, found) else { break };
        let previous = index.checked_sub(1).map(|index| now.items[index].end);
        let cut = entry(&changed, &list, &now.items[index], previous, index + 1 == now.items.len());
        changed.replace_range(cut, "");
    }
    verified(changed, &expected)
}

/// What `packages` of `text` says by itself, without what is inherited.
pub fn list(text: &str) -> Result<Vec<String>, EditError> {
    Ok(packages(text)?.values)
}

/// Replaces the file `path` at once by `text`. What a symlink leads to is replaced, not the link; permissions stay. A new
/// file can be read by everybody.
pub fn write(path: &Path, text: &str) -> Result<(), ProfileError> {
    let replace = || -> std::io::Result<()> {
        let path = resolve_links(path);
        let folder = path.parent().ok_or(std::io::ErrorKind::IsADirectory)?;
        let permissions = match path.metadata() {
            Ok(meta) => meta.permissions(),
            Err(_) => std::fs::Permissions::from_mode(0o644),
        };
        let mut file = tempfile::Builder::new().prefix(".devbox.toml.").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(permissions)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    replace().map_err(|source| ProfileError::Write { path: path.to_owned(), source })
}

/// `packages` as it is written: where the list and its entries are, and what they say.
struct Packages {
    list: Option<Range<usize>>,
    items: Vec<Range<usize>>,
    values: Vec<String>,
}

fn packages(text: &str) -> Result<Packages, EditError> {
    let document = Document::parse(text)?;
    let Some(item) = document.get("packages") else {
        return Ok(Packages { list: None, items: Vec::new(), values: Vec::new() });
    };
    let list = item.as_array().ok_or(EditError::Layout)?;
    let entry = |value: &toml_edit::Value| Some((value.span()?, value.as_str()?.to_owned()));
    let entries: Option<Vec<_>> = list.iter().map(entry).collect();
    let (items, values) = entries.ok_or(EditError::Layout)?.into_iter().unzip();
    Ok(Packages { list: Some(list.span().ok_or(EditError::Layout)?), items, values })
}

fn verified(text: String, expected: &[&str]) -> Result<String, EditError> {
    if packages(&text)?.values == expected { Ok(text) } else { Err(EditError::Layout) }
}

fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    [&text[..place.start], new, &text[place.end..]].concat()
}

/// Names of packages hold neither quotes nor backslashes: see `validate::package_fault`.
fn quoted(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("\"{name}\"")).collect()
}

/// How lines of `text` end.
pub(crate) fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The beginning of the line with the byte `at`, and its end, before the line end.
pub(crate) fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..if text[start..end].ends_with('\r') { end - 1 } else { end }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Where the comma behind the entry that ends at `at` is, if there is one. Comments may stand in between.
fn comma_after(text: &str, at: usize, list: &Range<usize>) -> Option<usize> {
    let mut comment = false;
    for (offset, byte) in text[at..list.end].bytes().enumerate() {
        match byte {
            b'\n' => comment = false,
            b'#' => comment = true,
            b',' if !comment => return Some(at + offset),
            _ => {}
        }
    }
    None
}

fn append(text: &str, list: &Range<usize>, last: &Range<usize>, items: &[Range<usize>], new: &[&str]) -> String {
    let comma = comma_after(text, last.end, list);
    let line = line_around(text, last.start);
    let own_line = is_blank(&text[line.start..last.start]) && line.start > list.start;
    let spread = items.len() == 1 || items.iter().rev().nth(1).is_some_and(|other| other.end <= line.start);
    if !(own_line && spread) {
        let added = quoted(new).join(", ");
        return match comma {
            Some(comma) => splice(text, comma + 1..comma + 1, &format!(" {added},")),
            None => splice(text, last.end..last.end, &format!(", {added}")),
        };
    }
    // One entry a line: the comment of the last one stays with it.
    let indent = &text[line.start..last.start];
    let end = line_around(text, comma.unwrap_or(last.end)).end.min(list.end - 1);
    let comma_at_end = if comma.is_some() { "," } else { "" };
    let added = quoted(new).join(&format!(",{}{indent}", line_end(text)));
    let added = format!("{}{indent}{added}{comma_at_end}", line_end(text));
    let with_entries = splice(text, end..end, &added);
    match comma {
        Some(_) => with_entries,
        None => splice(&with_entries, last.end..last.end, ","),
    }
}

/// The bytes to cut for the entry `item`.
fn entry(text: &str, list: &Range<usize>, item: &Range<usize>, previous: Option<usize>, last: bool) -> Range<usize> {
    let comma = comma_after(text, item.end, list);
    let end = comma.map_or(item.end, |comma| comma + 1);
    let line = line_around(text, item.start);
    let rest = line_around(text, end);
    let comment_or_nothing = text[end..rest.end].trim_start();
    let alone = is_blank(&text[line.start..item.start])
        && line.start > list.start
        && rest.end < list.end
        && (comment_or_nothing.is_empty() || comment_or_nothing.starts_with('#'));
    if alone {
        let next = text[rest.end..].find('\n').map_or(rest.end, |newline| rest.end + newline + 1);
        return line.start..next;
    }
    if last && let (Some(previous), None) = (previous, comma) {
        // The comma that stood before it, if nothing but blanks lies between.
        let between = &text[previous..item.start];
        if between.trim_matches([' ', '\t', ',']).is_empty() {
            return previous..item.end;
        }
    }
    let blanks = text[end..list.end].len() - text[end..list.end].trim_start_matches([' ', '\t']).len();
    let blanks = if text[end + blanks..].starts_with(']') && previous.is_some() { 0 } else { blanks };
    item.start..end + blanks
}

/// Writes a new `packages`: behind the commented-out one of `devbox init`, else behind the keys that name the base, else
/// behind the comment that the file begins with.
fn create(text: &str, new: &[&str]) -> Result<String, EditError> {
    let document = Document::parse(text)?;
    let first_table =
        document.iter().filter(|(_, item)| !item.is_value()).filter_map(|(_, item)| table_start(item)).min();
    let top = &text[..first_table.unwrap_or(text.len())];
    let ends_of_head = HEAD_KEYS.iter().filter_map(|key| document.get(key)?.span()).map(|span| span.end);
    let place = [example(top), ends_of_head.max().filter(|end| *end <= top.len())].into_iter().flatten().next();
    let newline = line_end(text);
    let entry = format!("packages = [{}]", quoted(new).join(", "));
    let Some(place) = place else {
        let at = header_end(text);
        let after = if is_blank(&text[at..]) { "" } else { newline };
        let before = if text[..at].is_empty() || text[..at].ends_with('\n') { "" } else { newline };
        return Ok(splice(text, at..at, &format!("{before}{entry}{newline}{after}")));
    };
    let end = line_around(text, place).end;
    Ok(splice(text, end..end, &format!("{newline}{entry}")))
}

/// Where the first header of a table stands.
fn table_start(item: &Item) -> Option<usize> {
    match item {
        Item::ArrayOfTables(tables) => tables.iter().filter_map(|table| table.span()).map(|span| span.start).min(),
        Item::Table(table) if table.is_dotted() => None,
        Item::Table(table) => {
            let below = table.iter().filter_map(|(_, item)| table_start(item)).min();
            [table.span().map(|span| span.start), below].into_iter().flatten().min()
        }
        _ => None,
    }
}

/// The line `# packages = ...`.
fn example(top: &str) -> Option<usize> {
    let mut at = 0;
    for line in top.split_inclusive('\n') {
        let words = line.trim_start_matches(['#', ' ']);
        if line.starts_with('#')
            && words.strip_prefix("packages").is_some_and(|rest| rest.trim_start().starts_with('='))
        {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// The end of the comment at the beginning of a file, with the empty lines behind it. A comment that touches what follows
/// belongs to that.
fn header_end(text: &str) -> usize {
    let mut at = 0;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let line_is_blank = is_blank(line);
        if !line_is_blank && !line.starts_with('#') {
            break;
        }
        at += line.len();
        if line_is_blank || at == text.len() {
            end = at;
        }
    }
    end
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
