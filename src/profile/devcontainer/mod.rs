//! A devcontainer file as a profile: for projects that have no `devbox.toml`.
//!
//! ```text
//! find ──> json ──> read (substitute, hooks, mounts, run_args) ──> schema::RawProfile ──> validate::Layer
//! ```
//!
//! What the file says becomes the same keys that a `devbox.toml` has, with places in the devcontainer file: so everything is
//! checked, merged and asked for as there. [`Devcontainer`] holds what has no key.

pub mod find;
pub mod hooks;
pub mod json;
pub mod mounts;
mod options;
pub mod read;
pub mod run_args;
pub mod substitute;

use std::path::{Path, PathBuf};

use crate::base::BaseSpec;
use crate::profile::ports::Attributes;

/// What a devcontainer file has run on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialize {
    /// A line for the host's shell.
    pub command: String,
    /// The same for a person.
    pub shown: String,
}

/// What only a devcontainer file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devcontainer {
    /// Variables of the host whose values are in what was read.
    pub variables: Vec<String>,
    /// `initializeCommand`
    pub initialize: Option<Initialize>,
    /// `workspaceFolder`: where commands start in the box.
    pub folder: Option<PathBuf>,
    /// `features`, in the order of the file.
    pub features: Vec<Feature>,
    /// `overrideFeatureInstallOrder`
    pub feature_order: Vec<String>,
    /// `hostRequirements`
    pub requirements: Requirements,
    /// `devcontainerId`
    pub id: String,
    /// `secrets`: variables that the user is asked for.
    pub secrets: Vec<Secret>,
    /// `portsAttributes`
    pub ports: Vec<Attributes>,
    /// `waitFor`
    pub wait_for: Option<String>,
    /// What the image with the features stands on: of a project that has any.
    pub below: Option<BaseSpec>,
    /// What of the file means nothing here, as sentences.
    pub notes: Vec<String>,
    /// The properties that images built from this file carry along, as JSON, as they are written.
    pub metadata: String,
}

/// What is known of a project's devcontainer file beside the file itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chosen<'a> {
    /// Which of several it is.
    pub name: Option<&'a str>,
    /// What the image carries along: how the label is called in messages, and its text.
    pub metadata: Option<(&'a Path, &'a str)>,
}

/// One of `features`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name: of a registry, the URL of an archive, or `./` and a folder beside the file.
    pub reference: String,
    /// Its options; booleans as `true` and `false`.
    pub options: Vec<(String, String)>,
}

/// One of `secrets`. Its value is never in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The variable.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Where more is said of it.
    pub url: Option<String>,
}

/// `hostRequirements`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Processors.
    pub cpus: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of disk.
    pub storage_bytes: Option<u64>,
}
