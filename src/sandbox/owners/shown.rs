//! `stat` and its kin: the owner that is remembered takes the place of the kernel's.

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::caller::{Caller, Mounts, Place, owner_of};
use crate::sys::seccomp::Notification;
use crate::sys::stat;

/// Flags that a call may have for its owner to be looked after; with others the kernel says what is wrong.
const FLAGS: u64 = (libc::AT_SYMLINK_NOFOLLOW
    | libc::AT_EMPTY_PATH
    | libc::AT_NO_AUTOMOUNT
    | libc::AT_STATX_FORCE_SYNC
    | libc::AT_STATX_DONT_SYNC) as u64;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    place: Place,
    /// Where the answer is to be written.
    address: u64,
    /// Flags and mask of `statx`; of the others `None`.
    extended: Option<(i32, u32)>,
}

impl Look {
    /// What `call` asks for, if that is to look at a file.
    #[must_use]
    pub fn of(call: &Notification) -> Option<Self> {
        let [a, b, c, d, e, _] = call.arguments;
        let at = |place, address| Some(Self { place, address, extended: None });
        let are_known = |flags: u64| flags as u32 & !(FLAGS as u32) == 0;
        match i64::from(call.number) {
            libc::SYS_fstat => at(Place::descriptor(a), b),
            libc::SYS_newfstatat if are_known(d) => at(Place::at(a, b, d), c),
            libc::SYS_statx if are_known(c) => {
                Some(Self { place: Place::at(a, b, c), address: e, extended: Some((c as i32, d as u32)) })
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => at(Place::named(a), b),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => at(Place { follow: false, ..Place::named(a) }, b),
            _ => None,
        }
    }

    /// Writes the answer to the caller. An error leaves the call to the kernel, which knows of nothing else to show, or says what
    /// is wrong.
    pub fn carry_out(&self, caller: &Caller<'_>, mounts: &Mounts) -> Result<(), Errno> {
        let way = self.place.way(caller)?;
        if !way.leads_to_an_owner() {
            return Err(Errno::NODATA);
        }
        let file = way.open(OFlags::PATH)?;
        let file = file.as_fd();
        let owner = owner_of(file).filter(|_| mounts.have(file) == Ok(true)).ok_or(Errno::NODATA)?;
        match self.extended {
            None => {
                let bytes = stat::plain(file, owner.uid, owner.gid).map_err(|error| error.errno)?;
                caller.write(self.address, &bytes)
            }
            Some((flags, mask)) => {
                let bytes = stat::extended(file, flags, mask, owner.uid, owner.gid).map_err(|error| error.errno)?;
                caller.write(self.address, &bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let look =
            |number, arguments| Look::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments });
        let nofollow = libc::AT_SYMLINK_NOFOLLOW as u64;
        let plain = Look { place: Place::descriptor(3), address: 32, extended: None };
        assert_eq!(look(libc::SYS_fstat, [3, 32, 9, 9, 9, 9]), Some(plain));
        let at = Place { follow: false, directory: 3, ..Place::named(16) };
        assert_eq!(look(libc::SYS_newfstatat, [3, 16, 32, nofollow, 9, 9]), Some(Look { place: at, ..plain }));
        let extended = Some((nofollow as i32, 0x7ff));
        let wide = look(libc::SYS_statx, [3, 16, nofollow, 0x7ff, 32, 9]);
        assert_eq!(wide, Some(Look { place: at, extended, ..plain }));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(look(libc::SYS_stat, [16, 32, 9, 9, 9, 9]), Some(Look { place: Place::named(16), ..plain }));
        assert_eq!(look(libc::SYS_newfstatat, [3, 16, 32, 1, 9, 9]), None, "no such flag");
        assert_eq!(look(libc::SYS_mount, [0; 6]), None);
    }
}
