//! What is on disk below `store/host`, and whether it still fits the host.
//!
//! ```text
//! <layout>.json        the current layers and what the host looked like when they were made
//! <layout>.lock        held while they are made or brought up to date
//! <layout>-m<token>/   fs/ the metadata layer, brought up to date in place; index
//! <layout>-c<token>/   fs/ the copied layer, never changed; lock, shared by those who use it; metadata: the name of
//!                      the metadata layer that is used with it
//! tmp-*                being made, or left by a process that was killed
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context as Digest, SHA256};
use rustix::fs::{AtFlags, FlockOperation};
use serde::{Deserialize, Serialize};

use super::Driver;
use super::entry::Facts;
use super::mounts::MountPoint;
use super::refresh::remove_tree;
use super::walk::Report;
use crate::base::RootLayers;

/// Counts up when what is on disk is to be made anew.
const VERSION: u32 = 1;

/// All directories are compared when that was last done this long ago (seconds), although no [`TRIGGERS`] changed.
const FULL_CHECK_SECONDS: i64 = 600;

/// What a file system has written back on its own after this long (seconds), see [`State::is_durable`].
const WRITTEN_BACK_SECONDS: i64 = 60;

/// What is looked at on each start: where package managers keep their state, and the directories people install into.
const TRIGGERS: &[&str] = &[
    "etc",
    "etc/apt/sources.list.d",
    "var/lib/dpkg",
    "var/lib/dpkg/status",
    "var/lib/apt/lists",
    "var/lib/apt/extended_states",
    "var/lib/rpm",
    "usr/lib/sysimage/rpm",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "var/lib/pacman/local",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/db/pkg",
    "var/db/xbps",
    "usr",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/include",
    "usr/share",
    "usr/local",
    "usr/local/bin",
    "usr/local/sbin",
    "usr/local/lib",
    "usr/local/share",
    "usr/local/include",
    "opt",
    "bin",
    "sbin",
    "lib",
];

/// What decides whether packages installed on top of the base still fit it.
const IDENTITY: &[&str] = &[
    "etc/os-release",
    "etc/passwd",
    "etc/group",
    "var/lib/dpkg/status",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "var/lib/pacman/local",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/db/pkg",
    "var/db/xbps",
];

/// Modification, change, size, inode; none: it is not there.
type Seen = Option<(i64, i64, i64, i64, u64, u64)>;

/// The content of `<layout>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// The kernel that the driver was chosen on.
    release: String,
    pub driver: Driver,
    /// What [`super::prepare`] returns.
    pub layers: RootLayers,
    /// Directory names below `store/host`.
    pub metadata: Option<String>,
    pub copied: String,
    /// Of everything that was copied.
    pub copied_digest: String,
    /// Of the mount points inside the trees.
    pub mounts: String,
    triggers: Vec<Seen>,
    /// When everything was last compared, and when that comparison began (seconds since the epoch).
    pub checked: i64,
    pub since: i64,
    /// The boot in which the layers were written, as long as they may not be on disk yet.
    unsynced_boot: Option<String>,
    pub report: Report,
}

/// What is observed of the host before anything is made.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub release: String,
    pub mounts: String,
    triggers: Vec<Seen>,
    pub now: i64,
    boot: String,
}

impl Observed {
    pub fn now(root: &Path, points: &[MountPoint]) -> Self {
        let mut digest = Digest::new(&SHA256);
        for point in points {
            digest.update(format!("{:?}\n", point).as_bytes());
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            mounts: hex(digest),
            triggers: TRIGGERS.iter().map(|path| see(&root.join(path))).collect(),
            now: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0)),
            boot: boot.trim().to_owned(),
        }
    }
}

fn see(path: &Path) -> Seen {
    let facts = Facts::from(rustix::fs::statat(rustix::fs::CWD, path, AtFlags::NO_AUTOMOUNT).ok()?);
    let (modified, changed) = (facts.modified, facts.changed);
    Some((modified.0, modified.1, changed.0, changed.1, facts.size, facts.inode))
}

pub(super) fn hex(digest: Digest) -> String {
    digest.finish().as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Names the packages and accounts of the host.
pub(super) fn identity(root: &Path, layout: &str) -> String {
    let mut digest = Digest::new(&SHA256);
    digest.update(&VERSION.to_le_bytes());
    for path in IDENTITY {
        let seen = see(&root.join(path)).map(|seen| (seen.0, seen.1, seen.4));
        digest.update(format!("{path} {seen:?}\n").as_bytes());
    }
    format!("host-{layout}-{}", hex(digest))
}

/// What a finished update knows.
pub(super) struct Made {
    pub driver: Driver,
    pub layers: RootLayers,
    pub metadata: Option<String>,
    pub copied: String,
    pub copied_digest: String,
    pub report: Report,
    /// Whether anything was written.
    pub written: bool,
}

impl State {
    pub fn new(observed: &Observed, made: Made, old: Option<&Self>) -> Self {
        let kept = old.filter(|_| !made.written).and_then(|old| old.unsynced_boot.clone());
        Self {
            version: VERSION,
            release: observed.release.clone(),
            driver: made.driver,
            layers: made.layers,
            metadata: made.metadata,
            copied: made.copied,
            copied_digest: made.copied_digest,
            mounts: observed.mounts.clone(),
            triggers: observed.triggers.clone(),
            checked: observed.now,
            since: observed.now - super::index::RACY_SECONDS,
            unsynced_boot: if made.written { Some(observed.boot.clone()) } else { kept },
            report: made.report,
        }
    }

    /// Reads the state of `layout`. One that is damaged or of another version counts as absent.
    pub fn load(store: &Path, layout: &str) -> Option<Self> {
        let text = std::fs::read(store.join(format!("{layout}.json"))).ok()?;
        serde_json::from_slice(&text).ok().filter(|state: &Self| state.version == VERSION)
    }

    pub fn save(&self, store: &Path, layout: &str) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix("tmp-state-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(store)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.persist(store.join(format!("{layout}.json")))?;
        Ok(())
    }

    /// Whether the layers can be used for what they were made for: they are there, whole, and the driver is still right.
    pub fn is_usable(&self, store: &Path, observed: &Observed) -> bool {
        self.release == observed.release
            && self.mounts == observed.mounts
            && self.is_durable(observed)
            && self.metadata.iter().chain([&self.copied]).all(|name| store.join(name).join("fs").is_dir())
    }

    /// Nothing is flushed to disk when layers are made: that would cost more than making them again. So layers that
    /// were written during an earlier boot count only if somebody has since noted that the kernel had the time to write
    /// them back.
    fn is_durable(&self, observed: &Observed) -> bool {
        self.unsynced_boot.as_ref().is_none_or(|boot| *boot == observed.boot)
    }

    /// This state while its layers are being changed: they count as not on disk.
    pub fn unsynced(&self, observed: &Observed) -> Self {
        Self { unsynced_boot: Some(observed.boot.clone()), ..self.clone() }
    }

    /// Whether everything is to be compared: something was installed, or it is time.
    pub fn is_fresh(&self, observed: &Observed) -> bool {
        self.triggers == observed.triggers && (0..FULL_CHECK_SECONDS).contains(&(observed.now - self.checked))
    }

    /// Notes that what was written has reached the disk, if enough time has passed. Whether anything was noted.
    pub fn note_durable(&mut self, observed: &Observed) -> bool {
        // `since` is moved by each comparison, so this is a minute without any.
        let waited = observed.now - self.since > WRITTEN_BACK_SECONDS;
        waited && self.unsynced_boot.take().is_some()
    }
}

/// Opens (making it if needed) and locks a file; `None`: somebody else holds it and `operation` does not wait.
pub(super) fn lock(path: &Path, operation: FlockOperation) -> std::io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            File::options().create(true).append(true).open(path)?
        }
        other => other?,
    };
    match rustix::fs::flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes what was left half made, and layers of `layout` that `current` does not name and nobody holds. The caller
/// has the lock of the layout; `tmp-` directories carry the layout's name, so that other builders' stay.
pub(super) fn sweep(store: &Path, layout: &str, current: Option<&State>) -> std::io::Result<()> {
    let mut metadata: Vec<PathBuf> = Vec::new();
    let mut used: Vec<String> = current.and_then(|state| state.metadata.clone()).into_iter().collect();
    for entry in std::fs::read_dir(store)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(&temporary_prefix(layout)) {
            remove_tree(&entry.path())?;
        } else if name.starts_with(&format!("{layout}-c")) {
            let is_current = current.is_some_and(|state| state.copied == name);
            if is_current {
                continue;
            }
            // Held: its metadata layer is in use too.
            match lock(&entry.path().join("lock"), FlockOperation::NonBlockingLockExclusive)? {
                Some(_locked) => discard(store, layout, &entry.path())?,
                None => used.extend(std::fs::read_to_string(entry.path().join("metadata"))),
            }
        } else if name.starts_with(&format!("{layout}-m")) {
            metadata.push(entry.path());
        }
    }
    for path in metadata {
        if !used.iter().any(|name| path.file_name().is_some_and(|own| own == name.as_str())) {
            discard(store, layout, &path)?;
        }
    }
    Ok(())
}

/// What directories under construction begin with. A layout ends before a dash and a letter of ours.
pub(super) fn temporary_prefix(layout: &str) -> String {
    format!("tmp-{layout}+")
}

/// Out of the way first, so that nobody takes up what is half removed.
fn discard(store: &Path, layout: &str, path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = store.join(format!("{}{name}", temporary_prefix(layout)));
    std::fs::rename(path, &aside)?;
    remove_tree(&aside)
}
