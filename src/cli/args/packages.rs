//! The packages of a profile, and their versions.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Format;
use crate::cli::complete;

/// `add`.
#[derive(Debug, Args)]
pub struct AddPackages {
    /// Packages of the base's own package manager
    #[arg(value_name = "PACKAGE", required = true)]
    pub packages: Vec<String>,
}

/// `remove`.
#[derive(Debug, Args)]
pub struct RemovePackages {
    /// Packages that devbox.toml names
    #[arg(value_name = "PACKAGE", required = true, add = ArgValueCandidates::new(complete::packages))]
    pub packages: Vec<String>,
}

/// `lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Write nothing, and fail if something would change
    #[arg(long)]
    pub check: bool,
}

/// `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Only these packages
    #[arg(value_name = "PACKAGE", conflicts_with = "base", add = ArgValueCandidates::new(complete::packages))]
    pub packages: Vec<String>,
    /// Only the base; packages keep their versions where the new base has them
    #[arg(long)]
    pub base: bool,
}

/// `freeze`.
#[derive(Debug, Args)]
pub struct Freeze {
    /// Change nothing, and print what would be written
    #[arg(long)]
    pub dry_run: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}
