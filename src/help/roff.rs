//! A page for `man`.

use super::page::{Block, Page, Span, Text};
use super::{TOPICS, Topic};

/// The manual page of a topic.
#[must_use]
pub fn render(topic: &Topic, version: &str) -> String {
    let (name, section) = topic.manual;
    let mut out = format!(
        ".TH {} {section} \"\" \"devbox {}\" \"devbox\"\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n",
        escape(name),
        escape(version),
        escape(name),
        escape(&lower_first(topic.summary)),
    );
    body(&mut out, &topic.page());
    out.push_str(&see_also(Some(topic)));
    out
}

/// The section that names the other pages; of the commands' first page without `topic`.
#[must_use]
pub fn see_also(topic: Option<&Topic>) -> String {
    let first = topic.map(|_| ("devbox", 1));
    let others = TOPICS.iter().filter(|other| Some(*other) != topic).map(|other| other.manual);
    let names: Vec<String> = first.into_iter().chain(others).map(reference).collect();
    format!(".SH \"SEE ALSO\"\n{}\n", names.join(",\n"))
}

fn reference((name, section): (&str, u8)) -> String {
    format!("\\fB{}\\fR({section})", escape(name))
}

fn body(out: &mut String, page: &Page) {
    for block in &page.blocks {
        match block {
            // The page's name stands there already.
            Block::Heading(1, _) => {}
            Block::Heading(2, text) => *out += &format!(".SH \"{}\"\n", plain(text)),
            Block::Heading(_, text) => *out += &format!(".SS \"{}\"\n", plain(text)),
            Block::Paragraph(text) => *out += &format!(".PP\n{}\n", line(text)),
            Block::Item(text) => *out += &format!(".IP \\(bu 3\n{}\n", line(text)),
            Block::Term(term, text) => *out += &format!(".TP\n{}\n{}\n", line(term), line(text)),
            Block::Code(lines) => {
                out.push_str(".PP\n.RS 4\n.nf\n");
                out.extend(lines.iter().map(|text| begin(&escape(text)) + "\n"));
                out.push_str(".fi\n.RE\n");
            }
        }
    }
}

fn line(text: &Text) -> String {
    let styled = |span: &Span| match span {
        Span::Plain(text) => escape(text),
        Span::Code(text) | Span::Strong(text) => format!("\\fB{}\\fR", escape(text)),
        Span::Emphasis(text) => format!("\\fI{}\\fR", escape(text)),
        Span::Link(text, target) => match Topic::linked(target) {
            Some(topic) if text.ends_with(".md") => reference(topic.manual),
            Some(topic) => format!("{} ({})", escape(text), reference(topic.manual)),
            None if target.contains("://") => format!("{} <{}>", escape(text), escape(target)),
            None => escape(text),
        },
    };
    // An empty line would be a break of its own.
    let text: String = text.iter().map(styled).collect();
    if text.is_empty() { "\\&".to_owned() } else { begin(&text) }
}

/// The argument of a heading: styles would end in it.
fn plain(text: &Text) -> String {
    let words = text.iter().map(|span| match span {
        Span::Plain(text) | Span::Code(text) | Span::Strong(text) | Span::Emphasis(text) | Span::Link(text, _) => text,
    });
    escape(&words.map(String::as_str).collect::<String>()).replace('"', "\\(dq")
}

/// A line that begins with a dot or an apostrophe would be a request.
fn begin(text: &str) -> String {
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text.to_owned() }
}

/// Characters that roff reads as something else, or prints as typographers like them.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            other => out.push(other),
        }
    }
    out
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_read_is_escaped() {
        for (markdown, expected) in [
            ("a-b 'c'\\d", ".PP\na\\-b \\(aqc\\(aq\\ed\n"),
            (".env `.x` **y**", ".PP\n\\&.env \\fB.x\\fR \\fBy\\fR\n"),
            ("```\n.PP\n\n'x\n```", ".PP\n.RS 4\n.nf\n\\&.PP\n\n\\(aqx\n.fi\n.RE\n"),
            ("## A \"b\"\n### `c`", ".SH \"A \\(dqb\\(dq\"\n.SS \"c\"\n"),
            ("- a [network.md](network.md)", ".IP \\(bu 3\na \\fBdevbox\\-networks\\fR(7)\n"),
            ("| a | b |\n| - | - |\n| `c` | |", ".TP\n\\fBc\\fR\n\\&\n"),
        ] {
            let mut out = String::new();
            body(&mut out, &Page::parse(markdown));
            assert_eq!(out, expected, "{markdown}");
        }
    }

    #[test]
    fn pages_name_each_other() {
        let topic = Topic::find("limits").expect("a topic");
        let page = render(topic, "1.0-x");
        assert!(page.starts_with(".TH devbox\\-limits 7 \"\" \"devbox 1.0\\-x\" \"devbox\"\n.SH NAME\n"), "{page}");
        assert!(
            page.contains("\\fBdevbox\\-networks\\fR(7)") && !page.contains("\\fBdevbox\\-limits\\fR(7)"),
            "{page}"
        );
    }
}
