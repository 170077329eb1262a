//! The record of a box: reading and writing it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::BoxDir;
use super::error::{BoxesError, BoxesResult, IoContext};
use super::id::BoxId;
use crate::userns::idmap::IdMap;

/// The newest format of `box.json`.
pub const RECORD_VERSION: u32 = 1;

/// Everything that is remembered about a box: `box.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxRecord {
    /// Format of the record, [`RECORD_VERSION`] when written.
    pub version: u32,
    /// The name of the box's directory.
    pub id: BoxId,
    /// What the user calls the box.
    pub name: String,
    /// The project's folder on the host, canonical when the box was made.
    #[serde(with = "super::path_text")]
    pub project: PathBuf,
    /// RFC 3339, UTC.
    pub created: String,
    /// Who owns the files of the box's layers.
    pub id_map: IdMap,
    /// The base (`RootLayers::id`) that the layers were written on.
    pub base_id: String,
    /// Frozen layers below `upper`, topmost first; names in the pool.
    pub layers: Vec<String>,
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What a command has begun and not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

/// A state of the box that can be returned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Unique in the box.
    pub name: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// The frozen layers, topmost first.
    pub layers: Vec<String>,
    /// The record's `base_id` at the time.
    pub base_id: String,
}

/// What is being done to a box: carried out by `change::finish`, as often as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What becomes of the writable layer.
    pub upper: UpperFate,
    /// The record's `layers` afterwards.
    pub layers: Vec<String>,
    /// The record's `snapshots` afterwards.
    pub snapshots: Vec<Snapshot>,
    /// The record's `base_id` afterwards.
    pub base_id: String,
}

/// What becomes of the writable layer when a box changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpperFate {
    /// It stays the writable layer.
    Keep,
    /// It moves into the pool under this name, and a new one takes its place.
    Freeze(String),
    /// It moves into the trash, and a new one takes its place.
    Drop,
}

impl BoxRecord {
    /// Every layer that must stay in the pool because of this box, those of an unfinished change included.
    pub fn referenced_layers(&self) -> impl Iterator<Item = &str> {
        let pending =
            self.pending.iter().flat_map(|pending| pending.layers.iter().chain(snapshot_layers(&pending.snapshots)));
        self.layers.iter().chain(snapshot_layers(&self.snapshots)).chain(pending).map(String::as_str)
    }

    /// The snapshot called `name`.
    #[must_use]
    pub fn snapshot(&self, name: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.name == name)
    }
}

fn snapshot_layers(snapshots: &[Snapshot]) -> impl Iterator<Item = &String> {
    snapshots.iter().flat_map(|snapshot| &snapshot.layers)
}

/// Reads the text of a record.
pub fn parse_record(text: &[u8], path: &Path) -> BoxesResult<BoxRecord> {
    #[derive(Deserialize)]
    struct Format {
        version: u32,
    }
    let damaged = |source| BoxesError::Damaged { path: path.to_owned(), source };
    let version = serde_json::from_slice::<Format>(text).map_err(damaged)?.version;
    if version > RECORD_VERSION {
        return Err(BoxesError::Newer { path: path.to_owned(), version, known: RECORD_VERSION });
    }
    let record: BoxRecord = serde_json::from_slice(text).map_err(damaged)?;
    // Layers become paths: a name must not lead anywhere else.
    let sound = |layer: &str| !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if let Some(layer) = record.referenced_layers().find(|layer| !sound(layer)) {
        return Err(BoxesError::MissingLayer { name: record.name.clone(), layer: layer.to_owned() });
    }
    Ok(record)
}

/// Reads the record of a box, unfinished changes and all.
pub fn load(directory: &BoxDir) -> BoxesResult<BoxRecord> {
    let path = directory.record();
    let text = std::fs::read(&path).at("read", &path)?;
    let record = parse_record(&text, &path)?;
    if record.id != *directory.id() {
        return Err(BoxesError::Misplaced { path, found: record.id });
    }
    Ok(record)
}

/// Writes the record of a box. The caller holds the box's lock.
pub fn save(directory: &BoxDir, record: &BoxRecord) -> BoxesResult<()> {
    write_json(&directory.record(), record)
}

/// Replaces `path` at once by `value`: a reader sees the old text or the new, also after a power failure.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> BoxesResult<()> {
    let temporary = path.with_extension("json.new");
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|source| BoxesError::Damaged { path: path.to_owned(), source })?;
    text.push(b'\n');
    let mut file = File::create(&temporary).at("create", &temporary)?;
    file.write_all(&text).and_then(|()| file.sync_all()).at("write", &temporary)?;
    std::fs::rename(&temporary, path).at("rename", &temporary)
}

/// The time now: RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
