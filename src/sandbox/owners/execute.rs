//! `execve` by a process that was given ids: programs with a setuid or setgid bit act as their owner.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::caller::{Caller, Mounts, Place, handle, owner_of};
use super::credentials::Credentials;
use crate::sys::seccomp::Notification;

/// What is to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution(Place);

impl Execution {
    /// What `call` asks for, if that is to execute a program.
    #[must_use]
    pub fn of(call: &Notification) -> Option<Self> {
        let [a, b, _, _, e, _] = call.arguments;
        match i64::from(call.number) {
            libc::SYS_execve => Some(Self(Place::named(a))),
            libc::SYS_execveat => Some(Self(Place::at(a, b, e))),
            _ => None,
        }
    }

    /// What becomes of a process that acts as `now`, if the kernel executes what is there. It may be exchanged meanwhile, so
    /// that its bit counts for another program: the process acts as somebody else to its own box, and may what it might before.
    pub fn outcome(&self, caller: &Caller<'_>, mounts: &Mounts, now: &Credentials) -> Result<Credentials, Errno> {
        let file = self.0.way(caller)?.open(OFlags::empty())?;
        let file = file.as_fd();
        let stat = rustix::fs::fstat(file)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let is_program = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_program || !mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH) {
            return Err(Errno::ACCESS);
        }
        let raises = mode.intersects(Mode::SUID | Mode::SGID)
            && mounts.have(file)?
            && caller.status("NoNewPrivs").as_deref() == Some("0")
            && is_binary(file)?;
        let owner = owner_of(file).unwrap_or_default();
        let (user, group) = (mode.contains(Mode::SUID), mode.contains(Mode::SGID | Mode::XGRP));
        let id = |has_bit: bool, id| (raises && has_bit).then_some(id);
        Ok(now.clone().execute(id(user, owner.uid), id(group, owner.gid)))
    }
}

/// The kernel ignores the bits of scripts.
fn is_binary(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let file = rustix::fs::open(handle(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut start = [0; 4];
    let size = rustix::io::pread(&file, &mut start, 0)?;
    Ok(&start[..size] == b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let execution = |number, arguments| {
            Execution::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments })
        };
        assert_eq!(execution(libc::SYS_execve, [16, 9, 9, 9, 9, 9]), Some(Execution(Place::named(16))));
        let flags = libc::AT_EMPTY_PATH as u64;
        let expected = Some(Execution(Place::at(3, 16, flags)));
        assert_eq!(execution(libc::SYS_execveat, [3, 16, 9, 9, flags, 9]), expected);
        assert_eq!(execution(libc::SYS_mount, [0; 6]), None);
    }
}
