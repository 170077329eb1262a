//! `open` with `O_CREAT` and `mkdir`, by a process that was given ids: what it makes belongs to those.
//!
//! The rememberer makes the file in the caller's place, and gives it the descriptor. Whatever comes in between, from a file that is there
//! already to a full disk, it leaves the call to the kernel, which opens what there is or says what is wrong.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::caller::{Caller, Mounts, Place, handle, owner_of};
use super::credentials::Credentials;
use crate::image::layer::owner::{OVERRIDE, Owner};
use crate::sys::seccomp::{self, Answer, Notification};

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    place: Place,
    mode: Mode,
    /// Flags of `open`; `None`: a directory is to be made.
    flags: Option<OFlags>,
}

impl Creation {
    /// What `call` asks for, if that is to make a file or a directory.
    #[must_use]
    pub fn of(call: &Notification) -> Option<Self> {
        let [a, b, c, d, ..] = call.arguments;
        let at = |directory, path| Place { directory: directory as i32, ..Place::named(path) };
        let open = |place, flags: u64, mode: u64| {
            let flags = OFlags::from_bits_retain(flags as u32);
            // With the others the kernel makes nothing, or something without a name.
            let is_plain = flags.contains(OFlags::CREATE) && !flags.intersects(OFlags::PATH | OFlags::DIRECTORY);
            is_plain.then_some(Self { place, mode: mode_of(mode), flags: Some(flags) })
        };
        let directory = |place, mode| Some(Self { place, mode: mode_of(mode), flags: None });
        match i64::from(call.number) {
            libc::SYS_openat => open(at(a, b), c, d),
            libc::SYS_mkdirat => directory(at(a, b), c),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => open(Place::named(a), b, c),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_creat => open(Place::named(a), (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64, b),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mkdir => directory(Place::named(a), b),
            _ => None,
        }
    }

    /// Makes it as `maker`'s, and answers. An error leaves the call to the kernel.
    pub fn carry_out(&self, caller: &Caller<'_>, mounts: &Mounts, maker: &Credentials) -> Result<Answered, Errno> {
        let path = caller.path(self.place.path.ok_or(Errno::FAULT)?)?;
        let (parent, name) = split(path.as_os_str().as_bytes(), self.flags.is_none()).ok_or(Errno::INVAL)?;
        let parent = Place { empty: true, ..self.place }.way_of(&caller.place(), parent)?.open(OFlags::DIRECTORY)?;
        if !mounts.have(parent.as_fd())? {
            return Err(Errno::XDEV);
        }
        let inherits = rustix::fs::fstat(&parent)?.st_mode & libc::S_ISGID != 0;
        let gid = if inherits { owner_of(parent.as_fd()).unwrap_or_default().gid } else { maker.gid.file };
        let owner = Owner { uid: maker.uid.file, gid };
        if owner == Owner::default() {
            return Err(Errno::NODATA);
        }
        rustix::process::umask(umask_of(caller)?);
        if !seccomp::is_waiting(caller.listener, caller.call.id) {
            return Err(Errno::SRCH);
        }
        let Some(flags) = self.flags else {
            rustix::fs::mkdirat(&parent, name, self.mode)?;
            let made = rustix::fs::openat(&parent, name, HANDLE | OFlags::DIRECTORY, Mode::empty())?;
            give(made.as_fd(), owner).ok();
            return Ok(Answered::With(Answer::Return(0)));
        };
        let new = OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&parent, name, flags | new, self.mode)?;
        give(made.as_fd(), owner).ok();
        hand_over(caller, &made, flags).inspect_err(|_| {
            // The kernel makes it, and has a descriptor for it or not.
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).ok();
        })?;
        Ok(Answered::Already)
    }
}

/// Whether an answer was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is still to be given.
    With(Answer),
    /// With a descriptor.
    Already,
}

const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn hand_over(caller: &Caller<'_>, file: &OwnedFd, flags: OFlags) -> Result<(), Errno> {
    let close_on_exec = flags.contains(OFlags::CLOEXEC);
    seccomp::answer_with_descriptor(caller.listener, caller.call.id, file, close_on_exec).map_err(|error| error.errno)
}

fn give(file: BorrowedFd<'_>, owner: Owner) -> Result<(), Errno> {
    let mode = rustix::fs::fstat(file)?.st_mode;
    rustix::fs::setxattr(handle(file), OVERRIDE, owner.value(mode).as_bytes(), XattrFlags::empty())
}

/// The bits that the kernel looks at.
fn mode_of(mode: u64) -> Mode {
    Mode::from_raw_mode(mode as u32 & 0o7777)
}

/// The directory that something is to be made in, empty for where the path begins, and its name there. `None` where nothing new can be meant.
fn split(path: &[u8], may_end_with_slash: bool) -> Option<(&Path, &OsStr)> {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    if slashes > 0 && !may_end_with_slash {
        return None;
    }
    let path = &path[..path.len() - slashes];
    let begin = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(begin);
    let is_name = !matches!(name, b"" | b"." | b"..");
    is_name.then(|| (Path::new(OsStr::from_bytes(parent)), OsStr::from_bytes(name)))
}

fn umask_of(caller: &Caller<'_>) -> Result<Mode, Errno> {
    let mask = caller.status("Umask").and_then(|mask| u32::from_str_radix(&mask, 8).ok());
    mask.map(Mode::from_raw_mode).ok_or(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let creation = |number, arguments| {
            Creation::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments })
        };
        let (flags, here) = (OFlags::CREATE | OFlags::RDWR, libc::AT_FDCWD as u64);
        let file = Creation { place: Place::named(16), mode: Mode::from_raw_mode(0o640), flags: Some(flags) };
        let bits = u64::from(flags.bits());
        assert_eq!(creation(libc::SYS_openat, [here, 16, bits, 0o640, 9, 9]), Some(file));
        assert_eq!(creation(libc::SYS_openat, [here, 16, libc::O_RDWR as u64, 0o640, 9, 9]), None);
        let handle = bits | u64::from(OFlags::PATH.bits());
        assert_eq!(creation(libc::SYS_openat, [here, 16, handle, 0o640, 9, 9]), None);
        let directory = Creation { flags: None, place: Place { directory: 3, ..file.place }, ..file };
        assert_eq!(creation(libc::SYS_mkdirat, [3, 16, 0o640, 9, 9, 9]), Some(directory));
        assert_eq!(creation(libc::SYS_mount, [0; 6]), None);
    }

    #[test]
    fn paths_have_a_parent_and_a_name() {
        for (path, slash, expected) in [
            ("a", false, Some(("", "a"))),
            ("/a", false, Some(("/", "a"))),
            ("/a/b", false, Some(("/a/", "b"))),
            ("a//b", false, Some(("a//", "b"))),
            ("a/b/", false, None),
            ("a/b//", true, Some(("a/", "b"))),
            ("/", true, None),
            ("", true, None),
            ("a/..", true, None),
            (".", false, None),
        ] {
            let expected = expected.map(|(parent, name)| (Path::new(parent), OsStr::new(name)));
            assert_eq!(split(path.as_bytes(), slash), expected, "{path}");
        }
    }
}
