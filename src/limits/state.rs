//! What a running box is held to, as its supervisor left it for other commands: a file in the box's runtime directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Limits;
use super::device::Device;
use super::host::Unheld;

/// The file's name.
pub const FILE: &str = "limits.json";

/// The limits of a running box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Pid 1 of the box, as the host numbers it.
    pub init: i32,
    /// When that began, in the kernel's ticks since the start of the machine: a number is used again.
    pub started: u64,
    /// The cgroup with the limits.
    pub group: Option<PathBuf>,
    /// What was asked for.
    pub limits: Limits,
    /// What of it does not hold.
    pub unheld: Vec<Unheld>,
    /// The disks of `io_read` and `io_write`.
    pub devices: Vec<Device>,
    /// Whether the box has a network of its own, whose bytes are the box's.
    pub own_network: bool,
}

impl State {
    /// Reads the state of the box whose runtime directory this is. `None`: it does not run.
    #[must_use]
    pub fn load(runtime: &Path) -> Option<Self> {
        let text = std::fs::read(runtime.join(FILE)).ok()?;
        let state: Self = serde_json::from_slice(&text).ok()?;
        (start_time(state.init) == Some(state.started)).then_some(state)
    }

    /// Writes it; a reader sees the old text or the new.
    pub fn save(&self, runtime: &Path) -> std::io::Result<()> {
        let file = runtime.join(FILE);
        let temporary = runtime.join(format!("{FILE}.new"));
        std::fs::write(&temporary, serde_json::to_vec(self)?)?;
        std::fs::rename(temporary, file)
    }
}

/// When the process began, in ticks since the start of the machine.
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; field 22 is the 20th behind it.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_process_that_is_gone_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(State::load(scratch.path()), None);
        let me = i32::try_from(std::process::id()).unwrap();
        let mut state = State {
            init: me,
            started: start_time(me).unwrap(),
            group: Some("/sys/fs/cgroup/x/box".into()),
            limits: Limits::default(),
            unheld: Vec::new(),
            devices: vec![Device { major: 8, minor: 0 }],
            own_network: true,
        };
        state.save(scratch.path()).unwrap();
        assert_eq!(State::load(scratch.path()), Some(state.clone()));
        state.started += 1;
        state.save(scratch.path()).unwrap();
        assert_eq!(State::load(scratch.path()), None);
    }
}
