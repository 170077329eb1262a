//! Removal of trees whose content is hostile and whose owners are not the invoking user.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::{Context, SysError, SysResult};
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::{self, StageError};

/// Directories deeper than this are moved up before they are emptied: an archive can nest deeper than there are
/// descriptors and stack.
const MAXIMUM_DEPTH: usize = 64;

/// A tree could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove `{}`", path.display())]
pub struct RemoveError {
    /// The tree.
    pub path: PathBuf,
    /// Why.
    pub source: StageError,
}

/// Removes `path` and everything below it, as the root of a namespace with `map`, crossing no symlink. One that is not
/// there is fine. In range mode the caller must be single-threaded.
pub fn remove_tree(path: &Path, map: &IdMap) -> Result<(), RemoveError> {
    let work = || remove(path).map_err(|error| error.to_string());
    let result = match map.mode {
        IdMode::Range => stage::run_mapped(map, work),
        // Everything belongs to the invoking user.
        IdMode::Single | IdMode::Root => work().map_err(StageError::Work),
    };
    result.map_err(|source| RemoveError { path: path.to_owned(), source })
}

fn remove(path: &Path) -> SysResult<()> {
    let invalid = || SysError::new(format!("remove `{}`", path.display()), Errno::INVAL);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(invalid()) };
    let name = CString::new(name.as_bytes()).map_err(|_| invalid())?;
    match crate::sys::fs::open_directory(parent) {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        parent => remove_at(parent?.as_fd(), &name),
    }
}

/// Removes `name` in `parent` and everything below it, crossing no symlink. One that is not there is fine.
pub(super) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
    let call = || format!("remove `{}`", OsStr::from_bytes(name.to_bytes()).display());
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(SysError::new(call(), errno)),
    }
    let top = open(parent, name)?.ok_or_else(|| SysError::new(call(), Errno::NOTDIR))?;
    Remover { top: top.as_fd(), moved: 0 }.empty(top.as_fd(), 0)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).call(call)
}

struct Remover<'a> {
    top: BorrowedFd<'a>,
    /// How many directories were moved up.
    moved: u64,
}

impl Remover<'_> {
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> SysResult<()> {
        // Names that were moved up appear while the top is being read, or only in the next reading of it.
        loop {
            let moved = self.moved;
            let mut entries = Dir::read_from(directory).call(|| "open `directory`".to_owned())?;
            while let Some(entry) = entries.read() {
                let entry = entry.call(|| "readdir".to_owned())?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    self.remove_entry(directory, name, depth)?;
                }
            }
            if depth > 0 || moved == self.moved {
                return Ok(());
            }
        }
    }

    fn remove_entry(&mut self, directory: BorrowedFd<'_>, name: &CStr, depth: usize) -> SysResult<()> {
        let shown = || OsStr::from_bytes(name.to_bytes()).display().to_string();
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(SysError::new(format!("unlink `{}`", shown()), errno)),
        }
        // Empty ones need no opening.
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(SysError::new(format!("rmdir `{}`", shown()), errno)),
        }
        let Some(child) = open(directory, name)? else {
            return Err(SysError::new(format!("remove `{}`", shown()), Errno::NOTDIR));
        };
        if depth >= MAXIMUM_DEPTH {
            self.moved += 1;
            let up = format!(".removing-{}-{}", std::process::id(), self.moved);
            return rustix::fs::renameat(directory, name, self.top, &up).call(|| format!("rename `{}`", shown()));
        }
        self.empty(child.as_fd(), depth + 1)?;
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).call(|| format!("rmdir `{}`", shown()))
    }
}

/// Opens a directory for emptying, giving its owner the right to when that is missing. `None` for a symlink or a file.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let call = || format!("open `{}`", OsStr::from_bytes(name.to_bytes()).display());
    let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(Errno::ACCESS) => {
            let handle = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty()).call(call)?;
            rustix::fs::chmod(crate::sys::fs::proc_path(&handle), Mode::RWXU).call(call)?;
            rustix::fs::openat(parent, name, flags, Mode::empty()).call(call)?
        }
        other => other.call(call)?,
    };
    // A directory without write permission can be read but not emptied.
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&fd).call(call)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        rustix::fs::fchmod(&fd, Mode::RWXU).call(call)?;
    }
    Ok(Some(fd))
}
