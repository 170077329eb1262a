//! What must stay: everything that an image, a box, a session or a recent step of a build needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cache::{self, Division};
use super::{UpkeepError, children, name};
use crate::base::image::is_from_file;
use crate::boxes::{BoxDir, BoxId, list, lower};
use crate::image::digest::Digest;
use crate::image::manifest::{Document, parse_document};
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::user::BuildCache;
use crate::userns::idmap::IdMap;

/// The layers and blobs that must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Names of directories in `store/layers`.
    pub layers: BTreeSet<String>,
    /// Manifests, indexes, configurations, and those archives of layers that are kept.
    pub blobs: BTreeSet<Digest>,
    /// Records of images from files that no box stands on any more.
    pub old_images: Vec<PathBuf>,
    /// What builds remember and need not any longer.
    pub old_cache: Vec<PathBuf>,
    /// Some box stands on the host base.
    pub host: bool,
    /// Some box does not say what it stands on: what was made on this machine must stay.
    pub made_here: bool,
    /// Running boxes of which nobody knows what they stand on: all layers must stay.
    pub unknown_boxes: Vec<BoxId>,
    /// Images whose records cannot be read: all layers and blobs must stay.
    pub unknown_images: Vec<PathBuf>,
}

impl Roots {
    /// Reads them. `cache`: what is kept of builds. The caller must be single-threaded.
    pub fn find(paths: &Paths, store: &Store, map: &IdMap, cache: BuildCache) -> Result<Self, UpkeepError> {
        let mut roots = Self::default();
        let mut from_files = Vec::new();
        for path in children(&store.path().join("images"))? {
            match read_image(&path) {
                Some(record) if is_from_file(&record.name) => from_files.push((path, record)),
                Some(record) => roots.add_image(store, &record)?,
                // What a killed command left, or was begun just now.
                None if name(&path).starts_with('.') => {}
                None => roots.unknown_images.push(path),
            }
        }
        for listed in list::list(paths)? {
            let base_id = listed.record.as_ref().map(|record| record.base_id.as_str()).ok();
            roots.add_box(&listed.directory, base_id, listed.is_running(paths));
        }
        let Division { kept, surplus } = cache::divide(paths, store, map, &roots.layers, cache)?;
        roots.layers.extend(kept.into_iter().filter_map(|entry| entry.layer));
        roots.old_cache = surplus;
        for (path, record) in from_files {
            if roots.made_here || layer_directories(&record).any(|layer| roots.layers.contains(&layer)) {
                roots.add_image(store, &record)?;
            } else {
                roots.old_images.push(path);
            }
        }
        Ok(roots)
    }

    /// Whether the layer in the directory `name` must stay.
    #[must_use]
    pub fn keep(&self, name: &str) -> bool {
        let is_made_here = ["archive-", "distro-", "packages-"].iter().any(|prefix| name.starts_with(prefix));
        self.layers.contains(name) || (self.made_here && is_made_here)
    }

    /// Whether nothing says for sure what is garbage.
    #[must_use]
    pub fn are_unknown(&self) -> bool {
        !(self.unknown_boxes.is_empty() && self.unknown_images.is_empty())
    }

    fn add_image(&mut self, store: &Store, record: &ImageRecord) -> Result<(), UpkeepError> {
        self.layers.extend(layer_directories(record));
        self.blobs.extend(record.index.clone());
        self.blobs.insert(record.manifest.digest.clone());
        let Some(manifest) = store.blob(&record.manifest.digest)? else { return Ok(()) };
        if let Ok(Document::Manifest(manifest)) = parse_document(&manifest, Some(&record.manifest.media_type)) {
            self.blobs.insert(manifest.config.digest.clone());
            self.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
        }
        Ok(())
    }

    fn add_box(&mut self, directory: &BoxDir, base_id: Option<&str>, is_running: bool) {
        self.host |= base_id.is_none_or(|base| base.starts_with("host"));
        match lower::claimed(directory) {
            Some(names) => self.layers.extend(names),
            None if is_running => self.unknown_boxes.push(directory.id().clone()),
            // It was not started since claims are written: what cannot be fetched again must stay.
            None => self.made_here = true,
        }
    }
}

/// The directories of its layers, for all ids that it was unpacked for.
fn layer_directories(record: &ImageRecord) -> impl Iterator<Item = String> {
    record.layers.iter().flat_map(|(layout, names)| names.iter().map(move |name| format!("{name}.{layout}")))
}

/// The record of an image, if it can be read.
pub(super) fn read_image(path: &Path) -> Option<ImageRecord> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The layers of the store by the names of their directories.
pub(super) fn layers(store: &Store) -> Result<BTreeMap<String, PathBuf>, UpkeepError> {
    let paths = children(&store.path().join("layers"))?;
    Ok(paths.into_iter().map(|path| (name(&path).to_owned(), path)).collect())
}
