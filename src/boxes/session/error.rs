//! Why a session could not be run.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::BaseError;
use crate::boxes::error::BoxesError;
use crate::boxes::locking::LockingError;
use crate::boxes::packages_layer::PackagesError;
use crate::image::store::StoreError;
use crate::limits::host::Unheld;
use crate::profile::ProfileError;
use crate::sandbox::channel::Failure;
use crate::sandbox::net::NetError;
use crate::sys::SysError;

/// A session could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// What is guarded in the project.
    #[error("cannot guard files of `{}`", path.display())]
    Placeholders {
        /// The project.
        path: PathBuf,
        /// The call.
        source: SysError,
    },
    /// The box's state.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Its base.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Its network.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The start of the box.
    #[error("cannot start the box: {}", .0.causes.join(": "))]
    Start(Failure),
    /// The command.
    #[error("cannot run `{program}`: {reason}")]
    NotExecuted {
        /// What was tried.
        program: String,
        /// Why not.
        reason: String,
        /// 126 or 127.
        status: i32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock file.
    #[error(transparent)]
    Locking(#[from] LockingError),
    /// The packages of the profile.
    #[error("cannot install the packages of the profile")]
    Packages(#[from] PackagesError),
    /// The box runs with another network than was asked for.
    #[error("the box runs with the network `{running}`, not `{wanted}`")]
    OtherNetwork {
        /// What it has.
        running: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// What a running box may do cannot be changed.
    #[error("the box runs with other capabilities or system calls than what is asked for")]
    OtherSecurity,
    /// The box stopped while the command ran.
    #[error("the box stopped before the command ended")]
    Lost,
    /// The box was started and stopped by others all the time.
    #[error("the box stopped again and again for {} s before the command could begin", patience.as_secs())]
    Unsettled {
        /// How long it was tried.
        patience: Duration,
    },
    /// Limits that the profile requires do not hold.
    #[error("the limits of the profile do not hold: {}", crate::boxes::limits::sentence(.unheld))]
    Limits {
        /// Which, and why.
        unheld: Vec<Unheld>,
    },
    /// A program that was asked for something did not end. It was ended.
    #[error("a program of the box did not answer within {} s", patience.as_secs())]
    Late {
        /// How long it had.
        patience: Duration,
    },
    /// Something else refused.
    #[error("cannot {action}")]
    Io {
        /// The operation.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

pub(in crate::boxes) fn io(action: &'static str) -> impl Fn(std::io::Error) -> SessionError {
    move |source| SessionError::Io { action, source }
}
