//! What can be typed of the commands for ssh and editors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;

/// `ssh-proxy`.
#[derive(Debug, Args)]
pub struct SshProxy {
    /// The box, with or without `.devbox` behind its name
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
    pub name: String,
}

/// `ssh-config`.
#[derive(Debug, Subcommand)]
pub enum SshConfig {
    /// Make `ssh NAME.devbox` work: write a file of hosts, and include it from ~/.ssh/config
    Install,
    /// Print that file
    Print,
    /// Take it back
    Remove,
}

/// `code`, `cursor`, `zed` and `idea`.
#[derive(Debug, Args)]
pub struct Editor {
    /// A folder or file of the project; by default this folder
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
}
