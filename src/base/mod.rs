//! The read-only root file system below a box.
//!
//! A [`BaseSpec`] says what the profile asked for; preparing it gives [`RootLayers`], which is all that the sandbox
//! knows of a base: directories to stack.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::digest::Digest;
use crate::image::layer::stack::Marks;
use crate::image::reference::Reference;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::registry::Settings;
use crate::userns::idmap::IdMap;

pub mod archive;
pub mod directory;
pub mod distro;
pub mod driver;
pub mod error;
pub mod host;
pub mod image;
mod root;

pub use driver::OverlayDriver;
pub use error::BaseError;

#[cfg(test)]
mod tests;

/// What a profile names as the base. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseSpec {
    /// A copy-on-write view of the host's own system directories.
    Host,
    /// An unpacked root file system, or an OCI layout.
    Directory(PathBuf),
    /// A tar archive, plain, gzip or zstd: a root file system or an image.
    Archive(PathBuf),
    /// `distribution:release`, bootstrapped with the distribution's own tool.
    Distro(String),
    /// An image, by its whole name.
    Image(Reference),
}

/// Makes the base ready for a box with the ids of `map`, or finds it ready. The caller must be single-threaded.
///
/// `driver` is who stacks the layers; `None`: whoever can, the kernel first.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    base: &BaseSpec,
    driver: Option<OverlayDriver>,
    registries: &Settings,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let mut layers = match base {
        BaseSpec::Host => host::prepare(paths, map, driver, progress)?,
        BaseSpec::Directory(path) => match directory::prepare(paths, path) {
            Err(BaseError::Image { .. }) => archive::prepare_image(paths, map, path, registries.limits, progress)?,
            other => other?,
        },
        BaseSpec::Archive(path) => archive::prepare(paths, map, path, registries.limits, progress)?,
        BaseSpec::Distro(name) => distro::prepare(paths, map, name, progress)?,
        BaseSpec::Image(reference) => image::prepare(paths, map, reference, registries, progress)?,
    };
    layers.driver = driver.unwrap_or(layers.driver);
    layers.driver.mark(&mut layers.id);
    if layers.driver == OverlayDriver::Fuse {
        layers.fuse_overlayfs = Some(driver::find_fuse_overlayfs()?);
    }
    Ok(layers)
}

/// Directories that make up a root file system, ready for overlayfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootLayers {
    /// Names the content: what is derived from this base (a layer of packages) is valid as long as this stays.
    pub id: String,
    /// Ordinary lower directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Data-only lower directories: metadata files in `lower` redirect into them.
    pub data_only: Vec<PathBuf>,
    /// Host directories (absolute) that are each overlaid at their own path, above what `lower` has there: the host
    /// base of the host's root, or with `fuse-overlayfs`, for which no metadata layer is needed.
    pub host_directories: Vec<PathBuf>,
    /// Host directories (absolute) bound read-only at their own path (a Nix store).
    pub read_only_binds: Vec<PathBuf>,
    /// What the base can be had by again: of the archive, or of the image's index or manifest.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Variables that the base wants its programs to have.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// Who does the stacking.
    pub driver: OverlayDriver,
    /// The program, absolute, if it is that.
    #[serde(skip)]
    pub fuse_overlayfs: Option<PathBuf>,
}

impl From<OverlayDriver> for Marks {
    fn from(driver: OverlayDriver) -> Self {
        match driver {
            OverlayDriver::Kernel => Self::Kernel,
            OverlayDriver::Fuse => Self::Files,
        }
    }
}
