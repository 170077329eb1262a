//! What can go wrong with a build.

use std::path::{Path, PathBuf};

use super::copy::select::SelectError;
use crate::boxes::BoxesError;
use crate::boxes::session::SessionError;
use crate::image::store::StoreError;
use crate::sandbox::net::NetError;
use crate::sys::SysError;
use crate::userns::stage::StageError;

/// A build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
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
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Work in the tree of a step failed.
    #[error(transparent)]
    Stage(StageError),
    /// The layer of a step could not be made.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// A command could not be run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no network as it was asked for.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A source of `COPY` or `ADD`.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
    /// A command ended with a failure.
    #[error("the command ended with status {status}")]
    Failed {
        /// Its exit status.
        status: i32,
    },
    /// A secret that was not given.
    #[error("the build was not given the secret `{id}`")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// An agent that was not given.
    #[error("the build was not given the SSH agent `{id}`")]
    NoAgent {
        /// Its id.
        id: String,
    },
    /// What is to be mounted is not there.
    #[error("`{}`, which is to be mounted, does not exist", path.display())]
    NoMountSource {
        /// Its path in the context, the stage or the image.
        path: PathBuf,
    },
}

/// Adds the operation and the path to an I/O error.
pub(crate) trait At<T> {
    /// `operation` on `path` failed.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, BuildError>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, BuildError> {
        self.map_err(|error| BuildError::Io { operation, path: path.to_owned(), source: error.into() })
    }
}
