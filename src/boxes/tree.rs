//! Removing trees whose content is hostile.
//!
//! Everything is done relative to open directories, without following symbolic links and without entering mount
//! points. However deep a tree is, few descriptors are open and no path gets long: what lies deeper than
//! `MAX_DEPTH` is first moved up to the root of the tree.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::directory::fresh_name;

/// Directories held open at once.
const MAX_DEPTH: usize = 32;
/// How often a directory is read again because entries showed up while others were removed.
const MAX_PASSES: usize = 8;

/// What could not be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// How many files and directories, those not counted that stay because they hold one of these.
    pub count: usize,
    /// One of them, and why.
    pub example: Option<String>,
}

impl Failures {
    fn add(&mut self, name: &CStr, errno: Errno) {
        self.count += 1;
        let name = OsStr::from_bytes(name.to_bytes()).display().to_string();
        self.example.get_or_insert_with(|| format!("`{}`: {}", name.escape_debug(), std::io::Error::from(errno)));
    }

    /// Adds those of another tree.
    pub fn join(&mut self, other: Self) {
        self.count += other.count;
        self.example = self.example.take().or(other.example);
    }
}

/// Removes `name` in the directory `top`, with everything below it. Entries of it called as in `last` are removed
/// after all others. Nothing there is a success.
pub fn remove(top: BorrowedFd<'_>, name: &OsStr, last: &[&str]) -> Failures {
    let mut failures = Failures::default();
    let Ok(name) = CString::new(name.as_bytes()) else { return failures };
    Remover { root: None, buried: Vec::new(), failures: &mut failures }.remove_entry(top, &name, 0, last);
    failures
}

struct Remover<'a> {
    /// The top directory of the tree, as soon as it is open.
    root: Option<OwnedFd>,
    /// Directories that were moved to the root and are still to be removed.
    buried: Vec<CString>,
    failures: &'a mut Failures,
}

impl Remover<'_> {
    fn remove_entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize, last: &[&str]) {
        match unlink(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return,
            // `EISDIR` is Linux's answer, `EPERM` that of POSIX and of files that cannot be removed at all.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return self.failures.add(name, errno),
        }
        let directory = match open(parent, name) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.failures.add(name, errno),
        };
        if depth < MAX_DEPTH {
            return self.remove_directory(parent, name, directory, depth, last);
        }
        match self.bury(parent, name, &directory) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => self.failures.add(name, errno),
        }
    }

    /// Moves a directory to the root.
    fn bury(&mut self, parent: BorrowedFd<'_>, name: &CStr, directory: &OwnedFd) -> rustix::io::Result<()> {
        let root = self.root.as_ref().ok_or(Errno::BADF)?;
        let target = fresh_name().ok().and_then(|target| CString::new(target).ok()).ok_or(Errno::AGAIN)?;
        let rename = || rustix::fs::renameat(parent, name, root, &target);
        match rename() {
            // The directory itself must be writable to get another parent.
            Err(Errno::ACCESS) => rustix::fs::fchmod(directory, Mode::RWXU).and_then(|()| rename())?,
            result => result?,
        }
        self.buried.push(target);
        Ok(())
    }

    fn remove_directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, fd: OwnedFd, depth: usize, last: &[&str]) {
        let failed_before = self.failures.count;
        if depth == 0 {
            self.root = fd.try_clone().ok();
        }
        let mut directory = match Dir::new(fd) {
            Ok(directory) => directory,
            Err(errno) => return self.failures.add(name, errno),
        };
        for _ in 0..MAX_PASSES {
            let delayed = self.remove_content(name, &mut directory, depth, last);
            while depth == 0
                && let Ok(handle) = directory.fd()
                && let Some(buried) = self.buried.pop()
            {
                self.remove_entry(handle, &buried, 1, &[]);
            }
            if self.failures.count == failed_before
                && let Ok(handle) = directory.fd()
            {
                for name in &delayed {
                    self.remove_entry(handle, name, depth + 1, &[]);
                }
            }
            if self.failures.count > failed_before {
                return;
            }
            match unlink(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return,
                Err(Errno::NOTEMPTY | Errno::EXIST) => directory.rewind(),
                Err(errno) => return self.failures.add(name, errno),
            }
        }
        self.failures.add(name, Errno::NOTEMPTY);
    }

    /// One pass over a directory; gives the entries whose turn comes last.
    fn remove_content(&mut self, name: &CStr, directory: &mut Dir, depth: usize, last: &[&str]) -> Vec<CString> {
        let mut delayed = Vec::new();
        while let Some(entry) = directory.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.failures.add(name, errno);
                    break;
                }
            };
            let child = entry.file_name();
            if matches!(child.to_bytes(), b"." | b"..") {
                continue;
            }
            if last.iter().any(|last| last.as_bytes() == child.to_bytes()) {
                delayed.push(child.to_owned());
                continue;
            }
            match directory.fd() {
                Ok(handle) => {
                    // Saves a failing `unlink` where the type is known.
                    let known_directory = entry.file_type() == FileType::Directory;
                    if !(known_directory && unlink(handle, child, AtFlags::REMOVEDIR).is_ok()) {
                        self.remove_entry(handle, child, depth + 1, &[]);
                    }
                }
                Err(errno) => self.failures.add(child, errno),
            }
        }
        delayed
    }
}

/// Unlinks; a directory of our own without write permission is opened up first.
fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, flags) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(parent, Mode::RWXU)?;
            rustix::fs::unlinkat(parent, name, flags)
        }
        result => result,
    }
}

/// Opens a directory for reading: no link, no mount point. One of our own without permissions is opened up first.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve);
    match open(flags | OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let handle = open(flags | OFlags::PATH)?;
            rustix::fs::chmod(crate::sys::fs::proc_path(&handle.as_fd()), Mode::RWXU)?;
            open(flags | OFlags::RDONLY)
        }
        result => result,
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
