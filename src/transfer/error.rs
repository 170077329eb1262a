//! Why an image could not be moved.

use std::path::PathBuf;

use super::load::LoadError;
use crate::image::config::ConfigError;
use crate::image::digest::Digest;
use crate::image::layer::pack::PackError;
use crate::image::manifest::ManifestError;
use crate::image::store::StoreError;
use crate::registry::RegistryError;
use crate::userns::stage::StageError;

/// An image could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest is not one that can be used.
    #[error("cannot use the manifest of `{image}`")]
    Manifest {
        /// The image.
        image: String,
        /// Why not.
        source: ManifestError,
    },
    /// The configuration is not one that can be used.
    #[error("cannot use the configuration of `{image}`")]
    Config {
        /// The image.
        image: String,
        /// Why not.
        source: ConfigError,
    },
    /// The index has nothing for the platform.
    #[error("`{image}` has no image for {wanted}, but for {}", .found.join(", "))]
    Platform {
        /// The image.
        image: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// Indexes that lead to indexes that lead to indexes.
    #[error("the indexes of `{image}` lie too deep in each other")]
    Nested {
        /// The image.
        image: String,
    },
    /// The manifest or the configuration of an image of the store is not there as it was.
    #[error("the image `{image}` is damaged")]
    Damaged {
        /// The image.
        image: String,
    },
    /// A layer's archive cannot be had.
    #[error("the archive of the layer {} is not kept here and came from no registry", layer.short())]
    NoArchive {
        /// The archive's digest.
        layer: Digest,
    },
    /// A layer could not be packed.
    #[error("cannot pack a layer of `{image}`")]
    Pack {
        /// The image.
        image: String,
        /// Why not.
        source: StageError,
    },
    /// A layer could not be compressed in another way.
    #[error("cannot compress a layer of `{image}`")]
    Compress {
        /// The image.
        image: String,
        /// Why not.
        source: Box<PackError>,
    },
    /// A file holds no image that can be loaded.
    #[error("cannot load `{}`", crate::text::sanitize(shown))]
    Load {
        /// The file.
        shown: String,
        /// Why not.
        source: LoadError,
    },
    /// A layer could not be fetched or unpacked.
    #[error("cannot install the layers of `{image}`")]
    Layers {
        /// The image.
        image: String,
        /// Why not.
        source: StageError,
    },
    /// What was to be written of an image is no JSON.
    #[error("cannot write the manifest of `{image}`")]
    Json {
        /// The image.
        image: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A file.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}
