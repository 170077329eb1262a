//! Why a container command fails.

use std::path::PathBuf;

use crate::base::BaseError;
use crate::boxes::BoxesError;
use crate::boxes::session::SessionError;
use crate::image::store::StoreError;
use crate::paths::PathsError;
use crate::profile::ProfileError;
use crate::sys::SysError;
use crate::transfer::TransferError;

/// A container, an image or a volume could not be had or made.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No container has this id or name.
    #[error("no such container: `{}`", crate::text::sanitize(name))]
    NoSuchContainer {
        /// What was typed.
        name: String,
    },
    /// No image has this name or id.
    #[error("no such image: `{}`", crate::text::sanitize(name))]
    NoSuchImage {
        /// What was typed.
        name: String,
    },
    /// No volume has this name.
    #[error("no such volume: `{}`", crate::text::sanitize(name))]
    NoSuchVolume {
        /// What was typed.
        name: String,
    },
    /// Nothing at all is called so.
    #[error("no such container, image or volume: `{}`", crate::text::sanitize(name))]
    NoSuchObject {
        /// What was typed.
        name: String,
    },
    /// A few digits that several ids begin with.
    #[error("several ids begin with `{}`", crate::text::sanitize(prefix))]
    Ambiguous {
        /// What was typed.
        prefix: String,
    },
    /// Another container is called so.
    #[error("the name `{name}` belongs to the container {}", &id[..12])]
    NameTaken {
        /// The name.
        name: String,
        /// The other container.
        id: String,
    },
    /// Neither a container's nor a volume's name may look like that.
    #[error(
        "`{}` cannot be a name: a letter or digit, then letters, digits, `_`, `.` and `-`, at most 63",
        crate::text::sanitize(name)
    )]
    Name {
        /// What was typed.
        name: String,
    },
    /// There is nothing to join.
    #[error("the container `{name}` is not running")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// What is in use stays.
    #[error("the container `{name}` is running")]
    Running {
        /// Its name.
        name: String,
    },
    /// What is in use stays.
    #[error("the volume `{name}` is in use by the container `{container}`")]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Who uses it.
        container: String,
    },
    /// An option that cannot be.
    #[error("`{option}`: {reason}")]
    Option {
        /// The option with its value.
        option: String,
        /// Why not.
        reason: String,
    },
    /// Neither the image nor the command line says what to run.
    #[error("the image says nothing to run, and no command was given")]
    NoCommand,
    /// What was asked for needs the user's word.
    #[error("the container wants to {}", wishes.join(", and to "))]
    NotTrusted {
        /// Each wish as the rest of a sentence.
        wishes: Vec<String>,
        /// What `devbox docker allow` is given.
        key: String,
    },
    /// Nothing was asked for under this key.
    #[error("nothing is known of `{}`", crate::text::sanitize(key))]
    NotAsked {
        /// What was typed.
        key: String,
    },
    /// A format that cannot be read, or has no answer.
    #[error("cannot print by the template `{}`: {reason}", crate::text::sanitize(text))]
    Template {
        /// The template.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A record that cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Its operand.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The monitor ended without a word.
    #[error("the container's monitor ended unexpectedly")]
    MonitorLost,
    /// The state of a box.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// A session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What it is to be.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The image's layers.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A pull.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A directory of ours.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// A system call.
    #[error(transparent)]
    Sys(#[from] SysError),
}

/// What containers give.
pub type DockerResult<T> = Result<T, DockerError>;

/// Names the file that an operation failed on.
pub(super) trait At<T> {
    /// As [`DockerError::Io`].
    fn at(self, action: &'static str, path: &std::path::Path) -> DockerResult<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &std::path::Path) -> DockerResult<T> {
        self.map_err(|source| DockerError::Io { action, path: path.to_owned(), source })
    }
}
