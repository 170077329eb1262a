//! How much of the disk trees take, counted as `du` counts.
//!
//! Layers never change: what was counted of them is remembered in `store/usage.json`, by name and inode. The metadata
//! layer of the host base is rebuilt in place; its index tells. The file may go at
//! any time; it is counted anew then.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{UpkeepError, name};
use crate::paths::Paths;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;
use crate::userns::walk::{Counter, walk};

/// A tree to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its root, which counts, too.
    pub path: PathBuf,
    /// How much of it.
    pub extent: Extent,
}

/// How much of a tree is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// All of it, once: it never changes under this name.
    Frozen,
    /// All of it, anew when this file in it was replaced.
    Witnessed(&'static str),
    /// The root alone.
    Root,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// What tells that it is the same, and its bytes, by the last two parts of the path.
    trees: BTreeMap<String, (u64, u64)>,
}

impl Tree {
    /// Changes when the tree does; `None`: it may change at any time, or is not there.
    fn mark(&self) -> Option<u64> {
        let inode = |path: &Path| std::fs::symlink_metadata(path).map(|meta| meta.ino()).ok();
        match self.extent {
            Extent::Frozen => inode(&self.path),
            Extent::Witnessed(file) => {
                let meta = std::fs::symlink_metadata(self.path.join(file)).ok()?;
                let modified = meta
                    .mtime()
                    .cast_unsigned()
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(meta.mtime_nsec().cast_unsigned());
                Some(inode(&self.path)? ^ meta.ino().rotate_left(32) ^ modified)
            }
            Extent::Whole | Extent::Root => None,
        }
    }
}

fn file(paths: &Paths) -> PathBuf {
    paths.store().join("usage.json")
}

fn key(path: &Path) -> String {
    format!("{}/{}", path.parent().map(name).unwrap_or_default(), name(path))
}

/// The bytes that each tree takes; 0 for one that is not there. A file with several names counts once. The caller must be
/// single-threaded.
pub fn measure(paths: &Paths, map: &IdMap, trees: &[Tree]) -> Result<Vec<u64>, UpkeepError> {
    let text = std::fs::read(file(paths)).unwrap_or_default();
    let mut known: Known = serde_json::from_slice(&text).unwrap_or_default();
    let remembered = |tree: &Tree| {
        let mark = tree.mark()?;
        known.trees.get(&key(&tree.path)).filter(|(then, _)| *then == mark).map(|(_, bytes)| *bytes)
    };
    let mut sizes: Vec<Option<u64>> = trees.iter().map(remembered).collect();
    let missing: Vec<&Tree> =
        trees.iter().zip(&sizes).filter(|(_, size)| size.is_none()).map(|(tree, _)| tree).collect();
    if !missing.is_empty() {
        let counted = run_mapped(map, || Ok(count_all(&missing)))
            .map_err(|source| UpkeepError::Stage { action: "count the disk's space", source })?;
        let mut counted = counted.into_iter();
        for size in sizes.iter_mut().filter(|size| size.is_none()) {
            *size = counted.next();
        }
        remember(paths, &mut known, trees, &sizes);
    }
    Ok(sizes.into_iter().map(Option::unwrap_or_default).collect())
}

/// Forgets what is gone. That this cannot be written, on a full disk, costs time only.
fn remember(paths: &Paths, known: &mut Known, trees: &[Tree], sizes: &[Option<u64>]) {
    let mut changed = false;
    for (tree, size) in trees.iter().zip(sizes) {
        if let (Some(bytes), Some(mark)) = (size, tree.mark()) {
            changed |= known.trees.insert(key(&tree.path), (mark, *bytes)) != Some((mark, *bytes));
        }
    }
    let store = paths.store();
    known.trees.retain(|key, _| store.join(key).exists());
    if changed && let Ok(text) = serde_json::to_vec(known) {
        let temporary = file(paths).with_extension("json.new");
        let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, file(paths)));
        written.or_else(|_| std::fs::remove_file(&temporary)).unwrap_or_default();
    }
}

fn count_all(trees: &[&Tree]) -> Vec<u64> {
    let mut counter = Counter::default();
    trees.iter().map(|tree| count(&tree.path, &tree.extent, &mut counter)).collect()
}

fn count(path: &Path, extent: &Extent, counter: &mut Counter) -> u64 {
    let Ok(top) = rustix::fs::lstat(path) else { return 0 };
    let mut bytes = counter.bytes(&top);
    if *extent != Extent::Root && FileType::from_raw_mode(top.st_mode) == FileType::Directory {
        let visited = walk(path, &mut |entry| {
            bytes += counter.bytes(&entry.stat);
            Ok(())
        });
        visited.unwrap_or_default();
    }
    bytes
}
