//! Where a program of the host reads the files of a running box: see [`crate::sandbox::window`].

use std::path::PathBuf;

use super::directory::BoxDir;
use super::running;
use crate::sandbox::control::{self, Answer, Request};
use crate::sandbox::window;

/// A box cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// There is no supervisor.
    #[error("the box does not run")]
    Stopped,
    /// The supervisor does not do it.
    #[error("the box cannot be looked into: {reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// The conversation broke off.
    #[error("cannot talk to the box's supervisor")]
    Io(#[from] std::io::Error),
}

/// The path at which the box's root directory can be read while it runs, once [`open`] was called. It is the same for
/// every run of the box.
#[must_use]
pub fn path(directory: &BoxDir) -> PathBuf {
    directory.runtime().join(window::NAME)
}

/// Makes [`path`] lead into the running box, until that stops.
pub fn open(directory: &BoxDir) -> Result<PathBuf, WindowError> {
    let stream = running::connect_to_supervisor(directory).ok_or(WindowError::Stopped)?;
    match control::ask(stream, &Request::Tree)? {
        Some((Answer::Tree, _)) => Ok(path(directory)),
        Some((Answer::Refused { reason }, _)) => Err(WindowError::Refused { reason }),
        Some(_) => Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into()),
        None => Err(WindowError::Stopped),
    }
}
