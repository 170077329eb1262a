//! What can be wrong with a profile, or with remembering that it is trusted.

use std::path::PathBuf;

use super::diagnostic::Diagnostic;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A mistake at one place of one file; [`Diagnostic::render`] draws it.
    #[error("{diagnostic}")]
    Invalid {
        /// Which and where.
        diagnostic: Box<Diagnostic>,
    },
    /// Nothing says which one counts.
    #[error("`{}` has several devcontainer files: {}", project.display(), known.join(", "))]
    SeveralDevcontainers {
        /// The folder.
        project: PathBuf,
        /// What they are called.
        known: Vec<String>,
    },
    /// None is called so.
    #[error("there is no devcontainer file `{}`; there are {}", name.escape_debug(), known.join(", "))]
    UnknownDevcontainer {
        /// What was asked for.
        name: String,
        /// What they are called.
        known: Vec<String>,
    },
    /// What an alias stands for makes no name of an image together with the tag.
    #[error("`{}` is not the name of an image", name.escape_debug())]
    Image {
        /// As it is in the profile.
        name: String,
        /// Why not.
        source: crate::image::reference::ReferenceError,
    },
    /// The file was not read at all.
    #[error("profile `{}` is too large: {size_bytes} bytes, at most {limit_bytes} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The largest that is read.
        limit_bytes: u64,
    },
    /// A directory, FIFO, socket or device has the name of a profile.
    #[error("profile `{}` is {kind}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Symlinks lead in a circle.
    #[error("profile `{}` is a symlink that leads in a circle", path.display())]
    SymlinkLoop {
        /// The path.
        path: PathBuf,
    },
    /// A symlink leads nowhere.
    #[error("profile `{}` is a symlink to a file that does not exist", path.display())]
    DanglingSymlink {
        /// The path.
        path: PathBuf,
    },
    /// TOML is UTF-8.
    #[error("profile `{}` is not UTF-8: byte {byte} of line {line}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The first wrong byte of that line, from 1.
        byte: usize,
    },
    /// The file could not be opened or read.
    #[error("cannot read profile `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file could not be replaced.
    #[error("cannot write profile `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The folder to start from is gone or cannot be looked into.
    #[error("cannot use the folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A box cannot have this folder at the same path.
    #[error("`{}` cannot be a project folder: the box has its own", path.display())]
    ImpossibleProject {
        /// The folder.
        path: PathBuf,
    },
    /// Of what was typed.
    #[error("`{name}` is both given and taken")]
    GivenAndTaken {
        /// A capability or a system call.
        name: String,
    },
    /// One key gives what another forbids.
    #[error("{grant} would let the box undo `{wall}`")]
    Undone {
        /// What `[security]` gives: "the capability `CAP_NET_ADMIN`".
        grant: String,
        /// The key: "egress".
        wall: &'static str,
    },
    /// The memory of trusted profiles could not be read or written.
    #[error("cannot {operation} `{}`", path.display())]
    TrustStore {
        /// "read", "write", "remove".
        operation: &'static str,
        /// The directory or the record.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The directory of the memory of trusted profiles could not be made.
    #[error(transparent)]
    Directory(#[from] crate::paths::PathsError),
}

impl ProfileError {
    /// The mistake, if it is one that has a place in a file.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            Self::Invalid { diagnostic } => Some(diagnostic),
            _ => None,
        }
    }
}

impl From<Box<Diagnostic>> for ProfileError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Invalid { diagnostic }
    }
}
