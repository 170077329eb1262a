//! Files beneath the root of a layer, made without ever leaving it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::entry::split;
use super::error::{EntryError, printable};
use super::pending::Implied;
use super::whiteout::OPAQUE;
use crate::image::remove::remove_at;
use crate::sys::{Context, SysError, SysResult};

const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// The owner of a file, as ids inside the namespace that this process is in.
pub(super) type Owner = (rustix::fs::Uid, rustix::fs::Gid);

/// A directory opened by its path below the root.
struct Opened {
    path: Vec<u8>,
    fd: OwnedFd,
}

/// The tree being filled. Nobody else changes it: it lies in a directory of mode 0700.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Who owns what the archive does not mention; `None` leaves everything to the calling process.
    default_owner: Option<Owner>,
    /// The last directory that something was made in. Dropped when anything is replaced: the path may lead elsewhere.
    parent: Option<Opened>,
    /// The last directory that something was linked from.
    source: Option<Opened>,
    /// Directories that were made for what lies in them.
    implied: Implied,
}

impl<'a> Tree<'a> {
    pub fn new(root: BorrowedFd<'a>, default_owner: Option<Owner>) -> Self {
        Self { root, default_owner, parent: None, source: None, implied: Implied::default() }
    }

    /// The directories that were made for what lies in them, in the order of their making.
    pub fn take_implied(&mut self) -> Implied {
        std::mem::take(&mut self.implied)
    }

    /// Whether the directory `path`, no symlink on the way, has this inode.
    pub fn has_directory(&self, path: &[u8], inode: u64) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = RESOLVE | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(self.root, path, flags, Mode::empty(), resolve);
        opened.and_then(rustix::fs::fstat).is_ok_and(|stat| stat.st_ino == inode)
    }

    /// Opens the directory `path` below the root as a handle, following symlinks inside the root.
    fn open_directory(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(self.root, path, flags, Mode::empty(), RESOLVE)
    }

    /// The directory that `path` lies in, made when it is missing.
    fn parent(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, EntryError> {
        let (directory, _) = split(path);
        if directory.is_empty() {
            return Ok(self.root);
        }
        let opened = match self.parent.take() {
            Some(opened) if opened.path == directory => opened,
            _ => Opened { path: directory.to_vec(), fd: self.open_or_make(directory)? },
        };
        Ok(self.parent.insert(opened).fd.as_fd())
    }

    fn open_or_make(&mut self, directory: &[u8]) -> Result<OwnedFd, EntryError> {
        let call = || format!("open `{}`", printable(directory));
        match self.open_directory(directory, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            other => return Ok(other.call(call)?),
        }
        let ends = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([directory.len()]) {
            let path = &directory[..end];
            match self.open_directory(path, OFlags::PATH) {
                Ok(_) => {}
                Err(Errno::NOENT) => self.make_missing(path, false)?,
                // A whiteout, and then something below it: the directory hides what lower layers have there.
                Err(Errno::NOTDIR) if self.is_whiteout(path) => {
                    self.clear(path)?;
                    self.make_missing(path, true)?;
                }
                Err(errno) => return Err(SysError::new(call(), errno).into()),
            }
        }
        Ok(self.open_directory(directory, OFlags::PATH).call(call)?)
    }

    /// Makes a directory that the archive has not mentioned (yet).
    fn make_missing(&mut self, path: &[u8], hides: bool) -> Result<(), EntryError> {
        let (up, name) = split(path);
        let call = |operation: &str| format!("{operation} `{}`", printable(path));
        let parent = self.open_directory(up, OFlags::PATH).call(|| call("open"))?;
        rustix::fs::mkdirat(&parent, name, Mode::RWXU).call(|| call("mkdir"))?;
        let fd = self.open_directory(path, OFlags::RDONLY).call(|| call("open"))?;
        if let Some((uid, gid)) = self.default_owner {
            rustix::fs::fchown(&fd, Some(uid), Some(gid)).call(|| call("chown"))?;
        }
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).call(|| call("chmod"))?;
        if hides {
            return Ok(set_opaque(&fd).call(|| call("setxattr"))?);
        }
        let inode = rustix::fs::fstat(&fd).call(|| call("stat"))?.st_ino;
        Ok(self.implied.push(self.root, inode, path).call(|| call("note"))?)
    }

    /// Calls `make` with the directory and the name of `path`. If something is there, it is removed first.
    fn replace<T>(
        &mut self,
        path: &[u8],
        call: &str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, EntryError> {
        let (_, name) = split(path);
        let shown = || format!("{call} `{}`", printable(path));
        match make(self.parent(path)?, name) {
            Err(Errno::EXIST) => {}
            other => return Ok(other.call(shown)?),
        }
        self.clear(path)?;
        Ok(make(self.parent(path)?, name).call(shown)?)
    }

    /// Removes what lies at `path`, whatever it is, without following it.
    fn clear(&mut self, path: &[u8]) -> Result<(), EntryError> {
        let (_, name) = split(path);
        let name = CString::new(name).map_err(|_| SysError::new("remove", Errno::INVAL))?;
        remove_at(self.parent(path)?, &name)?;
        // What was removed may have been a directory or a symlink on the way to these.
        self.parent = None;
        self.source = None;
        Ok(())
    }

    /// What lies at `path`, not followed.
    pub fn stat(&mut self, path: &[u8]) -> Result<Stat, EntryError> {
        let (_, name) = split(path);
        let parent = self.parent(path)?;
        Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .call(|| format!("stat `{}`", printable(path)))?)
    }

    fn is_whiteout(&mut self, path: &[u8]) -> bool {
        let (up, name) = split(path);
        let stat = self
            .open_directory(up, OFlags::PATH)
            .and_then(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW));
        stat.is_ok_and(|stat| is_whiteout(&stat))
    }

    /// An empty file, open for writing.
    pub fn file(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.replace(path, "create", |parent, name| rustix::fs::openat(parent, name, flags, mode))
    }

    /// The directory `path`, with what an earlier entry put there, open for changes of its attributes.
    pub fn directory(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        let (_, name) = split(path);
        let shown = || format!("mkdir `{}`", printable(path));
        match rustix::fs::mkdirat(self.parent(path)?, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = self.stat(path)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.clear(path)?;
                    rustix::fs::mkdirat(self.parent(path)?, name, Mode::RWXU).call(shown)?;
                    if is_whiteout(&stat) {
                        set_opaque(&self.handle(path)?).call(|| format!("setxattr `{}`", printable(path)))?;
                    }
                }
            }
            Err(errno) => return Err(SysError::new(shown(), errno).into()),
        }
        self.handle(path)
    }

    /// The root itself.
    pub fn root(&self) -> Result<OwnedFd, EntryError> {
        Ok(self.open_directory(b"", OFlags::RDONLY).call(|| "open `.`".to_owned())?)
    }

    fn handle(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        let (_, name) = split(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.parent(path)?, name, flags, Mode::empty())
            .call(|| format!("open `{}`", printable(path)))?)
    }

    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), EntryError> {
        self.replace(path, "symlink", |parent, name| rustix::fs::symlinkat(target, parent, name))
    }

    pub fn fifo(&mut self, path: &[u8]) -> Result<(), EntryError> {
        let mode = Mode::RUSR | Mode::WUSR;
        self.replace(path, "mkfifo", |parent, name| rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0))
    }

    /// A second name for `target`, a path that [`super::entry::beneath`] gave, which must be a file of this tree.
    pub fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), EntryError> {
        let missing = || EntryError::LinkTarget { target: printable(target) };
        let (directory, target_name) = split(target);
        if target_name.is_empty() {
            return Err(missing());
        }
        let source = match self.source.take() {
            Some(opened) if opened.path == directory => opened,
            _ => {
                let fd = self.open_directory(directory, OFlags::PATH).map_err(|_| missing())?;
                Opened { path: directory.to_vec(), fd }
            }
        };
        let stat = rustix::fs::statat(&source.fd, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
        let linkable = [FileType::RegularFile, FileType::Symlink, FileType::Fifo];
        if !linkable.contains(&FileType::from_raw_mode(stat.st_mode)) {
            return Err(missing());
        }
        // Removing what is in the way would remove the target as well.
        let same = |existing: &Stat| (existing.st_dev, existing.st_ino) == (stat.st_dev, stat.st_ino);
        let linked = self.replace(path, "link", |parent, name| {
            match rustix::fs::linkat(&source.fd, target_name, parent, name, AtFlags::empty()) {
                Err(Errno::EXIST)
                    if rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(|existing| same(&existing)) =>
                {
                    Ok(())
                }
                other => other,
            }
        });
        match linked {
            Err(EntryError::System(error)) if error.errno == Errno::NOENT => Err(missing()),
            other => {
                self.source = Some(source);
                other
            }
        }
    }

    /// `path` is gone from lower layers. What this layer itself has there stays: whiteouts are about lower layers.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), EntryError> {
        let (_, name) = split(path);
        let shown = |operation: &str| format!("{operation} `{}`", printable(path));
        match rustix::fs::mknodat(self.parent(path)?, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let stat = self.stat(path)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    set_opaque(&self.handle(path)?).call(|| shown("setxattr"))?;
                }
                Ok(())
            }
            Err(errno) => Err(SysError::new(shown("mknod"), errno).into()),
        }
    }

    /// The directory that holds the marker `path` hides what lower layers have in it.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), EntryError> {
        let (directory, _) = split(path);
        self.parent(path)?;
        let fd = self.open_directory(directory, OFlags::RDONLY).call(|| format!("open `{}`", printable(directory)))?;
        Ok(set_opaque(&fd).call(|| format!("setxattr `{}`", printable(directory)))?)
    }

    /// Gives the attributes of something that cannot be opened: a symlink, a fifo.
    pub fn attributes(
        &mut self,
        path: &[u8],
        owner: Option<Owner>,
        mode: Option<u32>,
        modified: Timespec,
    ) -> Result<(), EntryError> {
        let (_, name) = split(path);
        let shown = |operation: &str| format!("{operation} `{}`", printable(path));
        let parent = self.parent(path)?;
        if let Some((uid, gid)) = owner {
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .call(|| shown("chown"))?;
        }
        if let Some(mode) = mode {
            // Only for what was just made here and is no symlink.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty()).call(|| shown("chmod"))?;
        }
        rustix::fs::utimensat(parent, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW).call(|| shown("utimensat"))?;
        Ok(())
    }

    /// Sets mode and time of the directory `path` if it still is the one with inode `inode`.
    pub fn finish_directory(&self, path: &[u8], inode: u64, mode: u32, modified: Timespec) -> SysResult<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let shown = |operation: &str| format!("{operation} `{}`", printable(path));
        let fd = match self.open_directory(path, flags) {
            // It was replaced by something else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            other => other.call(|| shown("open"))?,
        };
        if rustix::fs::fstat(&fd).call(|| shown("stat"))?.st_ino != inode {
            return Ok(());
        }
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).call(|| shown("chmod"))?;
        rustix::fs::futimens(&fd, &times(modified)).call(|| shown("utimensat"))
    }
}

/// Access time and modification time are the same: nobody has read the file yet.
pub(super) fn times(modified: Timespec) -> Timestamps {
    Timestamps { last_access: modified, last_modification: modified }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn set_opaque(directory: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", rustix::fs::XattrFlags::empty())
}
