//! Bringing the metadata layer up to date, in place.
//!
//! A new layer for each change of the host would be cleaner, but overlayfs follows redirects from the lowest ordinary
//! layer only (Linux 6.16, `ovl_lookup`): metadata layers cannot be stacked, and copying one costs more than making it.
//! Changing a lower layer below a mounted overlay is undefined by the kernel's documentation, though it neither crashes
//! nor locks up. The host's own `/usr` is such a layer as well, and its package manager changes it at any time; so a
//! running box gains by metadata that follow. Each name is made aside and renamed, so that it is old or new, never half;
//! what a running box has cached stays as it was until the box is started again. The copied layer, with the databases
//! that must fit together, is never changed: it is made anew.
//!
//! A refresh that is killed leaves directories that are done and directories that are not, under an index that knows
//! none of them as done: the next one does them all. After a loss of power the index may be newer than the layer; so the
//! state says that the layer may not be on disk before the first of its names is changed (`begin`).

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::build::Host;
use super::entry::{Facts, Writer};
use super::select::{How, is_excluded, is_public_directory, is_public_file};
use super::walk::{Job, Stamp, Walk, names, open_directory};
use crate::progress::Progress;
use crate::sys::{Context, SysResult};

/// What a refresh did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// No directory has changed.
    Unchanged,
    /// The layer fits the host again; the stamps of all its directories.
    Updated(Vec<Stamp>),
    /// A new file of the host stands in front of another tree's redirect: the layer must be made anew.
    Collision,
}

/// Compares every directory with `stamps` and redoes those that changed. `since` is the time of the last refresh
/// (seconds): files changed later are redone even when size and time are the same. `begin` is called before anything is
/// changed.
pub(super) fn refresh(
    host: &Host,
    layer: &Path,
    stamps: Vec<Stamp>,
    since: i64,
    copy_limit: u64,
    begin: impl FnOnce() -> SysResult<()>,
    progress: &dyn Progress,
) -> SysResult<Refreshed> {
    let (kept, changed) = compare(host, stamps);
    if changed.is_empty() {
        return Ok(Refreshed::Unchanged);
    }
    begin()?;
    let mut walk = Walk {
        host: &host.root,
        layer,
        excluded: &host.excluded,
        roots: &host.roots,
        writer: Writer::new(false, true),
        copy_limit,
        previous: None,
    };
    let known = kept.iter().chain(&changed).map(|stamp| stamp.path.clone()).collect();
    let mut update = Update { walk: &walk, since, known, new: Vec::new(), removed: HashSet::new(), collision: false };
    let mut fresh = Vec::with_capacity(changed.len());
    for stamp in changed {
        if !update.is_gone(&stamp.path) {
            fresh.extend(update.directory(&stamp.path)?);
        }
    }
    let Update { new, removed, collision, .. } = update;
    if collision {
        return Ok(Refreshed::Collision);
    }
    walk.writer = Writer::new(false, false);
    let (_, made) = walk.run(new, progress)?;
    let gone = |path: &Path| path.ancestors().any(|ancestor| removed.contains(ancestor));
    let mut all: Vec<Stamp> = kept.into_iter().chain(fresh).filter(|stamp| !gone(&stamp.path)).collect();
    all.extend(made);
    Ok(Refreshed::Updated(all))
}

/// Which directories are as they were, and which are not.
fn compare(host: &Host, stamps: Vec<Stamp>) -> (Vec<Stamp>, Vec<Stamp>) {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(1, 4));
    let chunk = stamps.len().div_ceil(threads).max(1);
    let current: Vec<bool> = std::thread::scope(|scope| {
        let workers: Vec<_> = stamps
            .chunks(chunk)
            .map(|part| {
                let work = || part.iter().map(|stamp| is_current(host, stamp)).collect::<Vec<_>>();
                (part.len(), scope.spawn(work))
            })
            .collect();
        // A thread that panicked knows nothing: its directories are done again.
        workers.into_iter().flat_map(|(count, worker)| worker.join().unwrap_or_else(|_| vec![false; count])).collect()
    });
    let mut current = current.into_iter();
    stamps.into_iter().partition(|_| current.next().unwrap_or(false))
}

fn is_current(host: &Host, stamp: &Stamp) -> bool {
    rustix::fs::stat(host.root.join(&stamp.path)).is_ok_and(|stat| {
        let facts = Facts::from(stat);
        *stamp == Stamp::new(stamp.path.clone(), &facts)
    })
}

struct Update<'a> {
    walk: &'a Walk<'a>,
    since: i64,
    /// Directories of the index: one that is not among them was left half done by a refresh that was killed.
    known: HashSet<PathBuf>,
    /// Directories that the layer did not have.
    new: Vec<Job>,
    /// Directories that it has no more, or anew.
    removed: HashSet<PathBuf>,
    collision: bool,
}

impl Update<'_> {
    fn is_gone(&self, path: &Path) -> bool {
        !self.removed.is_empty() && path.ancestors().any(|ancestor| self.removed.contains(ancestor))
    }

    fn directory(&mut self, path: &Path) -> SysResult<Option<Stamp>> {
        let Ok(from) = open_directory(&self.walk.host.join(path)) else {
            // Its parent has changed as well, and takes it away; the root of a tree stays, empty.
            return Ok(None);
        };
        let call = || format!("update `/{}`", path.display());
        let to = open_directory(&self.walk.layer.join(path)).call(call)?;
        let facts = Facts::of_open(from.as_fd()).call(call)?;
        rustix::fs::fchmod(&to, Mode::from_raw_mode(facts.mode | 0o700)).call(call)?;
        let theirs = if is_public_directory(facts.mode) { names(from.as_fd()).call(call)? } else { HashSet::new() };
        let mut ours = names(to.as_fd()).call(call)?;
        let job = Job { path: path.to_owned(), how: How::Metadata };
        let excluded = self.walk.excluded.in_directory(path);
        for name in theirs {
            if is_excluded(name.as_bytes(), excluded) {
                continue;
            }
            let existed = ours.contains(&name);
            match self.entry(&job, from.as_fd(), to.as_fd(), &name, existed) {
                Ok(true) => {
                    ours.remove(&name);
                }
                Ok(false) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).call(|| format!("update `/{}`", path.join(&name).display())),
            }
        }
        for name in ours {
            self.remove(path, to.as_fd(), &name).call(|| format!("remove `{}`", path.join(&name).display()))?;
        }
        self.walk.writer.finish_directory(to.as_fd(), &facts).call(call)?;
        Ok(Some(Stamp::new(path.to_owned(), &facts)))
    }

    /// `Ok(false)`: the layer should not have it.
    fn entry(
        &mut self,
        job: &Job,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
        existed: bool,
    ) -> Result<bool, Errno> {
        let text = CString::new(name.as_bytes()).unwrap_or_default();
        let facts = Facts::of(from, &text)?;
        let mut old = if existed { Some(Facts::of(to, &text)?) } else { None };
        let is_directory = facts.kind == FileType::Directory;
        if old.is_some_and(|old| {
            (old.kind == FileType::Directory) != is_directory
                || (is_directory && !self.known.contains(&job.path.join(name)))
        }) {
            self.remove(&job.path, to, name)?;
            old = None;
        }
        if old.is_none() && self.stands_in_front(&job.path.join(name)) {
            self.collision = true;
        }
        match facts.kind {
            FileType::Directory if old.is_some() => Ok(true),
            FileType::Directory => {
                Writer::directory(to, &text)?;
                self.new.push(Job { path: job.path.join(name), how: job.how });
                Ok(true)
            }
            FileType::Symlink | FileType::RegularFile
                if old.is_some_and(|old| old.stands_for(&facts)) && facts.changed.0 < self.since =>
            {
                Ok(is_public_file(facts.mode))
            }
            FileType::Symlink => self.walk.writer.symlink(from, to, &text, &facts).map(|()| true),
            FileType::RegularFile if is_public_file(facts.mode) => self.walk.file(job, from, to, &text, &facts),
            _ => Ok(false),
        }
    }

    fn stands_in_front(&self, path: &Path) -> bool {
        self.walk.roots.hidden_by(path).iter().any(|later| self.walk.layer.join(later).symlink_metadata().is_ok())
    }

    fn remove(&mut self, directory: &Path, to: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let path = directory.join(name);
        match rustix::fs::unlinkat(to, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                remove_tree(&self.walk.layer.join(&path))
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                self.removed.insert(path);
                self.new.retain(|job| !job.path.starts_with(directory.join(name)));
                Ok(())
            }
            other => other,
        }
    }
}

/// Removes a tree of ours, whatever modes its directories have.
pub(super) fn remove_tree(path: &Path) -> std::io::Result<()> {
    let stat = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return std::fs::remove_file(path);
    }
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::chmod(path, Mode::RWXU)?;
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}
