//! Visiting every entry of a tree whose content is hostile.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// One entry: its directory, its name there, its path from the root of the tree, and what it is.
pub(super) struct Entry<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CString,
    pub(super) path: &'a Path,
    pub(super) stat: Stat,
}

/// Visits everything below `root`, in an order that only the names decide. No link is followed and no mount point
/// entered. Returns how many directories could not be read, because they are too deep for a path, for one.
pub(super) fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Entry<'_>) -> rustix::io::Result<()>,
) -> rustix::io::Result<u64> {
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
