//! What is wrong with a profile, and where: drawn with the line itself.

use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::schema::SECTIONS;
use crate::text::{closest, sanitize, sanitize_in_place};

/// One mistake in one file. Its texts are free of control characters; `text` is the file's and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, or `<shipped NAME>`.
    pub file: PathBuf,
    /// The whole text of the file.
    pub text: String,
    /// Byte offsets into `text`, on character boundaries.
    pub span: Range<usize>,
    /// The mistake as a sentence.
    pub message: String,
    /// A few words to stand below the line, or nothing.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake at `span` of `text`.
    pub fn new(file: impl Into<PathBuf>, text: &str, span: Range<usize>, message: impl AsRef<str>) -> Self {
        Self {
            file: file.into(),
            text: text.to_owned(),
            span: clamp(text, span),
            message: brief(message.as_ref()),
            label: String::new(),
            help: None,
        }
    }

    /// Adds the words below the line.
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = brief(label.as_ref());
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help = Some(brief(help.as_ref()));
        self
    }

    /// Of what the TOML parser or a type of the schema said.
    pub fn from_toml(file: impl Into<PathBuf>, text: &str, error: &toml::de::Error) -> Self {
        let span = clamp(text, error.span().unwrap_or(0..0));
        let message = error.message();
        let expected = || backticked(message.split_once(", expected").map_or("", |(_, list)| list));
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let key = rest.rsplit_once("`, expected").map_or(rest, |(key, _)| key).trim_matches('`');
            let mut diagnostic = Self::new(file, text, span, format!("unknown key `{key}`"));
            let known = expected();
            if let Some(meant) = closest(key, known.iter().copied()) {
                diagnostic = diagnostic.label(format!("did you mean `{meant}`?"));
            } else if let Some(help) = where_it_belongs(key) {
                diagnostic = diagnostic.help(help);
            } else {
                let list: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
                diagnostic = diagnostic.help(format!("the keys here are {}", list.join(", ")));
            }
            return diagnostic;
        }
        if let Some(rest) = message.strip_prefix("unknown variant ") {
            let value = rest.rsplit_once("`, expected").map_or(rest, |(value, _)| value).trim_matches('`');
            let known = expected();
            let list: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
            let mut diagnostic = Self::new(file, text, span, format!("unknown value `{value}`"))
                .help(format!("the values are {}", list.join(", ")));
            if let Some(meant) = closest(value, known.iter().copied()) {
                diagnostic = diagnostic.label(format!("did you mean `{meant}`?"));
            }
            return diagnostic;
        }
        if let Some(rest) = message.strip_prefix("missing field ") {
            return Self::new(file, text, span, format!("missing key {rest}"));
        }
        if let Some(rest) = message.strip_prefix("invalid type: ") {
            let (found, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, "something else"));
            let mut diagnostic =
                Self::new(file, text, span.clone(), format!("wrong type: expected {}", plain_type(expected)))
                    .label(format!("this is {}", plain_type(found)));
            // What stands below a `[section]` belongs to it: the usual slip is a list that was meant for the top.
            if let Some(help) = key_before(text, span.start).and_then(misplaced_below_a_section) {
                diagnostic = diagnostic.help(help);
            }
            return diagnostic;
        }
        Self::new(file, text, span, message)
    }

    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        let before = &self.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The report as lines for a terminal, without a newline at its end.
    pub fn render(&self, color: bool) -> String {
        self.render_as(Level::ERROR, color)
    }

    /// As [`render`](Self::render), for something that need not be mended.
    pub fn render_warning(&self, color: bool) -> String {
        self.render_as(Level::WARNING, color)
    }

    fn render_as(&self, level: Level<'static>, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let file = self.file.to_string_lossy();
        // Of a long file only the lines around the mistake are drawn: the renderer need not see the rest.
        let (line, _) = self.position();
        let start = self.text[..self.span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[self.span.end..].find('\n').map_or(self.text.len(), |newline| self.span.end + newline);
        let (start, end) = window(&self.text, start..end, &self.span);
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        // The renderer itself shows ASCII's control characters, and knows some of the others.
        let source = sanitize_in_place(&self.text[start..end]);
        let snippet = Snippet::source(source.as_ref())
            .line_start(line)
            .path(sanitize(&file))
            .annotation(AnnotationKind::Primary.span(self.span.start - start..self.span.end - start).label(label));
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}: {}", sanitize(&self.file.to_string_lossy()), self.message)?;
        if !self.label.is_empty() {
            write!(f, " ({})", self.label)?;
        }
        Ok(())
    }
}

/// A sentence with a value of the file in it, which may be of any length and hold anything.
fn brief(text: &str) -> String {
    const LONGEST: usize = 400;
    let clean = sanitize(text);
    match clean.char_indices().nth(LONGEST) {
        None => clean.into_owned(),
        Some((end, _)) => format!("{}...", &clean[..end]),
    }
}

/// The widest piece of a line that is worth drawing, in bytes on either side of the mistake.
const WINDOW_BYTES: usize = 4096;

fn window(text: &str, lines: Range<usize>, span: &Range<usize>) -> (usize, usize) {
    let start = text.floor_char_boundary(lines.start.max(span.start.saturating_sub(WINDOW_BYTES)));
    let end = text.ceil_char_boundary(lines.end.min(span.end.saturating_add(WINDOW_BYTES)));
    (start, end.max(span.end))
}

/// A span within `text`, on character boundaries, on one line, and not longer than a terminal has use for.
fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(start, text.len()).min(start + WINDOW_BYTES));
    let end = text[start..end].find('\n').map_or(end, |newline| start + newline);
    start..end.max(start)
}

/// The words of a list like "one of `a`, `b`".
fn backticked(list: &str) -> Vec<&str> {
    list.split('`').skip(1).step_by(2).collect()
}

/// Serde's words for types in TOML's.
fn plain_type(words: &str) -> String {
    let words = words.trim();
    match words {
        "a sequence" | "sequence" => "a list".to_owned(),
        "a map" | "map" => "a table".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "a string in quotes".to_owned(),
        _ if words.starts_with("struct ") => "a table".to_owned(),
        _ => words
            .strip_prefix("integer ")
            .map(|value| format!("the number {value}"))
            .or_else(|| words.strip_prefix("floating point ").map(|value| format!("the number {value}")))
            .or_else(|| words.strip_prefix("boolean ").map(|value| format!("the boolean {value}")))
            .or_else(|| words.strip_prefix("string ").map(|value| format!("the string {value}")))
            .unwrap_or_else(|| words.to_owned()),
    }
}

/// `ssh_agent` at the top of the file: it belongs in `[share]`.
fn where_it_belongs(key: &str) -> Option<String> {
    SECTIONS.iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| match *section {
        "" => format!("`{key}` belongs at the top of the file, above the first `[section]`"),
        "mounts" => format!("`{key}` belongs in `[[mounts]]`"),
        section => format!("`{key}` belongs in `[{section}]`"),
    })
}

/// The key whose value starts at `start`.
fn key_before(text: &str, start: usize) -> Option<&str> {
    let line = text[..start].rsplit('\n').next()?;
    Some(line.split_once('=')?.0.trim())
}

/// `packages = [...]` below `[env]`.
fn misplaced_below_a_section(key: &str) -> Option<String> {
    let top = SECTIONS.iter().find(|(section, _)| section.is_empty())?.1;
    (key == "packages" && top.contains(&key)).then(|| where_it_belongs(key)).flatten()
}
