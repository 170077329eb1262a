//! What can go wrong with the state of a box.

use std::path::{Path, PathBuf};

use super::id::{BoxId, NameError};
use crate::userns::stage::StageError;

/// A box cannot be read, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum BoxesError {
    /// A file or directory of ours refused an operation.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The operation: "read", "rename".
        action: &'static str,
        /// Its operand.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The generated layer of a box could not be made.
    #[error("cannot make the generated layer `{}`", path.display())]
    Generated {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: StageError,
    },
    /// A record is not what we wrote.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// A record was written by a newer devbox.
    #[error("`{}` has format {version}; this devbox knows formats up to {known}", path.display())]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The record in a box's directory is that of another box.
    #[error("`{}` describes the box `{found}`", path.display())]
    Misplaced {
        /// The record.
        path: PathBuf,
        /// The box that it describes.
        found: BoxId,
    },
    /// A record names a layer that is not there.
    #[error("layer `{layer}` of the box `{name}` is missing")]
    MissingLayer {
        /// The box.
        name: String,
        /// The layer.
        layer: String,
    },
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No box has this name.
    #[error("there is no box `{name}`{}", did_you_mean(suggestion))]
    NoSuchBox {
        /// What was asked for.
        name: String,
        /// A name that is close.
        suggestion: Option<String>,
    },
    /// Several boxes fit.
    #[error("several boxes fit `{name}`: {}", list_candidates(candidates))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The boxes that fit, and their projects.
        candidates: Vec<(BoxId, PathBuf)>,
    },
    /// The box is there already.
    #[error("the box `{id}` exists already")]
    Exists {
        /// The box.
        id: BoxId,
    },
    /// The box's writable layer is in use.
    #[error("the box `{name}` is running")]
    Running {
        /// The box.
        name: String,
    },
    /// Two snapshots of a box cannot have one name.
    #[error("the box `{name}` has a snapshot `{snapshot}` already")]
    SnapshotExists {
        /// The box.
        name: String,
        /// The snapshot.
        snapshot: String,
    },
    /// The box has no such snapshot.
    #[error("the box `{name}` has no snapshot `{snapshot}`{}", did_you_mean(suggestion))]
    NoSuchSnapshot {
        /// The box.
        name: String,
        /// What was asked for.
        snapshot: String,
        /// A name that is close.
        suggestion: Option<String>,
    },
    /// No more layers can be stacked.
    #[error("the box `{name}` stands on {layers} layers, which is as many as can be stacked")]
    TooManyLayers {
        /// The box.
        name: String,
        /// How many there are.
        layers: usize,
    },
    /// Another process holds the lock, and waiting was not wanted.
    #[error("the box is being changed by {holder}")]
    Busy {
        /// Who: "`devbox snapshot` (pid 12)".
        holder: String,
    },
    /// The path of a directory of ours cannot be used.
    #[error(transparent)]
    Paths(#[from] crate::paths::PathsError),
    /// A layer could not be opened.
    #[error(transparent)]
    System(#[from] crate::sys::SysError),
    /// Work as the box's root failed.
    #[error("cannot {action} as root of the box")]
    Stage {
        /// The work.
        action: &'static str,
        /// Why.
        source: StageError,
    },
    /// Some files could not be removed.
    #[error("cannot remove {count} {} below `{}`, for example {example}",
        if *count == 1 { "file" } else { "files" }, path.display())]
    NotRemoved {
        /// The directory.
        path: PathBuf,
        /// How many.
        count: usize,
        /// One of them, and why.
        example: String,
    },
}

/// What functions of this module return.
pub type BoxesResult<T> = Result<T, BoxesError>;

/// Names the operation that failed.
pub(crate) trait IoContext<T> {
    /// `action` on `path` gave this result.
    fn at(self, action: &'static str, path: &Path) -> BoxesResult<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> BoxesResult<T> {
        self.map_err(|source| BoxesError::Io { action, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for Result<T, rustix::io::Errno> {
    fn at(self, action: &'static str, path: &Path) -> BoxesResult<T> {
        self.map_err(std::io::Error::from).at(action, path)
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn list_candidates(candidates: &[(BoxId, PathBuf)]) -> String {
    let texts: Vec<String> =
        candidates.iter().map(|(id, project)| format!("`{id}` of `{}`", project.display())).collect();
    texts.join(", ")
}
