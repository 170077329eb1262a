//! `devbox check`: whether everything in the store and every box is what it should be.
//!
//! Blobs are compared with their digests, records with what they name. An unpacked layer has no digest that it could be
//! compared with, since its archive is gone; so the first check writes down the digest of its tree (`store/seals.json`), and the
//! later ones compare. Names, kinds, modes, owners, times of modification, links and contents count, extended attributes do
//! not.
//!
//! A repair removes what is broken and can be had again: the next start, pull or build fetches or makes it. Nothing that a
//! box wrote is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::roots::{layers, read_image};
use super::seal::digest_of_tree;
use super::{At, UpkeepError, children, name};
use crate::boxes::{directory, list, lower, pool, state};
use crate::image::digest::Digest;
use crate::image::manifest::{Document, parse_document};
use crate::image::store::{ImageRecord, LayerRecord, Store, TEMPORARY, write_durably};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// Whether to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Only say what is wrong.
    No,
    /// Remove what is broken and can be had again.
    Yes,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The path below the data directory.
    pub subject: String,
    /// What is wrong.
    pub fact: String,
    /// It was mended.
    pub repaired: bool,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Manifests, indexes and configurations.
    pub blobs: u64,
    /// Images.
    pub images: u64,
    /// Layers of the store and frozen layers of boxes.
    pub layers: u64,
    /// Of those, how many were read for the first time: there was nothing to compare them with.
    pub sealed: u64,
    /// Boxes.
    pub boxes: u64,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

/// Looks at everything. With [`Repair::Yes`], the store is locked until it is over, and what runs is left alone. The caller
/// must be single-threaded.
pub fn check(paths: &Paths, map: &IdMap, repair: Repair, progress: &dyn Progress) -> Result<Report, UpkeepError> {
    let store = Store::open(&paths.store())?;
    let lock = store.try_lock_exclusive()?;
    if lock.is_none() && repair == Repair::Yes {
        return Err(UpkeepError::Busy);
    }
    let mut check = Check { paths, store: &store, repair, report: Report::default(), in_use: BTreeSet::new() };
    for listed in list::list(paths)?.iter().filter(|listed| listed.is_running(paths)) {
        check.in_use.extend(lower::claimed(&listed.directory).unwrap_or_default());
    }
    check.blobs()?;
    check.layers(map, progress)?;
    check.images()?;
    check.boxes()?;
    drop(lock);
    Ok(check.report)
}

struct Check<'a> {
    paths: &'a Paths,
    store: &'a Store,
    repair: Repair,
    report: Report,
    /// Layers that running boxes stand on.
    in_use: BTreeSet<String>,
}

/// What was read of a layer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    created: String,
    digest: String,
}

/// A layer to be read.
struct Sealed {
    path: PathBuf,
    /// What its seal is known by.
    name: String,
    /// When it was made: another layer may get the name of one that is gone.
    created: String,
}

impl Check<'_> {
    fn found(&mut self, path: &Path, fact: impl Into<String>, repaired: bool) {
        let subject = path.strip_prefix(&self.paths.data).unwrap_or(path).display().to_string();
        self.report.findings.push(Finding { subject, fact: fact.into(), repaired });
    }

    /// Notes what is wrong with `path`, which is of no use, and puts it into the trash.
    fn drop_tree(&mut self, path: &Path, fact: &str) -> Result<(), UpkeepError> {
        let is_kept = self.repair == Repair::No || self.in_use.contains(name(path));
        if !is_kept {
            pool::discard(&self.paths.data, path)?;
        }
        self.found(path, fact, !is_kept);
        Ok(())
    }

    fn blobs(&mut self) -> Result<(), UpkeepError> {
        for algorithm in children(&self.store.path().join("blobs"))? {
            // What somebody writes, or was killed writing: `gc` removes it.
            let is_written = |path: &PathBuf| name(path).starts_with(TEMPORARY);
            for path in children(&algorithm)?.into_iter().filter(|path| !is_written(path)) {
                self.report.blobs += 1;
                let digest = format!("{}:{}", name(&algorithm), name(&path)).parse::<Digest>();
                let bytes = std::fs::read(&path).at("read", &path)?;
                if !digest.is_ok_and(|digest| digest.matches(&bytes)) {
                    self.drop_tree(&path, "the content has another digest than the name says")?;
                }
            }
        }
        Ok(())
    }

    fn layers(&mut self, map: &IdMap, progress: &dyn Progress) -> Result<(), UpkeepError> {
        let mut trees = Vec::new();
        for (name, path) in layers(self.store)? {
            self.report.layers += 1;
            let text = std::fs::read(path.join("layer.json")).unwrap_or_default();
            let Ok(record) = serde_json::from_slice::<LayerRecord>(&text) else {
                self.drop_tree(&path, "there is no record that can be read")?;
                continue;
            };
            if format!("{}.{}", record.name, record.layout) != name {
                self.drop_tree(&path, "the record is that of another layer")?;
            } else if !path.join("fs").is_dir() {
                self.drop_tree(&path, "there is no tree")?;
            } else if self.store.layer(&record.name, &record.layout).is_none() {
                self.drop_tree(&path, "it was not on the disk when the machine stopped")?;
            } else if record.layout.starts_with(&map.layout()) {
                trees.push(Sealed { name, path, created: record.created });
            }
        }
        for path in children(&directory::pool(&self.paths.data))? {
            self.report.layers += 1;
            if !path.join("fs").is_dir() {
                self.found(&path, "there is no tree: `devbox reset` or `devbox rm` of the box that needs it", false);
            } else if pool_map(&path).is_none_or(|own| own.layout() == map.layout()) {
                let name = format!("box-layers/{}", name(&path));
                trees.push(Sealed { name, path, created: String::new() });
            }
        }
        self.compare_seals(&trees, map, progress)
    }

    fn compare_seals(&mut self, trees: &[Sealed], map: &IdMap, progress: &dyn Progress) -> Result<(), UpkeepError> {
        let read = |tree: &Sealed| digest_of_tree(&tree.path.join("fs")).map_err(|errno| errno.to_string());
        let digests = run_mapped(map, || {
            progress.begin("reading layers", Some(trees.len() as u64));
            let mut digests = Vec::new();
            for tree in trees {
                digests.push(read(tree));
                progress.advance(digests.len() as u64);
            }
            progress.end();
            Ok(digests)
        });
        let digests = digests.map_err(|source| UpkeepError::Stage { action: "read the layers", source })?;
        let file = self.store.path().join("seals.json");
        let text = std::fs::read(&file).unwrap_or_default();
        let old: BTreeMap<String, Seal> = serde_json::from_slice(&text).unwrap_or_default();
        // Those of layers that are gone are not taken over.
        let mut seals = BTreeMap::new();
        for (tree, digest) in trees.iter().zip(digests) {
            let known = old.get(&tree.name).filter(|seal| seal.created == tree.created);
            let digest = match (digest, known) {
                (Err(reason), _) => {
                    self.found(&tree.path, format!("it cannot be read: {reason}"), false);
                    continue;
                }
                (Ok(digest), Some(seal)) if seal.digest == digest => digest,
                (Ok(_), Some(seal)) => {
                    let fact = "it has changed since it was first checked";
                    if tree.path.starts_with(self.store.path().join("layers")) {
                        self.drop_tree(&tree.path, fact)?;
                    } else {
                        self.found(&tree.path, fact, false);
                    }
                    seal.digest.clone()
                }
                (Ok(digest), None) => {
                    self.report.sealed += 1;
                    digest
                }
            };
            if tree.path.exists() {
                seals.insert(tree.name.clone(), Seal { created: tree.created.clone(), digest });
            }
        }
        if seals != old {
            let text = serde_json::to_vec(&seals).map_err(std::io::Error::from).at("write", &file)?;
            // What was found is said all the same, on a full disk for one.
            if let Err(error) = write_durably(&file, &text) {
                let reason = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
                progress.note(&format!("what was read for the first time is not remembered: {error}{reason}"));
            }
        }
        Ok(())
    }

    fn images(&mut self) -> Result<(), UpkeepError> {
        for path in children(&self.store.path().join("images"))? {
            self.report.images += 1;
            let Some(record) = read_image(&path) else {
                self.drop_tree(&path, "it cannot be read")?;
                continue;
            };
            if let Some(fact) = self.missing_blob(&record)? {
                self.drop_tree(&path, &fact)?;
                continue;
            }
            self.image_layers(&path, record)?;
        }
        Ok(())
    }

    fn missing_blob(&self, record: &ImageRecord) -> Result<Option<String>, UpkeepError> {
        let shown = crate::text::sanitize(&record.name).into_owned();
        let Some(manifest) = self.store.blob(&record.manifest.digest)? else {
            return Ok(Some(format!("the manifest of {shown} is missing")));
        };
        let Ok(Document::Manifest(manifest)) = parse_document(&manifest, Some(&record.manifest.media_type)) else {
            return Ok(Some(format!("the manifest of {shown} is none")));
        };
        let config = self.store.blob(&manifest.config.digest)?;
        Ok(config.is_none().then(|| format!("the configuration of {shown} is missing")))
    }

    /// An image whose layers are not all there is to be unpacked again for those ids.
    fn image_layers(&mut self, path: &Path, record: ImageRecord) -> Result<(), UpkeepError> {
        let (whole, broken): (BTreeMap<_, _>, BTreeMap<_, _>) = record
            .layers
            .clone()
            .into_iter()
            .partition(|(layout, names)| names.iter().all(|name| self.store.tree(name, layout).is_some()));
        if broken.is_empty() {
            return Ok(());
        }
        let repaired = self.repair == Repair::Yes;
        let fact = format!("layers of {} are missing", crate::text::sanitize(&record.name));
        if repaired {
            self.store.put_image(&ImageRecord { layers: whole, ..record })?;
        }
        self.found(path, fact, repaired);
        Ok(())
    }

    fn boxes(&mut self) -> Result<(), UpkeepError> {
        for listed in list::list(self.paths)? {
            self.report.boxes += 1;
            let directory = &listed.directory;
            let record = match state::load(directory) {
                Ok(record) => record,
                Err(error) => {
                    let fact = format!("{error}: `devbox rm --force {}` removes the box", listed.id);
                    self.found(directory.path(), fact, false);
                    continue;
                }
            };
            // Of an unfinished change, the next command makes the writable layer anew.
            if record.pending.is_none() && !directory.upper().is_dir() {
                self.found(&directory.upper(), "the writable layer is missing: `devbox reset` makes a new one", false);
            }
            let pool = directory::pool(&self.paths.data);
            let layers: BTreeSet<&str> = record.referenced_layers().collect();
            for layer in layers.into_iter().filter(|layer| record.pending.is_none() && !pool.join(layer).exists()) {
                let fact = format!("the frozen layer `{layer}` is missing: `devbox reset --all` begins anew");
                self.found(directory.path(), fact, false);
            }
        }
        Ok(())
    }
}

fn pool_map(layer: &Path) -> Option<IdMap> {
    serde_json::from_slice(&std::fs::read(layer.join(pool::MAP_FILE)).ok()?).ok()
}
