//! Ports, and what a box reaches.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::{Logs, StatusArgs};
use crate::cli::complete;

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkArg {
    /// Its own if there is a helper program, else the host's
    Auto,
    /// Its own, or an error
    Private,
    /// The host's
    Host,
    /// Loopback only
    None,
}

/// `port`.
#[derive(Debug, Subcommand)]
pub enum Port {
    /// List the ports that are reachable, and where
    List(StatusArgs),
    /// Make ports reachable until the box stops
    Add {
        /// `[ADDRESS:][HOST-PORT:]BOX-PORT[/udp]`, like `8080:80`; without an address on the loopback
        #[arg(value_name = "PORT", required = true)]
        ports: Vec<String>,
        /// The box; by default that of this folder's project
        #[arg(long = "box", value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
        name: Option<String>,
    },
    /// Take ports back; connections go on
    Remove {
        /// A port of the box, like `80` or `53/udp`, or as it was added
        #[arg(value_name = "PORT", required = true)]
        ports: Vec<String>,
        /// The box; by default that of this folder's project
        #[arg(long = "box", value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
        name: Option<String>,
    },
}

/// `net`.
#[derive(Debug, Subcommand)]
pub enum Net {
    /// Show what a box with an egress list reached, and what it was denied
    Log(Logs),
    /// Run a command with everything allowed, and print the egress list that it needed
    Learn(Learn),
}

/// `net learn`.
#[derive(Debug, Args)]
pub struct Learn {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
