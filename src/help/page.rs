//! A page: blocks of styled text, read from the part of Markdown that `docs/` uses.

/// A file of `docs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of the file.
    pub blocks: Vec<Block>,
}

/// What stands below each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Level 1 is the page's title.
    Heading(usize, Text),
    /// Lines that flow.
    Paragraph(Text),
    /// An entry of a list.
    Item(Text),
    /// Lines that stay as they are.
    Code(Vec<String>),
    /// A row of a table: its first cell, and what the others say of it.
    Term(Text, Text),
}

/// Text in one style each.
pub type Text = Vec<Span>;

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// As it is.
    Plain(String),
    /// Something to type, or a name.
    Code(String),
    /// Important.
    Strong(String),
    /// Stressed.
    Emphasis(String),
    /// What is shown, and where it leads.
    Link(String, String),
}

impl Page {
    /// Reads a file. What is no known markup is text.
    #[must_use]
    pub fn parse(markdown: &str) -> Self {
        let mut blocks = Vec::new();
        let mut open = Open::default();
        let mut lines = markdown.lines();
        while let Some(line) = lines.next() {
            let level = line.bytes().take_while(|&byte| byte == b'#').count();
            if line.starts_with("```") {
                open.close(&mut blocks);
                blocks.push(Block::Code(lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect()));
            } else if line.is_empty() {
                open.close(&mut blocks);
            } else if level > 0 && line[level..].starts_with(' ') {
                open.close(&mut blocks);
                blocks.push(Block::Heading(level, spans(line[level..].trim())));
            } else if line.starts_with('|') {
                open.row(line, &mut blocks);
            } else if let Some(entry) = line.strip_prefix("- ") {
                open.close(&mut blocks);
                open.item = Some(entry.to_owned());
            } else {
                open.flow(line.trim());
            }
        }
        open.close(&mut blocks);
        Self { blocks }
    }
}

/// What the next line may belong to; at most one of the three.
#[derive(Default)]
struct Open {
    paragraph: Option<String>,
    item: Option<String>,
    /// The head of a table.
    head: Option<Vec<String>>,
}

impl Open {
    fn close(&mut self, blocks: &mut Vec<Block>) {
        blocks.extend(self.paragraph.take().map(|text| Block::Paragraph(spans(&text))));
        blocks.extend(self.item.take().map(|text| Block::Item(spans(&text))));
        self.head = None;
    }

    fn flow(&mut self, line: &str) {
        match self.item.as_mut().or(self.paragraph.as_mut()) {
            Some(text) => *text = format!("{text} {line}"),
            None => self.paragraph = Some(line.to_owned()),
        }
    }

    fn row(&mut self, line: &str, blocks: &mut Vec<Block>) {
        let cells = cells(line);
        match &self.head {
            None => {
                self.close(blocks);
                self.head = Some(cells);
            }
            Some(_) if cells.iter().all(|cell| cell.bytes().all(|byte| byte == b'-')) => {}
            Some(head) => {
                let (term, others) = cells.split_first().map_or((String::new(), &[][..]), |(a, b)| (a.clone(), b));
                blocks.push(Block::Term(spans(&term), spans(&said(&head[1..], others))));
            }
        }
    }
}

/// Several cells in one text: each with the head of its column, but for a single one, and where there is no head.
fn said(heads: &[String], cells: &[String]) -> String {
    let filled = heads.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
    let named = |(head, cell): (&String, &String)| match head.is_empty() || heads.len() == 1 {
        true => cell.clone(),
        false => format!("{head}: {cell}"),
    };
    filled.map(named).collect::<Vec<_>>().join("; ")
}

/// The cells of a row of a table; `\|` is a bar in one.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line).replace("\\|", "\0");
    line.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The styles of a line.
fn spans(line: &str) -> Text {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        match marked(rest, plain.chars().next_back()) {
            Some((span, after)) => {
                if !plain.is_empty() {
                    found.push(Span::Plain(std::mem::take(&mut plain)));
                }
                found.push(span);
                rest = after;
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    if !plain.is_empty() {
        found.push(Span::Plain(plain));
    }
    found
}

/// The span that begins here, and what follows it.
fn marked(rest: &str, before: Option<char>) -> Option<(Span, &str)> {
    let between = |mark: &str| rest.strip_prefix(mark)?.split_once(mark).filter(|(inner, _)| !inner.is_empty());
    if let Some((inner, after)) = between("`") {
        return Some((Span::Code(inner.to_owned()), after));
    }
    if let Some((inner, after)) = between("**") {
        return Some((Span::Strong(inner.replace('`', "")), after));
    }
    if let Some((inner, after)) = between("*") {
        let stands_free =
            before.is_none_or(|c| !c.is_alphanumeric()) && !inner.starts_with(' ') && !inner.ends_with(' ');
        return stands_free.then(|| (Span::Emphasis(inner.to_owned()), after));
    }
    let (text, after) = rest.strip_prefix('[')?.split_once("](")?;
    let (target, after) = after.split_once(')')?;
    (!text.contains(']')).then(|| (Span::Link(text.replace('`', ""), target.to_owned()), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Span {
        Span::Plain(text.to_owned())
    }

    fn code(text: &str) -> Span {
        Span::Code(text.to_owned())
    }

    #[test]
    fn styles() {
        for (line, expected) in [
            ("", vec![]),
            ("a `b*c*` d", vec![plain("a "), code("b*c*"), plain(" d")]),
            ("**N** *s*.", vec![Span::Strong("N".into()), plain(" "), Span::Emphasis("s".into()), plain(".")]),
            ("2*3*4 * 5 `x", vec![plain("2*3*4 * 5 `x")]),
            ("[`a`](b.md#c), [d]", vec![Span::Link("a".into(), "b.md#c".into()), plain(", [d]")]),
        ] {
            assert_eq!(spans(line), expected, "{line}");
        }
    }

    #[test]
    fn blocks() {
        let text = "# T\n\na\nb\n- c\n  d\n- e\n\n```sh\n# f\n\n```\n| k | type | |\n| --- | --- | --- |\n| `x` | y\\|z | w |\n";
        assert_eq!(
            Page::parse(text).blocks,
            [
                Block::Heading(1, vec![plain("T")]),
                Block::Paragraph(vec![plain("a b")]),
                Block::Item(vec![plain("c d")]),
                Block::Item(vec![plain("e")]),
                Block::Code(vec!["# f".into(), String::new()]),
                Block::Term(vec![code("x")], vec![plain("type: y|z; w")]),
            ]
        );
    }

    #[test]
    fn a_single_column_needs_no_head() {
        let page = Page::parse("| a | says |\n|---|---|\n| b | c |\n\n#5 is text\n");
        let expected = [Block::Term(vec![plain("b")], vec![plain("c")]), Block::Paragraph(vec![plain("#5 is text")])];
        assert_eq!(page.blocks, expected);
    }
}
