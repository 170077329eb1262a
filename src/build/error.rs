//! What can go wrong with a build.

use std::path::{Path, PathBuf};

use super::copy::select::SelectError;
use super::copy::write::CopyError;
use crate::base::driver::FuseError;
use crate::boxes::BoxesError;
use crate::boxes::session::SessionError;
use crate::image::digest::{Digest, DigestError};
use crate::image::layer::UnpackError;
use crate::image::reference::ReferenceError;
use crate::image::store::StoreError;
use crate::process::ProcessError;
use crate::profile::Diagnostic;
use crate::profile::lock::LOCK_FILE;
use crate::registry::RegistryError;
use crate::sandbox::channel::Phase;
use crate::sandbox::net::NetError;
use crate::sys::SysError;
use crate::sys::process::Ended;
use crate::transfer::TransferError;
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
    /// Files could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SysError),
    /// `fuse-overlayfs` is to stack the layers of a `RUN`, and cannot.
    #[error("cannot stack the layers with `fuse-overlayfs`")]
    Fuse(#[from] FuseError),
    /// A command ended with a failure, and there is no room for what it writes.
    #[error("the command ended with status {status}, and the disk of `{}` is full", path.display())]
    FullDisk {
        /// Its exit status.
        status: i32,
        /// The store.
        path: PathBuf,
    },
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
    /// A file could not be downloaded.
    #[error(transparent)]
    Download(RegistryError),
    /// `--checksum` is no digest.
    #[error("`{}` is no checksum", crate::text::sanitize(text))]
    Checksum {
        /// What was written.
        text: String,
        /// Why not.
        source: DigestError,
    },
    /// A download is not what it should be.
    #[error("`{}` is not what was expected: its digest is `{found}`, not `{expected}`", crate::text::sanitize(url))]
    WrongChecksum {
        /// Where it came from.
        url: String,
        /// What was written.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A repository is not at the commit at which it should be.
    #[error("`{}` is at the commit `{found}`, not `{}`", crate::text::sanitize(url), crate::text::sanitize(expected))]
    WrongCommit {
        /// Where it came from.
        url: String,
        /// What was written.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Only what is locked may be used.
    #[error("`{}` is not in {LOCK_FILE}", crate::text::sanitize(name))]
    NotPinned {
        /// An image, a URL, or a repository.
        name: String,
    },
    /// What was locked is not there any more.
    #[error("`{}` is not what {LOCK_FILE} names", crate::text::sanitize(name))]
    Moved {
        /// A URL, or a repository.
        name: String,
        /// What is wrong.
        source: Box<BuildError>,
    },
    /// Repositories are fetched with a program that is not there.
    #[error("`git` is not installed")]
    NoGit,
    /// A repository could not be fetched.
    #[error("cannot fetch the repository")]
    Git(#[source] ProcessError),
    /// `--from` names nothing.
    #[error("{message}")]
    NoOrigin {
        /// Why.
        message: String,
    },
    /// An image's name is none.
    #[error("`{}` names no image", crate::text::sanitize(name))]
    Reference {
        /// What was written.
        name: String,
        /// Why not.
        source: ReferenceError,
    },
    /// An image could not be fetched.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An image that may not be fetched.
    #[error("the image `{}` is not here for {platform}, and `--pull=never` was given", crate::text::sanitize(name))]
    NotHere {
        /// Its name.
        name: String,
        /// What it was wanted for.
        platform: String,
    },
    /// An image is here, but not all of it.
    #[error("the image `{}` is damaged", crate::text::sanitize(name))]
    DamagedImage {
        /// Its name.
        name: String,
    },
    /// What was built cannot be written down.
    #[error("cannot write the image's manifest")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// A time that is none.
    #[error("`{}` is no number of seconds since 1970", crate::text::sanitize(text))]
    Epoch {
        /// What was given.
        text: String,
    },
    /// What a profile names leads out of the project.
    #[error("`{}` leads out of the project", path.display())]
    Outside {
        /// The path.
        path: PathBuf,
    },
    /// What is to be read is masked in the profile.
    #[error("`{}` is masked in the profile, and not seen by its build either", path.display())]
    Masked {
        /// The path.
        path: PathBuf,
    },
    /// A command asks for more of the network than its box has.
    #[error("`RUN --network=host` would reach every service of this machine, which the profile does not permit")]
    HostNetwork,
    /// The context is none.
    #[error("`{}` is no build context", crate::text::sanitize(text))]
    NoContext {
        /// What was given.
        text: String,
    },
    /// The archive that is a context cannot be unpacked.
    #[error("the build context `{}` is no archive that can be read", crate::text::sanitize(name))]
    Archive {
        /// A URL, or standard input.
        name: String,
        /// Why not.
        source: UnpackError,
    },
    /// There is no Containerfile.
    #[error("there is no `Containerfile` and no `Dockerfile` in `{}`", context.display())]
    NoFile {
        /// The context.
        context: PathBuf,
    },
    /// The Containerfile is wrong.
    #[error("{0}")]
    Language(Box<Diagnostic>),
    /// The checks found something, and the file says that this is an error.
    #[error("{first}")]
    Checks {
        /// The first of what was found.
        first: Box<Diagnostic>,
        /// The names of the rules.
        rules: Vec<&'static str>,
    },
    /// A step failed.
    #[error("{diagnostic}")]
    Step {
        /// Which, and the nearest error.
        diagnostic: Box<Diagnostic>,
        /// Its causes, the nearest first.
        causes: Vec<String>,
        /// In which phase a sandbox could not be started, if that is why.
        phase: Option<Phase>,
    },
    /// A stage that this one needs was not built.
    #[error("a stage that this one needs was not built")]
    NeededStage,
    /// A stage's process was killed.
    #[error("the process that built a stage ended unexpectedly ({ended:?})")]
    WorkerDied {
        /// How.
        ended: Ended,
    },
    /// A signal ended the build.
    #[error("the build was interrupted")]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// What is to be mounted is not there.
    #[error("`{}`, which is to be mounted, does not exist", path.display())]
    NoMountSource {
        /// Its path in the context, the stage or the image.
        path: PathBuf,
    },
}

impl BuildError {
    /// What to do about it, where that is known here.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSecret { id } => Some(format!("give it with `--secret id={id},src=FILE`")),
            Self::NoAgent { id } => Some(format!("give it with `--ssh {id}`, with an agent at `SSH_AUTH_SOCK`")),
            Self::DamagedImage { .. } => Some("`devbox image pull` fetches what is missing".into()),
            Self::NotHere { .. } => Some("`devbox image pull` fetches it".into()),
            Self::NoFile { .. } => Some("name it with `--file`".into()),
            Self::Fuse(error) => Some(error.remedy().to_owned()),
            Self::Stage(StageError::Work(text)) if text.contains("`fuse-overlayfs`") => {
                Some("`[overlay] driver = \"kernel\"` in `config.toml` does without it".into())
            }
            Self::NotPinned { .. } => Some("`devbox lock` adds it".into()),
            Self::Moved { .. } => Some("`devbox update --base` locks what there is now".into()),
            Self::NoGit => Some("install the package `git`".into()),
            Self::NoContext { .. } | Self::Io { operation: "open the build context", .. } => Some(
                "name a directory, `-`, a git repository like `https://host/x.git#main`, or the URL of an archive"
                    .into(),
            ),
            Self::Failed { status: 127 } => Some("127 is a shell's word for a program that it does not find".into()),
            _ => None,
        }
    }
}

impl From<Box<Diagnostic>> for BuildError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Language(diagnostic)
    }
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
