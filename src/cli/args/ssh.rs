//! What can be typed of the commands for ssh and editors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Ssh {
    /// Open Visual Studio Code on the project's box
    Code(Editor),
    /// Open Cursor on the project's box
    Cursor(Editor),
    /// Open Zed on the project's box
    Zed(Editor),
    /// Open an editor of JetBrains on the project's box
    Idea(Editor),
    /// Be the ssh server of a box, for an ssh client that starts it
    SshProxy(SshProxy),
    /// Let ssh clients and editors find the boxes
    #[command(subcommand)]
    SshConfig(SshConfig),
}

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
    /// Print the file of hosts as `install` would write it
    Print,
    /// Take the file of hosts, and the line that includes it, back
    Remove,
}

/// `code`, `cursor`, `zed` and `idea`.
#[derive(Debug, Args)]
pub struct Editor {
    /// A folder or file of the project; by default this folder
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
}
