//! Visiting every entry of a tree whose content is hostile.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The unit of `st_blocks`, whatever the file system's is.
const BLOCK_BYTES: u64 = 512;

/// Counts as `du` does: a file with several names once.
#[derive(Debug, Default)]
pub struct Counter {
    seen: HashSet<(u64, u64)>,
}

impl Counter {
    /// The bytes that the file takes on the disk; 0 if it was counted under another name.
    pub fn bytes(&mut self, stat: &Stat) -> u64 {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink == 1 || self.seen.insert((stat.st_dev, stat.st_ino)) {
            u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK_BYTES
        } else {
            0
        }
    }
}

/// One entry of a tree.
#[expect(missing_debug_implementations, reason = "seen by closures only")]
pub struct Entry<'a> {
    /// The directory that it is in.
    pub directory: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CString,
    /// From the root of the tree.
    pub path: &'a Path,
    /// What it is.
    pub stat: Stat,
}

/// Visits everything below `root`, in an order that only the names decide. No link is followed and no mount point
/// entered. Returns how many directories could not be read, because they are too deep for a path, for one.
pub fn walk(root: &Path, visit: &mut dyn FnMut(&Entry<'_>) -> rustix::io::Result<()>) -> rustix::io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, flags, Mode::empty())?;
    let mut unreadable = 0;
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = rustix::fs::openat2(&top, &path, flags, Mode::empty(), resolve);
        let listed = opened.and_then(|directory| Ok((names(&directory)?, directory)));
        let (names, directory) = match listed {
            Ok(listed) => listed,
            // Something of a box that runs came and went.
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(_) => {
                unreadable += 1;
                continue;
            }
        };
        let mut below = Vec::new();
        for name in &names {
            let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let path = path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name.to_bytes()));
            visit(&Entry { directory: directory.as_fd(), name, path: &path, stat })?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                below.push(path);
            }
        }
        waiting.extend(below.into_iter().rev());
    }
    Ok(unreadable)
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}
