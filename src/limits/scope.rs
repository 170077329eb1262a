//! A transient scope of systemd, asked for over D-Bus.
//!
//! `busctl` makes the call: it is there wherever systemd is, a D-Bus library would bring threads into a program that
//! must have none when it forks, and only boxes with limits pay for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::host::group_of;
use crate::process::{ProcessError, Program};

/// How long systemd may take to answer, and to move the process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manager {
    /// The machine's.
    System,
    /// The user's: the socket of its bus.
    User {
        /// `$XDG_RUNTIME_DIR/bus`
        socket: PathBuf,
    },
}

/// A scope could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// systemd refused, or is not there.
    #[error("systemd gives no scope")]
    Call(#[from] ProcessError),
    /// It said yes, and nothing happened.
    #[error("systemd did not move the process {pid} into `{name}`")]
    NotMoved {
        /// Which process.
        pid: i32,
        /// The scope.
        name: String,
    },
}

/// Moves process `pid`, one of this user's, into the new scope `name`, which is gone when its last process is; returns the scope's
/// directory. Everything below it belongs to this user.
pub fn make(manager: &Manager, busctl: &Path, name: &str, description: &str, pid: i32) -> Result<PathBuf, ScopeError> {
    call(manager, busctl, &start(name, description, pid))?;
    // The call begins a job; what counts is that it has moved the process.
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(group) = group_of(pid).filter(|group| group.ends_with(name)) {
            return Ok(group);
        }
        if Instant::now() > deadline {
            return Err(ScopeError::NotMoved { pid, name: name.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moves processes of this user into the group `below` of the scope `name`, also from where this user may not take them.
pub fn attach(manager: &Manager, busctl: &Path, name: &str, below: &str, pids: &[i32]) -> Result<(), ScopeError> {
    let mut words = ["AttachProcessesToUnit", "ssau", name, below].map(str::to_owned).to_vec();
    words.push(pids.len().to_string());
    words.extend(pids.iter().map(i32::to_string));
    call(manager, busctl, &words)
}

fn call(manager: &Manager, busctl: &Path, method: &[String]) -> Result<(), ScopeError> {
    Program::new(busctl).args(address(manager)).args(method).run()?;
    Ok(())
}

/// The words before the method.
fn address(manager: &Manager) -> Vec<String> {
    let bus = match manager {
        Manager::System => "--system".to_owned(),
        Manager::User { socket } => format!("--address=unix:path={}", socket.display()),
    };
    let timeout = format!("--timeout={}", PATIENCE.as_secs());
    let object = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let words = ["--quiet", &timeout, "call"].into_iter().chain(object);
    std::iter::once(bus).chain(words.map(str::to_owned)).collect()
}

/// `StartTransientUnit(name, mode, properties, auxiliary units)`.
fn start(name: &str, description: &str, pid: i32) -> Vec<String> {
    let pid = pid.to_string();
    let method = ["StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail"];
    let properties = ["4", "Description", "s", description, "Delegate", "b", "true"];
    let more = ["CollectMode", "s", "inactive-or-failed", "PIDs", "au", "1", &pid, "0"];
    method.into_iter().chain(properties).chain(more).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call() {
        let manager = Manager::User { socket: "/run/user/1000/bus".into() };
        let words = [address(&manager), start("devbox-shop.scope", "the box `shop`", 7)].concat();
        let line = words.join(" ");
        assert_eq!(
            line,
            "--address=unix:path=/run/user/1000/bus --quiet --timeout=10 call org.freedesktop.systemd1 \
             /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv)) \
             devbox-shop.scope fail 4 Description s the box `shop` Delegate b true CollectMode s inactive-or-failed \
             PIDs au 1 7 0"
        );
    }
}
