//! `chown` and its kin: what they ask for is written into an attribute of the file.

use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags, XattrFlags};
use rustix::io::Errno;

use super::caller::{Caller, Mounts, Place, handle, owner_of};
use super::credentials::Credentials;
use crate::image::layer::owner::{OVERRIDE, Owner};
use crate::sys::seccomp::Notification;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    place: Place,
    /// The new user; `None`: the old one.
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Change {
    /// What `call` asks for, if that is a change of owner.
    #[must_use]
    pub fn of(call: &Notification) -> Option<Self> {
        let [a, b, c, d, e, _] = call.arguments;
        let id = |value: u64| Some(value as u32).filter(|id| *id != u32::MAX);
        let to = |place, uid, gid| Some(Self { place, uid: id(uid), gid: id(gid) });
        match i64::from(call.number) {
            libc::SYS_fchown => to(Place::descriptor(a), b, c),
            libc::SYS_fchownat => to(Place::at(a, b, e), c, d),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => to(Place::named(a), b, c),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => to(Place { follow: false, ..Place::named(a) }, b, c),
            _ => None,
        }
    }

    /// Does what is asked for, as far as that can be remembered, and as far as a `giver` who was given ids may.
    pub fn carry_out(&self, caller: &Caller<'_>, mounts: &Mounts, giver: Option<&Credentials>) -> Result<(), Errno> {
        let file = self.place.way(caller)?.open(OFlags::PATH)?;
        let file = file.as_fd();
        let stat = rustix::fs::fstat(file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !mounts.have(file)? || !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(());
        }
        let old = owner_of(file).unwrap_or_default();
        let new = Owner { uid: self.uid.unwrap_or(old.uid), gid: self.gid.unwrap_or(old.gid) };
        if giver.is_some_and(|giver| !giver.may_give((old.uid, old.gid), (new.uid, new.gid))) {
            return Err(Errno::PERM);
        }
        if new == old {
            return Ok(());
        }
        let path = handle(file);
        let written = if new == Owner::default() {
            rustix::fs::removexattr(&path, OVERRIDE)
        } else {
            rustix::fs::setxattr(&path, OVERRIDE, new.value(stat.st_mode).as_bytes(), XattrFlags::empty())
        };
        match written {
            // Pretended, as without anybody to remember.
            Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS | Errno::NODATA) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let change = |number, arguments| {
            Change::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments })
        };
        let none = u64::from(u32::MAX);
        let plain = Change { place: Place::named(16), uid: Some(5), gid: Some(6) };
        let fchown = change(libc::SYS_fchown, [3, 5, none, 9, 9, 9]);
        assert_eq!(fchown, Some(Change { place: Place::descriptor(3), gid: None, ..plain }));
        let flags = (libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) as u64;
        let here = libc::AT_FDCWD as u64;
        let fchownat = change(libc::SYS_fchownat, [here, 16, u64::MAX, 6, flags, 9]);
        let place = Place { follow: false, empty: true, ..Place::named(16) };
        assert_eq!(fchownat, Some(Change { place, uid: None, ..plain }));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(
            change(libc::SYS_lchown, [16, 5, 6, 0, 0, 0]),
            Some(Change { place: Place { follow: false, ..Place::named(16) }, ..plain })
        );
        assert_eq!(change(libc::SYS_mount, [0; 6]), None);
    }
}
