//! The writable layer of one step while it is being made.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::copy::select::Mounted;
use super::error::{At, BuildError};
use crate::boxes::pool;
use crate::image::store::{LayerBuild, Store};
use crate::sandbox::overlay::{Stack, Writable};
use crate::sys::SysError;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped_mounting;

/// The layers of a root file system, the topmost first. None: an empty root.
pub type Layers = Vec<PathBuf>;

/// A place for what a step writes. Dropping it removes it, and what the step wrote.
#[derive(Debug)]
pub struct StepLayer {
    scratch: LayerBuild,
    map: IdMap,
    lower: Layers,
}

impl StepLayer {
    /// A layer to be made above `lower`. The caller must be single-threaded.
    pub fn begin(store: &Store, map: &IdMap, lower: &[PathBuf]) -> Result<Self, BuildError> {
        let scratch = store.begin(map)?;
        // The root directory of the merged tree has the attributes of the topmost layer's.
        pool::make_layer(&scratch.path().join("upper"), map, lower.first().map(PathBuf::as_path))?;
        for name in ["empty", "nothing", "stubs"] {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).at("create", &path)?;
        }
        Ok(Self { scratch, map: map.clone(), lower: lower.to_vec() })
    }

    /// A directory for what the step needs and does not keep.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The layers below.
    #[must_use]
    pub fn lower(&self) -> &[PathBuf] {
        &self.lower
    }

    /// The lowest of all layers, which is not kept: things to mount on that the image does not have.
    #[must_use]
    pub fn stubs(&self) -> PathBuf {
        self.scratch.path().join("stubs")
    }

    /// Where the step writes.
    #[must_use]
    pub fn writable(&self) -> Writable {
        Writable { upper: self.upper(), work: self.scratch.path().join("work") }
    }

    /// The tree that the step makes.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.scratch.path().join("upper/fs")
    }

    /// Two empty directories: overlayfs wants that many layers where nothing is written.
    #[must_use]
    pub fn empty(&self) -> [PathBuf; 2] {
        [self.scratch.path().join("empty"), self.scratch.path().join("nothing")]
    }

    /// Calls `work`, as the root of a namespace with the map of the build, with the merged tree and with that of
    /// `others`. The caller must be single-threaded.
    pub fn in_tree<T, F>(&self, others: Option<&[PathBuf]>, work: F) -> Result<T, BuildError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Mounted<'_>, Option<Mounted<'_>>) -> Result<T, String>,
    {
        let lower = self.lower.iter().cloned().chain(self.empty()).collect();
        let own = Stack { lower, data_only: Vec::new(), writable: Some(self.writable()) };
        let others = others.map(|layers| read_only(layers, self.empty()));
        let text = |error: SysError| error.to_string();
        run_mapped_mounting(&self.map, || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            let own = own.mount().map_err(text)?;
            let others = others.as_ref().map(Stack::mount).transpose().map_err(text)?;
            work(Mounted(own.root()), others.as_ref().map(|mount| Mounted(mount.root())))
        })
        .map_err(BuildError::Stage)
    }
}

/// `layers` as one tree that cannot be written to, with two `empty` ones: overlayfs wants that many.
#[must_use]
pub fn read_only(layers: &[PathBuf], empty: [PathBuf; 2]) -> Stack {
    Stack { lower: layers.iter().cloned().chain(empty).collect(), data_only: Vec::new(), writable: None }
}
