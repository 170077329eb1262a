//! The layer store.
//!
//! ```text
//! store/
//!   version                      "1"
//!   lock                         shared: a layer is being made or used; exclusive: garbage collection
//!   layers/<name>.<layout>/      one unpacked layer; `layout` is `IdMap::layout()`
//!     fs/                        the tree, whiteouts as overlayfs has them
//!     unsettled                  a mark: the disk may not have all of it yet (see `settle`)
//!     layer.json                 LayerRecord; written last, so a directory without it is garbage
//!   blobs/<algorithm>/<digits>   manifests, indexes and configurations as they were hashed, and archives of layers
//!                                that were packed here (see `transfer::archives`)
//!   images/<digest of name>.json an image by its name: ImageRecord (see `images`)
//!   partial/<layer's digest>     what has been downloaded of a layer's archive so far
//!   archives/<digest of path>    what is known of a base archive (see `base::archive`)
//!   host/                        metadata layers of the `host` base (see `base::host`)
//!   seals.json  usage.json       what is known of layers' trees: see `upkeep`
//!   locks/<name>                 held while a layer of that name is being made
//!   tmp/                         layers being made; each holds a locked file while its maker lives
//!     lock                       shared: a directory is being begun; exclusive: the dead are being counted
//! ```
//!
//! A layer appears by one rename and is never changed afterwards.

mod blobs;
mod build;
mod files;
mod images;
mod settle;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use build::LayerBuild;
pub use files::{TEMPORARY, write_durably};
pub use images::{ImageRecord, layer_name};

use crate::image::remove::{RemoveError, remove_tree};
use crate::userns::idmap::IdMap;

/// The format that this program writes and reads.
const VERSION: u32 = 1;

/// The store could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer program has changed the store's format.
    #[error("the store `{}` has format {found:?}; this devbox knows format {VERSION} (a newer devbox made it)", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// What its `version` file says.
        found: String,
    },
    /// A file or directory of the store could not be handled.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A name that cannot be one directory's.
    #[error("`{}` cannot name a layer", name.escape_debug())]
    Name {
        /// The name.
        name: String,
    },
    /// A record is not what this program writes.
    #[error("cannot read the layer record `{}`", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The machine ended before all of a layer was on the disk.
    #[error("the layer `{}` was not on the disk when the machine stopped", path.display())]
    Unsettled {
        /// Its directory.
        path: PathBuf,
    },
    /// A tree could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

/// Adds the operation and the path to an I/O error.
pub(crate) trait At<T> {
    /// `operation` on `path` failed.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::Io { operation, path: path.to_owned(), source: error.into() })
    }
}

/// What is known of a layer: the content of `layer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Format of this record.
    pub version: u32,
    /// Names the content.
    pub name: String,
    /// `IdMap::layout()` of the map under which it was unpacked.
    pub layout: String,
    /// `sha256:<hex>` of the uncompressed archive.
    pub diff_id: Option<String>,
    /// Where it came from, for people.
    pub source: String,
    /// When, RFC 3339 in UTC.
    pub created: String,
    /// Files, directories and links in the tree.
    pub entries: u64,
    /// Bytes of all regular files.
    pub size_bytes: u64,
    /// The packages that a layer of packages brought, and their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, String>,
    /// Directories that the archive implied and did not state: see `UnpackReport`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub implied: Vec<Vec<u8>>,
    /// Everything below this layer is hidden: nothing may be stacked under it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_everything: bool,
}

impl LayerRecord {
    /// A record of this format, created now.
    #[must_use]
    pub fn new(name: &str, map: &IdMap, source: &str) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            layout: map.layout(),
            diff_id: None,
            source: source.to_owned(),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            entries: 0,
            size_bytes: 0,
            packages: BTreeMap::new(),
            implied: Vec::new(),
            hides_everything: false,
        }
    }
}

/// A complete layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its directory.
    pub path: PathBuf,
    /// What is known of it.
    pub record: LayerRecord,
}

impl Layer {
    /// The tree, to be stacked.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.path.join("fs")
    }
}

/// A lock that is released when this is dropped, or when its process dies.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Guard(#[expect(dead_code, reason = "held for its lock")] File);

/// An open store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Opens the store at `path` (absolute), making it with its parents (mode 0700) when it is not there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned() };
        let version = path.join("version");
        match std::fs::read_to_string(&version) {
            Ok(text) if text.trim() == VERSION.to_string() => Ok(store),
            // An empty file: the disk was full when the store was made.
            Ok(text) if !text.trim().is_empty() => {
                Err(StoreError::Version { path: store.path, found: text.trim().chars().take(40).collect() })
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("read", &version),
            Ok(_) | Err(_) => store.create(),
        }
    }

    fn create(self) -> Result<Self, StoreError> {
        for name in ["", "layers", "archives", "host", "locks", "tmp", "images", "partial"] {
            let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).at("create", &path)?;
        }
        for name in ["lock", "tmp/lock"] {
            open_lock(&self.path.join(name))?;
        }
        write_durably(&self.path.join("version"), format!("{VERSION}\n").as_bytes())?;
        Ok(self)
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the layer `name` for `layout` lies, or would.
    pub fn layer_path(&self, name: &str, layout: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        check_name(layout)?;
        let both = format!("{name}.{layout}");
        check_name(&both)?;
        Ok(self.path.join("layers").join(both))
    }

    /// The tree of the layer `name` for `layout`, if it is complete. Reads no record: for the start-up path.
    #[must_use]
    pub fn tree(&self, name: &str, layout: &str) -> Option<PathBuf> {
        let path = self.layer_path(name, layout).ok()?;
        (path.join("layer.json").exists() && settle::is_sound(&path)).then(|| path.join("fs"))
    }

    /// The layer `name` for `layout`, if it is complete and its record can be read.
    #[must_use]
    pub fn layer(&self, name: &str, layout: &str) -> Option<Layer> {
        let path = self.layer_path(name, layout).ok()?;
        load_record(&path).ok().map(|record| Layer { path, record })
    }

    /// All complete layers, in no particular order.
    pub fn layers(&self) -> Result<Vec<Layer>, StoreError> {
        self.layers_named("")
    }

    /// The complete layers whose names begin with `prefix`, in no particular order; only their records are read.
    pub fn layers_named(&self, prefix: &str) -> Result<Vec<Layer>, StoreError> {
        let directory = self.path.join("layers");
        let mut layers = Vec::new();
        for entry in std::fs::read_dir(&directory).at("list", &directory)? {
            let entry = entry.at("list", &directory)?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
                && let Ok(record) = load_record(&entry.path())
            {
                layers.push(Layer { path: entry.path(), record });
            }
        }
        Ok(layers)
    }

    /// Begins a layer for `map`. What was begun and not committed is removed when the build is dropped, or by the next
    /// [`Store::sweep`] when this process dies.
    pub fn begin(&self, map: &IdMap) -> Result<LayerBuild, StoreError> {
        let beginning = open_lock(&self.path.join("tmp/lock"))?;
        beginning.lock_shared().at("lock", &self.path.join("tmp/lock"))?;
        LayerBuild::begin(self, map)
    }

    /// Waits until no other process makes a layer called `name`: whoever gets the lock looks again whether the layer is
    /// there, so that two processes share the work.
    pub fn lock_name(&self, name: &str) -> Result<Guard, StoreError> {
        check_name(name)?;
        let path = self.path.join("locks").join(name);
        let file = open_lock(&path)?;
        file.lock().at("lock", &path)?;
        Ok(Guard(file))
    }

    /// Keeps the garbage collection away while layers are made or used.
    pub fn lock_shared(&self) -> Result<Guard, StoreError> {
        let path = self.path.join("lock");
        let file = open_lock(&path)?;
        file.lock_shared().at("lock", &path)?;
        Ok(Guard(file))
    }

    /// The garbage collection's lock; `None` while layers are made or used.
    pub fn try_lock_exclusive(&self) -> Result<Option<Guard>, StoreError> {
        let path = self.path.join("lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Guard(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(source).at("lock", &path),
        }
    }

    /// Removes what dead makers left in `tmp/`, as the root of a namespace with `map`; returns how many there were.
    ///
    /// Cheap when there is nothing to do. The caller must be single-threaded (see [`crate::userns::stage`]).
    pub fn sweep(&self, map: &IdMap) -> Result<u64, StoreError> {
        let directory = self.path.join("tmp");
        let counting = open_lock(&directory.join("lock"))?;
        counting.lock().at("lock", &directory.join("lock"))?;
        // The locks of the dead are kept until they are removed: another sweep leaves them alone.
        let mut dead = Vec::new();
        for entry in std::fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            if path == directory.join("lock") {
                continue;
            }
            match File::open(path.join("lock")) {
                Ok(lock) => {
                    if lock.try_lock().is_ok() {
                        dead.push((path, Some(lock)));
                    }
                }
                Err(_) => dead.push((path, None)),
            }
        }
        drop(counting);
        let mut removed = 0;
        for (path, _lock) in dead {
            remove_tree(&path, map)?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn load_record(layer: &Path) -> Result<LayerRecord, StoreError> {
    let path = layer.join("layer.json");
    let text = std::fs::read(&path).at("read", &path)?;
    if !settle::is_sound(layer) {
        return Err(StoreError::Unsettled { path: layer.to_owned() });
    }
    serde_json::from_slice(&text).map_err(|source| StoreError::Record { path, source })
}

/// A lock file, made when it is not there; never removed, so that all processes lock the same file.
fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).at("open", path)
}

/// One file name of letters, digits, `.`, `_`, `-`, not beginning with a dot or a dash: hexadecimal digests are.
fn check_name(name: &str) -> Result<(), StoreError> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 250 || name.starts_with(['.', '-']) || !name.bytes().all(safe) {
        return Err(StoreError::Name { name: name.chars().take(80).collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
