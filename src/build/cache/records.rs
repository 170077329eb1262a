//! What earlier steps made.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::build::error::{At, BuildError};
use crate::image::digest::Digest;
use crate::image::store::{Store, layer_name};

/// The format of a record.
const VERSION: u32 = 1;

/// How exactly the time of the last use is known.
const USE_NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Its layer; `None`: it changed nothing.
    pub layer: Option<BuiltLayer>,
    /// When, RFC 3339.
    pub created: String,
}

/// A layer that a step made, or that an image has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// The digest of its uncompressed archive, which names it in the store.
    pub diff_id: Digest,
    /// Bytes of that archive.
    pub size_bytes: u64,
}

/// The records for one layout of ids: what a step can do depends on it.
#[derive(Debug, Clone)]
pub struct Records {
    store: Store,
    layout: String,
}

impl Records {
    /// Of the steps done with the ids of `layout`.
    #[must_use]
    pub fn new(store: &Store, layout: String) -> Self {
        Self { store: store.clone(), layout }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.store.path().join("build/steps").join(format!("{}.{}", key.as_str(), self.layout))
    }

    /// What the step `key` made, if that is known and its layer is there.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Record> {
        let path = self.path(key);
        let record: Record = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        let there = record.layer.as_ref().is_none_or(|layer| self.tree(&layer.diff_id).is_some());
        if record.version != VERSION || !there {
            return None;
        }
        note_use(&path);
        Some(record)
    }

    /// Remembers what the step `key` made.
    pub fn remember(&self, key: &Key, layer: Option<BuiltLayer>, created: String) -> Result<Record, BuildError> {
        let record = Record { version: VERSION, layer, created };
        self.write(&self.path(key), &serde_json::to_vec(&record).unwrap_or_default())?;
        Ok(record)
    }

    /// Where the tree of a layer lies.
    #[must_use]
    pub fn tree(&self, diff_id: &Digest) -> Option<PathBuf> {
        self.store.tree(&layer_name(diff_id), &self.layout)
    }

    /// The digest of what the step `key` copied from a stage or an image.
    #[must_use]
    pub fn source(&self, key: &Key) -> Option<String> {
        let path = self.source_path(key);
        let digest = std::fs::read_to_string(&path).ok().filter(|digest| digest.len() == 64)?;
        note_use(&path);
        Some(digest)
    }

    /// Remembers the digest of what the step `key` copied.
    pub fn remember_source(&self, key: &Key, digest: &str) -> Result<(), BuildError> {
        self.write(&self.source_path(key), digest.as_bytes())
    }

    fn source_path(&self, key: &Key) -> PathBuf {
        self.store.path().join("build/sources").join(format!("{}.{}", key.as_str(), self.layout))
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), BuildError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).at("create", parent)?;
        }
        // Losing it costs nothing but time: it need not reach the disk at once.
        let fresh = path.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, content).at("write", &fresh)?;
        std::fs::rename(&fresh, path).at("rename", &fresh)
    }
}

/// Makes a record young that was needed again: the garbage collection goes by the time of the last use. Once a day will
/// do, and a record that cannot be changed only ages.
fn note_use(path: &Path) {
    let is_recent = |time: SystemTime| time.elapsed().is_ok_and(|age| age < USE_NOTED);
    if !path.metadata().and_then(|meta| meta.modified()).is_ok_and(is_recent) {
        File::open(path).and_then(|file| file.set_modified(SystemTime::now())).unwrap_or_default();
    }
}

/// The directory in the store's `layers` that the record at `path` is about; `None` inside: its step changed nothing.
/// `None`: this is no record of this format.
#[must_use]
pub fn step_layer(path: &Path) -> Option<Option<String>> {
    let record: Record = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let (_key, layout) = path.file_name()?.to_str()?.split_once('.')?;
    let layer = record.layer.map(|layer| format!("{}.{layout}", layer_name(&layer.diff_id)));
    (record.version == VERSION).then_some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_young() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::new(&Store::open(&directory.path().join("store")).unwrap(), "root".to_owned());
        let key = Key::root(&["x"]);
        records.remember(&key, None, String::new()).unwrap();
        let age = || records.path(&key).metadata().unwrap().modified().unwrap().elapsed().unwrap();
        let old = SystemTime::now() - 40 * USE_NOTED;
        File::open(records.path(&key)).unwrap().set_modified(old).unwrap();
        assert!(age() > USE_NOTED);
        assert!(records.find(&key).is_some());
        assert!(age() < USE_NOTED);
    }
}
