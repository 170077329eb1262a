//! Keeping the store small and sound: `gc`, `df` and `check`.
//!
//! ```text
//! roots:   images/*.json           their layers and blobs
//!          boxes/*/lower.json      the layers that the box was last started on; also of each `run --rm`
//!          boxes/*/box.json        frozen layers (`boxes::pool` collects those)
//!          build/steps/*           the layers of steps, as long as `[build_cache]` of the user's configuration says
//! garbage: every other layer, blob, download and dropped tree
//! ```
//!
//! Layers and blobs are collected under the store's exclusive lock, which nobody gets while something is pulled or built,
//! nor in the moment in which a start claims its layers. What is garbage goes to the trash by one rename, so that a killed
//! collection leaves no half layer; nothing is written before something is removed.

mod cache;
pub mod check;
pub mod df;
pub mod gc;
pub mod roots;
mod seal;
pub mod usage;

use std::path::{Path, PathBuf};

use crate::base::host::HostError;
use crate::boxes::BoxesError;
use crate::image::store::StoreError;
use crate::userns::stage::StageError;

/// The store could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A box, or the pool of frozen layers.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// Nothing can be mended while something is pulled, built or installed.
    #[error("the store is in use: something is being pulled, built or installed")]
    Busy,
    /// The host base.
    #[error(transparent)]
    Host(Box<HostError>),
    /// A file or directory could not be handled.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Work that needs the ids of the boxes failed.
    #[error("cannot {action}")]
    Stage {
        /// What was to be done.
        action: &'static str,
        /// Why not.
        source: StageError,
    },
}

/// Adds the operation and the path to an I/O error.
trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, UpkeepError>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, UpkeepError> {
        self.map_err(|error| UpkeepError::Io { operation, path: path.to_owned(), source: error.into() })
    }
}

/// The paths directly in `directory`, sorted; none when it is not there.
fn children(directory: &Path) -> Result<Vec<PathBuf>, UpkeepError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", directory)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.at("list", directory)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path of ours, which is UTF-8; others have no name that anything is called by.
fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
