//! `devbox limits`.

use std::path::Path;

use serde_json::json;

use crate::boxes::{BoxDir, limits};
use crate::cli::args::{Format, Limits, LimitsArgs, StatusArgs, Target};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::limits::host::{self, Unheld};
use crate::limits::state::State;
use crate::limits::{self as kernel, Key};
use crate::paths::Paths;
use crate::profile::Profile;
use crate::text::sanitize;
use crate::ui;

/// Shows or changes limits.
pub fn run(folder: &Path, args: LimitsArgs) -> Outcome {
    match args.command {
        None => show(folder, &args.show),
        Some(Limits::Show(args)) => show(folder, &args),
        Some(Limits::Set { changes, name }) => set(folder, &changes, &Target { name }),
    }
}

/// Of a running box those that it has; else those that the project's profile will give it.
fn show(folder: &Path, args: &StatusArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let running = match super::find(&paths, folder, &args.target) {
        Ok(id) => State::load(&BoxDir::new(&paths, &id).runtime()),
        Err(error) if args.target.name.is_some() => return Err(error),
        // A project without a box has limits as well.
        Err(_) => None,
    };
    let (state, limits, unheld) = match running {
        Some(state) => ("running", state.limits, state.unheld),
        None => {
            let limits = Profile::load(&paths, folder)?.profile.limits;
            let unheld = if limits.need_group() { host::probe().unheld(&limits) } else { Vec::new() };
            ("stopped", limits, unheld)
        }
    };
    if args.format == Format::Json {
        let unheld: std::collections::BTreeMap<_, _> = unheld.iter().map(|one| (one.key, &one.reason)).collect();
        let limits = limits::values(&limits);
        return print_json(&json!({ "state": state, "limits": limits, "unheld": unheld }));
    }
    print(&text(&limits, &unheld))
}

/// One limit a line; beside it, why it does not hold.
fn text(limits: &kernel::Limits, unheld: &[Unheld]) -> String {
    if limits.values.is_empty() {
        return "no limits\n".to_owned();
    }
    let row = |(key, value): (&Key, &u64)| {
        let reason = unheld.iter().find(|one| one.key == *key);
        let reason = reason.map_or_else(String::new, |one| format!("does not hold: {}", sanitize(&one.reason)));
        vec![key.to_string(), key.format(*value), reason]
    };
    ui::table(&limits.values.iter().map(row).collect::<Vec<_>>())
}

fn set(folder: &Path, changes: &[String], target: &Target) -> Outcome {
    let changes = changes.iter().map(|change| parse(change)).collect::<Result<Vec<_>, _>>()?;
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, target)?;
    let mut refused = limits::set(&BoxDir::new(&paths, &id), &changes)?;
    let Some(last) = refused.pop() else { return Ok(0) };
    let is_set = |key: &Key| !refused.iter().chain([&last]).any(|error| error.key() == Some(*key));
    for key in changes.iter().map(|(key, _)| key).filter(|key| is_set(key)) {
        ui::say(&format!("devbox: `{key}` is set"));
    }
    refused.iter().for_each(|error| ui::say(&format!("devbox: {error}")));
    Err(last.into())
}

fn parse(change: &str) -> Result<(Key, u64), Error> {
    let Some((key, value)) = change.split_once('=') else {
        return Err(
            Error::new(format!("`{}` is no limit", sanitize(change))).hint("write `KEY=VALUE`, like `memory=2GiB`")
        );
    };
    let key = Key::parse(key)?;
    Ok((key, key.parse_value(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_stands_beside_it() {
        let limits = kernel::Limits { values: [(Key::Cpus, 500), (Key::Memory, 1 << 30)].into(), require: false };
        let unheld = [Unheld { key: Key::Memory, reason: "no cgroup".into() }];
        assert_eq!(text(&limits, &unheld), "cpus    0.5\nmemory  1GiB  does not hold: no cgroup\n");
        assert_eq!(text(&kernel::Limits::default(), &[]), "no limits\n");
    }

    #[test]
    fn changes_are_read() {
        assert_eq!(parse("pids=64"), Ok((Key::Pids, 64)));
        for (change, expected) in [("pids", "`pids` is no limit"), ("pid=64", "there is no limit `pid`")] {
            let error = parse(change).unwrap_err();
            assert_eq!(error.message, crate::error::Message::Sentence(expected.to_owned()));
            assert!(!error.hints.is_empty());
        }
    }
}
