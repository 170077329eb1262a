//! The writable layer of one step while it is being made.

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::records::BuiltLayer;
use super::copy::select::Mounted;
use super::error::{At, BuildError};
use super::trees::{Tree, Trees};
use crate::base::OverlayDriver;
use crate::boxes::pool;
use crate::image::layer::pack::{PackReport, PackSpec, pack_layer};
use crate::image::layer::{Compression, UnpackOptions, Whiteouts, unpack_layer};
use crate::image::store::{LayerBuild, LayerRecord, Store, layer_name};
use crate::sandbox::overlay::Writable;
use crate::sys::fs::open_directory;
use crate::text::with_causes;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// A place for what a step writes. Dropping it removes it, and what the step wrote.
#[derive(Debug)]
pub struct StepLayer {
    scratch: LayerBuild,
    map: IdMap,
    lower: Vec<PathBuf>,
    driver: OverlayDriver,
}

impl StepLayer {
    /// A layer to be made above `lower`; `driver` stacks them below what the step writes. The caller must be
    /// single-threaded.
    pub fn begin(store: &Store, map: &IdMap, lower: &[PathBuf], driver: OverlayDriver) -> Result<Self, BuildError> {
        let scratch = store.begin(map)?;
        // The root directory of the merged tree has the attributes of the topmost layer's.
        pool::make_layer(&scratch.path().join("upper"), map, lower.first().map(PathBuf::as_path))?;
        let stubs = scratch.path().join("stubs");
        std::fs::create_dir(&stubs).at("create", &stubs)?;
        Ok(Self { scratch, map: map.clone(), lower: lower.to_vec(), driver })
    }

    /// The ids of the files.
    #[must_use]
    pub fn map(&self) -> &IdMap {
        &self.map
    }

    /// Who stacks the layers.
    #[must_use]
    pub fn driver(&self) -> OverlayDriver {
        self.driver
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
        Writable { upper: self.upper(), work: self.scratch.path().join("work"), is_volatile: true }
    }

    /// The tree that the step makes.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.scratch.path().join("upper/fs")
    }

    /// What mounts trees for the step.
    pub fn trees(&self) -> Result<Trees<'_>, BuildError> {
        Trees::new(self.driver, &self.map, self.scratch())
    }

    /// Calls `work`, as the root of a namespace with the map of the build, with the merged tree and with `others`. The
    /// caller must be single-threaded.
    pub fn in_trees<T, F>(&self, others: &[Tree], work: F) -> Result<T, BuildError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Mounted<'_>, &[Mounted<'_>]) -> Result<T, String>,
    {
        self.trees()?.write(&self.lower, self.writable(), others, work)
    }

    /// Makes what the step wrote a layer of the store. `None` if that is nothing. The caller must be single-threaded.
    pub fn finish(self, store: &Store, source: &str) -> Result<Option<BuiltLayer>, BuildError> {
        let build = store.begin(&self.map)?;
        let (upper, tree) = (self.upper(), build.tree());
        let marks = self.driver.into();
        let spec = PackSpec { layers: vec![upper.clone()], below: self.lower.clone(), marks, ..PackSpec::default() };
        let archive = self.scratch().join("layer.tar");
        // Who renames the tree must be able to write to it.
        let report = run_mapped(&self.map, || match self.driver {
            // Of the archive only its digest is needed.
            OverlayDriver::Kernel => {
                let report =
                    pack_layer(&spec, Compression::None, std::io::sink(), None).map_err(|error| with_causes(&error))?;
                if report.contents.entries > 0 {
                    std::fs::remove_dir(&tree)
                        .and_then(|()| std::fs::rename(&upper, &tree))
                        .map_err(|error| with_causes(&error))?;
                }
                Ok(report)
            }
            // The kernel does not understand how the program says that something is gone: it is said anew.
            OverlayDriver::Fuse => repack(&spec, &archive, &tree).map_err(|error| with_causes(&*error)),
        })
        .map_err(BuildError::Stage)?;
        if report.contents.entries == 0 {
            return Ok(None);
        }
        let mut record = LayerRecord::new(&layer_name(&report.diff_id), &self.map, source);
        record.diff_id = Some(report.diff_id.to_string());
        record.entries = report.contents.entries;
        record.size_bytes = report.contents.size_bytes;
        build.commit_unsettled(record)?;
        Ok(Some(BuiltLayer { diff_id: report.diff_id, size_bytes: report.tar_bytes }))
    }
}

/// Packs `spec` into the file `archive`, and unpacks that into the directory `tree`.
fn repack(spec: &PackSpec, archive: &Path, tree: &Path) -> Result<PackReport, Box<dyn std::error::Error>> {
    let mut file = File::options().read(true).write(true).create_new(true).open(archive)?;
    let report = pack_layer(spec, Compression::None, &mut file, None)?;
    file.rewind()?;
    let tree = open_directory(tree)?;
    unpack_layer(file, tree.as_fd(), UnpackOptions { whiteouts: Whiteouts::Convert, ..UnpackOptions::default() })?;
    Ok(report)
}
