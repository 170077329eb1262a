//! One entry of a layer, made from one entry of the host.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

/// Files up to this many bytes may be copied on ext4 instead of being redirected, see [`copy_limit`].
pub(super) const COPY_LIMIT: u64 = 4096;

/// A redirect up to this many bytes takes no block of ext4: 96 bytes of an inode are left for attributes, of which the
/// header, the end mark and the entry of `user.overlay.redirect` take 40.
pub(super) const INODE_REDIRECT: usize = 56;

/// `EXT4_SUPER_MAGIC`, statfs(2).
const EXT4: u64 = 0xEF53;

/// Up to which size (bytes) files are copied instead of being redirected, in a layer that lies in `directory`, where
/// the redirect is longer than [`INODE_REDIRECT`].
///
/// On ext4 such a file of metadata has a 4 KiB block of attributes, which passes through the journal. A copy of a small
/// file has a block of data instead, and costs a quarter less time. Elsewhere (xfs, btrfs, tmpfs) attributes of this size
/// take no block, and nothing is copied.
pub(super) fn copy_limit(directory: &Path) -> u64 {
    let kind = rustix::fs::statfs(directory).map_or(0, |stat| u64::try_from(stat.f_type).unwrap_or(0));
    if kind == EXT4 { COPY_LIMIT } else { 0 }
}

/// Attributes cannot be set on a file that its owner may not write, though it is open for writing.
const OWNER_WRITES: u32 = 0o200;

/// What the name under construction is called, in a directory that boxes may see.
const TEMPORARY: &CStr = c".devbox-new";

/// What is to be known of an entry of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub kind: FileType,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub size: u64,
    pub modified: (i64, i64),
    pub changed: (i64, i64),
    pub device: u64,
    pub inode: u64,
    pub owner: (u32, u32),
}

impl From<Stat> for Facts {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "field types differ by architecture")]
    fn from(stat: Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            owner: (stat.st_uid, stat.st_gid),
        }
    }
}

impl Facts {
    /// The facts of `name` in `directory`, a symlink not followed.
    pub fn of(directory: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).map(Self::from)
    }

    /// The facts of an open file.
    pub fn of_open(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        rustix::fs::fstat(file).map(Self::from)
    }

    /// Whether a layer's entry with these facts can stand for the host's entry `host`.
    pub fn stands_for(&self, host: &Self) -> bool {
        self.kind == host.kind
            && match host.kind {
                FileType::Symlink => self.modified == host.modified,
                _ => self.mode == host.mode && self.size == host.size && self.modified == host.modified,
            }
    }
}

/// Writes entries with the host's modes and times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    /// The process' umask: modes that it would cut are set again.
    umask: u32,
    /// Give entries the host's owners (the host's root only).
    keep_owners: bool,
    /// Names may exist, and boxes may be looking: make under another name and rename.
    replace: bool,
}

impl Writer {
    pub fn new(keep_owners: bool, replace: bool) -> Self {
        Self { umask: read_umask(), keep_owners, replace }
    }

    /// An empty file that stands for `redirect`, a path inside a data-only root that begins with a slash.
    pub fn metadata(self, to: BorrowedFd<'_>, name: &CStr, facts: &Facts, redirect: &[u8]) -> Result<(), Errno> {
        self.file(to, name, facts, |file| {
            rustix::fs::ftruncate(file, facts.size)?;
            // In this order: ext4 puts the first into the inode, and the other into a block if it does not fit beside it.
            // Files whose blocks would be equal share one (up to 1024), and so they do unless the redirect is in it.
            rustix::fs::fsetxattr(file, c"user.overlay.redirect", redirect, XattrFlags::empty())?;
            rustix::fs::fsetxattr(file, c"user.overlay.metacopy", b"", XattrFlags::empty())
        })
    }

    /// A copy. `Ok(false)`: the file cannot be read.
    pub fn copy(self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, facts: &Facts) -> Result<bool, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            Ok(source) => source,
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        self.file(to, name, facts, |file| copy_content(source.as_fd(), file.as_fd(), facts.size))?;
        Ok(true)
    }

    /// A symlink like `name` in `from`.
    pub fn symlink(self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, facts: &Facts) -> Result<(), Errno> {
        let target = rustix::fs::readlinkat(from, name, Vec::new())?;
        self.place(to, name, |temporary| {
            rustix::fs::symlinkat(&*target, to, temporary)?;
            if self.keep_owners && facts.owner != (0, 0) {
                chown(to, temporary, facts.owner)?;
            }
            rustix::fs::utimensat(to, temporary, &times(facts), AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// A second name for the file `name` of an earlier layer.
    pub fn link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        rustix::fs::linkat(from, name, to, name, AtFlags::empty())
    }

    /// A directory that can be written into for now. It may exist.
    pub fn directory(to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        match rustix::fs::mkdirat(to, name, Mode::RWXU) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    /// Gives a directory the mode and times of the host's, when nothing more is to be made in it.
    pub fn finish_directory(self, directory: BorrowedFd<'_>, facts: &Facts) -> Result<(), Errno> {
        if self.keep_owners && facts.owner != (0, 0) {
            chown(directory, c"", facts.owner)?;
        }
        rustix::fs::fchmod(directory, Mode::from_raw_mode(facts.mode))?;
        rustix::fs::futimens(directory, &times(facts))
    }

    fn file(
        self,
        to: BorrowedFd<'_>,
        name: &CStr,
        facts: &Facts,
        fill: impl FnOnce(&File) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.place(to, name, |name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(
                to,
                name,
                flags,
                Mode::from_raw_mode(facts.mode & 0o777 | OWNER_WRITES),
            )?);
            fill(&file)?;
            let chown_needed = self.keep_owners && facts.owner != (0, 0);
            if chown_needed {
                chown(file.as_fd(), c"", facts.owner)?;
            }
            // Setuid bits last: writing, truncating and changing the owner clear them.
            let made_so = facts.mode & 0o7000 == 0 && facts.mode & OWNER_WRITES != 0 && facts.mode & self.umask == 0;
            if chown_needed || !made_so {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(facts.mode))?;
            }
            rustix::fs::futimens(&file, &times(facts))
        })
    }

    fn place(
        self,
        to: BorrowedFd<'_>,
        name: &CStr,
        make: impl FnOnce(&CStr) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !self.replace {
            return make(name);
        }
        match rustix::fs::unlinkat(to, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        make(TEMPORARY)?;
        rustix::fs::renameat(to, TEMPORARY, to, name)
    }
}

fn chown(directory: BorrowedFd<'_>, name: &CStr, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)
}

fn times(facts: &Facts) -> Timestamps {
    let time = Timespec { tv_sec: facts.modified.0, tv_nsec: facts.modified.1 };
    Timestamps { last_access: time, last_modification: time }
}

/// One read and one write for a small file, the kernel's own copying (which shares blocks where it can) for others.
fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    if size > COPY_LIMIT {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(()),
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    // Clearing a large buffer for each small file would be a measurable part of the whole.
    let (mut small, mut large);
    let buffer: &mut [u8] = if size < COPY_LIMIT {
        small = [0_u8; 4096];
        &mut small
    } else {
        large = vec![0_u8; 64 * 1024];
        &mut large
    };
    loop {
        let count = rustix::io::read(from, &mut *buffer)?;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = rustix::io::write(to, rest)?;
            rest = &rest[written..];
        }
        if count < buffer.len() {
            return Ok(());
        }
    }
}

/// The umask cannot be asked for without changing it, except here (Linux 4.7).
fn read_umask() -> u32 {
    std::fs::read_to_string(Path::new("/proc/self/status"))
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}
