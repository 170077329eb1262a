//! Empty files that stand where something is guarded that is not there yet: whoever makes it later finds the name taken.
//!
//! They lie in the project while boxes run, and go when the last of these ends, if they are still empty. What was made
//! is written down before, in a *ledger* in the box's directory, so that whoever comes next removes what a killed
//! supervisor left: the box's next start, `gc`, or `rm`.
//!
//! Several sessions may need one placeholder. Each holds a shared `flock` on it, and it is removed only under an
//! exclusive one. A box cannot lock it, because it sees the cover.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::Guarded;
use crate::sys::fs::{Root, open_directory};
use crate::sys::{Context, SysError, SysResult};

/// The ledger's name in the box's directory: a JSON string in each line, of a path that ends with `/` for a directory.
const LEDGER: &str = "placeholders.jsonl";
/// While it is written.
const NEW_LEDGER: &str = "placeholders.new";
/// Somebody may remove a placeholder between our finding and our locking it, this often.
const MAX_ATTEMPTS: u32 = 16;

/// The placeholders of one session, kept as long as this lives.
#[derive(Debug)]
pub struct Placeholders {
    /// The box's directory.
    ledger: OwnedFd,
    held: Vec<OwnedFd>,
}

impl Placeholders {
    /// For the box whose directory is `holder`.
    pub fn new(holder: &Path) -> SysResult<Self> {
        Ok(Self { ledger: open_directory(holder)?, held: Vec::new() })
    }

    /// For another process of the same session.
    pub fn successor(&self) -> SysResult<Self> {
        Ok(Self { ledger: self.ledger.try_clone().call(|| format!("dup `{LEDGER}`"))?, held: Vec::new() })
    }

    /// Makes what is missing of `guarded` below `project`.
    pub fn reserve(&mut self, project: BorrowedFd<'_>, guarded: &Guarded) -> SysResult<()> {
        let path = &guarded.path;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let directory = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        for _ in 0..MAX_ATTEMPTS {
            let Some(folder) = self.folder(project, parent)? else { return Ok(()) };
            match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Whoever made it: an empty one may be a placeholder.
                Ok(stat) if !is_placeholder(&stat, directory) => return Ok(()),
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    self.write_down(path, directory)?;
                    match make(&folder, name, directory) {
                        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                        Err(errno) => return Err(errno).call(|| format!("create `{}`", path.display())),
                    }
                }
                Err(errno) => return Err(errno).call(|| format!("stat `{}`", path.display())),
            }
            match hold(&folder, name) {
                Ok(None) => {}
                Ok(Some(held)) => {
                    self.held.push(held);
                    return Ok(());
                }
                // Ours can be opened.
                Err(Errno::ACCESS | Errno::PERM | Errno::LOOP) => return Ok(()),
                Err(errno) => return Err(errno).call(|| format!("lock `{}`", path.display())),
            }
        }
        Err(SysError::new(format!("create `{}`", path.display()), Errno::BUSY))
    }

    /// The descriptors that must stay open in the process that this is for.
    pub fn descriptors(&self) -> impl Iterator<Item = i32> {
        std::iter::once(&self.ledger).chain(&self.held).map(AsRawFd::as_raw_fd)
    }

    /// Lets go of them, and removes those that nobody else needs.
    pub fn release(self, project: &Path) -> SysResult<()> {
        drop(self.held);
        sweep_in(&self.ledger, project)
    }

    /// The folder `path` below `project`, made if it is missing; nothing where something else is in its place.
    fn folder(&self, project: BorrowedFd<'_>, path: &Path) -> SysResult<Option<OwnedFd>> {
        let mut made = PathBuf::new();
        for name in path {
            made.push(name);
            match open_folder(project, &made) {
                Err(Errno::NOENT) => {
                    self.write_down(&made, true)?;
                    match rustix::fs::mkdirat(project, &made, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                        Err(errno) => return Err(errno).call(|| format!("mkdir `{}`", made.display())),
                    }
                }
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                other => drop(other.call(|| format!("open `{}`", made.display()))?),
            }
        }
        match open_folder(project, path) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno).call(|| format!("open `{}`", path.display())),
        }
    }

    /// Adds a line to the ledger.
    fn write_down(&self, path: &Path, directory: bool) -> SysResult<()> {
        let call = || format!("write `{LEDGER}`");
        let _lock = lock(&self.ledger)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.ledger, LEDGER, flags, Mode::from_raw_mode(0o600)).call(call)?;
        File::from(file).write_all(line(path, directory).as_bytes()).call(call)
    }
}

/// Removes what sessions of the box have left, whose directory is `holder`: what is empty, and nobody else needs.
pub fn sweep(holder: &Path, project: &Path) -> SysResult<()> {
    sweep_in(&open_directory(holder)?, project)
}

fn sweep_in(ledger: &OwnedFd, project: &Path) -> SysResult<()> {
    let locked = lock(ledger)?;
    let Some(written) = read(ledger)? else { return Ok(()) };
    let project = match open_directory(project) {
        Ok(project) => Some(project),
        // What is in it went with it, unless it comes back.
        Err(error) if error.errno == Errno::NOENT => None,
        Err(error) => return Err(error),
    };
    let mut left: BTreeSet<&str> = BTreeSet::new();
    // What is in a directory comes before it.
    for path in written.iter().rev() {
        let needed = left.iter().any(|left| left.starts_with(path.as_str()));
        if needed || !remove(project.as_ref(), path) {
            left.insert(path);
        }
    }
    if left.len() == written.len() {
        return Ok(());
    }
    let call = || format!("write `{NEW_LEDGER}`");
    if left.is_empty() {
        rustix::fs::unlinkat(ledger, LEDGER, AtFlags::empty()).call(|| format!("unlink `{LEDGER}`"))?;
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(ledger, NEW_LEDGER, flags, Mode::from_raw_mode(0o600)).call(call)?;
        let text: String = left.into_iter().map(|path| line(Path::new(path), false)).collect();
        File::from(file).write_all(text.as_bytes()).call(call)?;
        rustix::fs::renameat(ledger, NEW_LEDGER, ledger, LEDGER).call(|| format!("rename `{NEW_LEDGER}`"))?;
    }
    drop(locked);
    Ok(())
}

/// Whether the placeholder `path` need not be thought of any longer.
fn remove(project: Option<&OwnedFd>, path: &str) -> bool {
    let Some(project) = project else { return false };
    let directory = path.ends_with('/');
    let path = Path::new(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
    // What cannot be looked at any more was changed by the user, and is the user's.
    let Ok(folder) = open_folder(project.as_fd(), parent) else { return true };
    let Ok(place) = open(&folder, name) else { return true };
    if flock(&place, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    if rustix::fs::fstat(&place).is_ok_and(|stat| is_placeholder(&stat, directory)) {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        // What is not empty is the user's by now.
        rustix::fs::unlinkat(&folder, name, flags).ok();
    }
    true
}

/// What is in the ledger, in the order in which it was made; nothing where there is none.
fn read(ledger: &OwnedFd) -> SysResult<Option<Vec<String>>> {
    let call = || format!("read `{LEDGER}`");
    let file = match rustix::fs::openat(ledger, LEDGER, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.call(call)?,
    };
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).call(call)?;
    // The last line may have been cut: what it names was not made.
    let mut paths: Vec<String> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    paths.sort();
    paths.dedup();
    Ok(Some(paths))
}

fn line(path: &Path, directory: bool) -> String {
    let mut path = path.to_string_lossy().into_owned();
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    format!("{}\n", serde_json::Value::from(path))
}

fn make(folder: &OwnedFd, name: &OsStr, directory: bool) -> Result<(), Errno> {
    if directory {
        return rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Locks a placeholder, shared; nothing where somebody is just removing it, or has.
fn hold(folder: &OwnedFd, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let place = match open(folder, name) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let same =
        |there: rustix::fs::Stat, ours: rustix::fs::Stat| (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino);
    match flock(&place, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => Ok(same(other?, rustix::fs::fstat(&place)?).then_some(place)),
    }
}

fn open(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn open_folder(project: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    Root::new(project).open_plain(path, OFlags::DIRECTORY | OFlags::RDONLY).map_err(|error| error.errno)
}

/// Whether this can be a placeholder: an empty file, or a directory.
fn is_placeholder(stat: &rustix::fs::Stat, directory: bool) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => stat.st_size == 0 && !directory,
        FileType::Directory => directory,
        _ => false,
    }
}

/// Locks a ledger, as long as what is returned is open: the directory that holds it, which is never replaced.
fn lock(ledger: &OwnedFd) -> SysResult<OwnedFd> {
    // A description of its own: forks share that of `ledger`.
    let own = rustix::fs::openat(ledger, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call(|| "open `.`".to_owned())?;
    flock(&own, FlockOperation::LockExclusive).call(|| format!("lock `{LEDGER}`"))?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sandbox::guard::Protection;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for name in ["project", "box", "outside"] {
                fs::create_dir(place.path(name)).unwrap();
            }
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn reserve(&self, paths: &[&str]) -> Placeholders {
            let project = open_directory(&self.path("project")).unwrap();
            let mut placeholders = Placeholders::new(&self.path("box")).unwrap();
            for path in paths {
                let guarded = Guarded { path: path.into(), protection: Protection::Hidden };
                placeholders.reserve(project.as_fd(), &guarded).unwrap();
            }
            placeholders
        }

        fn names(&self, folder: &str) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.path(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn only_what_is_missing_and_never_through_a_link() {
        let place = Place::new();
        let project = place.path("project");
        fs::write(project.join("there"), "x").unwrap();
        fs::write(project.join("empty"), "").unwrap();
        symlink("../outside", project.join("link")).unwrap();
        symlink("nowhere", project.join("dangling")).unwrap();
        let paths = ["there", "there/new", "empty", "link/new", "dangling", "new", "deep/er/new", "folder/"];
        let made = place.reserve(&paths);
        assert_eq!(place.names("project"), ["dangling", "deep", "empty", "folder", "link", "new", "there"]);
        assert!(project.join("deep/er/new").is_file() && project.join("folder").is_dir());
        assert!(place.names("outside").is_empty());
        made.release(&project).unwrap();
        assert_eq!(place.names("project"), ["dangling", "empty", "link", "there"]);
        assert!(place.names("box").is_empty());
    }

    #[test]
    fn what_the_user_made_of_them_stays() {
        let place = Place::new();
        let project = place.path("project");
        let made = place.reserve(&["written", "a/b", "replaced", "removed"]);
        fs::write(project.join("written"), "x").unwrap();
        fs::write(project.join("a/other"), "").unwrap();
        fs::remove_file(project.join("removed")).unwrap();
        fs::remove_file(project.join("replaced")).unwrap();
        symlink("written", project.join("replaced")).unwrap();
        made.release(&project).unwrap();
        assert_eq!(place.names("project"), ["a", "replaced", "written"]);
        assert_eq!((place.names("project/a"), place.names("box")), (vec!["other".to_owned()], Vec::new()));
    }

    #[test]
    fn the_last_session_removes_them() {
        let place = Place::new();
        let project = place.path("project");
        let (first, second) = (place.reserve(&["a/b"]), place.reserve(&["a/b"]));
        first.release(&project).unwrap();
        sweep(&place.path("box"), &project).unwrap();
        assert!(project.join("a/b").exists());
        second.release(&project).unwrap();
        assert!(place.names("project").is_empty() && place.names("box").is_empty());
    }

    #[test]
    fn a_ledger_that_was_cut_off() {
        let place = Place::new();
        drop(place.reserve(&["one", "two"]));
        let ledger = place.path("box").join(LEDGER);
        let text = fs::read_to_string(&ledger).unwrap();
        fs::write(&ledger, format!("{text}\"thr")).unwrap();
        sweep(&place.path("box"), &place.path("project")).unwrap();
        assert!(place.names("project").is_empty());
        // And where the project is gone, it is kept for its return.
        drop(place.reserve(&["one"]));
        fs::rename(place.path("project"), place.path("moved")).unwrap();
        sweep(&place.path("box"), &place.path("project")).unwrap();
        assert_eq!(place.names("box"), [LEDGER]);
    }
}
