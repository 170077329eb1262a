//! Images by their names.
//!
//! A record names the manifest; what the manifest and its configuration say is read from their blobs. The directories
//! of the layers are written down per id layout, because a start must not read and compute more than it has to.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::blobs::make_directory;
use super::{At, Store, StoreError, write_durably};
use crate::image::descriptor::Descriptor;
use crate::image::digest::{self, Digest};
use crate::image::reference::Reference;

/// The format of a record.
const VERSION: u32 = 1;

/// An image of this store: the content of `images/<digest of name>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Format of this record.
    pub version: u32,
    /// The whole name: `docker.io/library/debian:latest`.
    pub name: String,
    /// The manifest of the platform that was chosen.
    pub manifest: Descriptor,
    /// The index that it was chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Repositories that have archives of its layers, as names of images in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Reference>,
    /// `NAME=value` of its configuration.
    #[serde(default)]
    pub environment: Vec<String>,
    /// When it came into the store, RFC 3339 in UTC.
    pub created: String,
    /// For each `IdMap::layout()` that it was unpacked for: names of layers, the lowest first.
    pub layers: BTreeMap<String, Vec<String>>,
}

impl ImageRecord {
    /// Remembers that the repository of `reference` has archives of the layers.
    pub fn add_origin(&mut self, reference: &Reference) {
        if !self.origins.iter().any(|origin| origin.name() == reference.name()) {
            self.origins.push(reference.clone());
        }
    }

    /// A record of this format, created now, not unpacked yet.
    #[must_use]
    pub fn new(reference: &Reference, manifest: Descriptor) -> Self {
        Self {
            version: VERSION,
            name: reference.to_string(),
            manifest,
            index: None,
            origins: Vec::new(),
            environment: Vec::new(),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            layers: BTreeMap::new(),
        }
    }
}

impl ImageRecord {
    /// What the image can be had by again: the digest of its index, or else of its manifest.
    #[must_use]
    pub fn pin(&self) -> &Digest {
        self.index.as_ref().unwrap_or(&self.manifest.digest)
    }
}

/// The name of the layer with this diff id. One whose implied directories were given the attributes that they have in
/// the layers below is named after its chain id instead.
#[must_use]
pub fn layer_name(diff_id: &Digest) -> String {
    diff_id.file_name()
}

impl Store {
    fn image_path(&self, name: &str) -> PathBuf {
        self.path().join("images").join(format!("{}.json", digest::of_bytes(name.as_bytes())))
    }

    /// The image that `reference` names here. One whose record cannot be read is an error that names the file.
    pub fn image(&self, reference: &Reference) -> Result<Option<ImageRecord>, StoreError> {
        let path = self.image_path(&reference.to_string());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", &path),
        };
        serde_json::from_slice(&text).map(Some).map_err(|source| StoreError::Record { path, source })
    }

    /// As [`Store::image`]; and an image that was pulled by its tag is also the one with the digest that the tag had then.
    pub fn find_image(&self, reference: &Reference) -> Result<Option<ImageRecord>, StoreError> {
        let found = self.image(reference)?;
        let (None, Some(digest), Some(tag)) = (&found, reference.digest(), reference.tag()) else { return Ok(found) };
        let Ok(by_tag) = reference.with_tag(tag) else { return Ok(None) };
        let has_digest =
            |record: &ImageRecord| record.manifest.digest == *digest || record.index.as_ref() == Some(digest);
        Ok(self.image(&by_tag)?.filter(has_digest))
    }

    /// The trees of an image's layers for `IdMap::layout()`, the lowest first; `None` unless it was unpacked for that, and
    /// all of them are here.
    pub fn image_trees(&self, record: &ImageRecord, layout: &str) -> Option<Vec<PathBuf>> {
        record.layers.get(layout)?.iter().map(|name| self.tree(name, layout)).collect()
    }

    /// Gives `record.name` its new meaning.
    pub fn put_image(&self, record: &ImageRecord) -> Result<(), StoreError> {
        let path = self.image_path(&record.name);
        make_directory(&self.path().join("images"))?;
        let text =
            serde_json::to_vec_pretty(record).map_err(|source| StoreError::Record { path: path.clone(), source })?;
        write_durably(&path, &text)
    }

    /// Forgets a name; `false` when there was none. Layers and blobs stay until the next garbage collection.
    pub fn remove_image(&self, reference: &Reference) -> Result<bool, StoreError> {
        let path = self.image_path(&reference.to_string());
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("remove", &path),
        }
    }

    /// Every image, by name. Records that cannot be read are left out: they are for `devbox check`.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let directory = self.path().join("images");
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).at("list", &directory),
        };
        let mut images = Vec::new();
        for entry in entries {
            let text = std::fs::read(entry.at("list", &directory)?.path()).unwrap_or_default();
            images.extend(serde_json::from_slice::<ImageRecord>(&text));
        }
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }
}
