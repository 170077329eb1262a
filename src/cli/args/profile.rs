//! Profiles and the configuration: writing, reading and translating them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::{Format, Listing};
use crate::cli::complete;

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Stand on an image of a registry
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: Option<String>,
    /// Replace an existing devbox.toml
    #[arg(long)]
    pub force: bool,
}

/// `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Of several devcontainer files, the one that is called so
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print it, and write nothing
    #[arg(long)]
    pub print: bool,
    /// Replace an existing devbox.toml
    #[arg(long)]
    pub force: bool,
}

/// `export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Export {
    /// Print the profile as .devcontainer/devcontainer.json
    Devcontainer,
    /// Print the profile's root file system as a Containerfile
    Containerfile,
}

/// What to do with the user's configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the path of your config.toml
    Path,
    /// Open your config.toml in $VISUAL or $EDITOR, and check it afterwards
    Edit,
    /// Print your config.toml
    Show,
}

/// `config`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConfigArgs {
    /// What to do with the configuration; by default, every place is shown
    #[command(subcommand)]
    pub command: Option<Config>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `profile`.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List the profiles that `extends` can name
    List(Listing),
    /// Show what applies to this folder and where each part comes from, or a profile by its name
    Show {
        /// The profile, one of `devbox profile list`; by default all that applies to this folder
        #[arg(value_name = "PROFILE", add = ArgValueCandidates::new(complete::profiles))]
        name: Option<String>,
    },
    /// Check this folder's profile, or a file; nothing is printed where nothing is wrong
    Check {
        /// The file; by default all that apply to this folder
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Print the JSON schema of devbox.toml
    Schema,
    /// Allow what this folder's profile wants of the host
    Trust,
    /// Allow it no longer, until it is asked for again
    Untrust,
}
