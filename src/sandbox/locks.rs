//! Locks that a session's command has from its beginning: for what only one session of a box may do at a time.
//!
//! A lock belongs to an open file, which the command inherits under a number that it knows: the lock goes when the command
//! closes that, or ends, whatever ends it. Where another session has the lock, a process beside the command waits for it, so
//! that the command is there, and can be ended, meanwhile; it is told by [`WAITING`].

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::channel::Lock;
use crate::process::in_background;
use crate::sys::fs::pipe;
use crate::sys::{Context, SysResult, terminal};

/// The number of a pipe that ends when the locks are there; open only if they were not at once.
pub const WAITING: i32 = 7;

/// Above the numbers that commands know.
const ABOVE: i32 = 10;

/// What the command is to inherit.
pub struct Taken(Vec<(OwnedFd, i32)>);

/// Takes the locks, or has them waited for in their order. The caller must be single-threaded.
pub fn take(wanted: &[Lock]) -> SysResult<Taken> {
    let (mut taken, mut missing) = (Vec::new(), Vec::new());
    for lock in wanted {
        let path = lock.directory.as_os_str();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Root of the box may have taken it away.
        let Ok(directory) = rustix::fs::open(path, flags, Mode::empty()) else { continue };
        let directory = move_up(directory)?;
        // Who waits for one holds none of those behind it.
        let is_next = missing.is_empty() || lock.optional;
        if !is_next || flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            if lock.optional {
                continue;
            }
            missing.push(directory.as_raw_fd());
        }
        taken.push((directory, lock.number));
    }
    if !missing.is_empty() {
        let (ended, open) = pipe()?;
        let kept: Vec<_> = missing.iter().copied().chain([open.as_raw_fd()]).collect();
        let waited_for = |(directory, _): &&(OwnedFd, i32)| missing.contains(&directory.as_raw_fd());
        in_background(&kept, || {
            for (directory, _) in taken.iter().filter(waited_for) {
                while flock(directory, FlockOperation::LockExclusive) == Err(rustix::io::Errno::INTR) {}
            }
        })?;
        taken.push((move_up(ended)?, WAITING));
    }
    Ok(Taken(taken))
}

impl Taken {
    /// Gives each its number. To be called when nothing else of this process is needed below [`ABOVE`].
    pub fn install(&self) -> SysResult<()> {
        self.0.iter().try_for_each(|(file, number)| terminal::install_as_standard(file.as_fd(), *number))
    }
}

/// So that giving one its number closes no other.
pub fn move_up(file: OwnedFd) -> SysResult<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(&file, ABOVE).call(|| format!("dup `{}`", file.as_raw_fd()))
}
