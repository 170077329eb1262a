//! The limits of a box: planned when it starts, shown and changed while it runs.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::directory::BoxDir;
use super::error::{BoxesError, BoxesResult, IoContext};
use super::events::{EventKind, read_events};
use super::session::SessionError;
use super::{list, running, state};
use crate::limits::adoption::adopt;
use crate::limits::device;
use crate::limits::group::Group;
use crate::limits::host::{self, Unheld};
use crate::limits::quota::Quota;
use crate::limits::state::State;
use crate::limits::{Key, Limits, Plan};
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::progress::Progress;
use crate::sandbox::attach::Outcome;
use crate::sandbox::channel::{Failure, Phase};
use crate::sandbox::control::{self, Request};
use crate::sys::SysError;
use crate::userns::idmap::IdMode;

/// The statuses of what SIGKILL and SIGTERM ended.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// What was said last of limits that do not hold: a file in the box's directory.
const SAID_FILE: &str = "unheld.json";

/// A limit of a running box cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It does not run.
    #[error("the box does not run")]
    Stopped,
    /// It has no cgroup.
    #[error("`{key}` needs a cgroup, and the running box has none")]
    NoGroup {
        /// What was to be changed.
        key: Key,
        /// Why it has none and can have none.
        reason: String,
    },
    /// This machine does not hold it.
    #[error("`{key}` does not hold here: {reason}")]
    Unheld {
        /// What was to be changed.
        key: Key,
        /// Why not.
        reason: String,
    },
    /// It is a property of what was mounted.
    #[error("`{key}` cannot be changed while the box runs")]
    Fixed {
        /// What was to be changed.
        key: Key,
    },
    /// The kernel refused.
    #[error("cannot set `{key}`")]
    Kernel {
        /// What was to be changed.
        key: Key,
        /// What the kernel said.
        source: SysError,
    },
    /// What was set could not be noted.
    #[error("cannot write down the new limits of the box")]
    Note(#[source] std::io::Error),
    /// What the box is cannot be read.
    #[error(transparent)]
    Record(#[from] BoxesError),
}

impl ChangeError {
    /// Which limit cannot be changed; `None`: none can.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::NoGroup { key, .. } | Self::Unheld { key, .. } | Self::Fixed { key } | Self::Kernel { key, .. } => {
                Some(*key)
            }
            Self::Stopped | Self::Note(_) | Self::Record(_) => None,
        }
    }
}

/// The plan for a start in `runtime`. What is known not to hold is said, once for each box and reason, or an error where the
/// profile requires it.
pub(super) fn plan(
    limits: &Limits,
    directory: &BoxDir,
    runtime: &Path,
    project: &Path,
    mode: IdMode,
    progress: &dyn Progress,
) -> Result<Plan, SessionError> {
    let runtime = Some(runtime.to_owned());
    if limits.values.is_empty() {
        return Ok(Plan { runtime, ..Plan::default() });
    }
    let name = group_name(directory, runtime.as_deref().unwrap_or(Path::new("")));
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let found = if limits.need_group() { host::probe() } else { host::Found::none() };
    let written = [directory.path(), project];
    let plan = Plan { runtime: runtime.clone(), ..Plan::new(limits.clone(), found, name, &written, mode, &release) };
    if limits.require && !plan.unheld.is_empty() {
        return Err(SessionError::Limits { unheld: plan.unheld });
    }
    say_once(directory, &plan.unheld, progress)?;
    Ok(plan)
}

/// Notes what does not hold, unless the same was said of this box before.
fn say_once(directory: &BoxDir, unheld: &[Unheld], progress: &dyn Progress) -> BoxesResult<()> {
    let file = directory.path().join(SAID_FILE);
    let text = serde_json::to_vec(unheld).unwrap_or_default();
    let said = std::fs::read(&file).unwrap_or_else(|_| b"[]".to_vec());
    if said == text {
        return Ok(());
    }
    for (reason, keys) in by_reason(unheld) {
        progress.note(&format!(
            "{keys} of `[limits]` {} not hold here: {reason}",
            if keys.contains(',') { "do" } else { "does" }
        ));
    }
    std::fs::write(&file, text).at("write", &file)
}

/// "`cpus`, `memory`" for each reason.
#[must_use]
pub fn by_reason(unheld: &[Unheld]) -> Vec<(String, String)> {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for Unheld { key, reason } in unheld {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, keys)) => keys.push_str(&format!(", `{key}`")),
            None => reasons.push((reason.clone(), format!("`{key}`"))),
        }
    }
    reasons
}

/// "cpus 2, memory 4GiB".
#[must_use]
pub fn line(limits: &Limits) -> String {
    let parts: Vec<_> = limits.values.iter().map(|(key, value)| format!("{key} {}", key.format(*value))).collect();
    parts.join(", ")
}

/// The values as they are written in a profile.
#[must_use]
pub fn values(limits: &Limits) -> std::collections::BTreeMap<Key, String> {
    limits.values.iter().map(|(key, value)| (*key, key.format(*value))).collect()
}

/// All of it as one sentence.
pub(super) fn sentence(unheld: &[Unheld]) -> String {
    let parts: Vec<_> = by_reason(unheld).into_iter().map(|(reason, keys)| format!("{keys} ({reason})")).collect();
    parts.join(", ")
}

/// What the group of a box is called, that runs in `runtime`.
fn group_name(directory: &BoxDir, runtime: &Path) -> String {
    format!("{}-{}", directory.id(), runtime.file_name().unwrap_or_default().to_string_lossy())
}

/// Changes limits of a running box, until it stops: those that can be changed. Returns why others cannot, in the order of `changes`.
pub fn set(directory: &BoxDir, changes: &[(Key, u64)]) -> Result<Vec<ChangeError>, ChangeError> {
    let runtime = directory.runtime();
    let mut state = State::load(&runtime).ok_or(ChangeError::Stopped)?;
    let needs_group = changes.iter().any(|(key, _)| key.controller().is_some());
    let lack = if needs_group && state.group.is_none() { give_group(directory, &mut state)? } else { None };
    let mut refused = Vec::new();
    for (key, value) in changes {
        match change(directory, &mut state, *key, *value, lack.as_deref()) {
            Ok(()) => _ = state.limits.values.insert(*key, *value),
            Err(error) => refused.push(error),
        }
    }
    if refused.len() < changes.len() {
        state.save(&runtime).map_err(ChangeError::Note)?;
    }
    Ok(refused)
}

/// Gives a box a group that was started without one, and tells its supervisor. Otherwise returns why it can have none.
fn give_group(directory: &BoxDir, state: &mut State) -> Result<Option<String>, ChangeError> {
    let place = match host::probe().place {
        Ok(place) => place,
        Err(lack) => return Ok(Some(lack.to_string())),
    };
    let runtime = directory.runtime();
    let record = state::load(directory)?;
    let group = match adopt(&place, &group_name(directory, &runtime), state.init) {
        Ok(group) => group,
        Err(error) => return Ok(Some(Failure::new(Phase::Limits, &error).causes.join(": "))),
    };
    state.group = Some(group.path().to_owned());
    state.devices = device::behind(&[directory.path(), &record.project]);
    state.save(&runtime).map_err(ChangeError::Note)?;
    let stream = running::connect_to_supervisor(directory).ok_or(ChangeError::Stopped)?;
    control::ask(stream, &Request::Group).map_err(ChangeError::Note)?;
    Ok(None)
}

/// `lack` is why there is no group.
fn change(directory: &BoxDir, state: &mut State, key: Key, value: u64, lack: Option<&str>) -> Result<(), ChangeError> {
    let failed = |source| ChangeError::Kernel { key, source };
    match key {
        Key::Shm => Err(ChangeError::Fixed { key }),
        Key::Disk => match state.limits.get(key) {
            None => Err(ChangeError::Fixed { key }),
            // Without a quota the supervisor watches, and looks for it.
            Some(_) => match Quota::of(&directory.upper()) {
                Some(quota) => quota.set(value).map_err(failed),
                None => Ok(()),
            },
        },
        Key::Files => crate::sys::process::limit_files(state.init, value).map_err(failed),
        _ => {
            let Some(group) = state.group.as_deref().map(Group::at) else {
                return Err(ChangeError::NoGroup { key, reason: lack.unwrap_or_default().to_owned() });
            };
            if let Err(reason) = group.set(key, value, &state.devices).map_err(failed)? {
                return Err(ChangeError::Unheld { key, reason });
            }
            if key == Key::Memory && state.limits.get(Key::Swap).is_none() {
                group.forbid_swap().map_err(failed)?;
            }
            state.unheld.retain(|unheld| unheld.key != key);
            Ok(())
        }
    }
}

/// Says so when a limit ended the session that began at `begun`.
pub(super) fn explain_end(
    paths: &Paths,
    loaded: &LoadedProfile,
    outcome: &Outcome,
    begun: Timestamp,
    progress: &dyn Progress,
) -> BoxesResult<()> {
    let killed = match outcome {
        Outcome::Ended(ended) => ended.status() == KILLED || ended.status() == TERMINATED,
        Outcome::Lost => true,
        _ => false,
    };
    let Some(id) = list::find_by_project(paths, &loaded.project)?.filter(|_| killed) else { return Ok(()) };
    let directory = BoxDir::new(paths, &id);
    // The supervisor hears of it when we do.
    let is_limited = !loaded.profile.limits.values.is_empty()
        || State::load(&directory.runtime()).is_some_and(|state| !state.limits.values.is_empty());
    let looks = if is_limited { 20 } else { 1 };
    for look in 0..looks {
        if look > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let since = |reached: &Reached| reached.time.parse::<Timestamp>().is_ok_and(|time| time >= begun);
        if let Some(reached) = reached(&directory)?.filter(since) {
            progress.note(&format!("{}: {reached}", loaded.profile.name));
            break;
        }
    }
    Ok(())
}

/// A limit that a box ran into, in the run that is or was its last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reached {
    /// `memory` or `disk`.
    pub limit: String,
    /// When, last.
    pub time: String,
    /// How many processes the memory limit has killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<u64>,
}

impl std::fmt::Display for Reached {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.killed {
            None => write!(formatter, "ended by its {} limit", self.limit),
            Some(1) => write!(formatter, "a process was killed by its {} limit", self.limit),
            Some(killed) => write!(formatter, "{killed} processes were killed by its {} limit", self.limit),
        }
    }
}

/// What the log says of limits since the box was last started.
pub fn reached(directory: &BoxDir) -> BoxesResult<Option<Reached>> {
    let mut reached: Option<Reached> = None;
    for event in read_events(&directory.events())? {
        match event.event {
            EventKind::Started => reached = None,
            EventKind::LimitReached => {
                let text = |key: &str| event.details.get(key).and_then(Value::as_str).map(str::to_owned);
                let before = reached.as_ref().and_then(|reached| reached.killed);
                let killed = text("killed").and_then(|killed| killed.parse::<u64>().ok());
                reached = Some(Reached {
                    limit: text("limit").unwrap_or_default(),
                    time: event.time,
                    killed: killed.map(|killed| killed + before.unwrap_or(0)),
                });
            }
            _ => {}
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_said_once() {
        let unheld = |key, reason: &str| Unheld { key, reason: reason.to_owned() };
        let all = [unheld(Key::Cpus, "a"), unheld(Key::Pids, "b"), unheld(Key::Memory, "a")];
        let expected = [("a", "`cpus`, `memory`"), ("b", "`pids`")];
        assert_eq!(by_reason(&all), expected.map(|(reason, keys)| (reason.to_owned(), keys.to_owned())));
    }

    #[test]
    fn sentences() {
        for (killed, expected) in [
            (None, "ended by its disk limit"),
            (Some(1), "a process was killed by its disk limit"),
            (Some(3), "3 processes were killed by its disk limit"),
        ] {
            let reached = Reached { limit: "disk".into(), time: String::new(), killed };
            assert_eq!(reached.to_string(), expected);
        }
    }
}
