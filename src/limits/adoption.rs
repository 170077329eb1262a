//! A cgroup for a box that runs already, because it was started without limits.
//!
//! Init is moved first, so that what it starts is born inside; then everybody else, until nobody is left outside. Limits are set
//! when all are in. The supervisor and its helpers stay where they are, outside of the limits.
//!
//! Between two groups processes may be moved by who may write to both and to the nearest group above them. A user may not take
//! them from his login session, which is the system's; systemd does it for him, but only with processes that have his own id.

use rustix::io::Errno;

use super::group::{Group, GroupError, hand_down, scope_name};
use super::host::{Place, group_of, parent_of_scopes};
use super::members;
use super::scope::{self, Manager};
use crate::sys::{Context, SysError, SysResult};

/// How often those are looked for who were born outside meanwhile.
const MOST_ROUNDS: usize = 100;

/// Makes a group without limits and moves the processes of the box of `init` there.
pub fn adopt(place: &Place, name: &str, init: i32) -> Result<Group, GroupError> {
    match place {
        Place::Below(directory) => {
            let group = Group::ensure(directory.join(format!("devbox-{name}")))?;
            move_all(init, &group, |_, error| Err(error.into()))?;
            Ok(group)
        }
        Place::Scope { manager, busctl } => {
            let unit = scope_name(name, init);
            let now = group_of(init).unwrap_or_default();
            // As another command left it that did not come to its end.
            let scope = match now.ancestors().find(|group| group.ends_with(&unit)) {
                Some(scope) => scope.to_owned(),
                None => {
                    let movable = *manager == Manager::System || now.starts_with(parent_of_scopes(manager));
                    if !movable && has_other_owners(init)? {
                        return Err(GroupError::Foreign);
                    }
                    scope::make(manager, busctl, &unit, &format!("devbox: {name}"), init)?
                }
            };
            let group = Group::ensure(scope.join("box"))?;
            // A group that hands controllers down has no processes of its own.
            group.take_in(init)?;
            hand_down(&scope)?;
            move_all(init, &group, |pids, _| {
                scope::attach(manager, busctl, &unit, "/box/inside", pids).map_err(GroupError::Scope)
            })?;
            Ok(group)
        }
    }
}

/// Moves every process; `ask` moves those that we may not, for the reason that the kernel gives.
fn move_all(
    init: i32,
    group: &Group,
    ask: impl Fn(&[i32], SysError) -> Result<(), GroupError>,
) -> Result<(), GroupError> {
    for _ in 0..MOST_ROUNDS {
        let (mut refused, mut reason) = (Vec::new(), None);
        let mut outside =
            members::of(init).filter(|process| !process.has_ended && !is_in(process.pid, group)).peekable();
        if outside.peek().is_none() {
            return Ok(());
        }
        for process in outside {
            match group.take_in(process.pid) {
                Err(error) if matches!(error.errno, Errno::ACCESS | Errno::PERM) => {
                    refused.push(process.pid);
                    reason = Some(error);
                }
                // It ended meanwhile.
                Err(error) if error.errno == Errno::SRCH => {}
                other => other?,
            }
        }
        if let Some(reason) = reason
            && let Err(error) = ask(&refused, reason)
            // One that ended meanwhile is an error for all: those that are left are asked for again.
            && refused.iter().all(|pid| group_of(*pid).is_some())
        {
            return Err(error);
        }
    }
    Err(GroupError::Restless)
}

/// Whether the process is in the group, or gone.
fn is_in(pid: i32, group: &Group) -> bool {
    group_of(pid).is_none_or(|of_process| of_process.starts_with(group.path()))
}

fn has_other_owners(init: i32) -> SysResult<bool> {
    let own = rustix::process::getuid().as_raw();
    for process in members::of(init) {
        let file = format!("/proc/{}/status", process.pid);
        // One that is gone is nobody's.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let owner: Option<u32> =
            text.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        if owner.ok_or(Errno::PROTO).call(|| format!("read `{file}`"))? != own {
            return Ok(true);
        }
    }
    Ok(false)
}
