//! Which layers of the store a box stands on: `lower.json`, beside its writable layer.
//!
//! The profile decides at each start what a box stands on. What it was last started on is written down, so that the garbage
//! collection keeps it: it may still run.

use std::path::{Path, PathBuf};

use super::directory::BoxDir;
use super::running::scratch_holders;
use crate::image::store::{Store, StoreError};

/// The file's name.
const FILE: &str = "lower.json";

/// Claims the layers for the box or session at `holder`. `false` when one of them has just been collected: they are to be
/// prepared again.
pub fn claim<'a>(store: &Store, holder: &Path, layers: impl Iterator<Item = &'a PathBuf>) -> Result<bool, StoreError> {
    let _using = store.lock_shared()?;
    let all = store.path().join("layers");
    let mut names = Vec::new();
    for layer in layers {
        if let Ok(below) = layer.strip_prefix(&all) {
            if !layer.is_dir() {
                return Ok(false);
            }
            names.extend(below.components().next().and_then(|name| name.as_os_str().to_str().map(str::to_owned)));
        }
    }
    names.sort();
    if read(holder).as_ref() != Some(&names) {
        let path = holder.join(FILE);
        let fresh = path.with_extension("json.new");
        let text = serde_json::to_vec(&names).map_err(|source| StoreError::Record { path: path.clone(), source })?;
        // What a power failure leaves of it says that nobody knows, and then everything is kept.
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|source| StoreError::Io { operation: "write", path, source })?;
    }
    Ok(true)
}

/// What is claimed at `holder`; `None` when that was never written or cannot be read.
#[must_use]
pub fn read(holder: &Path) -> Option<Vec<String>> {
    serde_json::from_slice(&std::fs::read(holder.join(FILE)).ok()?).ok()
}

/// What is claimed for a box and for its sessions that are thrown away. `None`: nobody knows.
#[must_use]
pub fn claimed(directory: &BoxDir) -> Option<Vec<String>> {
    let mut names = read(directory.path())?;
    names.extend(scratch_holders(directory).iter().filter_map(|holder| read(holder)).flatten());
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::store::LayerRecord;
    use crate::userns::idmap::IdMap;

    #[test]
    fn claims_what_is_in_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let map = IdMap::root();
        let layer = store.begin(&map).unwrap().commit(LayerRecord::new("a", &map, "")).unwrap();
        let elsewhere = directory.path().join("host");
        let layers = [layer.tree(), elsewhere];
        assert_eq!(read(directory.path()), None);
        assert!(claim(&store, directory.path(), layers.iter()).unwrap());
        assert_eq!(read(directory.path()).unwrap(), ["a.root"]);
        std::fs::remove_dir_all(&layer.path).unwrap();
        assert!(!claim(&store, directory.path(), layers.iter()).unwrap());
        std::fs::write(directory.path().join(FILE), "").unwrap();
        assert_eq!(read(directory.path()), None);
    }
}
