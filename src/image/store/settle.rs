//! Layers that need not be on the disk yet.
//!
//! Waiting for the disk takes longer than all else that a pull does. So a layer that can be had again is complete as soon as
//! it is written, and carries a mark until the disk has it: `unsettled`, a symlink to the id of the boot it was made in (made
//! at once with its content, unlike a file). Until this boot ends the kernel shows everything that was written. After
//! it, files of a layer with a mark may be lost without a trace: it counts as not there, and is made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{At, Store, StoreError};
use crate::process::in_background;

/// The mark's name in the directory of the layer.
const MARK: &str = "unsettled";
/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Marks the layer in the directory `layer`, before it gets its name.
pub(super) fn mark(layer: &Path) -> Result<(), StoreError> {
    let boot = fs::read_to_string(BOOT_ID).at("read", Path::new(BOOT_ID))?;
    let mark = layer.join(MARK);
    std::os::unix::fs::symlink(boot.trim(), &mark).at("create", &mark)
}

/// Whether the layer in the directory `layer` is as it was when it was made: it has no mark, or one of this boot.
pub(super) fn is_sound(layer: &Path) -> bool {
    match fs::read_link(layer.join(MARK)) {
        Ok(boot) => fs::read_to_string(BOOT_ID).is_ok_and(|now| Path::new(now.trim()) == boot),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

impl Store {
    /// The marks of this boot's layers.
    fn marks(&self) -> Result<Vec<PathBuf>, StoreError> {
        let directory = self.path().join("layers");
        let mut marks = Vec::new();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let layer = entry.at("list", &directory)?.path();
            let mark = layer.join(MARK);
            if mark.is_symlink() && is_sound(&layer) {
                marks.push(mark);
            }
        }
        Ok(marks)
    }

    /// Waits until the disk has every layer. One call for the whole file system is faster than one for each of thousands of
    /// files.
    pub fn settle(&self) -> Result<(), StoreError> {
        let marks = self.marks()?;
        if marks.is_empty() {
            return Ok(());
        }
        sync_all(self.path())?;
        for mark in marks {
            match fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("remove", &mark),
                _ => {}
            }
        }
        Ok(())
    }

    /// As [`Store::settle`], by a process of its own that nobody waits for. When it fails the layers keep their marks, and are
    /// settled by the next one. The caller must be single-threaded.
    pub fn settle_later(&self) -> Result<(), StoreError> {
        if self.marks()?.is_empty() {
            return Ok(());
        }
        in_background(&[], || self.settle().unwrap_or_default()).map_err(io::Error::from).at("sync", self.path())
    }
}

/// Writes everything to the disk that the file system of `directory` has in memory.
pub(super) fn sync_all(directory: &Path) -> Result<(), StoreError> {
    let handle = fs::File::open(directory).at("open", directory)?;
    rustix::fs::syncfs(&handle).at("sync", directory)
}
