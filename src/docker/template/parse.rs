//! Reading a template. Every name of a function or a variable is known before anything is printed. Pure.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::functions::{FUNCTIONS, Function};
use super::words::{Kind, Token, tokens};

/// So deep may blocks and parentheses lie in each other: reading and printing follow them by recursion.
const MOST_DEPTH: usize = 100;

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `$x := ..`, and with `is_new` unset `$x = ..`.
    Set {
        name: String,
        is_new: bool,
        value: Pipeline,
    },
    Block(Box<Block>),
}

/// What has an `end`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub kind: BlockKind,
    /// The variables that it sets: of `range` one or two, of the others at most one.
    pub names: Vec<String>,
    pub value: Pipeline,
    pub then: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    If,
    With,
    Range,
}

impl BlockKind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "if" => Self::If,
            "with" => Self::With,
            "range" => Self::Range,
            _ => return None,
        })
    }
}

/// Each call but the first has the value of the one before as its last argument.
pub(super) type Pipeline = Vec<Call>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    Value(Word),
    /// `.Label KEY`
    Label(Word),
    Function(&'static str, Vec<Word>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// `.A.B`; `.` alone is empty.
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Literal(Value),
    /// `(..).A.B`
    Group(Pipeline, Vec<String>),
}

/// Reads a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { text, at: 0, names: vec![String::new()], depth: 0 };
    match parser.nodes()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => Err(format!("{} without a beginning", end.place())),
    }
}

type Tokens = Peekable<IntoIter<Token>>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The variables that are known here; that of the whole value, `$`, has no name.
    names: Vec<String>,
    depth: usize,
}

/// What ends the nodes of a block: `end` or `else`, and what follows it.
struct End {
    token: Token,
    rest: Tokens,
}

impl End {
    fn place(&self) -> String {
        self.token.place()
    }
}

impl Parser<'_> {
    /// Nodes up to the end of the text or of the block.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>), String> {
        let known = self.names.len();
        let mut found = Vec::new();
        let end = loop {
            let rest = &self.text[self.at..];
            let Some(start) = rest.find("{{") else {
                found.push(Node::Text(unescape(rest)));
                self.at = self.text.len();
                break None;
            };
            let text = &rest[..start];
            let begin = self.at + start + 2;
            let end = begin
                + action_length(&self.text[begin..])
                    .ok_or_else(|| format!("{} has no `}}}}`", place("{{", begin - 2)))?;
            let (mut from, mut to) = (begin, end);
            self.at = end + 2;
            let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
            let trims = |text: &str| text.starts_with('-') && is_blank(text.chars().nth(1));
            found.push(Node::Text(unescape(if trims(&self.text[from..to]) {
                from += 1;
                text.trim_end()
            } else {
                text
            })));
            if self.text[from..to].ends_with('-') && is_blank(self.text[from..to - 1].chars().next_back()) {
                to -= 1;
                self.at = self.text.len() - self.text[self.at..].trim_start().len();
            }
            let inner = self.text[from..to].trim();
            if inner.starts_with("/*") && inner.ends_with("*/") {
                continue;
            }
            let mut tokens = tokens(&self.text[from..to], from)?.into_iter().peekable();
            match self.action(&mut tokens)? {
                Action::Node(node) => found.push(node),
                Action::End(token) => break Some(End { token, rest: tokens }),
            }
        };
        self.names.truncate(known);
        Ok((found, end))
    }

    fn action(&mut self, tokens: &mut Tokens) -> Result<Action, String> {
        let keyword = tokens.next_if(
            |token| matches!(&token.kind, Kind::Name(name) if matches!(name.as_str(), "end" | "else" | "if" | "with" | "range")),
        );
        let Some(keyword) = keyword else {
            let (names, is_new) = self.variables(tokens)?;
            let value = self.whole_pipeline(tokens)?;
            return Ok(Action::Node(match <[String; 1]>::try_from(names) {
                Ok([name]) => {
                    if is_new {
                        self.names.push(name.clone());
                    }
                    Node::Set { name, is_new, value }
                }
                Err(names) if names.is_empty() => Node::Print(value),
                Err(_) => return Err("two variables are for `range`".to_owned()),
            }));
        };
        let kind = match &keyword.kind {
            Kind::Name(name) => BlockKind::of(name),
            _ => None,
        };
        match kind {
            Some(kind) => Ok(Action::Node(Node::Block(Box::new(self.block(kind, &keyword, tokens)?)))),
            None => Ok(Action::End(keyword)),
        }
    }

    fn block(&mut self, kind: BlockKind, keyword: &Token, tokens: &mut Tokens) -> Result<Block, String> {
        self.deeper(keyword)?;
        let known = self.names.len();
        let (names, is_new) = self.variables(tokens)?;
        if !is_new || names.len() > if kind == BlockKind::Range { 2 } else { 1 } {
            return Err(format!("{} sets variables that it cannot", keyword.place()));
        }
        let value = self.whole_pipeline(tokens)?;
        self.names.extend(names.clone());
        let (then, end) = self.nodes()?;
        let (otherwise, end) = match end {
            Some(mut end) if end.is("else") => match end.rest.next() {
                None => self.nodes()?,
                // `else if`: one block with a common end.
                Some(next) => {
                    let kind = match &next.kind {
                        Kind::Name(name) => BlockKind::of(name).filter(|kind| *kind != BlockKind::Range),
                        _ => None,
                    };
                    let kind = kind.ok_or_else(|| format!("{} is not expected", next.place()))?;
                    let inner = self.block(kind, &next, &mut end.rest)?;
                    (vec![Node::Block(Box::new(inner))], Some(End { token: Token::end(), rest: end.rest }))
                }
            },
            end => (Vec::new(), end),
        };
        match end {
            Some(mut end) if end.is("end") => match end.rest.next() {
                None => {}
                Some(token) => return Err(format!("{} is not expected", token.place())),
            },
            _ => return Err(format!("{} without `end`", keyword.place())),
        }
        self.names.truncate(known);
        self.depth -= 1;
        Ok(Block { kind, names, value, then, otherwise })
    }

    fn deeper(&mut self, at: &Token) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH { Err(format!("{} lies too deep", at.place())) } else { Ok(()) }
    }

    /// `$x :=`, `$x, $y :=` or `$x =`, if it stands there; whether it is `:=`.
    fn variables(&self, tokens: &mut Tokens) -> Result<(Vec<String>, bool), String> {
        let mut ahead = tokens.clone();
        let mut names = Vec::new();
        while let Some(Token { kind: Kind::Variable(name, path), .. }) = ahead.next()
            && path.is_empty()
        {
            names.push(name.clone());
            let Some(token) = ahead.next() else { break };
            match token.kind {
                Kind::Comma => {}
                Kind::Declare => {
                    *tokens = ahead;
                    return Ok((names, true));
                }
                Kind::Assign if names.len() == 1 => {
                    self.check(&name, &token)?;
                    *tokens = ahead;
                    return Ok((names, false));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), true))
    }

    fn check(&self, name: &str, token: &Token) -> Result<(), String> {
        let known = self.names.iter().any(|known| known == name);
        if known { Ok(()) } else { Err(format!("the variable {} is not set", token.place_of(&format!("${name}")))) }
    }

    fn whole_pipeline(&mut self, tokens: &mut Tokens) -> Result<Pipeline, String> {
        let calls = self.pipeline(tokens)?;
        match tokens.next() {
            None => Ok(calls),
            Some(token) => Err(format!("{} is not expected", token.place())),
        }
    }

    fn pipeline(&mut self, tokens: &mut Tokens) -> Result<Pipeline, String> {
        let mut calls = vec![self.call(tokens, false)?];
        while tokens.next_if(|token| token.kind == Kind::Bar).is_some() {
            calls.push(self.call(tokens, true)?);
        }
        Ok(calls)
    }

    /// One call; `piped`: it has the value before it as its last argument.
    fn call(&mut self, tokens: &mut Tokens, piped: bool) -> Result<Call, String> {
        let first = tokens.peek().cloned().ok_or("nothing to print")?;
        let function = match &first.kind {
            Kind::Name(name) => {
                tokens.next();
                let found = FUNCTIONS.iter().find(|function| function.name == name);
                Some(found.ok_or_else(|| format!("the function {} is not defined", first.place()))?)
            }
            _ => None,
        };
        let mut words = Vec::new();
        while let Some(token) = tokens.next_if(|token| !matches!(token.kind, Kind::Bar | Kind::Close)) {
            words.push(self.word(token, tokens)?);
        }
        let given = words.len() + usize::from(piped);
        match function {
            Some(Function { name, least, most }) => match given {
                _ if given < *least => Err(format!("{} needs {least} arguments, and has {given}", first.place())),
                _ if given > *most => Err(format!("{} takes {most} arguments, and has {given}", first.place())),
                _ => Ok(Call::Function(name, words)),
            },
            None if given == 1 && words.len() == 1 => Ok(Call::Value(words.remove(0))),
            None if given == 2 && words.len() == 2 && words[0] == Word::Field(vec!["Label".to_owned()]) => {
                Ok(Call::Label(words.remove(1)))
            }
            None if words.is_empty() => Err("nothing to print".to_owned()),
            None => Err(format!("{} is no function, and takes no arguments", first.place())),
        }
    }

    fn word(&mut self, token: Token, tokens: &mut Tokens) -> Result<Word, String> {
        Ok(match &token.kind {
            Kind::Field(path) => Word::Field(path.clone()),
            Kind::Literal(value) => Word::Literal(value.clone()),
            Kind::Variable(name, path) => {
                self.check(name, &token)?;
                Word::Variable(name.clone(), path.clone())
            }
            Kind::Open => {
                self.deeper(&token)?;
                let group = self.pipeline(tokens)?;
                if tokens.next().is_none_or(|next| next.kind != Kind::Close) {
                    return Err(format!("{} has no `)`", token.place()));
                }
                self.depth -= 1;
                let chain = tokens.next_if(|next| matches!(next.kind, Kind::Chain(_)));
                Word::Group(
                    group,
                    match chain {
                        Some(Token { kind: Kind::Chain(path), .. }) => path,
                        _ => Vec::new(),
                    },
                )
            }
            Kind::Name(name) if FUNCTIONS.iter().any(|function| function.name == name) => {
                return Err(format!("{} belongs in parentheses", token.place()));
            }
            Kind::Name(_) => return Err(format!("the function {} is not defined", token.place())),
            _ => return Err(format!("{} is not expected", token.place())),
        })
    }
}

enum Action {
    Node(Node),
    End(Token),
}

impl End {
    fn is(&self, word: &str) -> bool {
        matches!(&self.token.kind, Kind::Name(name) if name == word)
    }
}

/// `word` and where it stands, counted from 1.
pub(super) fn place(word: &str, at: usize) -> String {
    format!("`{word}` at {}", at + 1)
}

/// Where the `}}` of an action is: not in its strings.
fn action_length(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match quote {
            Some('"') if c == '\\' => {
                characters.next();
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// A shell passes `\t` and `\n` on as they were typed.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}
