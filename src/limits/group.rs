//! The cgroup of a box: made, written, read, removed.

use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::device::Device;
use super::host::{self, Place, Unheld};
use super::scope::{self, ScopeError};
use super::{Controller, Key, Limits};
use crate::sys::{Context, SysError, SysResult};

/// Writing `cpu.max` means so many microseconds of each of these.
const PERIOD_US: u64 = 100_000;
/// Processes that were just killed may take so long to end.
const ENDING: Duration = Duration::from_secs(2);

/// A box's group could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// systemd gave no scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The kernel refused.
    #[error("cannot make the cgroup of the box")]
    Kernel(#[from] SysError),
    /// The box has processes of other ids than the user's, and they lie where systemd alone can take them from.
    #[error("the box has processes of other users, which systemd moves for root alone")]
    Foreign,
    /// There were new processes outside again and again.
    #[error("the processes of the box begin faster than they can be moved into a cgroup")]
    Restless,
}

/// The cgroup with the limits of a box.
#[derive(Debug, Clone)]
pub struct Group {
    /// The directory that has the limits.
    path: PathBuf,
}

impl Group {
    /// Makes the group of the box called `name`, with its limits. In a scope this process moves there, too, beside the
    /// limits and not below them. What the kernel does not take is told.
    pub fn make(
        place: &Place,
        name: &str,
        limits: &Limits,
        devices: &[Device],
    ) -> Result<(Self, Vec<Unheld>), GroupError> {
        let group = match place {
            Place::Scope { manager, busctl } => {
                let own = rustix::process::getpid().as_raw_nonzero().get();
                let scope = scope::make(manager, busctl, &scope_name(name, own), &format!("devbox: {name}"), own)?;
                // A group that hands controllers down has no processes of its own.
                let beside = scope.join("supervisor");
                make_directory(&beside)?;
                write(&beside.join("cgroup.procs"), &own.to_string())?;
                hand_down(&scope)?;
                Self::new(scope.join("box"))?
            }
            Place::Below(directory) => {
                let path = directory.join(format!("devbox-{name}"));
                // Left by a supervisor that was killed.
                remove_tree(&path)?;
                Self::new(path)?
            }
        };
        let unheld = group.set_all(limits, devices)?;
        Ok((group, unheld))
    }

    fn new(path: PathBuf) -> SysResult<Self> {
        make_directory(&path)?;
        make_directory(&path.join("inside"))?;
        Ok(Self { path })
    }

    /// The group at `path`, which is made if it is not there.
    pub(super) fn ensure(path: PathBuf) -> SysResult<Self> {
        for directory in [&path, &path.join("inside")] {
            match make_directory(directory) {
                Err(error) if error.errno == Errno::EXIST => {}
                other => other?,
            }
        }
        Ok(Self { path })
    }

    /// Moves a process into the group, which takes the leave to write both groups and the nearest one above them.
    pub(super) fn take_in(&self, pid: i32) -> SysResult<()> {
        write(&self.path.join("inside/cgroup.procs"), &pid.to_string())
    }

    /// A group that was made before.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The directory that has the limits.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The group of the box's processes, to be cloned into.
    pub fn inside(&self) -> SysResult<OwnedFd> {
        let path = self.path.join("inside");
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open `{}`", path.display()))
    }

    fn set_all(&self, limits: &Limits, devices: &[Device]) -> SysResult<Vec<Unheld>> {
        let mut unheld = Vec::new();
        for (key, value) in &limits.values {
            if let Err(reason) = self.set(*key, *value, devices)? {
                unheld.push(Unheld { key: *key, reason });
            }
        }
        if limits.get(Key::Memory).is_some() && limits.get(Key::Swap).is_none() {
            self.forbid_swap()?;
        }
        Ok(unheld)
    }

    /// For a group with a memory limit: what exceeds that would be swapped out, for the whole machine to suffer.
    pub fn forbid_swap(&self) -> SysResult<()> {
        // A kernel that does not count swap has no limit to set.
        self.set(Key::Swap, 0, &[]).map(drop)
    }

    /// Sets one limit. Those that no cgroup holds are passed over; the inner error is why one cannot hold here.
    pub fn set(&self, key: Key, value: u64, devices: &[Device]) -> SysResult<Result<(), String>> {
        let (Some(controller), Some((file, text))) = (key.controller(), content(key, value)) else { return Ok(Ok(())) };
        if !host::controllers(&self.path.join("cgroup.controllers")).contains(&controller) {
            return Ok(Err(format!("the controller `{}` is not delegated to this user", controller.name())));
        }
        let file = self.path.join(file);
        let written = match controller {
            Controller::Io if devices.is_empty() => {
                return Ok(Err("neither the box nor the project lies on a disk of this machine".to_owned()));
            }
            Controller::Io => devices.iter().try_for_each(|device| write(&file, &format!("{device} {text}"))),
            _ => write(&file, &text),
        };
        match written {
            // A kernel without swap accounting, for one.
            Err(error) if error.errno == Errno::NOENT => Ok(Err(format!("this kernel does not have it ({error})"))),
            other => other.map(Ok),
        }
    }

    /// How many processes the memory limit has killed.
    #[must_use]
    pub fn killed_by_memory(&self) -> u64 {
        let text = std::fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or(0)
    }

    /// Becomes readable with urgent data (`POLLPRI`) when something of the kind happens. `None` without the controller.
    #[must_use]
    pub fn memory_events(&self) -> Option<std::fs::File> {
        std::fs::File::open(self.path.join("memory.events")).ok()
    }

    /// Removes the group, when the box's processes are gone. A scope goes by itself with our own process.
    pub fn remove(&self) -> SysResult<()> {
        remove_tree(&self.path)
    }
}

/// The name of the scope that is made around process `pid`.
pub(super) fn scope_name(name: &str, pid: i32) -> String {
    format!("devbox-{name}-{pid}.scope")
}

/// The file of a limit, and what is written there.
fn content(key: Key, value: u64) -> Option<(&'static str, String)> {
    Some(match key {
        Key::Cpus => ("cpu.max", format!("{} {PERIOD_US}", (value * PERIOD_US / 1000).max(1000))),
        Key::CpuWeight => ("cpu.weight", value.to_string()),
        Key::Memory => ("memory.max", value.to_string()),
        Key::MemoryHigh => ("memory.high", value.to_string()),
        Key::Swap => ("memory.swap.max", value.to_string()),
        Key::Pids => ("pids.max", value.to_string()),
        Key::IoRead => ("io.max", format!("rbps={value}")),
        Key::IoWrite => ("io.max", format!("wbps={value}")),
        Key::Files | Key::Shm | Key::Disk => return None,
    })
}

/// `name 17` of a file with one field a line.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn make_directory(path: &Path) -> SysResult<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).call(|| format!("mkdir `{}`", path.display()))
}

/// Gives the groups below `scope` every controller that it has. One after the other: one that cannot must not keep the
/// others from it.
pub(super) fn hand_down(scope: &Path) -> SysResult<()> {
    for controller in host::controllers(&scope.join("cgroup.controllers")) {
        write(&scope.join("cgroup.subtree_control"), &format!("+{}", controller.name()))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> SysResult<()> {
    let call = || format!("write `{text}` to `{}`", file.display());
    let mut open = std::fs::OpenOptions::new().write(true).open(file).call(call)?;
    open.write_all(text.as_bytes()).call(call)
}

/// Kills what is left, and removes the group with those below it. One that is not there is as good.
fn remove_tree(path: &Path) -> SysResult<()> {
    if !path.exists() {
        return Ok(());
    }
    // Linux 5.14; before, init's end has killed everything.
    write(&path.join("cgroup.kill"), "1").ok();
    wait_until_empty(path).ok();
    match remove_once(path) {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        result => result,
    }
}

/// Waits, for a time, until no process is in the group or in one below. An error says that the group is gone.
fn wait_until_empty(path: &Path) -> std::io::Result<()> {
    let mut events = std::fs::File::open(path.join("cgroup.events"))?;
    let deadline = Instant::now() + ENDING;
    loop {
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if text.lines().any(|line| line == "populated 0") || left.is_zero() {
            return Ok(());
        }
        // The kernel tells of a change by an exceptional condition.
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The box may have made groups of its own below: the deepest go first.
fn remove_once(path: &Path) -> SysResult<()> {
    let below = std::fs::read_dir(path).call(|| format!("open `{}`", path.display()))?;
    for entry in below.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_once(&entry.path())?;
        }
    }
    rustix::fs::rmdir(path).call(|| format!("rmdir `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_where() {
        for (key, value, expected) in [
            (Key::Cpus, 500, Some(("cpu.max", "50000 100000"))),
            (Key::Cpus, 10, Some(("cpu.max", "1000 100000"))),
            (Key::CpuWeight, 50, Some(("cpu.weight", "50"))),
            (Key::Memory, 1 << 28, Some(("memory.max", "268435456"))),
            (Key::Swap, 0, Some(("memory.swap.max", "0"))),
            (Key::IoWrite, 1_000_000, Some(("io.max", "wbps=1000000"))),
            (Key::Files, 64, None),
        ] {
            assert_eq!(content(key, value), expected.map(|(file, text)| (file, text.to_owned())), "{key}");
        }
        assert_eq!(field("low 0\noom 3\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(field("low 0\n", "oom"), None);
    }

    /// The same code on an ordinary directory: what is written, and that all of it goes again.
    #[test]
    fn a_group_is_made_and_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = scratch.path();
        let path = parent.join("devbox-x");
        std::fs::create_dir_all(path.join("old")).unwrap();
        let limits = Limits { values: [(Key::Memory, 1 << 30), (Key::Files, 99)].into(), require: false };
        let (group, unheld) = Group::make(&Place::Below(parent.to_owned()), "x", &limits, &[]).unwrap();
        assert_eq!(unheld.len(), 1);
        assert_eq!(unheld[0].key, Key::Memory);
        assert!(group.inside().is_ok());
        assert!(!path.join("old").exists());
        group.remove().unwrap();
        assert!(!path.exists());
        group.remove().unwrap();
    }
}
