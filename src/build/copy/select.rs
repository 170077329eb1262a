//! Which files the sources of a `COPY` or `ADD` name.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::sandbox::etc::{Base, resolve};
use crate::sys::fs::Root;
use crate::sys::{Context, SysResult};

/// A mounted or plain directory tree, read without leaving it.
#[derive(Debug, Clone, Copy)]
pub struct Mounted<'a>(pub BorrowedFd<'a>);

impl Mounted<'_> {
    fn handle(self, path: &Path) -> Option<OwnedFd> {
        Root::new(self.0).open_plain(path, OFlags::PATH).ok()
    }

    /// Where `path` leads, all symlinks followed beneath the root; absolute. The result need not exist. `None`: a loop.
    #[must_use]
    pub fn real_path(self, path: &Path) -> Option<PathBuf> {
        resolve(&self, path)
    }
}

impl Base for Mounted<'_> {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let file = Root::new(self.0).open_plain(path, OFlags::RDONLY).ok()?;
        let regular = rustix::fs::fstat(&file).is_ok_and(|stat| is(&stat, FileType::RegularFile));
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut content).ok().filter(|_| regular)?;
        Some(content)
    }

    fn read_link(&self, path: &Path) -> Option<PathBuf> {
        let target = rustix::fs::readlinkat(self.handle(path)?, "", Vec::new()).ok()?;
        Some(OsString::from_vec(target.into_bytes()).into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.handle(path).is_some()
    }
}

fn is(stat: &rustix::fs::Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// One file or directory that is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Where it is: absolute beneath the root, without symlinks.
    pub path: PathBuf,
    /// What it was called, before symlinks were followed: relative to the root.
    pub called: PathBuf,
    /// For `--parents`: how much of `called` is not kept (what stands before `/./`), in components.
    pub pivot: usize,
    /// It is a directory: its content is copied.
    pub is_directory: bool,
}

/// A source that cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// Nothing has this name.
    #[error("`{}` does not exist{}", written.escape_debug(), if *ignored { " (the ignore file leaves it out)" } else { "" })]
    Missing {
        /// The source.
        written: String,
        /// It is there, but ignored.
        ignored: bool,
    },
    /// A pattern that is none.
    #[error("`{}` is no valid pattern", written.escape_debug())]
    Pattern {
        /// The source.
        written: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] crate::sys::SysError),
}

/// The files that `source`, relative to `root`, names; sorted. A pattern may match nothing. `hidden` tells what the
/// ignore file leaves out (of a directory: everything in it).
pub fn select(
    root: Mounted<'_>,
    source: &str,
    hidden: &dyn Fn(&Selected) -> bool,
) -> Result<Vec<Selected>, SelectError> {
    let (before, _) = source.split_once("/./").unwrap_or(("", source));
    let pivot = clean(before).components().count();
    let path = clean(source);
    if !has_wildcard(source) {
        let missing = |ignored| SelectError::Missing { written: source.to_owned(), ignored };
        let selected = look(root, &path, pivot)?.ok_or_else(|| missing(false))?;
        if !path.as_os_str().is_empty() && hidden(&selected) {
            return Err(missing(true));
        }
        return Ok(vec![selected]);
    }
    let pattern = || SelectError::Pattern { written: source.to_owned() };
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        let component = component.as_os_str();
        let mut next = Vec::new();
        for directory in found {
            if component == "**" {
                below(root, &directory, &mut next)?;
            } else if has_wildcard(&component.to_string_lossy()) {
                for name in names(root, &directory)? {
                    if matches(component.as_bytes(), name.as_bytes()).ok_or_else(pattern)? {
                        next.push(directory.join(name));
                    }
                }
            } else {
                next.push(directory.join(component));
            }
        }
        found = next;
    }
    found.sort();
    found.dedup();
    let mut selected = Vec::new();
    for path in found {
        if let Some(one) = look(root, &path, pivot)?.filter(|one| !hidden(one)) {
            selected.push(one);
        }
    }
    Ok(selected)
}

/// `a/../b/./c` without leaving the root: `b/c`.
#[must_use]
pub fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Whether there is anything to expand in `source`.
#[must_use]
pub fn has_wildcard(source: &str) -> bool {
    source.contains(['*', '?', '[', '\\'])
}

fn look(root: Mounted<'_>, called: &Path, pivot: usize) -> SysResult<Option<Selected>> {
    let Some(path) = root.real_path(called) else { return Ok(None) };
    match Root::new(root.0).open_plain(&path, OFlags::PATH) {
        Ok(handle) => {
            let stat = rustix::fs::fstat(&handle).call(|| format!("stat `{}`", path.display()))?;
            let is_directory = is(&stat, FileType::Directory);
            Ok(Some(Selected { path, called: called.to_owned(), pivot, is_directory }))
        }
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory itself and all directories below it.
fn below(root: Mounted<'_>, directory: &Path, found: &mut Vec<PathBuf>) -> SysResult<()> {
    found.push(directory.to_owned());
    for name in names(root, directory)? {
        let path = directory.join(name);
        let stat = root.handle(&path).and_then(|handle| rustix::fs::fstat(&handle).ok());
        if stat.is_some_and(|stat| is(&stat, FileType::Directory)) {
            below(root, &path, found)?;
        }
    }
    Ok(())
}

/// The names in a directory, symlinks on the way to it followed; empty if it is none.
fn names(root: Mounted<'_>, directory: &Path) -> SysResult<Vec<OsString>> {
    let Some(path) = root.real_path(directory) else { return Ok(Vec::new()) };
    match Root::new(root.0).open_plain(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(handle) => list(handle.as_fd()),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The names in an open directory, sorted.
pub fn list(directory: BorrowedFd<'_>) -> SysResult<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).call(|| "getdents".to_owned())? {
        let name = entry.call(|| "getdents".to_owned())?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// What is at `name` in `directory`, not followed.
pub fn stat_at(directory: BorrowedFd<'_>, name: &OsStr) -> SysResult<rustix::fs::Stat> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).call(|| format!("stat `{}`", name.display()))
}

/// Whether `name` matches `pattern`: `*`, `?`, `[a-z]`, `[^a]`, `\` as Go's `filepath.Match` has them. `None`: the
/// pattern is malformed.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> Option<bool> {
    match pattern {
        [] => Some(name.is_empty()),
        [b'*', rest @ ..] => {
            for skip in 0..=name.len() {
                if matches(rest, &name[skip..])? {
                    return Some(true);
                }
            }
            Some(false)
        }
        [b'[', rest @ ..] => {
            let (found, rest) = class(rest, name.first().copied())?;
            if found && !name.is_empty() { matches(rest, &name[1..]) } else { Some(false) }
        }
        [b'\\'] => None,
        [b'\\', literal, rest @ ..] => matches_one(name.first() == Some(literal), rest, name),
        [b'?', rest @ ..] => matches_one(!name.is_empty(), rest, name),
        [literal, rest @ ..] => matches_one(name.first() == Some(literal), rest, name),
    }
}

fn matches_one(fits: bool, rest: &[u8], name: &[u8]) -> Option<bool> {
    if fits { matches(rest, &name[1..]) } else { Some(false) }
}

/// Reads a class after its `[`: whether it has `byte`, and what follows the `]`.
fn class(mut pattern: &[u8], byte: Option<u8>) -> Option<(bool, &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut found = false;
    let mut first = true;
    loop {
        match pattern {
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            _ => {}
        }
        let (low, rest) = member(pattern)?;
        let (high, rest) = match rest {
            [b'-', rest @ ..] => member(rest)?,
            _ => (low, rest),
        };
        found |= byte.is_some_and(|byte| (low..=high).contains(&byte));
        pattern = rest;
        first = false;
    }
}

fn member(pattern: &[u8]) -> Option<(u8, &[u8])> {
    match pattern {
        [] | [b'\\'] | [b']' | b'-', ..] => None,
        [b'\\', byte, rest @ ..] => Some((*byte, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::open_path;

    #[test]
    fn patterns() {
        let table = [
            ("*.txt", "a.txt", Some(true)),
            ("*.txt", "a.md", Some(false)),
            ("a?c", "abc", Some(true)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("\\*", "*", Some(true)),
            ("*", ".hidden", Some(true)),
            ("a*b*c", "axxbyyc", Some(true)),
            ("[", "a", None),
            ("[]a]", "a", None),
            ("a\\", "a", None),
            ("", "", Some(true)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        for (path, cleaned) in [("/a/../b/./c", "b/c"), ("../../x", "x"), (".", ""), ("/", ""), ("a//b/", "a/b")] {
            assert_eq!(clean(path), Path::new(cleaned));
        }
    }

    #[test]
    fn sources_are_found_beneath_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        for name in ["a.txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        std::fs::write(directory.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("/sub", root.join("link")).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        let handle = open_path(&root).unwrap();
        let hidden = |one: &Selected| one.called == Path::new("b.txt");
        let found = |source: &str| -> Result<Vec<String>, String> {
            select(Mounted(handle.as_fd()), source, &hidden)
                .map(|all| all.iter().map(|one| one.path.to_string_lossy().into_owned()).collect())
                .map_err(|error| error.to_string())
        };
        assert_eq!(found("*.txt").unwrap(), ["/a.txt"]);
        assert_eq!(found("link").unwrap(), ["/sub"]);
        assert_eq!(found("/../link/c.*").unwrap(), ["/sub/c.txt"]);
        assert_eq!(found("**/d.txt").unwrap(), ["/sub/deep/d.txt"]);
        assert_eq!(found("no*").unwrap(), Vec::<String>::new());
        assert_eq!(found(".").unwrap(), ["/"]);
        assert!(found("b.txt").unwrap_err().contains("ignore file"));
        for missing in ["out", "../secret", "loop", "a.txt/x"] {
            assert!(found(missing).unwrap_err().ends_with("does not exist"), "{missing}");
        }
        assert!(found("[").is_err());
    }
}
