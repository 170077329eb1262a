//! Whoever made a call, and the file that it means by it.
//!
//! ```text
//! stat("/etc/passwd")        12/root/etc/passwd     from the host's /proc, which is the working directory
//! fstatat(5, "a", ..)        12/fd/5/a
//! stat("a")                  12/cwd/a
//! fstat(5)                   12/fd/5
//! stat("/proc/self/fd/5")    12/fd/5
//! ```
//!
//! The kernel follows the first part as the caller's, and refuses it where the thread is another's by now: that of a process outside
//! of the box, whose user namespace this process has no rights in.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::image::layer::owner::{MAX_BYTES, OVERRIDE, Owner};
use crate::sys::seccomp::{self, Notification};

/// No path is longer, with its NUL.
const MAX_PATH: usize = 4096;
/// Memory is mapped in pages of so many bytes, or of a multiple.
const PAGE: usize = 4096;

/// A call that waits, and the listener that it waits at.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The call.
    pub call: &'a Notification,
    /// Where it is answered.
    pub listener: BorrowedFd<'a>,
}

impl Caller<'_> {
    /// Its directory in the host's `/proc`.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        PathBuf::from(self.call.thread.to_string())
    }

    /// What its `/proc/PID/status` says of `key`.
    #[must_use]
    pub fn status(&self, key: &str) -> Option<String> {
        status_of(self.call.thread, key)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.call.thread.cast_signed())
    }

    /// Fills `buffer` from its memory.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        if buffer.is_empty() {
            return Ok(());
        }
        let wanted = buffer.len();
        let size = self.read_some(address, buffer)?;
        if size == wanted { Ok(()) } else { Err(Errno::FAULT) }
    }

    fn read_some(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        let remote = RemoteIoVec { base, len: buffer.len() };
        process_vm_readv(self.pid(), &mut [IoSliceMut::new(buffer)], &[remote]).map_err(|_| Errno::FAULT)
    }

    /// Writes to its memory, if the call still waits for what comes of it.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !seccomp::is_waiting(self.listener, self.call.id) {
            return Err(Errno::SRCH);
        }
        let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        let remote = RemoteIoVec { base, len: bytes.len() };
        match process_vm_writev(self.pid(), &[IoSlice::new(bytes)], &[remote]) {
            Ok(size) if size == bytes.len() => Ok(()),
            Ok(_) | Err(_) => Err(Errno::FAULT),
        }
    }

    /// The path at an address.
    pub fn path(&self, address: u64) -> Result<PathBuf, Errno> {
        let mut buffer = [0; MAX_PATH];
        let mut filled = 0;
        while filled < MAX_PATH {
            let from = address.checked_add(filled as u64).ok_or(Errno::FAULT)?;
            // The next page may be nobody's.
            let room = (PAGE - from as usize % PAGE).min(MAX_PATH - filled);
            let size = self.read_some(from, &mut buffer[filled..filled + room])?;
            if let Some(end) = buffer[filled..filled + size].iter().position(|byte| *byte == 0) {
                return Ok(PathBuf::from(OsStr::from_bytes(&buffer[..filled + end])));
            }
            filled += size.max(1);
        }
        Err(Errno::NAMETOOLONG)
    }
}

/// What the `/proc/PID/status` of a process says of `key`.
#[must_use]
pub fn status_of(process: u32, key: &str) -> Option<String> {
    let text = std::fs::read(format!("{process}/status")).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// Which file a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where a relative path begins: a descriptor of the caller's or `AT_FDCWD`.
    pub directory: i32,
    /// The address of the path; none if the descriptor is meant itself.
    pub path: Option<u64>,
    /// Whether the last part of the path is followed if it is a link.
    pub follow: bool,
    /// Whether an empty path means the descriptor.
    pub empty: bool,
}

impl Place {
    /// A path that begins in the working directory.
    #[must_use]
    pub fn named(path: u64) -> Self {
        Self { directory: libc::AT_FDCWD, path: Some(path), follow: true, empty: false }
    }

    /// An open file.
    #[must_use]
    pub fn descriptor(fd: u64) -> Self {
        Self { directory: fd as i32, path: None, follow: true, empty: false }
    }

    /// A path that begins at a descriptor; `flags` are those of `fstatat`.
    #[must_use]
    pub fn at(directory: u64, path: u64, flags: u64) -> Self {
        let has = |flag: i32| flags as i32 & flag != 0;
        let empty = has(libc::AT_EMPTY_PATH);
        Self {
            directory: directory as i32,
            path: Some(path).filter(|path| *path != 0 || !empty),
            follow: !has(libc::AT_SYMLINK_NOFOLLOW),
            empty,
        }
    }

    /// The way there, from the host's `/proc`.
    pub fn way(&self, caller: &Caller<'_>) -> Result<Way, Errno> {
        match self.path {
            None => Ok(Way { path: self.beginning(&caller.place()), follow: true }),
            Some(address) => self.way_of(&caller.place(), &caller.path(address)?),
        }
    }

    fn beginning(&self, own: &Path) -> PathBuf {
        match self.directory {
            libc::AT_FDCWD => own.join("cwd"),
            descriptor => own.join("fd").join(descriptor.to_string()),
        }
    }

    /// As [`Self::way`], with `path` in place of the caller's; `own` is the caller's directory.
    pub fn way_of(&self, own: &Path, path: &Path) -> Result<Way, Errno> {
        let text = path.as_os_str().as_bytes();
        if text.is_empty() {
            let path = self.beginning(own);
            return if self.empty { Ok(Way { path, follow: true }) } else { Err(Errno::NOENT) };
        }
        for itself in ["/proc/self/", "/proc/thread-self/"] {
            // Going up from there would lead into the host's `/proc`, and out of it.
            let beneath = text.strip_prefix(itself.as_bytes()).filter(|beneath| !goes_up(beneath));
            if let Some(beneath) = beneath {
                return Ok(Way { path: own.join(relative(beneath)), follow: self.follow });
            }
        }
        let path = match text {
            [b'/', ..] => own.join("root").join(relative(text)),
            _ => self.beginning(own).join(path),
        };
        Ok(Way { path, follow: self.follow })
    }
}

fn goes_up(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// What is behind the slashes at the beginning of `path`. A slash at the end means something: it stays.
fn relative(path: &[u8]) -> &Path {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    Path::new(OsStr::from_bytes(&path[slashes..]))
}

/// A path from the host's `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The path.
    pub path: PathBuf,
    /// Whether its last part is followed if it is a link.
    pub follow: bool,
}

impl Way {
    /// A handle of the file.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = if self.follow { flags } else { flags | OFlags::NOFOLLOW };
        open(&self.path, flags | OFlags::PATH)
    }

    /// Whether there is a file, and an owner is remembered of it.
    #[must_use]
    pub fn leads_to_an_owner(&self) -> bool {
        let mut value = [0; MAX_BYTES];
        match self.follow {
            true => rustix::fs::getxattr(&self.path, OVERRIDE, &mut value[..]),
            false => rustix::fs::lgetxattr(&self.path, OVERRIDE, &mut value[..]),
        }
        .is_ok()
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// The mounts whose files are the box's own, by number.
#[derive(Debug)]
pub struct Mounts(Vec<u64>);

impl Mounts {
    /// The root's, and those on `others`.
    pub fn of(others: &[PathBuf]) -> Result<Self, Errno> {
        let at = |path: &Path| open(path, OFlags::PATH).and_then(|file| mount_of(file.as_fd()));
        let mut found = vec![at(Path::new("/"))?];
        found.extend(others.iter().filter_map(|path| at(path).ok()));
        Ok(Self(found))
    }

    /// Whether `file` lies on one of them.
    pub fn have(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        mount_of(file).map(|mount| self.0.contains(&mount))
    }
}

fn mount_of(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
}

/// Where an attribute of a handle is reached, from the host's `/proc`.
#[must_use]
pub fn handle(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("self/fd/{}", file.as_raw_fd()))
}

/// The owner that is remembered of a file.
#[must_use]
pub fn owner_of(file: BorrowedFd<'_>) -> Option<Owner> {
    let mut value = [0; MAX_BYTES];
    let length = rustix::fs::getxattr(handle(file), OVERRIDE, &mut value[..]).ok()?;
    Owner::parse(&value[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_file() {
        let own = Path::new("12");
        let (here, at) = (Place::named(0), Place::at(5, 1, libc::AT_SYMLINK_NOFOLLOW as u64));
        for (place, path, expected) in [
            (here, "/etc/passwd", Ok(("12/root/etc/passwd", true))),
            (at, "/etc/link", Ok(("12/root/etc/link", false))),
            (at, "/etc/link/", Ok(("12/root/etc/link/", false))),
            (at, "/", Ok(("12/root/", false))),
            (here, "//a", Ok(("12/root/a", true))),
            (here, "a/../b", Ok(("12/cwd/a/../b", true))),
            (at, "a", Ok(("12/fd/5/a", false))),
            (here, "/proc/self/fd/3", Ok(("12/fd/3", true))),
            (here, "/proc/self//root", Ok(("12/root", true))),
            (here, "/proc/self/../../etc/shadow", Ok(("12/root/proc/self/../../etc/shadow", true))),
            (at, "/proc/thread-self/fd/..", Ok(("12/root/proc/thread-self/fd/..", false))),
            (here, "/proc/self/..a", Ok(("12/..a", true))),
            (here, "/proc/selfish", Ok(("12/root/proc/selfish", true))),
            (here, "", Err(Errno::NOENT)),
            (Place { empty: true, ..at }, "", Ok(("12/fd/5", true))),
            (Place { empty: true, ..here }, "", Ok(("12/cwd", true))),
        ] {
            let found = place.way_of(own, Path::new(path));
            let expected = expected.map(|(path, follow)| Way { path: path.into(), follow });
            // A path compares by its parts, and a slash at the end counts.
            assert_eq!(
                found.as_ref().map(|way| way.path.as_os_str()),
                expected.as_ref().map(|way| way.path.as_os_str())
            );
            assert_eq!(found.map(|way| way.follow), expected.map(|way| way.follow), "{path}");
        }
    }

    #[test]
    fn calls_name_places() {
        let flags = (libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) as u64;
        let expected = Place { directory: 3, path: None, follow: false, empty: true };
        assert_eq!(Place::at(3, 0, flags), expected);
        assert_eq!(Place::at(3, 16, flags), Place { path: Some(16), ..expected });
        assert_eq!(Place::at(3, 0, 0).path, Some(0), "which is no address");
        assert_eq!(Place::at(u64::from(libc::AT_FDCWD.cast_unsigned()), 16, 0), Place::named(16));
    }

    #[test]
    fn memory_of_a_caller() {
        let listener = std::fs::File::open("/dev/null").unwrap();
        let thread = std::process::id();
        let call = Notification { id: 0, thread, number: 0, arch: 0, arguments: [0; 6] };
        let caller = Caller { call: &call, listener: listener.as_fd() };
        let text = c"/etc/passwd".to_bytes_with_nul().to_vec();
        assert_eq!(caller.path(text.as_ptr() as u64), Ok(PathBuf::from("/etc/passwd")));
        let long = vec![b'a'; 3 * MAX_PATH];
        assert_eq!(caller.path(long.as_ptr() as u64), Err(Errno::NAMETOOLONG));
        for address in [0, 16, u64::MAX, u64::MAX - 4, i64::MAX as u64] {
            assert_eq!(caller.path(address), Err(Errno::FAULT), "{address:#x}");
        }
        let mut found = [0; 4];
        assert_eq!(caller.read(text.as_ptr() as u64, &mut found), Ok(()));
        assert_eq!(&found, b"/etc");
        assert_eq!(caller.write(found.as_ptr() as u64, b"gone"), Err(Errno::SRCH), "nothing waits there");
    }
}
