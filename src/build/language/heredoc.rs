//! Heredocs: `<<EOF` in a `RUN`, `COPY` or `ADD`.

use super::containerfile::Span;
use super::lines::{Lines, LogicalLine};

/// Lines below an instruction that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, without quotes; the name of the file for `COPY` and `ADD`.
    pub name: String,
    /// The lines with their ends. Without leading tabs for `<<-`.
    pub content: String,
    /// Whether variables in it are expanded: no part of the word was quoted. Quotes in the content are left alone.
    pub expand: bool,
    /// The word after `<<` where the heredoc is announced.
    pub span: Span,
}

/// `<<WORD` in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// The word that ends it.
    pub name: String,
    /// No part of the word was quoted.
    pub expand: bool,
    /// `<<-`
    pub strip_tabs: bool,
}

/// What stands below the line.
pub(super) struct Body {
    /// The lines as they are.
    pub raw: String,
    /// Which heredoc it is.
    pub announced: Announced,
}

impl Body {
    /// The body for one who does not strip the tabs himself.
    pub fn content(&self) -> String {
        if !self.announced.strip_tabs {
            return self.raw.clone();
        }
        self.raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// `<<EOF`, `<<-"EOF"`, `3<<EOF`; `None` when the word is anything else.
pub(super) fn announced(word: &str) -> Option<Announced> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.contains('<') {
        return None;
    }
    let (name, is_quoted) = unquote(rest)?;
    (!name.is_empty()).then_some(Announced { name, expand: !is_quoted, strip_tabs })
}

/// A single word without its quotes and escapes, and whether it had quotes. `None`: several words, or an open quote.
fn unquote(text: &str) -> Option<(String, bool)> {
    let (mut name, mut is_quoted) = (String::new(), false);
    let mut chars = text.trim_end().chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                is_quoted = true;
                loop {
                    match chars.next()? {
                        quote if quote == c => break,
                        '\\' if c == '"' => name.push(chars.next()?),
                        other => name.push(other),
                    }
                }
            }
            '\\' => name.extend(chars.next()),
            c if c.is_whitespace() => return None,
            c => name.push(c),
        }
    }
    Some((name, is_quoted))
}

/// All heredocs that a line announces, with the quotes and escapes of a shell respected. A line with an open quote
/// announces none.
pub(super) fn announced_in(line: &LogicalLine) -> Vec<(Announced, Span)> {
    let text = &line.text;
    let mut found = Vec::new();
    for range in shell_words(text).unwrap_or_default() {
        if let Some(announced) = announced(&text[range.clone()]) {
            found.push((announced, line.span(range)));
        }
    }
    found
}

/// The words of a shell, quotes and escapes in them. White space after `<<` belongs to the word.
fn shell_words(text: &str) -> Option<Vec<Span>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            words.extend(start.take().map(|start| start..at));
            continue;
        }
        start.get_or_insert(at);
        match c {
            '\\' => {
                chars.next();
            }
            '\'' => while chars.next()?.1 != '\'' {},
            '"' => loop {
                match chars.next()?.1 {
                    '"' => break,
                    '\\' => {
                        chars.next()?;
                    }
                    _ => {}
                }
            },
            '<' if chars.next_if(|(_, c)| *c == '<').is_some() => {
                let dash = chars.clone().next().is_some_and(|(_, c)| c == '-');
                if dash {
                    chars.next();
                }
                while chars.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\r')).is_some() {}
            }
            _ => {}
        }
    }
    words.extend(start.map(|start| start..text.trim_end().len().max(start)));
    Some(words)
}

/// Reads the body of one heredoc. `None`: the file ends before its word comes.
pub(super) fn read_body(lines: &mut Lines<'_>, announced: Announced) -> Option<Body> {
    let mut raw = String::new();
    loop {
        let (line, _) = lines.physical()?;
        let mut end = line.trim_end_matches(['\r', '\n']);
        if announced.strip_tabs {
            end = end.trim_start_matches('\t');
        }
        if end == announced.name {
            return Some(Body { raw, announced });
        }
        raw.push_str(line);
    }
}
