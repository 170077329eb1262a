//! The words of a template's actions. Pure.

use serde_json::Value;

use super::parse::place;

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    text: String,
    at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Open,
    Close,
    Bar,
    Comma,
    Declare,
    Assign,
    /// `.A.B`; `.` alone is empty.
    Field(Vec<String>),
    /// The same right behind a `)`.
    Chain(Vec<String>),
    /// `$x.A.B`: its name without the dollar.
    Variable(String, Vec<String>),
    Literal(Value),
    Name(String),
}

impl Token {
    /// The `end` that several blocks share.
    pub fn end() -> Self {
        Self { kind: Kind::Name("end".to_owned()), text: "end".to_owned(), at: 0 }
    }

    /// The word, and where it stands.
    pub fn place(&self) -> String {
        place(&self.text, self.at)
    }

    /// `part` of the word, and where it stands.
    pub fn place_of(&self, part: &str) -> String {
        place(part, self.at)
    }
}

/// The words of an action that begins at `offset`.
pub(super) fn tokens(text: &str, offset: usize) -> Result<Vec<Token>, String> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let length =
            length(rest).ok_or_else(|| format!("{} is not expected", place(&first.to_string(), offset + at)))?;
        let word = &rest[..length];
        let follows_group = rest.starts_with('.') && at > 0 && text[..at].ends_with(')');
        let wrong = || format!("{} cannot be read", place(word, offset + at));
        let kind = kind(word).ok_or_else(wrong)?;
        let kind = match kind {
            Kind::Field(path) if follows_group => Kind::Chain(path),
            kind => kind,
        };
        found.push(Token { kind, text: word.to_owned(), at: offset + at });
        at += length;
    }
    Ok(found)
}

/// How long the first word of `text` is.
fn length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    match first {
        '(' | ')' | '|' | ',' | '=' => Some(1),
        ':' if text.starts_with(":=") => Some(2),
        '`' => text[1..].find('`').map(|end| end + 2),
        '"' => {
            let mut escaped = false;
            let end = text[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map(|end| end + 2)
        }
        _ => {
            let end = text.find(|c: char| c.is_whitespace() || "()|,=:\"`".contains(c)).unwrap_or(text.len());
            (end > 0).then_some(end)
        }
    }
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "(" => Kind::Open,
        ")" => Kind::Close,
        "|" => Kind::Bar,
        "," => Kind::Comma,
        ":=" => Kind::Declare,
        "=" => Kind::Assign,
        "." => Kind::Field(Vec::new()),
        "true" => Kind::Literal(true.into()),
        "false" => Kind::Literal(false.into()),
        "nil" => Kind::Literal(Value::Null),
        _ if word.starts_with('.') => Kind::Field(path(&word[1..])?),
        _ if word.starts_with('$') => {
            let (name, path) = match word[1..].split_once('.') {
                None => (&word[1..], Vec::new()),
                Some((name, rest)) => (name, path(rest)?),
            };
            if !name.is_empty() && !is_name(name) {
                return None;
            }
            Kind::Variable(name.to_owned(), path)
        }
        _ if word.starts_with('`') => Kind::Literal(word[1..word.len() - 1].into()),
        _ if word.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) => {
            Kind::Literal(serde_json::from_str(word).ok()?)
        }
        _ if is_name(word) => Kind::Name(word.to_owned()),
        _ => return None,
    })
}

fn path(text: &str) -> Option<Vec<String>> {
    text.split('.').map(|part| is_name(part).then(|| part.to_owned())).collect()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}
