//! A transient scope of systemd for the calling process, asked for over D-Bus.
//!
//! `busctl` makes the call: it is there wherever systemd is, a D-Bus library would bring threads into a program that
//! must have none when it forks, and only boxes with limits pay for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::host::own_group;
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
    #[error("systemd did not move this process into `{name}`")]
    NotMoved {
        /// The scope.
        name: String,
    },
}

/// Moves this process into the new scope `name`, which is gone when its last process is; returns the scope's directory.
/// Everything below it belongs to this user.
pub fn enter(manager: &Manager, busctl: &Path, name: &str, description: &str) -> Result<PathBuf, ScopeError> {
    let program = Program::new(busctl).args(arguments(manager, name, description, std::process::id()));
    program.run()?;
    // The call begins a job; what counts is that it has moved us.
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(group) = own_group().filter(|group| group.ends_with(name)) {
            return Ok(group);
        }
        if Instant::now() > deadline {
            return Err(ScopeError::NotMoved { name: name.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The command line: `StartTransientUnit(name, mode, properties, auxiliary units)`.
fn arguments(manager: &Manager, name: &str, description: &str, pid: u32) -> Vec<String> {
    let bus = match manager {
        Manager::System => "--system".to_owned(),
        Manager::User { socket } => format!("--address=unix:path={}", socket.display()),
    };
    let timeout = format!("--timeout={}", PATIENCE.as_secs());
    let destination = "org.freedesktop.systemd1";
    let fixed = ["--quiet", &timeout, "call", destination, "/org/freedesktop/systemd1"];
    let method = ["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail"];
    let pid = pid.to_string();
    let properties = ["4", "Description", "s", description, "Delegate", "b", "true"];
    let more = ["CollectMode", "s", "inactive-or-failed", "PIDs", "au", "1", &pid, "0"];
    let words = fixed.iter().chain(&method).chain(&properties).chain(&more);
    std::iter::once(bus).chain(words.map(|word| (*word).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call() {
        let manager = Manager::User { socket: "/run/user/1000/bus".into() };
        let line = arguments(&manager, "devbox-shop.scope", "the box `shop`", 7).join(" ");
        assert_eq!(
            line,
            "--address=unix:path=/run/user/1000/bus --quiet --timeout=10 call org.freedesktop.systemd1 \
             /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv)) \
             devbox-shop.scope fail 4 Description s the box `shop` Delegate b true CollectMode s inactive-or-failed \
             PIDs au 1 7 0"
        );
    }
}
