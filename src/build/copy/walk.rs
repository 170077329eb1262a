//! Walking over what is to be copied, in one order wherever it is done: once for the digest, once for the copy.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::select::{Selected, list, stat_at};
use crate::sys::fs::Root;
use crate::sys::{Context, SysResult};

/// What becomes of something that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is copied.
    Kept,
    /// It is left out, with everything in it.
    Dropped,
    /// A directory that is left out unless something in it is kept.
    Searched,
}

impl Fate {
    /// The fate of what two have a say in: the worse one.
    #[must_use]
    pub fn min_with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dropped, _) | (_, Self::Dropped) => Self::Dropped,
            (Self::Searched, _) | (_, Self::Searched) => Self::Searched,
            (Self::Kept, Self::Kept) => Self::Kept,
        }
    }
}

/// Something that is to be copied.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The directory that it is in.
    pub parent: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a OsStr,
    /// Its path below what was selected; empty for a file that was selected itself.
    pub relative: &'a Path,
    /// Its metadata.
    pub stat: &'a Stat,
    /// The open directory, if it is one.
    pub directory: Option<BorrowedFd<'a>>,
}

impl Entry<'_> {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Is told what is found, parents first, names in byte order.
pub trait Visitor {
    /// Its error.
    type Error: From<crate::sys::SysError>;
    /// A directory; what is in it follows.
    fn enter(&mut self, directory: &Entry<'_>) -> Result<(), Self::Error>;
    /// The end of the directory that was entered last.
    fn leave(&mut self, directory: &Entry<'_>) -> Result<(), Self::Error>;
    /// Anything else.
    fn leaf(&mut self, leaf: &Entry<'_>) -> Result<(), Self::Error>;
}

/// A directory on the way, which the visitor hears of when something in it is kept.
struct Ancestor<'a> {
    up: Option<&'a Ancestor<'a>>,
    entry: Entry<'a>,
    entered: Cell<bool>,
}

impl Ancestor<'_> {
    fn enter<V: Visitor>(&self, visitor: &mut V) -> Result<(), V::Error> {
        if self.entered.get() {
            return Ok(());
        }
        if let Some(up) = self.up {
            up.enter(visitor)?;
        }
        self.entered.set(true);
        visitor.enter(&self.entry)
    }
}

/// Shows `selected`, which lies beneath `root`, to the visitor: a file by itself, of a directory what is in it. `fate`
/// is asked with the path below `selected`.
pub fn walk<V: Visitor>(
    root: Root<'_>,
    selected: &Selected,
    fate: &dyn Fn(&Path, bool) -> Fate,
    visitor: &mut V,
) -> Result<(), V::Error> {
    if selected.is_directory {
        let directory = open(root, &selected.path)?;
        return inside(directory.as_fd(), Path::new(""), None, fate, visitor);
    }
    let parent = open(root, selected.path.parent().unwrap_or(Path::new("/")))?;
    let name = selected.path.file_name().unwrap_or_default();
    let stat = stat_at(parent.as_fd(), name)?;
    visitor.leaf(&Entry { parent: parent.as_fd(), name, relative: Path::new(""), stat: &stat, directory: None })
}

/// Opens a directory beneath the root for reading.
pub fn open(root: Root<'_>, path: &Path) -> SysResult<OwnedFd> {
    root.open_plain(path, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn inside<V: Visitor>(
    directory: BorrowedFd<'_>,
    relative: &Path,
    ancestor: Option<&Ancestor<'_>>,
    fate: &dyn Fn(&Path, bool) -> Fate,
    visitor: &mut V,
) -> Result<(), V::Error> {
    for name in list(directory)? {
        let stat = stat_at(directory, &name)?;
        let path = relative.join(&name);
        let entry = Entry { parent: directory, name: &name, relative: &path, stat: &stat, directory: None };
        let is_directory = entry.kind() == FileType::Directory;
        let fate_here = fate(&path, is_directory);
        match (is_directory, fate_here) {
            (_, Fate::Dropped) | (false, Fate::Searched) => {}
            (false, Fate::Kept) => {
                if let Some(ancestor) = ancestor {
                    ancestor.enter(visitor)?;
                }
                visitor.leaf(&entry)?;
            }
            (true, _) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, &name, flags, Mode::empty())
                    .call(|| format!("open `{}`", path.display()))?;
                let entry = Entry { directory: Some(opened.as_fd()), ..entry };
                let here = Ancestor { up: ancestor, entry, entered: Cell::new(false) };
                if fate_here == Fate::Kept {
                    here.enter(visitor)?;
                }
                inside(opened.as_fd(), &path, Some(&here), fate, visitor)?;
                if here.entered.get() {
                    visitor.leave(&here.entry)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::select::{Mounted, select};

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Visitor for Log {
        type Error = crate::sys::SysError;
        fn enter(&mut self, directory: &Entry<'_>) -> SysResult<()> {
            self.0.push(format!("{}/", directory.relative.display()));
            Ok(())
        }
        fn leave(&mut self, _: &Entry<'_>) -> SysResult<()> {
            self.0.push("..".to_owned());
            Ok(())
        }
        fn leaf(&mut self, leaf: &Entry<'_>) -> SysResult<()> {
            self.0.push(leaf.relative.display().to_string());
            Ok(())
        }
    }

    #[test]
    fn parents_of_what_is_kept_are_entered() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a/b/keep", "a/b/drop", "c/drop", "d"] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let handle = crate::sys::fs::open_path(directory.path()).unwrap();
        let fate = |path: &Path, is_directory: bool| match path.file_name().and_then(OsStr::to_str) {
            Some("drop") => Fate::Dropped,
            _ if is_directory => Fate::Searched,
            _ => Fate::Kept,
        };
        let all = select(Mounted(handle.as_fd()), ".", &|_| false).unwrap();
        let mut log = Log::default();
        walk(Root::new(handle.as_fd()), &all[0], &fate, &mut log).unwrap();
        assert_eq!(log.0, ["a/", "a/b/", "a/b/keep", "..", "..", "d"]);
    }
}
