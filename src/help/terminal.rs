//! A page for a terminal: wrapped, and styled by escape sequences, which whoever prints it may take out.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::Topic;
use super::page::{Block, Page, Span, Text};

const HEADING: Style = Style::new().bold().underline();
const STRONG: Style = Style::new().bold();
const EMPHASIS: Style = Style::new().italic();
const CODE: Style = AnsiColor::Cyan.on_default();

/// Code with at most so many characters is not broken.
const KEPT_TOGETHER: usize = 30;

/// The page in lines of at most `width` columns, but for code and long words.
#[must_use]
pub fn render(page: &Page, width: usize) -> String {
    let mut out = String::new();
    let mut before: Option<&Block> = None;
    for block in &page.blocks {
        let is_list = |block: &Block| matches!(block, Block::Item(_) | Block::Term(..));
        if before.is_some_and(|before| !(is_list(before) && is_list(block))) {
            out.push('\n');
        }
        match block {
            Block::Heading(_, text) => wrap(&mut out, &styled(text, HEADING), ("", ""), width),
            Block::Paragraph(text) => wrap(&mut out, &styled(text, Style::new()), ("  ", "  "), width),
            Block::Item(text) => wrap(&mut out, &styled(text, Style::new()), ("  - ", "    "), width),
            Block::Term(term, text) => {
                wrap(&mut out, &styled(term, STRONG), ("  ", "    "), width);
                wrap(&mut out, &styled(text, Style::new()), ("      ", "      "), width);
            }
            Block::Code(lines) => {
                let indented = |line: &String| format!("        {line}").trim_end().to_owned() + "\n";
                out.extend(lines.iter().map(indented));
            }
        }
        before = Some(block);
    }
    out
}

/// A character and how it looks. A blank inside of code is no place to break at.
type Styled = (char, Style, bool);

fn styled(text: &Text, base: Style) -> Vec<Styled> {
    let mut found = Vec::new();
    for span in text {
        let (text, style) = match span {
            Span::Plain(text) => (text.clone(), base),
            // Pipes and files show no colours, so the marks stay.
            Span::Code(text) => (format!("`{text}`"), if base == Style::new() { CODE } else { base }),
            Span::Strong(text) => (text.clone(), STRONG),
            Span::Emphasis(text) => (text.clone(), EMPHASIS),
            Span::Link(text, target) => (link(text, target), base),
        };
        let is_kept = matches!(span, Span::Code(_)) && text.chars().count() <= KEPT_TOGETHER;
        found.extend(text.chars().map(|c| (c, style, c == ' ' && !is_kept)));
    }
    found
}

fn link(text: &str, target: &str) -> String {
    match Topic::linked(target) {
        Some(topic) if text.ends_with(".md") => format!("`devbox help {}`", topic.name),
        Some(topic) => format!("{text} (`devbox help {}`)", topic.name),
        None if target.contains("://") => format!("{text} <{target}>"),
        None => text.to_owned(),
    }
}

/// Lines of words, the first after `indents.0`, the others after `indents.1`.
fn wrap(out: &mut String, text: &[Styled], indents: (&str, &str), width: usize) {
    let mut column = 0;
    for word in text.split(|(_, _, breaks)| *breaks).filter(|word| !word.is_empty()) {
        if column > 0 && column + 1 + word.len() > width {
            out.push('\n');
            column = 0;
        }
        let lead = match (column, out.ends_with('\n') || out.is_empty()) {
            (0, true) if is_first(text, word) => indents.0,
            (0, _) => indents.1,
            _ => " ",
        };
        out.push_str(lead);
        column += lead.len() + word.len();
        for piece in word.chunk_by(|a, b| a.1 == b.1) {
            let style = piece[0].1;
            let letters: String = piece.iter().map(|(c, ..)| *c).collect();
            // Writing to a string cannot fail.
            write!(out, "{style}{letters}{style:#}").ok();
        }
    }
    out.push('\n');
}

/// Whether `word` is where `text` begins.
fn is_first(text: &[Styled], word: &[Styled]) -> bool {
    text.first().zip(word.first()).is_some_and(|(a, b)| std::ptr::eq(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(markdown: &str, width: usize) -> String {
        anstream::adapter::strip_str(&render(&Page::parse(markdown), width)).to_string()
    }

    #[test]
    fn pages_as_they_are_shown() {
        for (markdown, width, expected) in [
            ("# Limits\n\nSome words that flow.", 14, "Limits\n\n  Some words\n  that flow.\n"),
            ("- one two\n- three four five", 14, "  - one two\n  - three four\n    five\n"),
            ("a `b c`, d", 8, "  a\n  `b c`,\n  d\n"),
            ("```\nx  y\n```\nz", 5, "        x  y\n\n  z\n"),
            ("| k | v |\n| --- | --- |\n| `a` | b c |", 9, "  `a`\n      b c\n"),
            ("[network.md](network.md)", 80, "  `devbox help networks`\n"),
            ("see [names](network.md#names)", 80, "  see names (`devbox help networks`)\n"),
            ("[x](other.md), [y](https://example.org)", 80, "  x, y <https://example.org>\n"),
        ] {
            assert_eq!(shown(markdown, width), expected, "{markdown}");
        }
    }
}
