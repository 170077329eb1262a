//! Where on this machine a cgroup for a box can be made, and which limits hold there.
//!
//! The one probe: a start, `devbox limits` and the check of `devbox doctor` ask it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::scope::Manager;
use super::{Controller, Key, Limits};
use crate::paths;

/// Where the kernel's cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";
/// `statfs` of a cgroup file system of version 2.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Where a box's group is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In a scope that systemd makes for the supervisor.
    Scope {
        /// Which systemd.
        manager: Manager,
        /// The program that asks it.
        busctl: PathBuf,
    },
    /// In this directory, which is ours already.
    Below(PathBuf),
}

/// Why there is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Version 1, or both.
    #[error("the cgroups of this machine are of version 1 or hybrid")]
    Old,
    /// There is none.
    #[error("there is no cgroup file system at `{ROOT}`")]
    Missing,
    /// Version 2, and no part of it is this user's.
    #[error("no cgroup is delegated to this user")]
    NotDelegated,
    /// systemd runs, and its bus cannot be reached.
    #[error("the user's systemd has no bus at `{}`", socket.display())]
    NoBus {
        /// Where it should be.
        socket: PathBuf,
    },
    /// systemd runs, and the program to talk to it is missing.
    #[error("the program `busctl` is missing")]
    NoBusctl,
}

impl Lack {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Old => "boot with `systemd.unified_cgroup_hierarchy=1`",
            Self::Missing => "mount it: `sudo mount -t cgroup2 none /sys/fs/cgroup`",
            Self::NotDelegated => {
                "log in through systemd, or give this user a cgroup whose `cgroup.subtree_control` names the controllers"
            }
            Self::NoBus { .. } => {
                "sudo apt-get install dbus-user-session, then log in anew (not with `su` or `sudo`), or \
                 `sudo loginctl enable-linger $USER`"
            }
            Self::NoBusctl => "install systemd's programs: `busctl` must be on PATH",
        }
    }
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where a group can be made.
    pub place: Result<Place, Lack>,
    /// Which controllers it would have.
    pub controllers: BTreeSet<Controller>,
}

/// A limit that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheld {
    /// Which.
    pub key: Key,
    /// Why not, and what holds instead.
    pub reason: String,
}

impl Found {
    /// For boxes that need no group.
    #[must_use]
    pub const fn none() -> Self {
        Self { place: Err(Lack::Missing), controllers: BTreeSet::new() }
    }

    /// Which of `limits` do not hold. Disks are looked at when the box starts.
    #[must_use]
    pub fn unheld(&self, limits: &Limits) -> Vec<Unheld> {
        let keys = limits.values.keys().filter_map(|key| Some((*key, key.controller()?)));
        keys.filter_map(|(key, controller)| {
            let reason = match &self.place {
                Err(lack) => lack.to_string(),
                Ok(_) if self.controllers.contains(&controller) => return None,
                Ok(_) => format!("the controller `{}` is not delegated to this user", controller.name()),
            };
            Some(Unheld { key, reason })
        })
        .collect()
    }
}

/// Looks.
#[must_use]
pub fn probe() -> Found {
    let place = find_place();
    let controllers = match &place {
        Ok(Place::Below(directory)) => controllers(&directory.join("cgroup.controllers")),
        Ok(Place::Scope { manager, .. }) => controllers(&parent_of_scopes(manager).join("cgroup.controllers")),
        Err(_) => BTreeSet::new(),
    };
    Found { place, controllers }
}

fn find_place() -> Result<Place, Lack> {
    let kind = rustix::fs::statfs(ROOT).map(|stat| stat.f_type).unwrap_or_default();
    if kind != CGROUP2_MAGIC {
        let old = Path::new("/proc/self/cgroup").exists()
            && std::fs::read_dir(ROOT).is_ok_and(|mut all| all.next().is_some());
        return Err(if old { Lack::Old } else { Lack::Missing });
    }
    let own = group_of(rustix::process::getpid().as_raw_nonzero().get()).ok_or(Lack::Missing)?;
    // systemd's tree is systemd's: it is asked, also by root.
    if !Path::new("/run/systemd/system").is_dir() {
        return nearest(&own).map(Place::Below).ok_or(Lack::NotDelegated);
    }
    let manager = if rustix::process::geteuid().is_root() {
        Manager::System
    } else {
        let sockets = user_runtimes().map(|directory| directory.join("bus"));
        match sockets.iter().find(|socket| socket.exists()) {
            Some(socket) => Manager::User { socket: socket.clone() },
            None => {
                let [.., socket] = sockets;
                return nearest(&own).map(Place::Below).ok_or(Lack::NoBus { socket });
            }
        }
    };
    let path = paths::variable("PATH");
    let busctl = which::which_in("busctl", path, "/").map_err(|_| Lack::NoBusctl)?;
    Ok(Place::Scope { manager, busctl })
}

/// `$XDG_RUNTIME_DIR`, which `su` and `sudo` do not set, and where systemd has it.
fn user_runtimes() -> [PathBuf; 2] {
    let systemd = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    [paths::variable("XDG_RUNTIME_DIR").map_or_else(|| systemd.clone(), PathBuf::from), systemd]
}

/// The group that the scopes of `manager` are made below; everything there is the caller's.
pub(super) fn parent_of_scopes(manager: &Manager) -> PathBuf {
    match manager {
        Manager::System => PathBuf::from(ROOT),
        Manager::User { .. } => {
            let uid = rustix::process::geteuid().as_raw();
            Path::new(ROOT).join(format!("user.slice/user-{uid}.slice/user@{uid}.service"))
        }
    }
}

/// The directory of the cgroup of process `pid`; `None` without one of version 2.
#[must_use]
pub fn group_of(pid: i32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(ROOT).join(path))
}

/// The nearest group above `own` (or that itself) in which we may make groups, and which hands controllers down. A group
/// with processes hands none down, so that it is seldom our own.
fn nearest(own: &Path) -> Option<PathBuf> {
    let usable = |group: &Path| {
        let writable = |name: &str| access(group.join(name), Access::WRITE_OK).is_ok();
        access(group, Access::WRITE_OK).is_ok()
            && writable("cgroup.procs")
            && !controllers(&group.join("cgroup.subtree_control")).is_empty()
    };
    let within = own.ancestors().take_while(|group| group.starts_with(ROOT));
    within.into_iter().find(|group| usable(group)).map(Path::to_owned)
}

/// The controllers that a file names.
pub(super) fn controllers(file: &Path) -> BTreeSet<Controller> {
    parse_controllers(&std::fs::read_to_string(file).unwrap_or_default())
}

fn parse_controllers(text: &str) -> BTreeSet<Controller> {
    let named = |controller: &Controller| text.split_whitespace().any(|word| word == controller.name());
    Controller::ALL.into_iter().filter(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_read() {
        assert_eq!(parse_controllers("cpuset cpu io memory hugetlb pids rdma misc\n").len(), 4);
        assert_eq!(parse_controllers("memory pids"), [Controller::Memory, Controller::Pids].into());
        assert_eq!(parse_controllers(""), BTreeSet::new());
    }

    #[test]
    fn every_limit_that_does_not_hold_has_its_reason() {
        let limits = Limits {
            values: [(Key::Memory, 1 << 30), (Key::IoRead, 1 << 20), (Key::Shm, 4096)].into(),
            require: false,
        };
        let found =
            |place, controllers: &[Controller]| Found { place, controllers: controllers.iter().copied().collect() };
        let reasons = |found: Found| -> Vec<(Key, String)> {
            found.unheld(&limits).into_iter().map(|unheld| (unheld.key, unheld.reason)).collect()
        };
        assert_eq!(
            reasons(found(Err(Lack::Old), &[])),
            [Key::Memory, Key::IoRead]
                .map(|key| (key, "the cgroups of this machine are of version 1 or hybrid".to_owned()))
        );
        let below = || Ok(Place::Below("/sys/fs/cgroup/x".into()));
        assert_eq!(
            reasons(found(below(), &[Controller::Memory])),
            [(Key::IoRead, "the controller `io` is not delegated to this user".to_owned())]
        );
        assert_eq!(reasons(found(below(), &Controller::ALL)), []);
    }
}
