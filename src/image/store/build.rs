//! A layer that is being made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::files::{sync_directory, write_durably};
use super::settle::{mark, sync_all};
use super::{At, Layer, LayerRecord, Store, StoreError, load_record};
use crate::image::remove::remove_tree;
use crate::userns::idmap::IdMap;

/// A directory in `tmp/` that becomes a layer. Dropping it in the process that began it removes it; a fork may commit it.
#[derive(Debug)]
pub struct LayerBuild {
    /// The process that began it.
    owner: u32,
    store: Store,
    map: IdMap,
    path: PathBuf,
    /// Locked as long as this process lives.
    _lock: File,
}

impl LayerBuild {
    /// The caller holds `tmp/lock` shared: nobody takes the directory for a dead one before it holds its lock.
    pub(super) fn begin(store: &Store, map: &IdMap) -> Result<Self, StoreError> {
        let tmp = store.path().join("tmp");
        let path = tempfile::Builder::new().prefix("layer-").rand_bytes(12).tempdir_in(&tmp).at("create", &tmp)?.keep();
        let name = path.join("lock");
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name).at("create", &name)?;
        lock.lock().at("lock", &name)?;
        let tree = path.join("fs");
        DirBuilder::new().mode(0o755).create(&tree).at("create", &tree)?;
        Ok(Self { owner: std::process::id(), store: store.clone(), map: map.clone(), path, _lock: lock })
    }

    /// The directory that will be the layer's: scratch files (archives on their way) go here, not into the tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tree to be filled: an empty directory of the invoking user, mode 0755.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.path.join("fs")
    }

    /// Makes the tree the layer `record.name` for `record.layout`, on the disk when this returns. If another process was
    /// first, its layer is returned and this one removed.
    pub fn commit(self, record: LayerRecord) -> Result<Layer, StoreError> {
        self.remove_scratch()?;
        sync_all(&self.path)?;
        write_durably(&self.record(), &self.text(&record)?)?;
        let layer = self.publish(record)?;
        sync_directory(&self.store.path().join("layers"))?;
        Ok(layer)
    }

    /// As [`LayerBuild::commit`], for a layer that can be had again. Somebody has to call [`Store::settle`], or
    /// [`Store::settle_later`], after it.
    pub fn commit_unsettled(self, record: LayerRecord) -> Result<Layer, StoreError> {
        self.remove_scratch()?;
        mark(&self.path)?;
        std::fs::write(self.record(), self.text(&record)?).at("write", &self.record())?;
        self.publish(record)
    }

    fn record(&self) -> PathBuf {
        self.path.join("layer.json")
    }

    fn text(&self, record: &LayerRecord) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec_pretty(record).map_err(|source| StoreError::Record { path: self.record(), source })
    }

    /// Gives the directory its name.
    fn publish(&self, record: LayerRecord) -> Result<Layer, StoreError> {
        let target = self.store.layer_path(&record.name, &record.layout)?;
        loop {
            match rustix::fs::rename(&self.path, &target) {
                Ok(()) => return Ok(Layer { path: target, record }),
                Err(Errno::EXIST | Errno::NOTEMPTY) => {
                    if let Ok(theirs) = load_record(&target) {
                        return Ok(Layer { path: target, record: theirs });
                    }
                    self.push_aside(&target)?;
                }
                Err(errno) => return Err(errno).at("rename", &self.path),
            }
        }
    }

    /// Everything but the tree: lock, scratch files. The lock itself lives on in the open file.
    fn remove_scratch(&self) -> Result<(), StoreError> {
        for entry in std::fs::read_dir(&self.path).at("list", &self.path)? {
            let entry = entry.at("list", &self.path)?;
            if entry.file_name() != "fs" && entry.file_name() != "lock" {
                std::fs::remove_file(entry.path()).at("remove", &entry.path())?;
            }
        }
        Ok(())
    }

    /// A directory without a readable record is garbage that somebody else left; the next sweep removes it.
    fn push_aside(&self, target: &Path) -> Result<(), StoreError> {
        let tmp = self.store.path().join("tmp");
        let aside = tempfile::Builder::new().prefix("garbage-").tempdir_in(&tmp).at("create", &tmp)?.keep();
        match rustix::fs::rename(target, &aside) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).at("rename", target),
        }
    }
}

impl Drop for LayerBuild {
    fn drop(&mut self) {
        // After a commit there is nothing at this path. A failure leaves it to the next sweep, as being killed does.
        if self.owner == std::process::id() && self.path.exists() {
            remove_tree(&self.path, &self.map).unwrap_or_default();
        }
    }
}
