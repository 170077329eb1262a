//! Physical lines become logical ones: directives, comments, continuation.

use super::containerfile::{Directives, Escape, Source, Span, Word};
use crate::profile::Diagnostic;

/// A line with its continuations joined, which knows where its bytes stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// Without line ends, without white space before it.
    pub text: String,
    /// `(offset in text, offset in the source)` where each piece starts, in order.
    pieces: Vec<(usize, usize)>,
}

impl LogicalLine {
    fn push(&mut self, text: &str, start: usize) {
        self.pieces.push((self.text.len(), start));
        self.text.push_str(text);
    }

    /// Where the byte at `offset` of the text stood; for the end of the text, the end of the last piece.
    fn source_offset(&self, offset: usize) -> usize {
        let piece = self.pieces.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        self.pieces.get(piece).map_or(0, |(start, source)| source + (offset - start))
    }

    /// Where a piece of the text stood.
    pub fn span(&self, range: Span) -> Span {
        let start = self.source_offset(range.start);
        // The end of a piece is not the start of the next.
        let end = range.end.checked_sub(1).filter(|last| *last >= range.start);
        start..end.map_or(start, |last| self.source_offset(last) + 1)
    }

    /// A piece of the text as a word.
    pub fn word(&self, range: Span) -> Word {
        Word { text: self.text[range.clone()].to_owned(), span: self.span(range) }
    }
}

/// Reads logical lines; and, for heredocs, physical ones.
pub(super) struct Lines<'a> {
    source: &'a Source,
    at: usize,
    directives: Option<Directives>,
    escape: Escape,
    /// Lines without anything inside an instruction.
    empty: Vec<Span>,
}

/// The names of directives.
const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

impl<'a> Lines<'a> {
    /// Reads the directives, so that the first line is the first that is none.
    pub fn new(source: &'a Source) -> Result<Self, Box<Diagnostic>> {
        let at = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut lines = Self { source, at, directives: None, escape: Escape::default(), empty: Vec::new() };
        let directives = lines.read_directives()?;
        lines.escape = directives.escape;
        lines.directives = Some(directives);
        Ok(lines)
    }

    /// Lines of an instruction that stands alone: no directives.
    pub fn of_trigger(source: &'a Source) -> Self {
        Self { source, at: 0, directives: None, escape: Escape::default(), empty: Vec::new() }
    }

    /// What stood at the top of the file.
    pub fn directives(&self) -> Directives {
        self.directives.clone().unwrap_or_default()
    }

    /// Lines without anything that stood inside an instruction.
    pub fn into_empty(self) -> Vec<Span> {
        self.empty
    }

    /// What joins lines.
    pub fn escape(&self) -> Escape {
        self.escape
    }

    /// How far has been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next physical line with its line end, and where it starts.
    pub fn physical(&mut self) -> Option<(&'a str, usize)> {
        let rest = &self.source.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let start = self.at;
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        self.at += length;
        Some((&rest[..length], start))
    }

    /// The next line that is neither empty nor a comment.
    pub fn logical(&mut self) -> Option<LogicalLine> {
        let mut line = LogicalLine::default();
        let mut goes_on = false;
        while let Some((physical, start)) = self.physical() {
            let text = physical.trim_end_matches(['\r', '\n']);
            let trimmed = text.trim_start();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                if goes_on && trimmed.is_empty() {
                    self.empty.push(start..start + text.len());
                }
                continue;
            }
            // White space before continuation lines belongs to the instruction.
            let (text, start) = if goes_on { (text, start) } else { (trimmed, start + text.len() - trimmed.len()) };
            let continued = without_continuation(text, self.escape);
            line.push(continued.unwrap_or(text), start);
            goes_on = continued.is_some();
            if !goes_on && !line.text.trim().is_empty() {
                return Some(line);
            }
        }
        (!line.text.trim().is_empty()).then_some(line)
    }

    /// Directives stand before everything else, comments and empty lines too.
    fn read_directives(&mut self) -> Result<Directives, Box<Diagnostic>> {
        let mut found = Directives::default();
        let mut seen: Vec<&str> = Vec::new();
        loop {
            let before = self.at;
            let Some((physical, start)) = self.physical() else { break };
            let Some((name, value)) = directive(physical) else {
                self.at = before;
                break;
            };
            let place = |part: &str| {
                let offset = start + (part.as_ptr() as usize - physical.as_ptr() as usize);
                offset..offset + part.len()
            };
            let lower = name.to_ascii_lowercase();
            let Some(known) = DIRECTIVES.into_iter().find(|known| *known == lower) else {
                // A comment like any other, after which there are no more directives.
                self.at = before;
                break;
            };
            if seen.contains(&known) {
                return Err(self.error(place(name), format!("the directive `{known}` is given twice")));
            }
            seen.push(known);
            let word = Word { text: value.to_owned(), span: place(value) };
            match (known, value) {
                ("escape", "\\") => found.escape = Escape::Backslash,
                ("escape", "`") => found.escape = Escape::Backtick,
                ("escape", _) => {
                    let error = self.error(word.span, format!("`{value}` cannot escape"));
                    return Err(Box::new(error.help("the directive `escape` is `\\` or a backtick")));
                }
                ("syntax", _) => found.syntax = Some(word),
                _ => found.check = Some(word),
            }
        }
        Ok(found)
    }

    fn error(&self, span: Span, message: String) -> Box<Diagnostic> {
        self.source.error(&span, message)
    }
}

/// `# name = value`, and nothing else on the line.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

/// The line without the character that joins it with the next, when it ends in one. Two of them escape each other.
fn without_continuation(line: &str, escape: Escape) -> Option<&str> {
    let rest = line.trim_end_matches([' ', '\t']).strip_suffix(escape.character())?;
    (!rest.ends_with(escape.character())).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str) -> Vec<String> {
        let source = Source { file: "Containerfile".into(), text: text.to_owned() };
        let mut lines = Lines::new(&source).expect("directives");
        std::iter::from_fn(|| lines.logical()).map(|line| line.text).collect()
    }

    #[test]
    fn joins_lines() {
        for (text, expected) in [
            ("FROM a\nRUN b", vec!["FROM a", "RUN b"]),
            ("\u{feff}FROM a\r\n\r\nRUN b\r\n", vec!["FROM a", "RUN b"]),
            ("RUN a \\\n  b", vec!["RUN a   b"]),
            ("RUN a \\\n# comment\n\n   # another\n  b", vec!["RUN a   b"]),
            ("RUN a \\  \t\n b \\\n", vec!["RUN a  b "]),
            ("RUN a \\\\\nRUN b", vec!["RUN a \\\\", "RUN b"]),
            ("\\\nRUN a", vec!["RUN a"]),
            ("   # comment\n  RUN a # none\n", vec!["RUN a # none"]),
            ("# escape=`\nRUN a \\\nRUN b `\n c", vec!["RUN a \\", "RUN b  c"]),
            ("# syntax = docker/dockerfile:1\n#escape =`\nRUN b `\n c", vec!["RUN b  c"]),
            ("# a comment\n# escape=`\nRUN b `\nRUN c", vec!["RUN b `", "RUN c"]),
            ("\n# escape=`\nRUN b `\nRUN c", vec!["RUN b `", "RUN c"]),
            ("# unknown=1\n# escape=`\nRUN b `\nRUN c", vec!["RUN b `", "RUN c"]),
            ("", vec![]),
            ("\\\n\\\n", vec![]),
        ] {
            assert_eq!(logical(text), expected, "{text:?}");
        }
    }

    #[test]
    fn remembers_where_bytes_stood() {
        let source = Source { file: "Containerfile".into(), text: "  RUN aa\\\n# no\n bb\n".to_owned() };
        let line = Lines::new(&source).expect("directives").logical().expect("a line");
        assert_eq!(line.text, "RUN aa bb");
        assert_eq!(&source.text[line.span(4..6)], "aa");
        assert_eq!(&source.text[line.span(7..9)], "bb");
        assert_eq!(&source.text[line.span(4..9)], "aa\\\n# no\n bb");
        assert_eq!(line.span(9..9), 18..18);
    }

    #[test]
    fn refuses_wrong_directives() {
        for (text, expected) in [
            ("# escape=x\nFROM a", "Containerfile:1:10: `x` cannot escape"),
            ("# escape=`\n# escape=\\\n", "Containerfile:2:3: the directive `escape` is given twice"),
            ("# syntax=a\n# Syntax=b\n", "Containerfile:2:3: the directive `syntax` is given twice"),
        ] {
            let source = Source { file: "Containerfile".into(), text: text.to_owned() };
            let error = Lines::new(&source).err().expect(text);
            assert_eq!(error.to_string(), expected);
        }
    }
}
