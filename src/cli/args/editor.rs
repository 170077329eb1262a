//! What can be typed about editors and the tools they call.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::{Listing, complete};

/// `root`.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// A path in the box
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// The box; by default that of this folder's project
    #[arg(long = "box", value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
    pub name: Option<String>,
}

/// `shim`.
#[derive(Debug, Subcommand)]
pub enum Shim {
    /// Make shims, like `rust-analyzer` or `python`
    Add {
        /// The tools
        #[arg(value_name = "TOOL", required = true)]
        names: Vec<String>,
        /// Make them in this directory instead of devbox's own
        #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
        place: Option<PathBuf>,
    },
    /// List the shims
    List {
        /// Those in this directory
        #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
        place: Option<PathBuf>,
        /// How
        #[command(flatten)]
        listing: Listing,
    },
    /// Remove shims
    Remove {
        /// The tools
        #[arg(value_name = "TOOL", required = true, add = ArgValueCandidates::new(complete::shims))]
        names: Vec<String>,
        /// Those in this directory
        #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
        place: Option<PathBuf>,
    },
}
