//! The words of one logical line: flags, words with quotes, JSON arrays.

use super::containerfile::{Escape, Span, Word};
use super::lines::LogicalLine;

/// White space between the words of an instruction.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

/// `--name` or `--name=value`, with quotes and escapes gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    /// Without `--`.
    pub name: String,
    /// After the first `=`.
    pub value: Option<Word>,
    /// All of it.
    pub span: Span,
}

/// The keyword of a line, and where its arguments begin.
pub(super) fn keyword(line: &LogicalLine, range: Span) -> (Word, Span) {
    let text = &line.text[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    let text = line.text[start..range.end].trim_end();
    let length = text.find(is_blank).unwrap_or(text.len());
    (line.word(start..start + length), trim(line, start + length..start + text.len()))
}

/// `range` without white space on either side.
pub(super) fn trim(line: &LogicalLine, range: Span) -> Span {
    let text = &line.text[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// The flags at the start of `range`, and what follows them. `--` alone ends them.
pub(super) fn flags(line: &LogicalLine, range: Span, escape: Escape) -> (Vec<Flag>, Span) {
    let mut found = Vec::new();
    let mut rest = trim(line, range);
    while line.text[rest.clone()].starts_with("--") {
        let (text, value, length) = flag(&line.text[rest.clone()], escape);
        let whole = rest.start..rest.start + length;
        rest = trim(line, whole.end..rest.end);
        if text == "--" {
            break;
        }
        let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
        let value = value.map(|offset| Word {
            text: text.split_once('=').map_or(String::new(), |(_, value)| value.to_owned()),
            span: line.span(whole.start + offset..whole.end),
        });
        found.push(Flag { name: name["--".len()..].to_owned(), value, span: line.span(whole) });
    }
    (found, rest)
}

/// One flag at the start of `text`: without quotes and escapes, where its value starts in `text`, and its length there.
fn flag(text: &str, escape: Escape) -> (String, Option<usize>, usize) {
    let (mut plain, mut value, mut quote) = (String::new(), None, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if c == escape.character() => plain.extend(chars.next().map(|(_, escaped)| escaped)),
            c if quote.is_none() && c.is_whitespace() => return (plain, value, at),
            c => {
                if c == '=' && value.is_none() {
                    value = Some(at + 1);
                }
                plain.push(c);
            }
        }
    }
    // `\=` is an `=` as well once the escape is gone.
    let value = value.or_else(|| plain.contains('=').then_some(0));
    (plain, value, text.len())
}

/// Words between white space; quotes mean nothing.
pub(super) fn plain_words(line: &LogicalLine, range: Span) -> Vec<Word> {
    let text = &line.text[range.clone()];
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        if is_blank(c) {
            words.extend(start.take().map(|start| start..at));
        } else {
            start.get_or_insert(at);
        }
    }
    words.extend(start.map(|start| start..text.len()));
    words.into_iter().map(|word| line.word(range.start + word.start..range.start + word.end)).collect()
}

/// Words between white space that is neither quoted nor escaped. Quotes and escapes stay in them.
pub(super) fn quoted_words(line: &LogicalLine, range: Span, escape: Escape) -> Vec<Word> {
    let text = &line.text[range.clone()];
    let mut words = Vec::new();
    let (mut start, mut quote) = (None, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| start..at));
            continue;
        }
        start.get_or_insert(at);
        if c == escape.character() && quote != Some('\'') {
            chars.next();
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '\'' | '"') {
            quote = Some(c);
        }
    }
    words.extend(start.map(|start| start..text.len()));
    let mut words: Vec<Word> =
        words.into_iter().map(|word| line.word(range.start + word.start..range.start + word.end)).collect();
    // An escape with nothing to escape is nothing.
    if let Some(last) = words.last_mut()
        && has_trailing_escape(&last.text, escape)
    {
        last.text.pop();
        if last.text.is_empty() {
            words.pop();
        }
    }
    words
}

fn has_trailing_escape(text: &str, escape: Escape) -> bool {
    text.chars().rev().take_while(|c| *c == escape.character()).count() % 2 == 1
}

/// What stands where a JSON array may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with something else in it.
    OtherValues,
    /// Not JSON, so words of the other form.
    None,
}

/// Reads `["a", "b"]`.
pub(super) fn json(text: &str) -> Json {
    if !text.trim_start().starts_with('[') {
        return Json::None;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text.trim()) {
        Err(_) => Json::None,
        Ok(values) => {
            let strings = values.into_iter().map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            });
            strings.collect::<Option<Vec<_>>>().map_or(Json::OtherValues, Json::Strings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::containerfile::Source;
    use super::super::lines::Lines;
    use super::*;

    fn line(text: &str) -> LogicalLine {
        let source = Source { file: "Containerfile".into(), text: text.to_owned() };
        Lines::of_trigger(&source).logical().expect("a line")
    }

    #[test]
    fn reads_flags() {
        for (text, expected, rest) in [
            ("--a=b c", vec![("a", Some("b"))], "c"),
            ("--a --b=  c d", vec![("a", None), ("b", Some(""))], "c d"),
            ("--a=\"b c\" d", vec![("a", Some("b c"))], "d"),
            ("--a='b \" c'd e", vec![("a", Some("b \" cd"))], "e"),
            ("--a=b\\ c d", vec![("a", Some("b c"))], "d"),
            ("--a=b=c", vec![("a", Some("b=c"))], ""),
            ("--a -- --b", vec![("a", None)], "--b"),
            ("-a --b", vec![], "-a --b"),
            ("--", vec![], ""),
            ("--a=\"b", vec![("a", Some("b"))], ""),
        ] {
            let line = line(text);
            let (flags, after) = flags(&line, 0..line.text.len(), Escape::Backslash);
            let flags: Vec<_> = flags
                .iter()
                .map(|flag| (flag.name.as_str(), flag.value.as_ref().map(|word| word.text.as_str())))
                .collect();
            assert_eq!(flags, expected, "{text}");
            assert_eq!(&line.text[after], rest, "{text}");
        }
    }

    #[test]
    fn splits_words() {
        for (text, expected) in [
            ("a b", vec!["a", "b"]),
            ("a=\"b c\" d='e f'", vec!["a=\"b c\"", "d='e f'"]),
            (r"a=b\ c d", vec![r"a=b\ c", "d"]),
            (r#"a="b\" c" d"#, vec![r#"a="b\" c""#, "d"]),
            (r"a='b\' c", vec![r"a='b\'", "c"]),
            ("a=\"\" b", vec!["a=\"\"", "b"]),
            ("a=\"b c", vec!["a=\"b c"]),
            (r"a=b\", vec!["a=b"]),
            (r"a \", vec!["a"]),
        ] {
            // A logical line that ends in an escape is made of a line with two.
            let mut line = line("x");
            line.text = text.to_owned();
            let words = quoted_words(&line, 0..text.len(), Escape::Backslash);
            assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn reads_json() {
        let strings = |words: &[&str]| Json::Strings(words.iter().map(|word| (*word).to_owned()).collect());
        for (text, expected) in [
            (r#"["a", "b c"]"#, strings(&["a", "b c"])),
            (" [ ] ", strings(&[])),
            (r#"["a\u00e4\n"]"#, strings(&["aä\n"])),
            ("['a']", Json::None),
            (r#"["a"] b"#, Json::None),
            (r#"["a",]"#, Json::None),
            ("a", Json::None),
            (r#"["a", 1]"#, Json::OtherValues),
            (r#"[["a"]]"#, Json::OtherValues),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }
}
