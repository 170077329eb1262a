//! Features of a devcontainer file, what images carry along from those who made them, and profiles in other forms.
//!
//! ```text
//! features ──fetch──> folders ──definition──> nodes ──order──> install: FROM below, and for each COPY, ENV, RUN ──> build
//!                                                                 LABEL devcontainer.metadata
//! image of the box ──metadata──> entries of the label ──> profile
//! ```
//!
//! The file itself is read by [`crate::profile::devcontainer`]. Everything here came from strangers: archives are unpacked
//! as those of images are, and install scripts run in the sandbox of builds.

pub mod definition;
pub mod error;
pub mod export;
pub mod fetch;
pub mod import;
pub mod install;
pub mod metadata;
pub mod order;

pub use error::FeatureError;
