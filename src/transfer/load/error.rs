//! Why no image could be read from a file.

use std::path::PathBuf;

use crate::image::layer::UnpackError;

/// A file or directory holds no image that can be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error("cannot read it")]
    Read {
        /// Why not.
        source: std::io::Error,
    },
    /// It could not be decompressed.
    #[error(transparent)]
    Decompress(#[from] UnpackError),
    /// What comes through a pipe is kept in the store until it is whole.
    #[error("cannot keep it in `{}`", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A header cannot be understood.
    #[error("it is no tar archive, or damaged at byte {position}")]
    Tar {
        /// Where.
        position: u64,
        /// What is wrong.
        source: tar_core::parse::ParseError,
    },
    /// It ends too early.
    #[error("the archive is cut short at byte {position}")]
    Truncated {
        /// Where.
        position: u64,
    },
    /// Nothing that writes images writes these.
    #[error("the archive has sparse files in it")]
    Sparse,
    /// More files than any image has.
    #[error("the archive has more than {limit} files")]
    TooManyFiles {
        /// How many are allowed.
        limit: usize,
    },
    /// A root file system, or something else.
    #[error("it holds no image: there is neither `index.json` nor `manifest.json` in it")]
    NoImage,
    /// A file that another one names.
    #[error("there is no `{}` in it", crate::text::sanitize(file))]
    Missing {
        /// Its name.
        file: String,
    },
    /// A file that should be small.
    #[error("its `{}` has more than {limit} bytes", crate::text::sanitize(file))]
    TooLarge {
        /// Its name.
        file: String,
        /// How many are allowed.
        limit: usize,
    },
    /// Not JSON, or not of the form that it should have.
    #[error("cannot read its `{file}`")]
    Json {
        /// Its name.
        file: &'static str,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A file whose content is not what its name says.
    #[error("its `{}` has the digest {found}", crate::text::sanitize(file))]
    Digest {
        /// Its name.
        file: String,
        /// What its content hashes to.
        found: String,
    },
    /// `manifest.json` and the configuration disagree.
    #[error("its `manifest.json` names {manifest} layers, and the configuration {config}")]
    LayerCount {
        /// Layers in `manifest.json`.
        manifest: usize,
        /// Digests in the configuration.
        config: usize,
    },
    /// Images without names can be loaded one at a time.
    #[error("the image in it has no name")]
    NoName,
    /// One name for several images.
    #[error("there are {count} images in it, where one was expected")]
    Several {
        /// How many.
        count: usize,
    },
}
