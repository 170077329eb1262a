//! What can be typed about editors and the tools they call.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::{Listing, complete};
use crate::editor::hook::HookShell;
use crate::editor::settings::Editor;

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
    /// Make shims: programs on the host, such as `rust-analyzer` or `python`, that run the box's
    Add {
        /// The tools, by their names in the box
        #[arg(value_name = "TOOL", required = true)]
        names: Vec<String>,
        /// Make them in this directory instead of devbox's own
        #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
        place: Option<PathBuf>,
    },
    /// List the shims
    List {
        /// Those in this directory instead of devbox's own
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
        /// Those in this directory instead of devbox's own
        #[arg(long = "dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
        place: Option<PathBuf>,
    },
}

/// `editor`.
#[derive(Debug, Subcommand)]
pub enum EditorCommand {
    /// Write the project's settings for an editor: its terminal, tasks, and language servers that have a shim
    Setup {
        /// The editor
        #[arg(value_enum, value_name = "EDITOR")]
        editor: Editor,
        /// Change nothing, and print the files as they would be
        #[arg(long)]
        print: bool,
    },
    /// Take out of the project what `editor setup` wrote, and nothing else
    Unset {
        /// The editor
        #[arg(value_enum, value_name = "EDITOR")]
        editor: Editor,
    },
}

impl ValueEnum for Editor {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// `hook`.
#[derive(Debug, Args)]
#[command(after_help = "In ~/.bashrc:    eval \"$(devbox hook bash)\"\nIn ~/.zshrc:     eval \"$(devbox hook zsh)\"\n\
                        In config.fish:  devbox hook fish | source")]
pub struct Hook {
    /// The shell
    #[arg(value_enum)]
    pub shell: HookShell,
}

impl ValueEnum for HookShell {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}
