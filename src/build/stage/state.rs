//! A stage as far as it is built.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::build::cache::key::Key;
use crate::build::cache::records::{Record, Records};
use crate::build::run::DEFAULT_PATH;
use crate::image::config::{History, ImageConfig};
use crate::image::descriptor::Descriptor;
use crate::image::media_type;
use crate::image::platform::Platform;
use crate::image::reference::Reference;

/// What a stage holds between two steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Names everything that was done to the files so far.
    pub key: Key,
    /// The layers' archives as a manifest names them, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Their trees, in the same order.
    pub trees: Vec<PathBuf>,
    /// Repositories that have archives of the layers that come from an image.
    pub origins: Vec<Reference>,
    /// The configuration; its `rootfs` and `history` are those of the layers.
    pub config: ImageConfig,
    /// The steps that made it, with what they made.
    pub steps: BTreeMap<Key, Record>,
    /// The build arguments that have a value: they hold on in stages that stand on this one.
    pub arguments: BTreeMap<String, String>,
}

impl State {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            key: Key::root(&[]),
            layers: Vec::new(),
            origins: Vec::new(),
            trees: Vec::new(),
            config: ImageConfig::default(),
            steps: BTreeMap::new(),
            arguments: BTreeMap::new(),
        }
    }

    /// No files, and what docker's builder sets for an image that begins so.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        let mut state = Self::empty();
        state.config.architecture.clone_from(&platform.architecture);
        state.config.variant.clone_from(&platform.variant);
        state.config.os.clone_from(&platform.os);
        state.config.config.working_dir = "/".to_owned();
        state.config.config.env = vec![format!("PATH={DEFAULT_PATH}")];
        state
    }

    /// The trees as overlayfs wants them: the topmost first.
    #[must_use]
    pub fn lower(&self) -> Vec<PathBuf> {
        self.trees.iter().rev().cloned().collect()
    }

    /// When the newest thing in it was made.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        self.config.history.iter().rev().find_map(|entry| entry.created.as_deref())
    }

    /// Adds what a step made. A step that changed no file leaves no layer, as those that only change the configuration.
    pub fn add(&mut self, key: Key, record: &Record, records: &Records, created_by: &str) {
        self.steps.insert(key.clone(), record.clone());
        self.key = key;
        let tree = record.layer.as_ref().and_then(|layer| Some((layer, records.tree(&layer.diff_id)?)));
        let empty_layer = tree.is_none();
        if let Some((layer, tree)) = tree {
            self.config.rootfs.diff_ids.push(layer.diff_id.clone());
            // The plain archive: it is made again when somebody needs it.
            self.layers.push(Descriptor::new(media_type::LAYER, layer.diff_id.clone(), layer.size_bytes));
            self.trees.push(tree);
        }
        self.note(&record.created, created_by, empty_layer);
    }

    /// Adds an instruction that changed the configuration alone.
    pub fn note(&mut self, created: &str, created_by: &str, empty_layer: bool) {
        self.config.created = Some(created.to_owned());
        self.config.history.push(History {
            created: Some(created.to_owned()),
            created_by: Some(created_by.to_owned()),
            empty_layer,
            ..History::default()
        });
    }
}
