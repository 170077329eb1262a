//! A small process of ours that looks after what is guarded, from outside the box.
//!
//! It is a fork of the supervisor in the box's user and mount namespaces, but not in its pid namespace: the box neither
//! sees nor reaches it. When something on the host replaces or removes a guarded file or a folder above it, the kernel
//! takes the cover away; the keeper is told by inotify, makes a placeholder where nothing is left, and covers again.
//! Between the two lies a moment in which the box sees what is new.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::placeholder::Placeholders;
use super::{Guarded, Guards, cover};
use crate::sandbox::companion::{Companion, Namespaces, Parent};
use crate::sandbox::init::EventLog;
use crate::sys::fs::{Root, open_directory};
use crate::sys::process::Ended;
use crate::sys::{Context, SysError, SysResult};

/// The keeper of a box; it ends with this value.
#[derive(Debug)]
pub struct Keeper(Companion);

impl Keeper {
    /// Forks it off. The caller has one thread.
    pub fn start(
        namespaces: &Namespaces,
        guards: &Guards,
        placeholders: Option<Placeholders>,
        log: &EventLog,
    ) -> SysResult<Self> {
        let keeper = Companion::start(|supervisor| {
            let ended = keep(namespaces, guards, placeholders, log, supervisor);
            if let Err(error) = &ended {
                log.append("failed", &[("error", &format!("cannot follow what the host changes: {error}"))]);
            }
            // A user may have so many watches and no more. The box cannot bring that about.
            let spent = |error: &SysError| matches!(error.errno, Errno::MFILE | Errno::NOSPC | Errno::NFILE);
            i32::from(!ended.as_ref().is_err_and(spent))
        });
        keeper.map(Self)
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn process(&self) -> BorrowedFd<'_> {
        self.0.process()
    }

    /// Waits for one that has ended. Whether the box is unguarded.
    pub fn has_failed(&mut self) -> SysResult<bool> {
        Ok(self.0.wait()?.is_some_and(|ended| ended != Ended::Exited(0)))
    }
}

/// Returns only what went wrong.
fn keep(
    namespaces: &Namespaces,
    guards: &Guards,
    placeholders: Option<Placeholders>,
    log: &EventLog,
    supervisor: Parent,
) -> SysResult<()> {
    let kept: Vec<i32> = namespaces
        .descriptors()
        .into_iter()
        .chain(log.descriptor())
        .chain(placeholders.iter().flat_map(Placeholders::descriptors))
        .collect();
    let source = supervisor.settle("devbox: keeper", &kept, || {
        let source = open_directory(&guards.source)?;
        namespaces.enter()?;
        Ok(source)
    })?;
    // The box has begun: it may have put something else in the place of the path, but can mount nothing.
    let box_root = open_directory(Path::new("/"))?;
    let root = Root::new(box_root.as_fd());
    let folder = root.open_with(&guards.target, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let null = root.open(Path::new("/dev/null"))?;
    let (expected, found) = (stat(&source)?, stat(&folder)?);
    if (expected.st_dev, expected.st_ino) != (found.st_dev, found.st_ino) {
        return Err(SysError::new(format!("find `{}` in the box", guards.target.display()), Errno::STALE));
    }
    if stat(&null)?.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(SysError::new("find `/dev/null` in the box", Errno::STALE));
    }
    drop((source, box_root));
    let mut keeper =
        Watching { folder, null, paths: &guards.paths, placeholders, watches: inotify_new()?, names: Vec::new() };
    loop {
        keeper.watch()?;
        keeper.cover_all()?;
        keeper.wait()?;
    }
}

fn inotify_new() -> SysResult<OwnedFd> {
    inotify::init(CreateFlags::CLOEXEC).call(|| "inotify_init1".to_owned())
}

fn stat(fd: &OwnedFd) -> SysResult<Stat> {
    rustix::fs::fstat(fd).call(|| "fstat".to_owned())
}

struct Watching<'a> {
    /// The project's folder in the box.
    folder: OwnedFd,
    null: OwnedFd,
    paths: &'a [Guarded],
    placeholders: Option<Placeholders>,
    watches: OwnedFd,
    /// The names that matter in each watched folder.
    names: Vec<(i32, OsString)>,
}

impl Watching<'_> {
    /// Watches every folder above a guarded path that is there.
    fn watch(&mut self) -> SysResult<()> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        for path in self.paths.iter().flat_map(|guarded| guarded.path.ancestors()) {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let Some(folder) = self.open(parent)? else { continue };
            // The box's `/proc` does not know this process, so a descriptor has no path.
            rustix::process::fchdir(&folder).call(|| "fchdir".to_owned())?;
            let watch = inotify::add_watch(&self.watches, ".", flags).call(|| "inotify_add_watch".to_owned())?;
            if !self.names.iter().any(|(known, named)| *known == watch && named == name) {
                self.names.push((watch, name.to_owned()));
            }
        }
        rustix::process::fchdir(&self.folder).call(|| "fchdir".to_owned())
    }

    fn open(&self, path: &Path) -> SysResult<Option<OwnedFd>> {
        match Root::new(self.folder.as_fd()).open_plain(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Covers what is not covered.
    fn cover_all(&mut self) -> SysResult<()> {
        for guarded in self.paths {
            // Where the host cannot make it, the box cannot, either.
            if let Some(placeholders) = &mut self.placeholders {
                placeholders.reserve(self.folder.as_fd(), guarded).ok();
            }
            match cover(self.folder.as_fd(), self.null.as_fd(), guarded, true) {
                // What goes in this moment leaves an event.
                Err(error) if error.errno != Errno::NOENT => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Until something has happened to a name that matters.
    fn wait(&mut self) -> SysResult<()> {
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.watches, &mut buffer);
        let mut due = false;
        loop {
            let event = match reader.next() {
                Err(Errno::INTR) => continue,
                other => other.call(|| "read `inotify`".to_owned())?,
            };
            let gone = event.events().contains(ReadFlags::IGNORED);
            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let matters =
                self.names.iter().any(|(watch, known)| *watch == event.wd() && Some(known.as_os_str()) == name);
            if gone {
                self.names.retain(|(watch, _)| *watch != event.wd());
            }
            due |= matters || lost || gone;
            if due && reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}
