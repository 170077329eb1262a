//! JSON with comments, each value with its place in the file, and what a wrong one is said to be.

use std::ops::Range;
use std::path::Path;

use jsonc_parser::ast::{ObjectPropName, Value as Parsed};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::profile::diagnostic::Diagnostic;
use crate::profile::schema::At;
use crate::profile::validate::Checked;

/// Values in values, as deep as any file has use for.
const MAX_DEPTH: usize = 64;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Json,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table, in the order of the file; each key once.
    Table(Vec<(At<String>, Node)>),
}

impl Node {
    /// The value as compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.value {
            Json::Null => "null".to_owned(),
            Json::Boolean(on) => on.to_string(),
            Json::Number(number) => number.to_string(),
            Json::Text(text) => quoted(text),
            Json::List(list) => format!("[{}]", list.iter().map(Self::to_json).collect::<Vec<_>>().join(",")),
            Json::Table(entries) => table_to_json(entries),
        }
    }
}

/// Some entries of a table as compact JSON.
#[must_use]
pub fn table_to_json<'a>(entries: impl IntoIterator<Item = &'a (At<String>, Node)>) -> String {
    let pair = |(key, value): &(At<String>, Node)| {
        format!("{}:{}", serde_json::Value::from(key.value.as_str()), value.to_json())
    };
    format!("{{{}}}", entries.into_iter().map(pair).collect::<Vec<_>>().join(","))
}

impl Json {
    /// What it is, with its article.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "`null`",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A file that is read: what messages are about.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its path, or a word for a text that is no file.
    pub file: &'a Path,
    /// Its text.
    pub text: &'a str,
}

impl Source<'_> {
    /// Parses the whole text: comments and commas at the end of lists are welcome, other liberties are not.
    pub fn parse(&self) -> Checked<Node> {
        self.parse_any()?.ok_or_else(|| self.wrong(&(0..0), "this is no JSON: the file is empty").into())
    }

    /// The same, where a text without a value is good as well: `None`.
    pub fn parse_any(&self) -> Checked<Option<Node>> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        // A byte order mark is three bytes that the parser does not know; the places of all that follows stay.
        let text = self.text.replacen('\u{feff}', "   ", usize::from(self.text.starts_with('\u{feff}')));
        let parsed = parse_to_ast(&text, &CollectOptions::default(), &options).map_err(|error| {
            let range = error.range();
            let message = lower(&error.kind().to_string());
            Diagnostic::new(self.file, self.text, range.start..range.end, format!("this is no JSON: {message}"))
        })?;
        parsed.value.map(|value| self.node(value, 0)).transpose()
    }

    /// A mistake at `span`.
    pub fn wrong(&self, span: &Range<usize>, message: impl AsRef<str>) -> Diagnostic {
        Diagnostic::new(self.file, self.text, span.clone(), message)
    }

    fn node(&self, value: Parsed<'_>, depth: usize) -> Checked<Node> {
        let span = value.start()..value.end();
        if depth > MAX_DEPTH {
            return Err(self.wrong(&span, format!("more than {MAX_DEPTH} tables and lists within each other")).into());
        }
        let value = match value {
            Parsed::NullKeyword(_) => Json::Null,
            Parsed::BooleanLit(literal) => Json::Boolean(literal.value),
            Parsed::NumberLit(literal) => {
                let number = literal.value.parse().ok().filter(|number: &f64| number.is_finite());
                Json::Number(number.ok_or_else(|| self.wrong(&span, "this number is too large"))?)
            }
            Parsed::StringLit(literal) => {
                if literal.value.contains('\0') {
                    return Err(self.wrong(&span, "this cannot contain a NUL character").into());
                }
                Json::Text(literal.value.into_owned())
            }
            Parsed::Array(array) => {
                Json::List(array.elements.into_iter().map(|node| self.node(node, depth + 1)).collect::<Result<_, _>>()?)
            }
            Parsed::Object(object) => {
                let mut table: Vec<(At<String>, Node)> = Vec::with_capacity(object.properties.len());
                for property in object.properties {
                    let key_span = property.name.start()..property.name.end();
                    let name = match property.name {
                        ObjectPropName::String(literal) => literal.value.into_owned(),
                        ObjectPropName::Word(word) => word.value.to_owned(),
                    };
                    let value = self.node(property.value, depth + 1)?;
                    // As every reader of JSON has it, the last one counts.
                    table.retain(|(key, _)| key.value != name);
                    table.push((At { value: name, span: key_span }, value));
                }
                Json::Table(table)
            }
        };
        Ok(Node { value, span })
    }

    /// The sentence that `key` has another type than `expected`.
    pub fn unexpected(&self, key: &str, node: &Node, expected: &str) -> Box<Diagnostic> {
        let message = format!("wrong type of `{key}`: expected {expected}");
        Box::new(self.wrong(&node.span, message).label(format!("this is {}", node.value.kind())))
    }

    /// A string.
    pub fn text(&self, key: &str, node: &Node) -> Checked<At<String>> {
        match &node.value {
            Json::Text(value) => Ok(At { value: value.clone(), span: node.span.clone() }),
            _ => Err(self.unexpected(key, node, "a string")),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str, node: &Node) -> Checked<bool> {
        match node.value {
            Json::Boolean(value) => Ok(value),
            _ => Err(self.unexpected(key, node, "`true` or `false`")),
        }
    }

    /// A list.
    pub fn list<'a>(&self, key: &str, node: &'a Node) -> Checked<&'a [Node]> {
        match &node.value {
            Json::List(list) => Ok(list),
            _ => Err(self.unexpected(key, node, "a list")),
        }
    }

    /// A list of strings.
    pub fn texts(&self, key: &str, node: &Node) -> Checked<Vec<At<String>>> {
        self.list(key, node)?.iter().map(|entry| self.text(&format!("{key}[]"), entry)).collect()
    }

    /// A table.
    pub fn table<'a>(&self, key: &str, node: &'a Node) -> Checked<&'a [(At<String>, Node)]> {
        match &node.value {
            Json::Table(table) => Ok(table),
            _ => Err(self.unexpected(key, node, "a table")),
        }
    }

    /// A string, or one of several.
    pub fn one_of(&self, key: &str, node: &Node, known: &[&str]) -> Checked<String> {
        let text = self.text(key, node)?;
        if known.contains(&text.value.as_str()) {
            return Ok(text.value);
        }
        let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
        let mut wrong = self.wrong(&node.span, format!("unknown value of `{key}`: `{}`", text.value));
        if let Some(meant) = crate::text::closest(&text.value, known.iter().copied()) {
            wrong = wrong.label(format!("did you mean `{meant}`?"));
        }
        Err(wrong.help(format!("the values are {}", list.join(", "))).into())
    }
}

/// With a small letter first: the parser's sentences become parts of ours.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node, String> {
        let file = Path::new("devcontainer.json");
        Source { file, text }.parse().map_err(|error| error.to_string())
    }

    #[test]
    fn comments_and_commas_are_welcome() {
        for text in [
            "{}",
            "// what it is\n{\"a\": [1, 2,], /* b */ \"b\": \"c\",}\n",
            "\u{feff}{\"a\": null}",
            "{\"a\": \"// no comment\"}",
            "{\r\n\t\"a\": -1.5e3\r\n}\r\n",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        let Json::Table(table) = parse("{\"a\": 1, \"b\": 2, \"a\": 3}").unwrap().value else { panic!("a table") };
        let values: Vec<_> = table.iter().map(|(key, node)| (key.value.as_str(), &node.value)).collect();
        assert_eq!(values, [("b", &Json::Number(2.0)), ("a", &Json::Number(3.0))]);
    }

    #[test]
    fn what_is_no_json_has_a_line_and_a_column() {
        for (text, place) in [
            ("", "devcontainer.json:1:1: this is no JSON: the file is empty"),
            ("// only this\n", "devcontainer.json:1:1: this is no JSON"),
            ("{\n  \"a\": 'b'\n}", "devcontainer.json:2:8: this is no JSON"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "devcontainer.json:2:9: this is no JSON"),
            ("{\n  a: 1\n}", "devcontainer.json:2:3: this is no JSON"),
            ("{\"a\": 0x1}", "devcontainer.json:1:7: this is no JSON"),
            ("{\"a\": 1", "devcontainer.json:1:1: this is no JSON: unterminated object"),
            ("{} {}", "devcontainer.json:1:4: this is no JSON"),
            ("image = \"debian\"", "devcontainer.json:1:1: this is no JSON"),
            ("{\"a\": \"\\u0000\"}", "devcontainer.json:1:7: this cannot contain a NUL"),
            ("{\"a\": 1e999}", "devcontainer.json:1:7: this number is too large"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(place), "{text}: {error}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(60)).is_ok());
        for depth in [70, 10_000, 400_000] {
            assert!(parse(&nested(depth)).is_err());
        }
    }
}
