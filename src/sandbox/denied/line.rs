//! A line of `denied.jsonl`: what `devbox log denied` shows.

use serde::{Deserialize, Serialize};

use crate::sandbox::net::reached::Process;

/// A system call that the box's filter refused, or how many more there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was made, as RFC 3339 writes it; the last time, if it was made again.
    pub time: String,
    /// What was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub denied: Option<Denied>,
    /// Who made it, if that could still be told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<Process>,
    /// The same call by the same thread was made so many more times, after the line that names it first. Without a call: so
    /// many other calls were refused at that time, and not written down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub more: Option<u64>,
}

/// A call and its answer. The arguments are untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Its name, or its number.
    pub call: String,
    /// The arguments that matter, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub arguments: Vec<Argument>,
    /// What it failed with: `EPERM`.
    pub errno: String,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// What the manual calls it.
    pub name: String,
    /// Text as it is, flags by their names, what has no name as a number.
    pub value: String,
}
