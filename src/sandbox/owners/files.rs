//! The rememberer: finds the file that a `chown` means, and writes down the owner.
//!
//! All that it reads is a program's of the box, and all that it can do is what the box's root could do itself. What a program
//! changes while it is looked at changes only which of its own files has the attribute.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use caps::Capability;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

use crate::image::layer::owner::{MAX_BYTES, OVERRIDE, Owner};
use crate::sandbox::caps::reduce_to;
use crate::sandbox::companion::{Namespaces, Parent};
use crate::sandbox::net::agent::link::{Link, Received};
use crate::sys::seccomp::{self, Notification};
use crate::sys::{Context, SysError, SysResult, fs, process};

/// No path is longer, with its NUL.
const MAX_PATH: usize = 4096;
/// To find files as the box's root does, write at those that are read-only, and see what its programs have open.
const CAPABILITIES: &[Capability] = &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER, Capability::CAP_SYS_PTRACE];

/// Answers the calls that come over `link`, until the supervisor is gone.
pub fn remember(namespaces: &Namespaces, listener: BorrowedFd<'_>, link: &Link, supervisor: Parent) -> SysResult<()> {
    let [user, mount] = namespaces.descriptors();
    let kept = [listener.as_raw_fd(), link.as_fd().as_raw_fd(), user, mount];
    let processes = supervisor.settle("devbox: owners", &kept, || {
        // The host's: the box's does not know this process, nor numbers threads as the listener does. From here on it is
        // the working directory, which relative paths below begin at.
        let processes = fs::open_directory(Path::new("/proc"))?;
        namespaces.enter()?;
        Ok(processes)
    })?;
    reduce_to(CAPABILITIES).map_err(|_| SysError::new("drop capabilities", Errno::PERM))?;
    rustix::process::fchdir(&processes).call(|| "fchdir `/proc`".to_owned())?;
    process::close_all_but(&[listener.as_raw_fd(), link.as_fd().as_raw_fd()])?;
    let root = mount_of(&open(Path::new("/"), OFlags::PATH).call(|| "open `/`".to_owned())?)
        .call(|| "statx `/`".to_owned())?;
    while let Received::Message(call, _) = link.receive::<Notification>()? {
        let errno = match change_owner(&call, root) {
            Ok(()) => 0,
            Err(errno) => u16::try_from(errno.raw_os_error()).unwrap_or(libc::EIO as u16),
        };
        seccomp::answer(listener, call.id, errno)?;
    }
    Ok(())
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// Where a relative path begins: a descriptor of the caller's or `AT_FDCWD`.
    directory: i32,
    /// The address of the path; none if the descriptor is meant itself.
    path: Option<u64>,
    /// The new user; `None`: the old one.
    uid: Option<u32>,
    gid: Option<u32>,
    /// Whether the last part of the path is followed if it is a link.
    follow: bool,
    /// Whether an empty path means the descriptor.
    empty: bool,
}

impl Change {
    /// What `call` asks for, if that is a change of owner.
    fn of(call: &Notification) -> Option<Self> {
        let [a, b, c, d, e, _] = call.arguments;
        let id = |value: u64| Some(value as u32).filter(|id| *id != u32::MAX);
        let named = |path, uid, gid| Self {
            directory: libc::AT_FDCWD,
            path: Some(path),
            uid: id(uid),
            gid: id(gid),
            follow: true,
            empty: false,
        };
        match i64::from(call.number) {
            libc::SYS_fchown => Some(Self { directory: a as i32, path: None, ..named(0, b, c) }),
            libc::SYS_fchownat => {
                let has = |flag: i32| e as i32 & flag != 0;
                let (follow, empty) = (!has(libc::AT_SYMLINK_NOFOLLOW), has(libc::AT_EMPTY_PATH));
                Some(Self { directory: a as i32, follow, empty, ..named(b, c, d) })
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => Some(named(a, b, c)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => Some(Self { follow: false, ..named(a, b, c) }),
            _ => None,
        }
    }
}

/// Does what `call` asks for, as far as that can be remembered.
fn change_owner(call: &Notification, root: u64) -> Result<(), Errno> {
    let change = Change::of(call).ok_or(Errno::NOSYS)?;
    let file = find(call.thread, &change)?;
    let stat = rustix::fs::fstat(&file)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if mount_of(&file)? != root || !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(());
    }
    let known = owner_of(&file);
    let old = known.unwrap_or_default();
    let new = Owner { uid: change.uid.unwrap_or(old.uid), gid: change.gid.unwrap_or(old.gid) };
    if new == old {
        return Ok(());
    }
    let path = handle(&file);
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

/// A handle of the file that is meant.
fn find(thread: u32, change: &Change) -> Result<OwnedFd, Errno> {
    let own = PathBuf::from(thread.to_string());
    let descriptor = || own.join("fd").join(change.directory.to_string());
    let Some(address) = change.path else { return open(&descriptor(), OFlags::PATH) };
    let path = path_at(thread, address)?;
    let flags = if change.follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
    if let Some(beneath) = ["/proc/self", "/proc/thread-self"].iter().find_map(|own| path.strip_prefix(own).ok()) {
        return open(&own.join(beneath), flags);
    }
    if path.is_absolute() {
        // Not followed out of a directory that the caller calls its root; there is only the box beyond.
        let beneath = own.join("root").join(path.strip_prefix("/").unwrap_or(&path));
        let own_root = rustix::fs::stat("/")?;
        let root = rustix::fs::stat(own.join("root"))?;
        let is_same = (root.st_dev, root.st_ino) == (own_root.st_dev, own_root.st_ino);
        return open(if is_same { &path } else { &beneath }, flags);
    }
    let base = match change.directory {
        libc::AT_FDCWD => own.join("cwd"),
        _ => descriptor(),
    };
    if path.as_os_str().is_empty() {
        return if change.empty { open(&base, OFlags::PATH) } else { Err(Errno::NOENT) };
    }
    let base = open(&base, OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::fs::openat(base, &path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// The path at an address of the caller's.
fn path_at(thread: u32, address: u64) -> Result<PathBuf, Errno> {
    let memory = File::open(format!("{thread}/mem")).map_err(|_| Errno::SRCH)?;
    let mut buffer = [0; MAX_PATH];
    let size = memory.read_at(&mut buffer, address).map_err(|_| Errno::FAULT)?;
    let end = buffer[..size].iter().position(|byte| *byte == 0);
    let end = end.ok_or(if size == MAX_PATH { Errno::NAMETOOLONG } else { Errno::FAULT })?;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(&buffer[..end])))
}

/// The number of the mount that a file lies on.
fn mount_of(file: &OwnedFd) -> Result<u64, Errno> {
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
}

/// Where an attribute of a handle is reached, from the host's `/proc`.
fn handle(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("self/fd/{}", file.as_raw_fd()))
}

fn owner_of(file: &OwnedFd) -> Option<Owner> {
    let mut value = [0; MAX_BYTES];
    let length = rustix::fs::getxattr(handle(file), OVERRIDE, &mut value[..]).ok()?;
    Owner::parse(&value[..length])
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
        let plain = Change {
            directory: libc::AT_FDCWD,
            path: Some(16),
            uid: Some(5),
            gid: Some(6),
            follow: true,
            empty: false,
        };
        let fchown = change(libc::SYS_fchown, [3, 5, none, 9, 9, 9]);
        assert_eq!(fchown, Some(Change { directory: 3, path: None, gid: None, ..plain }));
        let flags = (libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) as u64;
        let here = libc::AT_FDCWD as u64;
        let fchownat = change(libc::SYS_fchownat, [here, 16, u64::MAX, 6, flags, 9]);
        assert_eq!(fchownat, Some(Change { uid: None, follow: false, empty: true, ..plain }));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(change(libc::SYS_lchown, [16, 5, 6, 0, 0, 0]), Some(Change { follow: false, ..plain }));
        assert_eq!(change(libc::SYS_mount, [0; 6]), None);
    }
}
