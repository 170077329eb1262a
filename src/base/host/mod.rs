//! The `host` base: the box sees the host's own system directories, and writes into none of them.
//!
//! Three ways, chosen by [`prepare`]:
//!
//! * An ordinary user, Linux 6.16 or newer. Host files belong to ids that the box has not, so they cannot be copied up.
//!   A *metadata layer* stands in for them: real directories and symlinks, and for each file an empty one of the right
//!   size, mode and time that belongs to the box's root and redirects to the host's (`user.overlay.metacopy`,
//!   `user.overlay.redirect`, data-only lower layers). Above it lies the *copied layer*: `/etc`, package databases, the
//!   skeleton of `/var`, empty directories. `lower` is `[copied, metadata]`, in that order: overlayfs follows redirects
//!   from the lowest ordinary layer only.
//! * An ordinary user, an older kernel (or one who chose it), `fuse-overlayfs`: `driver` is [`OverlayDriver::Fuse`],
//!   `lower` is `[copied]`, and `host_directories` are seen below it. The sandbox binds them read-only into a directory,
//!   which is the lowest layer (`sandbox::fuse`); the program shows what belongs to ids that the box has not as root's.
//! * The host's root: `lower` is `[copied]`, and each of `host_directories` is overlaid at its own path.
//!
//! What is taken: `select`. What is on disk: `state`.
//!
//! # What is noticed when
//!
//! On each start some thirty paths are looked at (package databases, `/etc`, `/usr/local/bin` ...) and the mount points
//! inside the trees. If one of them changed, or after ten minutes, each directory of the metadata layer (12,000, about
//! 20 ms) and each copied file is compared. What is replaced by a rename, as package managers do, is thus seen at the
//! next start; what is put deep into `/usr` by hand within ten minutes; a file that is rewritten in place is
//! seen at once as to its content, while its size and time follow when its directory changes.
//!
//! # Small files
//!
//! Some are copied into the metadata layer on ext4, where that is cheaper than a long redirect (`entry::copy_limit`).
//! When such a file is rewritten in place, its content too follows only when its directory changes.
//!
//! # Cost
//!
//! 120,000 files take about 2.5 s of processor time, spread over the processors, and up to 340 MB of ext4
//! (the more of them have long paths). On an ext4 *without a journal* a layer takes ten times longer within a minute (six, until what was
//! removed is written back) after as many files were removed: there the file system looks for inodes that were not freed
//! recently (`recently_deleted`), from the start of the group, for each file. Layers are therefore brought up to date,
//! and made anew only for another kernel, other mount points or another version of this program.
//!
//! # What gets lost
//!
//! Owners: everything is the box's root's, whoever owns it on the host. Setuid and setgid bits are kept, file capabilities
//! are not. Hard links of the host are separate files.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context as Digest, SHA256};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::RootLayers;
use super::driver::{FuseError, OverlayDriver};
use crate::paths::{self, Paths, PathsError};
use crate::process::in_background;
use crate::progress::Progress;
use crate::sys::{Context, SysError};
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::{self, StageError};

mod accounts;
mod build;
mod entry;
mod index;
mod mounts;
mod probe;
mod refresh;
mod roots;
mod select;
mod state;
#[cfg(test)]
mod tests;
mod walk;

pub use probe::{Probe, probe};
pub use walk::Report;

use build::{Below, Host};
use refresh::Refreshed;
use state::{Made, Observed, State};

/// The host base could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Neither way is open to an ordinary user.
    #[error(
        "the host base of an ordinary user needs data-only overlay layers in user namespaces (Linux 6.16) or \
         `fuse-overlayfs`: {reason}; {fuse}"
    )]
    Unsupported {
        /// What the trial mount said.
        reason: String,
        /// Why the other way is closed.
        fuse: FuseError,
    },
    /// The store's directory could not be made.
    #[error(transparent)]
    Store(#[from] PathsError),
    /// Something could not be read or written.
    #[error(transparent)]
    System(#[from] SysError),
    /// The same, in a namespace with the box's ids.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Which of the three ways is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A metadata layer.
    Metadata,
    /// `fuse-overlayfs`.
    Fuse,
    /// Each directory by itself: the host's root.
    Direct,
}

/// Makes the host base, or brings it up to date.
///
/// Costs a few dozen `stat`s when nothing has changed. The layers may be superseded by another process as soon as this
/// returns: [`hold`] them, and prepare again if that answers `NotFound`.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    driver: Option<OverlayDriver>,
    progress: &dyn Progress,
) -> Result<RootLayers, HostError> {
    let private = [&paths.data, &paths.config, &paths.cache, &paths.runtime].map(Clone::clone).into_iter();
    let home = Some(paths.home.clone()).filter(|home| !select::is_shared(home));
    let source = Source {
        root: PathBuf::from("/"),
        store: paths.store().join("host"),
        private: private.chain(home).collect(),
        wanted: driver,
        copy_limit: None,
    };
    source.prepare(map, progress)
}

/// Keeps the layers from being removed for as long as the file is open. Descriptors of it may be inherited.
///
/// `NotFound`: they were removed already, prepare again.
pub fn hold(layers: &RootLayers) -> std::io::Result<File> {
    let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let path = layers.lower.first().and_then(|copied| copied.parent()).ok_or_else(gone)?.join("lock");
    let file = File::open(&path)?;
    rustix::fs::flock(&file, FlockOperation::LockShared)?;
    // Whoever removes a layer holds the lock, and renames the directory before it lets go.
    let same = std::fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
    if same { Ok(file) } else { Err(gone()) }
}

/// Removes layers of the host base that were replaced and that nobody holds, and those of the current one as well unless
/// that `is_needed`: some box stands on it. What another process is preparing is left alone. The caller must be
/// single-threaded.
pub fn collect(paths: &Paths, map: &IdMap, is_needed: bool) -> Result<(), HostError> {
    let store = paths.store().join("host");
    let list = || -> std::io::Result<Vec<String>> {
        let names = std::fs::read_dir(&store)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect())
    };
    for layout in list().unwrap_or_default() {
        let path = store.join(format!("{layout}.lock"));
        let locked = state::lock(&path, FlockOperation::NonBlockingLockExclusive);
        let Some(_lock) = locked.call(|| format!("lock `{}`", path.display()))? else { continue };
        let current = State::load(&store, &layout);
        let kept = current.as_ref().filter(|_| is_needed);
        if kept.is_none() {
            let state = store.join(format!("{layout}.json"));
            std::fs::remove_file(&state).call(|| format!("remove `{}`", state.display()))?;
        }
        stage::run_mapped(map, || state::sweep(&store, &layout, kept).map_err(|error| error.to_string()))?;
    }
    Ok(())
}

/// Where the base is made from and to.
#[derive(Debug, Clone)]
pub struct Source {
    /// The host's root directory: `/`.
    pub root: PathBuf,
    /// The directory of the host base in the store.
    pub store: PathBuf,
    /// Absolute directories that are left out wherever they lie: ours, and the user's home.
    pub private: Vec<PathBuf>,
    /// Who is to stack the layers; `None`: whoever can, the kernel first.
    pub wanted: Option<OverlayDriver>,
    /// Files up to this size (bytes) are copied into the metadata layer; `None`: what suits the store's file system.
    pub copy_limit: Option<u64>,
}

/// One update.
struct Task<'a> {
    host: &'a Host,
    observed: &'a Observed,
    layout: &'a str,
    driver: Driver,
    /// What there is, if it can be built upon.
    old: Option<&'a State>,
    /// The layout's lock.
    lock: Option<&'a File>,
}

impl Source {
    /// See [`prepare`].
    pub fn prepare(&self, map: &IdMap, progress: &dyn Progress) -> Result<RootLayers, HostError> {
        let mountinfo = std::fs::read("/proc/self/mountinfo").call(|| "read `/proc/self/mountinfo`".to_owned())?;
        let host = Host::look(&self.root, &self.private, &mountinfo)?;
        let observed = Observed::now(&self.root, &host.points);
        paths::create_private(&self.store)?;
        let driver = self.choose(map, &observed)?;
        // A machine may have boxes of both kinds.
        let layout = if driver == Driver::Fuse { format!("{}-fuse", map.layout()) } else { map.layout() };
        if let Some(layers) = self.current(&layout, &observed)? {
            return Ok(layers);
        }
        let path = self.store.join(format!("{layout}.lock"));
        let call = || format!("lock `{}`", path.display());
        let lock = match state::lock(&path, FlockOperation::NonBlockingLockExclusive).call(call)? {
            Some(lock) => Some(lock),
            None => {
                progress.note("waiting for another process that prepares the host base");
                state::lock(&path, FlockOperation::LockExclusive).call(call)?
            }
        };
        // The other process may have done it meanwhile.
        if let Some(layers) = self.current(&layout, &observed)? {
            return Ok(layers);
        }
        let old = State::load(&self.store, &layout).filter(|old| old.is_usable(&self.store, &observed));
        let task =
            Task { host: &host, observed: &observed, layout: &layout, driver, old: old.as_ref(), lock: lock.as_ref() };
        let work = || self.update(&task, progress);
        // Where the invoking user is not root in the box, the box's root is another id of the host.
        let state: State = if map.mode == IdMode::Range && map.user != 0 {
            stage::run_mapped(map, || work().map_err(|error| error.to_string()))?
        } else {
            work()?
        };
        Ok(state.layers)
    }

    /// The layers, if they are there and nothing has changed.
    fn current(&self, layout: &str, observed: &Observed) -> Result<Option<RootLayers>, SysError> {
        let Some(mut state) = State::load(&self.store, layout) else { return Ok(None) };
        if !state.is_usable(&self.store, observed) || !state.is_fresh(observed) {
            return Ok(None);
        }
        if state.note_durable(observed) {
            state.save(&self.store, layout).call(|| format!("write the state of `{layout}`"))?;
        }
        Ok(Some(state.layers))
    }

    fn choose(&self, map: &IdMap, observed: &Observed) -> Result<Driver, HostError> {
        if map.mode == IdMode::Root {
            return Ok(Driver::Direct);
        }
        // The mount says why it cannot be as was chosen.
        match self.wanted {
            Some(OverlayDriver::Fuse) => return Ok(Driver::Fuse),
            Some(OverlayDriver::Kernel) => return Ok(Driver::Metadata),
            None => {}
        }
        // What has been made on this kernel works on it.
        if State::load(&self.store, &map.layout()).is_some_and(|old| old.is_usable(&self.store, observed)) {
            return Ok(Driver::Metadata);
        }
        let probe = probe(&self.store);
        match (probe.metadata, probe.fuse) {
            (None, _) => Ok(Driver::Metadata),
            (Some(_), None) => Ok(Driver::Fuse),
            (Some(reason), Some(fuse)) => Err(HostError::Unsupported { reason, fuse }),
        }
    }

    fn update(&self, task: &Task<'_>, progress: &dyn Progress) -> Result<State, SysError> {
        let Task { host, observed, layout, driver, old, lock } = *task;
        let sweep = |current: Option<&State>| {
            state::sweep(&self.store, layout, current).call(|| format!("clean `{}`", self.store.display()))
        };
        sweep(old)?;
        progress
            .begin("preparing the host base", Some(old.map_or_else(|| estimate(&self.root), |old| old.report.made)));
        let (metadata, metadata_report) = match driver {
            Driver::Metadata => {
                let (name, report) = self.metadata(task, progress)?;
                (Some(name), report)
            }
            Driver::Fuse | Driver::Direct => (None, None),
        };
        let digest = copied_digest(host)?;
        let same_copy = old.filter(|old| old.copied_digest == digest && old.metadata == metadata);
        let copied = match same_copy {
            Some(old) => old.copied.clone(),
            None => self.copied(task, metadata.as_deref(), progress)?,
        };
        progress.end();
        let layers = self.layers(host, layout, driver, metadata.as_deref(), &copied);
        let written = metadata_report.is_some() || same_copy.is_none();
        let report = metadata_report.or_else(|| old.map(|old| old.report)).unwrap_or_default();
        let made = Made { driver, layers, metadata, copied, copied_digest: digest, report, written };
        let state = State::new(observed, made, old);
        state.save(&self.store, layout).call(|| format!("write the state of `{layout}`"))?;
        let keep: Vec<_> = lock.iter().map(|file| file.as_raw_fd()).collect();
        let detached = in_background(&keep, || {
            // What is left is found by the next update.
            sweep(Some(&state)).ok();
        });
        if detached.is_err() {
            sweep(Some(&state))?;
        }
        Ok(state)
    }

    fn layers(&self, host: &Host, layout: &str, driver: Driver, metadata: Option<&str>, copied: &str) -> RootLayers {
        let fs = |name: &str| self.store.join(name).join("fs");
        RootLayers {
            id: state::identity(&self.root, layout),
            digest: None,
            lower: std::iter::once(copied).chain(metadata).map(fs).collect(),
            data_only: if driver == Driver::Metadata { host.roots.directories() } else { Vec::new() },
            host_directories: if driver == Driver::Metadata { Vec::new() } else { host.system_directories() },
            read_only_binds: host.selection.read_only_binds.clone(),
            driver: if driver == Driver::Fuse { OverlayDriver::Fuse } else { OverlayDriver::Kernel },
            environment: Vec::new(),
            fuse_overlayfs: None,
        }
    }

    /// The name of the metadata layer, and what was made if anything was.
    fn metadata(&self, task: &Task<'_>, progress: &dyn Progress) -> Result<(String, Option<Report>), SysError> {
        let Task { host, observed, layout, old, .. } = *task;
        let copy_limit = self.copy_limit.unwrap_or_else(|| entry::copy_limit(&self.store));
        if let Some(old) = old
            && let Some(name) = &old.metadata
            && old.layers.data_only == host.roots.directories()
            && let Some(stamps) = index::load(&self.store.join(name).join("index"))
        {
            let directory = self.store.join(name);
            let begin = || {
                let unsynced = old.unsynced(observed);
                unsynced.save(&self.store, layout).call(|| format!("write the state of `{layout}`"))
            };
            match refresh::refresh(host, &directory.join("fs"), stamps, old.since, copy_limit, begin, progress)? {
                Refreshed::Unchanged => return Ok((name.clone(), None)),
                Refreshed::Updated(stamps) => {
                    write_index(&directory, &stamps, observed.now)?;
                    return Ok((name.clone(), Some(old.report)));
                }
                Refreshed::Collision => {}
            }
        }
        let temporary = self.temporary(layout)?;
        let (report, stamps) = build::metadata(host, &temporary.join("fs"), copy_limit, progress)?;
        write_index(&temporary, &stamps, observed.now)?;
        Ok((self.publish(&temporary, &format!("{layout}-m"))?, Some(report)))
    }

    /// The name of a new copied layer.
    fn copied(&self, task: &Task<'_>, metadata: Option<&str>, progress: &dyn Progress) -> Result<String, SysError> {
        let Task { host, layout, driver, old, .. } = *task;
        let temporary = self.temporary(layout)?;
        let write = |name: &str, content: &str| {
            let path = temporary.join(name);
            std::fs::write(&path, content).call(|| format!("write `{}`", path.display()))
        };
        write("lock", "")?;
        write("metadata", metadata.unwrap_or_default())?;
        let below = if driver == Driver::Metadata { Below::Metadata } else { Below::Directories };
        let previous = old.map(|old| (self.store.join(&old.copied).join("fs"), old.since));
        let previous = previous.as_ref().map(|(path, since)| (path.as_path(), *since));
        build::copied(host, &temporary.join("fs"), below, driver == Driver::Direct, previous, progress)?;
        self.publish(&temporary, &format!("{layout}-c"))
    }

    /// A new directory with an empty `fs` in it.
    fn temporary(&self, layout: &str) -> Result<PathBuf, SysError> {
        let directory = tempfile::Builder::new()
            .prefix(&state::temporary_prefix(layout))
            .tempdir_in(&self.store)
            .call(|| format!("make a directory in `{}`", self.store.display()))?
            .keep();
        let fs = directory.join("fs");
        std::fs::create_dir(&fs).call(|| format!("mkdir `{}`", fs.display()))?;
        for path in [&directory, &fs] {
            rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o755))
                .call(|| format!("chmod `{}`", path.display()))?;
        }
        Ok(directory)
    }

    /// Gives a finished layer its name.
    fn publish(&self, temporary: &Path, prefix: &str) -> Result<String, SysError> {
        let random = temporary.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{}", random.rsplit('+').next().unwrap_or_default());
        rustix::fs::rename(temporary, self.store.join(&name)).call(|| format!("rename `{}`", temporary.display()))?;
        Ok(name)
    }
}

fn write_index(directory: &Path, stamps: &[walk::Stamp], started: i64) -> Result<(), SysError> {
    let (new, path) = (directory.join("index.new"), directory.join("index"));
    let call = || format!("write `{}`", path.display());
    std::fs::write(&new, index::write(stamps, started)).call(call)?;
    std::fs::rename(&new, &path).call(call)
}

/// Of the facts of everything that the copied layer is made from.
fn copied_digest(host: &Host) -> Result<String, SysError> {
    let mut digest = Digest::new(&SHA256);
    build::each_copied(host, &mut |path, facts| {
        digest.update(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        let numbers = [facts.modified.0, facts.modified.1, facts.changed.0, facts.changed.1];
        for number in numbers {
            digest.update(&number.to_le_bytes());
        }
        digest.update(&facts.mode.to_le_bytes());
        digest.update(&facts.size.to_le_bytes());
    })?;
    Ok(state::hex(digest))
}

/// How many files there may be, for the progress bar of the first time.
fn estimate(root: &Path) -> u64 {
    let used = rustix::fs::statvfs(root.join("usr")).map_or(0, |stat| stat.f_files.saturating_sub(stat.f_ffree));
    if used == 0 { 150_000 } else { used.min(150_000) }
}
