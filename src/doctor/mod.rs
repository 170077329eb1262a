//! What this machine lacks, and the command that mends it.
//!
//! Each check calls the probe that a real start uses, so that the two cannot disagree; what a probe found is judged by
//! pure functions in [`checks`].

use serde::Serialize;

use crate::paths::Paths;
use crate::sandbox::channel::Phase;

pub mod checks;
mod machine;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Boxes work, with less.
    Warning,
    /// Boxes cannot start.
    Blocker,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name.
    pub name: &'static str,
    /// How bad it is.
    pub state: State,
    /// One sentence.
    pub summary: String,
    /// The command that mends it, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(name: &'static str, state: State, summary: impl Into<String>) -> Self {
        Self { name, state, summary: summary.into(), remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Runs every check. The caller must be single-threaded.
#[must_use]
pub fn run(paths: &Paths) -> Vec<Finding> {
    let machine = machine::Machine::look(paths);
    checks::ALL.iter().map(|check| check(&machine)).collect()
}

/// The findings as text, the remedy below each.
#[must_use]
pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Blocker => "BLOCKER",
        };
        text.push_str(&format!("{mark}  {:<16}  {}\n", finding.name, finding.summary));
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            text.push_str(&format!("         {:<16}  -> {line}\n", ""));
        }
    }
    text
}

/// Hints for a start that failed in `phase`: what the checks of that phase say.
#[must_use]
pub fn explain(phase: Phase, _causes: &[String]) -> Vec<String> {
    let relevant: &[&str] = match phase {
        Phase::Namespaces => &["kernel", "namespaces", "apparmor"],
        // Where AppArmor takes the capabilities away, the first step that needs one fails.
        Phase::IdMap => &["subuids", "namespaces", "apparmor"],
        Phase::Limits => &["cgroups"],
        Phase::Network => &["network"],
        Phase::Overlay => &["apparmor", "overlay", "data directory", "host base"],
        Phase::Mounts => &["namespaces", "apparmor", "overlay"],
        Phase::Restrictions => &["kernel"],
    };
    let Ok(paths) = Paths::from_environment() else { return Vec::new() };
    let mut hints: Vec<String> = run(&paths)
        .into_iter()
        .filter(|finding| relevant.contains(&finding.name) && finding.state != State::Ok)
        .map(|finding| match finding.remedy {
            Some(remedy) => format!("{}: {remedy}", finding.summary),
            None => finding.summary,
        })
        .collect();
    if hints.is_empty() {
        hints.push("`devbox doctor` checks this machine".to_owned());
    }
    hints
}
