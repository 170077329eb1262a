//! What a template prints for a value. Pure.

use serde_json::{Map, Value};

use super::functions::{apply, is_true, show};
use super::parse::{Block, BlockKind, Call, Node, Word};

/// A field that is not there has no value, and is no error.
type Found = Option<Value>;

/// Prints the parts of a template.
pub(super) struct Evaluator<'a> {
    labels: Option<&'a Map<String, Value>>,
    /// By name, the innermost last. That of the whole value, `$`, has none.
    variables: Vec<(String, Found)>,
    text: String,
}

impl<'a> Evaluator<'a> {
    /// For `value`; `.Label` looks in `labels`.
    pub fn new(value: &Value, labels: Option<&'a Map<String, Value>>) -> Self {
        Self { labels, variables: vec![(String::new(), Some(value.clone()))], text: String::new() }
    }

    /// What was printed.
    pub fn text(self) -> String {
        self.text
    }

    /// Prints `nodes`, where `.` is `dot`.
    pub fn write(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        let known = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(part) => self.text.push_str(part),
                Node::Print(calls) => {
                    let found = self.pipeline(calls, dot)?;
                    self.text.push_str(&show(&found));
                }
                Node::Set { name, is_new, value } => {
                    let found = self.pipeline(value, dot)?;
                    match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                        Some((_, old)) if !is_new => *old = found,
                        _ => self.variables.push((name.clone(), found)),
                    }
                }
                Node::Block(block) => self.block(block, dot)?,
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn block(&mut self, block: &Block, dot: &Value) -> Result<(), String> {
        let known = self.variables.len();
        let found = self.pipeline(&block.value, dot)?;
        if block.kind != BlockKind::Range {
            self.variables.extend(block.names.first().map(|name| (name.clone(), found.clone())));
            match found {
                Some(value) if is_true(&Some(value.clone())) => {
                    self.write(&block.then, if block.kind == BlockKind::With { &value } else { dot })?;
                }
                _ => self.write(&block.otherwise, dot)?,
            }
            self.variables.truncate(known);
            return Ok(());
        }
        let pairs: Vec<(Value, Value)> = match found {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.into_iter().enumerate().map(|(at, one)| (at.into(), one)).collect(),
            Some(Value::Object(map)) => {
                let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
                pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
                pairs.into_iter().map(|(key, one)| (key.into(), one)).collect()
            }
            Some(other) => return Err(format!("`range`: {other} is no list")),
        };
        if pairs.is_empty() {
            return self.write(&block.otherwise, dot);
        }
        for (key, one) in pairs {
            let values: &[&Value] = if block.names.len() == 2 { &[&key, &one] } else { &[&one] };
            self.variables
                .extend(block.names.iter().zip(values).map(|(name, value)| (name.clone(), Some((*value).clone()))));
            self.write(&block.then, &one)?;
            self.variables.truncate(known);
        }
        Ok(())
    }

    fn pipeline(&self, calls: &[Call], dot: &Value) -> Result<Found, String> {
        let mut before: Option<Found> = None;
        for call in calls {
            before = Some(match call {
                Call::Value(word) => self.word(word, dot)?,
                Call::Label(key) => {
                    let labels = self.labels.ok_or("there is no `.Label` here")?;
                    let label = labels.get(&show(&self.word(key, dot)?));
                    Some(label.cloned().unwrap_or_else(|| Value::String(String::new())))
                }
                // The first that decides is the value, and those behind it are not asked for.
                Call::Function(name @ ("and" | "or"), words) => {
                    let mut decided = None;
                    for word in words {
                        let value = self.word(word, dot)?;
                        let decides = is_true(&value) == (*name == "or");
                        decided = Some((value, decides));
                        if decides {
                            break;
                        }
                    }
                    match (decided, before) {
                        (Some((value, true)), _) | (Some((value, _)), None) => value,
                        (_, piped) => piped.flatten(),
                    }
                }
                Call::Function(name, words) => {
                    let mut arguments = Vec::new();
                    for word in words {
                        arguments.push(self.word(word, dot)?);
                    }
                    arguments.extend(before);
                    apply(name, &arguments)?
                }
            });
        }
        Ok(before.flatten())
    }

    fn word(&self, word: &Word, dot: &Value) -> Result<Found, String> {
        let below =
            |value: &Value, path: &[String]| path.iter().try_fold(value, |value, name| value.get(name)).cloned();
        Ok(match word {
            Word::Field(path) => below(dot, path),
            Word::Literal(literal) => Some(literal.clone()),
            Word::Variable(name, path) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                variable.and_then(|(_, value)| below(value.as_ref()?, path))
            }
            Word::Group(calls, path) => self.pipeline(calls, dot)?.and_then(|value| below(&value, path)),
        })
    }
}
