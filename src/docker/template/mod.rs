//! The part of Go's templates that `--format` is used with: fields, `json`, `index`, `if`, `range` and a few functions. Pure.
//!
//! A field that is not there prints `<no value>`, and is no error: whoever asks for a field of another program gets an answer.

use serde_json::Value;

use super::error::{DockerError, DockerResult};

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<Node>,
    /// It began with `table `: a heading is to be printed.
    pub is_table: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Print(Vec<Call>),
    If(Vec<Call>, Vec<Node>, Vec<Node>),
    Range(Vec<Call>, Vec<Node>, Vec<Node>),
}

/// A function or a value with its arguments; several in a row are a pipeline.
type Call = Vec<Word>;

#[derive(Debug, Clone, PartialEq)]
enum Word {
    /// `.A.B`; `.` alone is empty.
    Field(Vec<String>),
    Literal(Value),
    Name(String),
    Group(Vec<Call>),
}

impl Template {
    /// Reads `text`. `json` stands for `{{json .}}`.
    pub fn parse(text: &str) -> DockerResult<Self> {
        let failed = |reason: String| DockerError::Template { text: text.to_owned(), reason };
        let (body, is_table) = match text.trim() {
            "json" => ("{{json .}}", false),
            "table" => ("", true),
            _ => text.strip_prefix("table ").map_or((text, false), |rest| (rest.trim_start(), true)),
        };
        let mut rest = body;
        let (nodes, end) = nodes(&mut rest).map_err(failed)?;
        match end {
            None => Ok(Self { nodes, is_table }),
            Some(word) => Err(failed(format!("`{word}` without a beginning"))),
        }
    }

    /// What it prints for `value`.
    #[must_use]
    pub fn render(&self, value: &Value) -> String {
        let mut text = String::new();
        write(&self.nodes, value, &mut text);
        text
    }

    /// The last names of its fields, in capitals: the heading of a table.
    #[must_use]
    pub fn heading(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            match node {
                Node::Text(part) => text.push_str(part),
                Node::Print(calls) => {
                    if let Some(Word::Field(path)) = calls.first().and_then(|call| call.first()) {
                        text.push_str(&path.last().map_or(String::new(), |name| name.to_uppercase()));
                    }
                }
                _ => {}
            }
        }
        text
    }
}

/// Nodes up to the end, or to an `end` or `else`, which is returned.
fn nodes(rest: &mut &str) -> Result<(Vec<Node>, Option<String>), String> {
    let mut found = Vec::new();
    loop {
        let Some(start) = rest.find("{{") else {
            found.push(Node::Text(unescape(rest)));
            *rest = "";
            return Ok((found, None));
        };
        let (text, action) = rest.split_at(start);
        let end = action.find("}}").ok_or("`{{` without `}}`")?;
        let (mut inner, mut text) = (&action[2..end], text);
        *rest = &action[end + 2..];
        if let Some(trimmed) = inner.strip_prefix("- ") {
            (inner, text) = (trimmed, text.trim_end());
        }
        if let Some(trimmed) = inner.strip_suffix(" -") {
            inner = trimmed;
            *rest = rest.trim_start();
        }
        found.push(Node::Text(unescape(text)));
        let inner = inner.trim();
        let (keyword, arguments) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        match keyword {
            "end" | "else" => return Ok((found, Some(keyword.to_owned()))),
            "if" | "range" => {
                let calls = pipeline(arguments)?;
                let (yes, end) = nodes(rest)?;
                let (no, end) = if end.as_deref() == Some("else") { nodes(rest)? } else { (Vec::new(), end) };
                if end.as_deref() != Some("end") {
                    return Err(format!("`{keyword}` without `end`"));
                }
                found.push(if keyword == "if" { Node::If(calls, yes, no) } else { Node::Range(calls, yes, no) });
            }
            _ => found.push(Node::Print(pipeline(inner)?)),
        }
    }
}

/// A shell passes `\t` and `\n` on as they were typed.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn pipeline(text: &str) -> Result<Vec<Call>, String> {
    let mut words = words(text)?.into_iter().peekable();
    let calls = calls(&mut words)?;
    match words.next() {
        None => Ok(calls),
        Some(token) => Err(format!("`{token}` is not expected")),
    }
}

fn calls(tokens: &mut std::iter::Peekable<std::vec::IntoIter<String>>) -> Result<Vec<Call>, String> {
    let mut calls = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| token != ")") {
        let word = match token.as_str() {
            "|" => {
                calls.push(Vec::new());
                continue;
            }
            "(" => {
                let group = self::calls(tokens)?;
                if tokens.next().as_deref() != Some(")") {
                    return Err("`(` without `)`".to_owned());
                }
                Word::Group(group)
            }
            _ => word(&token)?,
        };
        if let Some(last) = calls.last_mut() {
            last.push(word);
        }
    }
    if calls.iter().any(Vec::is_empty) {
        return Err("nothing to print".to_owned());
    }
    Ok(calls)
}

fn word(token: &str) -> Result<Word, String> {
    if let Some(path) = token.strip_prefix('.') {
        return Ok(Word::Field(path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()));
    }
    if let Some(raw) = token.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return Ok(Word::Literal(raw.into()));
    }
    match serde_json::from_str::<Value>(token) {
        Ok(value) => Ok(Word::Literal(value)),
        Err(_) if token.starts_with('"') => Err(format!("{token} is no string")),
        Err(_) => Ok(Word::Name(token.to_owned())),
    }
}

/// Words, strings in quotes, parentheses and bars.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        match first {
            c if c.is_whitespace() => {}
            '(' | ')' | '|' => found.push(first.to_string()),
            '"' | '`' => {
                let mut token = first.to_string();
                loop {
                    let next = characters.next().ok_or("a string without an end")?;
                    token.push(next);
                    if next == '\\' && first == '"' {
                        token.extend(characters.next());
                    } else if next == first {
                        break;
                    }
                }
                found.push(token);
            }
            _ => {
                let mut token = first.to_string();
                while let Some(next) = characters.next_if(|c| !c.is_whitespace() && !"()|".contains(*c)) {
                    token.push(next);
                }
                found.push(token);
            }
        }
    }
    Ok(found)
}

fn write(nodes: &[Node], value: &Value, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(part) => text.push_str(part),
            Node::Print(calls) => text.push_str(&evaluate(calls, value).map_or(NO_VALUE.to_owned(), |it| show(&it))),
            Node::If(calls, yes, no) => {
                let chosen = if evaluate(calls, value).is_some_and(|found| is_true(&found)) { yes } else { no };
                write(chosen, value, text);
            }
            Node::Range(calls, each, none) => match evaluate(calls, value) {
                Some(Value::Array(list)) if !list.is_empty() => list.iter().for_each(|one| write(each, one, text)),
                Some(Value::Object(map)) if !map.is_empty() => map.values().for_each(|one| write(each, one, text)),
                _ => write(none, value, text),
            },
        }
    }
}

const NO_VALUE: &str = "<no value>";

/// `None`: there is no such field.
fn evaluate(calls: &[Call], value: &Value) -> Option<Value> {
    let mut piped: Option<Value> = None;
    for (at, call) in calls.iter().enumerate() {
        let mut arguments: Vec<Option<Value>> = Vec::new();
        let name = match &call[0] {
            Word::Name(name) => name.as_str(),
            _ => "",
        };
        for word in call.iter().skip(usize::from(!name.is_empty())) {
            arguments.push(match word {
                Word::Field(path) => path.iter().try_fold(value, |value, name| value.get(name)).cloned(),
                Word::Literal(literal) => Some(literal.clone()),
                Word::Group(calls) => evaluate(calls, value),
                Word::Name(_) => None,
            });
        }
        if at > 0 {
            arguments.push(piped.take());
        }
        piped = apply(name, arguments);
    }
    piped
}

fn apply(name: &str, mut arguments: Vec<Option<Value>>) -> Option<Value> {
    let truth = |value: &Option<Value>| value.as_ref().is_some_and(is_true);
    let text = |value: Option<&Option<Value>>| value.and_then(Option::as_ref).map(show).unwrap_or_default();
    match name {
        "" => arguments.into_iter().next()?,
        "json" => Some(Value::String(serde_json::to_string(&arguments.pop()?.unwrap_or(Value::Null)).ok()?)),
        "index" => {
            let mut arguments = arguments.into_iter();
            let first = arguments.next()??;
            arguments.try_fold(first, |value, key| match key? {
                Value::String(name) => match value.get(&name) {
                    // A map of strings has an empty one under every other key; labels are such a map.
                    None => value.as_object()?.values().all(Value::is_string).then(|| Value::String(String::new())),
                    found => found.cloned(),
                },
                Value::Number(number) => value.get(usize::try_from(number.as_u64()?).ok()?).cloned(),
                _ => None,
            })
        }
        "len" => Some(match arguments.pop()?? {
            Value::Array(list) => list.len().into(),
            Value::Object(map) => map.len().into(),
            Value::String(text) => text.len().into(),
            _ => return None,
        }),
        "eq" => Some((arguments.len() == 2 && arguments[0] == arguments[1]).into()),
        "ne" => Some((arguments.len() == 2 && arguments[0] != arguments[1]).into()),
        "not" => Some((!truth(arguments.first()?)).into()),
        "and" => arguments.iter().find(|one| !truth(one)).or(arguments.last())?.clone(),
        "or" => arguments.iter().find(|one| truth(one)).or(arguments.last())?.clone(),
        "upper" => Some(text(arguments.last()).to_uppercase().into()),
        "lower" => Some(text(arguments.last()).to_lowercase().into()),
        "join" => match arguments.first()? {
            Some(Value::Array(list)) => {
                Some(list.iter().map(show).collect::<Vec<_>>().join(&text(arguments.get(1))).into())
            }
            _ => None,
        },
        "print" => Some(arguments.iter().map(|one| text(Some(one))).collect::<String>().into()),
        "println" => Some((arguments.iter().map(|one| text(Some(one))).collect::<Vec<_>>().join(" ") + "\n").into()),
        _ => None,
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints it.
fn show(value: &Value) -> String {
    match value {
        Value::Null => NO_VALUE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", show(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_programs_ask_for() {
        let value = json!({
            "ID": "abc", "Names": "shop", "RepoTags": ["a:1", "a:2"], "Empty": [], "Runtimes": {"runc": {}},
            "Server": {"Version": "28.0"}, "Config": {"Labels": {"manager": "x", "a b": "y"}, "Tty": false},
            "Mounts": [{"Source": "/a"}, {"Source": "/b"}], "Size": 3,
        });
        for (template, expected) in [
            ("{{.ID}}\t{{.Names}}", "abc\tshop"),
            ("{{.ID}}\\t{{.Names}}", "abc\tshop"),
            ("{{ .Server.Version }}", "28.0"),
            ("{{.Runtimes.nvidia}}", "<no value>"),
            ("{{.Host.Security.SELinuxEnabled}}", "<no value>"),
            ("{{if .RepoTags}}{{index .RepoTags 0}}{{end}}", "a:1"),
            ("{{if .Empty}}{{index .Empty 0}}{{else}}none{{end}}", "none"),
            ("{{ index .Config.Labels \"manager\" }}", "x"),
            ("{{index .Config.Labels \"a b\"}}", "y"),
            ("{{index .Config.Labels \"none\"}}", ""),
            ("{{index .Config \"none\"}}", "<no value>"),
            ("{{json .Server}}", "{\"Version\":\"28.0\"}"),
            ("{{ json .Server }}", "{\"Version\":\"28.0\"}"),
            ("{{json .Server }}", "{\"Version\":\"28.0\"}"),
            ("{{.Server | json}}", "{\"Version\":\"28.0\"}"),
            ("{{range .Mounts}}{{.Source}} {{end}}", "/a /b "),
            ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
            ("{{len .RepoTags}} {{.Size}} {{.Config.Tty}}", "2 3 false"),
            ("{{if and .ID (not .Empty)}}yes{{end}}", "yes"),
            ("{{if eq .ID \"abc\"}}same{{end}}", "same"),
            ("{{join .RepoTags \", \"}} {{upper .ID}}", "a:1, a:2 ABC"),
            ("{{.RepoTags}} {{.Config.Labels}}", "[a:1 a:2] map[a b:y manager:x]"),
            ("{{index .RepoTags 7}}", "<no value>"),
            ("{{nothing .ID}}", "<no value>"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&value), expected, "{template}");
        }
        let table = Template::parse("table {{.ID}}\t{{.Names}}").unwrap();
        assert!(table.is_table);
        assert_eq!((table.heading().as_str(), table.render(&value).as_str()), ("ID\tNAMES", "abc\tshop"));
        assert_eq!(Template::parse("json").unwrap().render(&json!({"a": 1})), "{\"a\":1}");
    }

    #[test]
    fn what_cannot_be_read() {
        for template in ["{{", "{{.A", "{{if .A}}x", "{{end}}", "{{}}", "{{(.A}}", "{{\"x}}", "{{.A | }}", "{{.A)}}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
