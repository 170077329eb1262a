//! Copying files into the tree of a step: the merged view of its layers, mounted in a namespace of our own.
//!
//! Names in the tree are hostile: the layers below come from images. Symlinks on the way to the destination are
//! followed beneath the root; below the destination nothing is followed, what is in the way is replaced.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::mode::ModeChange;
use super::select::{Mounted, Selected, stat_at};
use super::walk::{Entry, Fate, Visitor, open, walk};
use crate::image::layer::owner::{OVERRIDE, Owner as Noted};
use crate::sys::fs::{Root, proc_path};
use crate::sys::{Context, SysError, SysResult};

/// Mode of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// Something cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A directory of the source meets something else.
    #[error("cannot copy to `{}`, which is no directory", path.display())]
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// A file of the source meets a directory.
    #[error("cannot replace the directory `{}` by a file", path.display())]
    IsADirectory {
        /// Where.
        path: PathBuf,
    },
    /// The destination leads in a circle.
    #[error("there are too many symbolic links in `{}`", path.display())]
    Loop {
        /// The destination.
        path: PathBuf,
    },
    /// A device in the source.
    #[error("cannot copy the device `{}`", path.display())]
    Device {
        /// Where it would go.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] SysError),
}

/// Who owns what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whoever owns the source.
    Kept,
    /// One user and group, as ids of the image.
    Set(u32, u32),
}

/// How to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Who owns what is copied.
    pub owner: Owner,
    /// What becomes of permission bits.
    pub mode: Option<ModeChange>,
    /// Only one id exists: owners cannot be set, and are noted ([`crate::image::layer::owner`]).
    pub single_owner: bool,
    /// Parents of the sources are kept (`--parents`).
    pub parents: bool,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Absolute and without `.` and `..`.
    pub path: PathBuf,
    /// It is a directory, whether it exists or not: it was written with a slash at its end, or there are several sources.
    pub is_directory: bool,
}

/// Copies `selected` from `source` to `destination` in `target`.
pub fn copy(
    source: Mounted<'_>,
    selected: &[Selected],
    fate: &dyn Fn(&Selected, &Path, bool) -> Fate,
    target: Mounted<'_>,
    destination: &Destination,
    options: &Options,
) -> Result<(), CopyError> {
    let mut writer = Writer { target, options, links: HashMap::new(), stack: Vec::new() };
    for one in selected {
        let fate = |path: &Path, is_directory: bool| fate(one, path, is_directory);
        writer.place(source, one, destination)?;
        walk(Root::new(source.0), one, &fate, &mut writer)?;
        writer.finish()?;
    }
    Ok(())
}

/// Makes the directory `path` (absolute) in `target` with what is missing above it, owned by `owner`; returns it open.
/// Symlinks on the way are followed, dangling ones too.
pub fn make_directory(target: Mounted<'_>, path: &Path, options: &Options) -> Result<(PathBuf, OwnedFd), CopyError> {
    let real = target.real_path(path).ok_or_else(|| CopyError::Loop { path: path.to_owned() })?;
    let mut here = PathBuf::from("/");
    let mut handle = open(Root::new(target.0), &here)?;
    for name in real.components().skip(1) {
        here.push(name);
        handle = match open_child(handle.as_fd(), name.as_os_str()) {
            Ok(child) => child,
            Err(Errno::NOENT) => {
                let child = new_directory(handle.as_fd(), name.as_os_str(), &here)?;
                set_owner(child.as_fd(), None, options, &here)?;
                set_mode(&child, DIRECTORY_MODE, &here)?;
                child
            }
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(CopyError::NotADirectory { path: here }),
            Err(errno) => return Err(SysError::new(format!("open `{}`", here.display()), errno).into()),
        };
    }
    Ok((real, handle))
}

/// A directory that is being filled.
struct Level {
    path: PathBuf,
    handle: OwnedFd,
    /// What it gets when it is full.
    attributes: Option<Stat>,
}

struct Writer<'a> {
    target: Mounted<'a>,
    options: &'a Options,
    /// Files with several names, and where the first of them went.
    links: HashMap<(u64, u64), PathBuf>,
    /// The directories that are open, the innermost last; the first is the one that the selected goes to.
    stack: Vec<Level>,
}

/// The name under which a file that was selected itself goes into the directory; for others it is their own.
struct Named<'a>(&'a OsStr);

impl Writer<'_> {
    /// Opens the directory that `selected` goes to.
    fn place(&mut self, source: Mounted<'_>, selected: &Selected, destination: &Destination) -> Result<(), CopyError> {
        let mut place = destination.path.clone();
        if self.options.parents {
            self.keep_parents(source, selected, destination)?;
            place.extend(selected.called.components().skip(selected.pivot));
        } else if !selected.is_directory && (destination.is_directory || self.leads_to_directory(&destination.path)?) {
            place.push(selected.called.file_name().unwrap_or_default());
        }
        if selected.is_directory {
            // A directory that is made for a directory gets its attributes; one that is there stays as it is.
            let is_new = !self.leads_somewhere(&place)? && !destination.is_directory;
            let (path, handle) = make_directory(self.target, &place, self.options)?;
            let attributes = if is_new || self.options.parents {
                let from = open(Root::new(source.0), &selected.path)?;
                copy_attributes(from.as_fd(), handle.as_fd(), self.options, &path)?;
                Some(rustix::fs::fstat(&from).call(|| "fstat".to_owned())?)
            } else {
                None
            };
            self.stack.push(Level { path, handle, attributes });
        } else {
            // The last component is followed only if it was written, not if it is the name of a source.
            let real = if place == destination.path {
                self.target.real_path(&place).ok_or_else(|| CopyError::Loop { path: place.clone() })?
            } else {
                place
            };
            let (path, handle) = make_directory(self.target, real.parent().unwrap_or(Path::new("/")), self.options)?;
            let name = real.file_name().ok_or_else(|| CopyError::IsADirectory { path: real.clone() })?;
            self.stack.push(Level { path: path.join(name), handle, attributes: None });
        }
        Ok(())
    }

    /// Makes the directories above `selected` with the attributes that they have in the source.
    fn keep_parents(
        &self,
        source: Mounted<'_>,
        selected: &Selected,
        destination: &Destination,
    ) -> Result<(), CopyError> {
        let mut from = PathBuf::new();
        let parts: Vec<_> = selected.called.components().collect();
        for (number, part) in parts.iter().enumerate().take(parts.len().saturating_sub(1)) {
            from.push(part);
            if number < selected.pivot {
                continue;
            }
            let to = destination.path.join(from.components().skip(selected.pivot).collect::<PathBuf>());
            let is_new = !self.leads_somewhere(&to)?;
            let (path, handle) = make_directory(self.target, &to, self.options)?;
            if is_new
                && let Some(real) = source.real_path(&from)
                && let Ok(original) = open(Root::new(source.0), &real)
            {
                let stat = rustix::fs::fstat(&original).call(|| "fstat".to_owned())?;
                self.dress(handle.as_fd(), &stat, &path)?;
            }
        }
        Ok(())
    }

    fn leads_somewhere(&self, path: &Path) -> Result<bool, CopyError> {
        Ok(Root::new(self.target.0).exists(path))
    }

    fn leads_to_directory(&self, path: &Path) -> Result<bool, CopyError> {
        match Root::new(self.target.0).open(path) {
            Ok(handle) => Ok(crate::sys::fs::is_directory(&handle)?),
            Err(_) => Ok(false),
        }
    }

    /// Gives the outermost directory its attributes.
    fn finish(&mut self) -> Result<(), CopyError> {
        while let Some(level) = self.stack.pop() {
            if let Some(stat) = &level.attributes {
                self.dress(level.handle.as_fd(), stat, &level.path)?;
            }
        }
        Ok(())
    }

    /// Owner before mode, because a change of owner takes setuid bits away; times last.
    fn dress(&self, file: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<(), CopyError> {
        set_owner(file, Some(stat), self.options, path)?;
        set_mode(&file, self.mode(stat), path)?;
        rustix::fs::futimens(file, &times(stat)).call(|| format!("utimensat `{}`", path.display()))?;
        Ok(())
    }

    fn mode(&self, stat: &Stat) -> u32 {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mode = stat.st_mode & 0o7777;
        self.options.mode.as_ref().map_or(mode, |change| change.apply(mode, is_directory))
    }

    fn top(&self) -> SysResult<&Level> {
        self.stack.last().ok_or_else(|| SysError::new("copy", Errno::INVAL))
    }

    /// Makes something new at `name`; a file that is in the way is removed.
    fn replace<T>(
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        call: &str,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, CopyError> {
        match make() {
            Err(Errno::EXIST) => {}
            other => return Ok(other.call(|| format!("{call} `{}`", path.display()))?),
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR) => return Err(CopyError::IsADirectory { path: path.to_owned() }),
            Err(errno) => return Err(SysError::new(format!("unlink `{}`", path.display()), errno).into()),
        }
        Ok(make().call(|| format!("{call} `{}`", path.display()))?)
    }

    fn write_leaf(&mut self, leaf: &Entry<'_>, Named(name): Named<'_>, path: &Path) -> Result<(), CopyError> {
        let several = leaf.stat.st_nlink > 1;
        let identity = (leaf.stat.st_dev, leaf.stat.st_ino);
        let directory = self.top()?.handle.as_fd();
        if several && let Some(first) = self.links.get(&identity) {
            let first_parent = open(Root::new(self.target.0), first.parent().unwrap_or(Path::new("/")))?;
            let first_name = first.file_name().unwrap_or_default();
            return Self::replace(directory, name, path, "link", || {
                rustix::fs::linkat(&first_parent, first_name, directory, name, AtFlags::empty())
            });
        }
        match leaf.kind() {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let from = rustix::fs::openat(leaf.parent, leaf.name, flags, Mode::empty())
                    .call(|| format!("open `{}`", leaf.name.display()))?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let to = Self::replace(directory, name, path, "create", || {
                    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
                })?;
                let (mut from, mut to) = (File::from(from), File::from(to));
                std::io::copy(&mut from, &mut to).call(|| format!("write `{}`", path.display()))?;
                self.dress(to.as_fd(), leaf.stat, path)?;
                // Last, because a change of the owner takes capabilities away.
                copy_attributes(from.as_fd(), to.as_fd(), self.options, path)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(leaf.parent, leaf.name, Vec::new())
                    .call(|| format!("readlink `{}`", leaf.name.display()))?;
                Self::replace(directory, name, path, "symlink", || {
                    rustix::fs::symlinkat(target.as_c_str(), directory, name)
                })?;
                self.dress_by_name(directory, name, leaf.stat, path)?;
            }
            FileType::Fifo => {
                Self::replace(directory, name, path, "mkfifo", || {
                    rustix::fs::mknodat(directory, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                })?;
                let mode = Mode::from_raw_mode(self.mode(leaf.stat));
                self.dress_by_name(directory, name, leaf.stat, path)?;
                rustix::fs::chmodat(directory, name, mode, AtFlags::empty())
                    .call(|| format!("chmod `{}`", path.display()))?;
            }
            // A socket without the program that listens on it is nothing.
            FileType::Socket => return Ok(()),
            _ => return Err(CopyError::Device { path: path.to_owned() }),
        }
        if several {
            self.links.insert(identity, path.to_owned());
        }
        Ok(())
    }

    /// Owner and times of what cannot be opened.
    fn dress_by_name(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), CopyError> {
        if let Some((uid, gid)) = owner(Some(stat), self.options) {
            rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .call(|| format!("chown `{}`", path.display()))?;
        }
        rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
            .call(|| format!("utimensat `{}`", path.display()))?;
        Ok(())
    }
}

impl Visitor for Writer<'_> {
    type Error = CopyError;

    fn enter(&mut self, directory: &Entry<'_>) -> Result<(), CopyError> {
        let top = self.top()?;
        let path = top.path.join(directory.name);
        let handle = match open_child(top.handle.as_fd(), directory.name) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => new_directory(top.handle.as_fd(), directory.name, &path)?,
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(CopyError::NotADirectory { path }),
            Err(errno) => return Err(SysError::new(format!("open `{}`", path.display()), errno).into()),
        };
        if let Some(from) = directory.directory {
            copy_attributes(from, handle.as_fd(), self.options, &path)?;
        }
        self.stack.push(Level { path, handle, attributes: Some(*directory.stat) });
        Ok(())
    }

    fn leave(&mut self, _: &Entry<'_>) -> Result<(), CopyError> {
        if let Some(level) = self.stack.pop()
            && let Some(stat) = &level.attributes
        {
            self.dress(level.handle.as_fd(), stat, &level.path)?;
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Entry<'_>) -> Result<(), CopyError> {
        if leaf.relative.as_os_str().is_empty() {
            // The level names the file itself.
            let path = self.top()?.path.clone();
            let name: OsString = path.file_name().unwrap_or_default().to_owned();
            return self.write_leaf(leaf, Named(&name), &path);
        }
        let path = self.top()?.path.join(leaf.name);
        self.write_leaf(leaf, Named(leaf.name), &path)
    }
}

fn open_child(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn new_directory(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> SysResult<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU).call(|| format!("mkdir `{}`", path.display()))?;
    open_child(parent, name).call(|| format!("open `{}`", path.display()))
}

/// The owner to be set; `None` where it is right already or cannot be changed.
fn owner(stat: Option<&Stat>, options: &Options) -> Option<(Uid, Gid)> {
    let (uid, gid) = match (options.owner, stat) {
        _ if options.single_owner => return None,
        (Owner::Set(uid, gid), _) => (uid, gid),
        (Owner::Kept, Some(stat)) => (stat.st_uid, stat.st_gid),
        (Owner::Kept, None) => (0, 0),
    };
    Some((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn set_owner(file: BorrowedFd<'_>, stat: Option<&Stat>, options: &Options, path: &Path) -> SysResult<()> {
    match owner(stat, options) {
        Some((uid, gid)) => {
            rustix::fs::fchown(file, Some(uid), Some(gid)).call(|| format!("chown `{}`", path.display()))
        }
        None => note_owner(file, stat, options, path),
    }
}

/// Writes down an owner that cannot be set. What is kept comes with the attributes of the source.
fn note_owner(file: BorrowedFd<'_>, stat: Option<&Stat>, options: &Options, path: &Path) -> SysResult<()> {
    let Owner::Set(uid, gid) = options.owner else { return Ok(()) };
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let value = Noted { uid, gid }.value(stat.map_or(DIRECTORY_MODE, |stat| stat.st_mode));
    match rustix::fs::fsetxattr(file, OVERRIDE, value.as_bytes(), XattrFlags::empty()) {
        Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(SysError::new(format!("setxattr `{}`", path.display()), errno)),
    }
}

fn set_mode(file: &impl AsFd, mode: u32, path: &Path) -> SysResult<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).call(|| format!("chmod `{}`", path.display()))
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 };
    Timestamps { last_access: modified, last_modification: modified }
}

/// Copies the extended attributes that a layer may have; those that cannot be set here are left out.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, options: &Options, path: &Path) -> SysResult<()> {
    let is_kept = |name: &[u8]| options.owner == Owner::Kept || name != OVERRIDE.as_bytes();
    for (name, value) in attributes(from)?.into_iter().filter(|(name, _)| is_kept(name)) {
        match rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => {}
            Err(errno) => return Err(SysError::new(format!("setxattr `{}`", path.display()), errno)),
        }
    }
    Ok(())
}

/// The extended attributes of users, and the capabilities of programs: name and value. Never overlayfs' own.
pub fn attributes(file: BorrowedFd<'_>) -> SysResult<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 4096];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(SysError::new(format!("listxattr `{}`", proc_path(&file).display()), errno)),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        let allowed = name == b"security.capability"
            || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && name != b"user.overlay");
        if !allowed {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        if let Ok(length) = rustix::fs::fgetxattr(file, name, &mut value[..]) {
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    Ok(found)
}

/// What is at `path` beneath `root`, not followed; `None` if nothing is.
pub fn stat_beneath(root: Mounted<'_>, path: &Path) -> Option<Stat> {
    let parent = open(Root::new(root.0), path.parent()?).ok()?;
    stat_at(parent.as_fd(), path.file_name()?).ok()
}
