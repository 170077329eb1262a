//! Walking directories of the host and writing what is found into a layer, on several threads.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::entry::{Facts, INODE_REDIRECT, Writer};
use super::roots::Roots;
use super::select::{Excluded, How, is_excluded, is_public_directory, is_public_file};
use crate::progress::Progress;
use crate::sys::{Context, SysError, SysResult};

/// A directory to do. It exists in the layer already.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Relative to the host's root and to the layer.
    pub path: PathBuf,
    /// How its files are taken.
    pub how: How,
}

/// What a directory of the host looked like when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub path: PathBuf,
    pub device: u64,
    pub inode: u64,
    pub modified: (i64, i64),
    pub changed: (i64, i64),
}

impl Stamp {
    pub fn new(path: PathBuf, facts: &Facts) -> Self {
        let Facts { device, inode, modified, changed, .. } = *facts;
        Self { path, device, inode, modified, changed }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Directories, files and symlinks made.
    pub made: u64,
    /// Entries left out because the user may not read them, or others may not.
    pub private: u64,
}

/// A walk over directories of the host.
pub(super) struct Walk<'a> {
    /// The host's root directory.
    pub host: &'a Path,
    /// The layer's root directory.
    pub layer: &'a Path,
    pub excluded: &'a Excluded,
    pub roots: &'a Roots,
    pub writer: Writer,
    /// Files up to this size (bytes) with a long redirect are copied, see [`super::entry::copy_limit`].
    pub copy_limit: u64,
    /// An older layer of the same kind: what in it still stands for the host's gets a second name. With the time of its
    /// making: what changed on the host since is made anew.
    pub previous: Option<(&'a Path, i64)>,
}

struct Queue {
    jobs: Vec<Job>,
    /// Threads that have work of their own.
    busy: usize,
    stamps: Vec<Stamp>,
    error: Option<SysError>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There are jobs, or none will come.
    work: Condvar,
    /// The last thread ran out of work.
    done: Condvar,
    /// Threads waiting for jobs.
    idle: AtomicUsize,
    made: AtomicU64,
    private: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Walk<'_> {
    /// Does `jobs` and everything below them. Stamps come in no order.
    pub fn run(&self, jobs: Vec<Job>, progress: &dyn Progress) -> SysResult<(Report, Vec<Stamp>)> {
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(1, 4));
        let shared = Shared {
            queue: Mutex::new(Queue { jobs, busy: threads, stamps: Vec::new(), error: None }),
            work: Condvar::new(),
            done: Condvar::new(),
            idle: AtomicUsize::new(0),
            made: AtomicU64::new(0),
            private: AtomicU64::new(0),
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&shared));
            }
            let mut queue = shared.lock();
            while queue.busy > 0 {
                queue = shared
                    .done
                    .wait_timeout(queue, Duration::from_millis(50))
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
                progress.advance(shared.made.load(Ordering::Relaxed));
            }
        });
        let queue = shared.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        match queue.error {
            Some(error) => Err(error),
            None => Ok((Report { made: shared.made.into_inner(), private: shared.private.into_inner() }, queue.stamps)),
        }
    }

    /// One thread: it does its own finds depth first, and gives half of them away when another thread has none.
    fn work(&self, shared: &Shared) {
        let mut own: Vec<Job> = Vec::new();
        let mut stamps = Vec::new();
        while let Some(job) = own.pop().or_else(|| wait_for_job(shared)) {
            match self.directory(&job, shared, &mut own) {
                Ok(stamp) => stamps.push(stamp),
                Err(error) => {
                    shared.lock().error = Some(error);
                    own.clear();
                }
            }
            if own.len() > 1 && shared.idle.load(Ordering::Relaxed) > 0 {
                // The front holds the directories nearest to the root, with the most below them.
                let half = own.len().div_ceil(2);
                shared.lock().jobs.extend(own.drain(..half));
                shared.work.notify_one();
            }
        }
        shared.lock().stamps.append(&mut stamps);
    }

    fn directory(&self, job: &Job, shared: &Shared, found: &mut Vec<Job>) -> SysResult<Stamp> {
        let shown = || format!("read `{}`", self.host.join(&job.path).display());
        let to = open_directory(&self.layer.join(&job.path)).call(|| format!("open `{}`", job.path.display()))?;
        let from = match open_directory(&self.host.join(&job.path)) {
            Ok(from) => from,
            // Gone, or closed to us after all: it stays empty until its parent changes.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Stamp::new(job.path.clone(), &nothing())),
            Err(Errno::ACCESS | Errno::PERM) => {
                shared.private.fetch_add(1, Ordering::Relaxed);
                return Ok(Stamp::new(job.path.clone(), &nothing()));
            }
            Err(errno) => return Err(SysError::new(shown(), errno)),
        };
        let facts = Facts::of_open(from.as_fd()).call(shown)?;
        if is_public_directory(facts.mode) {
            let old = self.previous.and_then(|(old, _)| open_directory(&old.join(&job.path)).ok());
            let mut pass = Pass { walk: self, job, from: from.as_fd(), to: to.as_fd(), old, shared, found };
            pass.entries()?;
        } else {
            shared.private.fetch_add(1, Ordering::Relaxed);
        }
        self.writer.finish_directory(to.as_fd(), &facts).call(|| format!("chmod `{}`", job.path.display()))?;
        Ok(Stamp::new(job.path.clone(), &facts))
    }
}

impl Walk<'_> {
    /// Makes one regular file. `Ok(false)`: it cannot be read.
    pub fn file(
        &self,
        job: &Job,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        facts: &Facts,
    ) -> Result<bool, Errno> {
        if job.how == How::Metadata
            && let Some(redirect) = self.roots.redirect(&job.path, name)
            && facts.size > if redirect.len() > INODE_REDIRECT { self.copy_limit } else { 0 }
        {
            return self.writer.metadata(to, name, facts, &redirect).map(|()| true);
        }
        self.writer.copy(from, to, name, facts)
    }
}

/// The next job of the queue; none when no thread has work that could bring more, or something failed.
fn wait_for_job(shared: &Shared) -> Option<Job> {
    let mut queue = shared.lock();
    queue.busy -= 1;
    shared.idle.fetch_add(1, Ordering::Relaxed);
    let job = loop {
        if queue.error.is_some() {
            break None;
        }
        if let Some(job) = queue.jobs.pop() {
            queue.busy += 1;
            break Some(job);
        }
        if queue.busy == 0 {
            break None;
        }
        queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
    };
    shared.idle.fetch_sub(1, Ordering::Relaxed);
    drop(queue);
    if job.is_none() {
        shared.work.notify_all();
        shared.done.notify_all();
    }
    job
}

fn nothing() -> Facts {
    Facts {
        kind: FileType::Directory,
        mode: 0,
        size: 0,
        modified: (0, 0),
        changed: (0, 0),
        device: 0,
        inode: 0,
        owner: (0, 0),
    }
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Calls `each` with the names in an open directory, without `.` and `..`.
pub(super) fn each_name(
    directory: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            each(name)?;
        }
    }
    Ok(())
}

/// One directory being done.
struct Pass<'a> {
    walk: &'a Walk<'a>,
    job: &'a Job,
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    old: Option<OwnedFd>,
    shared: &'a Shared,
    found: &'a mut Vec<Job>,
}

impl Pass<'_> {
    fn entries(&mut self) -> SysResult<()> {
        let excluded = self.walk.excluded.in_directory(&self.job.path);
        let mut failed: Option<CString> = None;
        let (from, mut made, mut private) = (self.from, 0, 0);
        each_name(from, |name| {
            if is_excluded(name.to_bytes(), excluded) {
                return Ok(());
            }
            match self.entry(name) {
                Ok(true) => made += 1,
                Ok(false) => private += 1,
                // It went away between the listing and now.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    failed = Some(name.to_owned());
                    return Err(errno);
                }
            }
            Ok(())
        })
        .call(|| {
            let name = failed.as_deref().map_or(OsStr::new(""), |name| OsStr::from_bytes(name.to_bytes()));
            format!("copy `{}`", Path::new("/").join(&self.job.path).join(name).display())
        })?;
        self.shared.made.fetch_add(made, Ordering::Relaxed);
        self.shared.private.fetch_add(private, Ordering::Relaxed);
        Ok(())
    }

    /// `Ok(false)`: left out, because it is private or no file.
    fn entry(&mut self, name: &CStr) -> Result<bool, Errno> {
        let facts = Facts::of(self.from, name)?;
        match facts.kind {
            FileType::Directory => {
                Writer::directory(self.to, name)?;
                self.found
                    .push(Job { path: self.job.path.join(OsStr::from_bytes(name.to_bytes())), how: self.job.how });
                Ok(true)
            }
            FileType::Symlink if self.link(name, &facts) => Ok(true),
            FileType::Symlink => self.walk.writer.symlink(self.from, self.to, name, &facts).map(|()| true),
            FileType::RegularFile if is_public_file(facts.mode) => {
                if self.link(name, &facts) {
                    return Ok(true);
                }
                self.walk.file(self.job, self.from, self.to, name, &facts)
            }
            _ => Ok(false),
        }
    }

    /// Takes the entry from the older layer, if it is there and still stands for the host's.
    fn link(&self, name: &CStr, facts: &Facts) -> bool {
        let (Some(old), Some((_, since))) = (&self.old, self.walk.previous) else { return false };
        facts.changed.0 < since
            && Facts::of(old.as_fd(), name).is_ok_and(|old| old.stands_for(facts))
            && Writer::link(old.as_fd(), self.to, name).is_ok()
    }
}

/// The names in a directory of a layer or of the host.
pub(super) fn names(directory: BorrowedFd<'_>) -> Result<HashSet<OsString>, Errno> {
    let mut names = HashSet::new();
    each_name(directory, |name| {
        names.insert(OsStr::from_bytes(name.to_bytes()).to_owned());
        Ok(())
    })?;
    Ok(names)
}
