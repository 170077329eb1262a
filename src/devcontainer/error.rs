//! What can be wrong with Features.

use std::path::PathBuf;

use crate::base::BaseError;
use crate::build::BuildError;
use crate::image::layer::UnpackError;
use crate::image::reference::ReferenceError;
use crate::image::store::StoreError;
use crate::profile::{Diagnostic, ProfileError};
use crate::registry::RegistryError;

/// A Feature that cannot be installed, or an image whose configuration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// A file could not be handled.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It names nothing.
    #[error("`{}` is not the name of a Feature", reference.escape_debug())]
    Reference {
        /// As it was written.
        reference: String,
        /// Why not.
        source: ReferenceError,
    },
    /// A path that leads out of the project.
    #[error("the Feature `{}` lies outside the project", reference.escape_debug())]
    Outside {
        /// As it was written.
        reference: String,
    },
    /// What was found is something else.
    #[error("`{}` is no Feature: {reason}", reference.escape_debug())]
    NotAFeature {
        /// As it was written.
        reference: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// It could not be fetched.
    #[error("cannot fetch the Feature `{}`", reference.escape_debug())]
    Fetch {
        /// As it was written.
        reference: String,
        /// What the server said.
        source: RegistryError,
    },
    /// Its script failed.
    #[error("cannot install the Feature `{}`: {reason}", reference.escape_debug())]
    Install {
        /// As it was written.
        reference: String,
        /// How it failed.
        reason: String,
    },
    /// Its archive was refused.
    #[error("cannot unpack the Feature `{}`", reference.escape_debug())]
    Unpack {
        /// As it was written.
        reference: String,
        /// Why.
        source: UnpackError,
    },
    /// A mistake at one place of a file.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
    /// None of them can be the first.
    #[error("the Features {} need each other", names.join(", "))]
    Cycle {
        /// Which.
        names: Vec<String>,
    },
    /// More than anybody needs.
    #[error("more than {most} Features, with those that they depend on")]
    TooMany {
        /// How many are allowed.
        most: usize,
    },
    /// It would become part of a Containerfile.
    #[error("the user of the image `{image}` is no name and no number: `{}`", user.escape_debug())]
    User {
        /// The image.
        image: String,
        /// What its configuration says.
        user: String,
    },
    /// They could not be installed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The image that they are installed in.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The profile, with what the image carries along.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl From<Box<Diagnostic>> for FeatureError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Invalid(diagnostic)
    }
}

/// Names the file in an I/O error.
pub(super) trait At<T> {
    /// `operation` is a verb: "open".
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, FeatureError>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, FeatureError> {
        self.map_err(|source| FeatureError::Io { operation, path: path.into(), source })
    }
}
