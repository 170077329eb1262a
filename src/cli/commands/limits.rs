//! `devbox limits`.

use std::path::Path;

use serde_json::json;

use crate::boxes::{BoxDir, limits};
use crate::cli::args::{Format, Limits, LimitsArgs, StatusArgs, Target};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::limits::host::{self, Unheld};
use crate::limits::quota::Quota;
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
    let directory = super::find(&paths, folder, &args.target).map(|id| BoxDir::new(&paths, &id));
    let running = match &directory {
        Ok(directory) => State::load(&directory.runtime()),
        // A project without a box has limits as well.
        Err(_) if args.target.name.is_none() => None,
        Err(_) => return directory.map(|_| 0),
    };
    let mut disk = None;
    let (state, limits, unheld) = match running {
        Some(state) => {
            disk = directory.ok().map(|directory| match Quota::of(&directory.upper()) {
                Some(_) => HeldBy::Quota,
                None => HeldBy::Watch,
            });
            disk = disk.filter(|_| state.limits.get(Key::Disk).is_some());
            ("running", state.limits, state.unheld)
        }
        None => {
            let limits = Profile::load(&paths, folder)?.profile.limits;
            let unheld = if limits.need_group() { host::probe().unheld(&limits) } else { Vec::new() };
            ("stopped", limits, unheld)
        }
    };
    if args.format == Format::Json {
        let unheld: std::collections::BTreeMap<_, _> = unheld.iter().map(|one| (one.key, &one.reason)).collect();
        let limits = limits::values(&limits);
        return print_json(&json!({ "state": state, "limits": limits, "unheld": unheld, "disk_held_by": disk }));
    }
    print(&text(&limits, &unheld, disk))
}

/// What holds the disk limit of a running box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum HeldBy {
    Quota,
    Watch,
}

/// One limit a line; beside it, why it does not hold, or what holds it where that differs from machine to machine.
fn text(limits: &kernel::Limits, unheld: &[Unheld], disk: Option<HeldBy>) -> String {
    if limits.values.is_empty() {
        return "no limits\n".to_owned();
    }
    let row = |(key, value): (&Key, &u64)| {
        let reason = unheld.iter().find(|one| one.key == *key);
        let remark = match (reason, disk) {
            (Some(one), _) => format!("does not hold: {}", sanitize(&one.reason)),
            (None, Some(HeldBy::Quota)) if *key == Key::Disk => "a quota of the file system".to_owned(),
            (None, Some(HeldBy::Watch)) if *key == Key::Disk => "watched: a fast writer may exceed it".to_owned(),
            (None, _) => String::new(),
        };
        vec![key.to_string(), key.format(*value), remark]
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
        assert_eq!(text(&limits, &unheld, None), "cpus    0.5\nmemory  1GiB  does not hold: no cgroup\n");
        assert_eq!(text(&kernel::Limits::default(), &[], None), "no limits\n");
        let disk = kernel::Limits { values: [(Key::Disk, 1 << 30)].into(), require: false };
        assert_eq!(text(&disk, &[], Some(HeldBy::Quota)), "disk  1GiB  a quota of the file system\n");
        assert_eq!(text(&disk, &[], Some(HeldBy::Watch)), "disk  1GiB  watched: a fast writer may exceed it\n");
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
