//! Choosing an id map for the invoking user, and writing it to a process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;

use super::idmap::{IdExtent, IdMap, IdMode};
use super::subid;

/// With fewer subordinate ids than this, distributions' packages run out of them: range mode is not worth it.
pub const MINIMUM_RANGE: u64 = 1_000;

/// An id map could not be written.
#[derive(Debug, thiserror::Error)]
pub enum MapperError {
    /// `newuidmap` or `newgidmap` refused.
    #[error("`{program}` refused the id map: {stderr}")]
    Refused {
        /// Which of the two.
        program: &'static str,
        /// What it said.
        stderr: String,
    },
    /// `newuidmap` or `newgidmap` could not be run.
    #[error("cannot run `{program}`")]
    Run {
        /// Which of the two.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file in `/proc`.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What this machine offers the invoking user in the way of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The invoking user.
    pub uid: u32,
    /// The invoking group.
    pub gid: u32,
    /// `newuidmap` and `newgidmap` are on PATH.
    pub helpers: bool,
    /// Subordinate uids, `(first, count)`.
    pub subuids: Vec<(u32, u32)>,
    /// Subordinate gids, `(first, count)`.
    pub subgids: Vec<(u32, u32)>,
}

impl Offer {
    /// Looks at this machine.
    #[must_use]
    pub fn probe() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        if uid == 0 {
            return Self { uid, gid, helpers: false, subuids: Vec::new(), subgids: Vec::new() };
        }
        let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
        let ranges = |path: &str| {
            std::fs::read_to_string(path)
                .map(|text| subid::parse_ranges(&text, name.as_deref(), uid))
                .unwrap_or_default()
        };
        Self {
            uid,
            gid,
            helpers: which::which("newuidmap").is_ok() && which::which("newgidmap").is_ok(),
            subuids: ranges("/etc/subuid"),
            subgids: ranges("/etc/subgid"),
        }
    }

    /// The mode that this offer allows.
    #[must_use]
    pub fn mode(&self) -> IdMode {
        let enough = |ranges: &[(u32, u32)]| subid::total(ranges) >= MINIMUM_RANGE;
        if self.uid == 0 {
            IdMode::Root
        } else if self.helpers && enough(&self.subuids) && enough(&self.subgids) {
            IdMode::Range
        } else {
            IdMode::Single
        }
    }

    /// The map in which the invoking user is `user` in the box.
    #[must_use]
    pub fn map(&self, user: u32) -> IdMap {
        match self.mode() {
            IdMode::Root => IdMap::root(),
            IdMode::Range => IdMap::range(user, self.uid, self.gid, &self.subuids, &self.subgids),
            IdMode::Single => IdMap::single(user, self.uid, self.gid),
        }
    }
}

/// Writes `map` to the user namespace of `pid`, a child of this process that waits for it.
pub fn write(pid: Pid, map: &IdMap) -> Result<(), MapperError> {
    match map.mode {
        IdMode::Range => {
            let uids = run("newuidmap", pid, &map.uids)?;
            let gids = run("newgidmap", pid, &map.gids)?;
            finish("newuidmap", uids)?;
            finish("newgidmap", gids)
        }
        IdMode::Single => {
            write_file(pid, "setgroups", "deny")?;
            write_file(pid, "uid_map", &lines(&map.uids))?;
            write_file(pid, "gid_map", &lines(&map.gids))
        }
        IdMode::Root => {
            write_file(pid, "uid_map", &lines(&map.uids))?;
            write_file(pid, "gid_map", &lines(&map.gids))
        }
    }
}

/// Writes `map` to the user namespace of `pid`, as seen from the namespace of the caller, who has every capability there.
pub fn write_within(pid: Pid, map: &IdMap) -> Result<(), MapperError> {
    write_file(pid, "uid_map", &lines(&map.uids))?;
    write_file(pid, "gid_map", &lines(&map.gids))
}

fn lines(extents: &[IdExtent]) -> String {
    extents.iter().map(|extent| format!("{} {} {}\n", extent.inside, extent.outside, extent.count)).collect()
}

fn write_file(pid: Pid, name: &str, text: &str) -> Result<(), MapperError> {
    let path = PathBuf::from(format!("/proc/{pid}/{name}"));
    std::fs::write(&path, text).map_err(|source| MapperError::Write { path, source })
}

fn run(program: &'static str, pid: Pid, extents: &[IdExtent]) -> Result<Child, MapperError> {
    let numbers = extents.iter().flat_map(|extent| [extent.inside, extent.outside, extent.count]);
    Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| MapperError::Run { program, source })
}

fn finish(program: &'static str, child: Child) -> Result<(), MapperError> {
    let output = child.wait_with_output().map_err(|source| MapperError::Run { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(MapperError::Refused { program, stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(uid: u32, helpers: bool, uids: u32, gids: u32) -> Offer {
        Offer { uid, gid: uid, helpers, subuids: vec![(100_000, uids)], subgids: vec![(100_000, gids)] }
    }

    #[test]
    fn the_mode_follows_the_offer() {
        for (offer, mode) in [
            (offer(0, true, 65_536, 65_536), IdMode::Root),
            (offer(1000, true, 65_536, 65_536), IdMode::Range),
            (offer(1000, false, 65_536, 65_536), IdMode::Single),
            (offer(1000, true, 65_536, 0), IdMode::Single),
            (offer(1000, true, 10, 65_536), IdMode::Single),
        ] {
            assert_eq!(offer.mode(), mode, "{offer:?}");
        }
    }
}
