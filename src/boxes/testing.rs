//! Boxes in a temporary directory, for tests.

use std::path::{Path, PathBuf};

use super::change::LockedBox;
use super::clone::{NewBox, create};
use super::directory;
use super::id::BoxId;
use crate::paths::Paths;
use crate::progress::Silent;
use crate::userns::idmap::IdMap;

/// A data directory of its own.
pub struct Home {
    pub scratch: tempfile::TempDir,
    pub paths: Paths,
}

impl Home {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        let paths = Paths {
            home: root.to_owned(),
            data: root.join("data"),
            config: root.join("config"),
            cache: root.join("cache"),
            runtime: root.join("run"),
        };
        Self { scratch, paths }
    }

    /// A map with which tests can remove what they made, without a namespace.
    pub fn map() -> IdMap {
        if rustix::process::geteuid().is_root() {
            return IdMap::root();
        }
        IdMap::single(0, rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    pub fn create(&self, name: &str, project: &str) -> LockedBox {
        let new = NewBox {
            name: name.to_owned(),
            project: PathBuf::from(project),
            id_map: Self::map(),
            base_id: "base-1".to_owned(),
        };
        create(&self.paths, new, "test").unwrap()
    }

    pub fn open(&self, id: &BoxId) -> LockedBox {
        LockedBox::open(&self.paths, id, "test", &Silent).unwrap()
    }

    pub fn layers_in_pool(&self) -> usize {
        std::fs::read_dir(directory::pool(&self.paths.data)).unwrap().count()
    }

    pub fn trash(&self) -> usize {
        std::fs::read_dir(directory::trash(&self.paths.data)).unwrap().count()
    }
}

impl LockedBox {
    /// Writes a file as the box would.
    pub fn put(&self, name: &str) {
        std::fs::write(self.directory.upper().join(name), name).unwrap();
    }

    /// The files that the box sees, not counting its base.
    pub fn sees(&self) -> Vec<String> {
        let mut layers = vec![self.directory.upper()];
        layers.extend(self.directory.frozen_layers(&self.record));
        let mut names: Vec<String> = layers.iter().flat_map(|layer| names(layer)).collect();
        names.sort();
        names
    }
}

fn names(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
}
