//! `devbox man`.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Outcome;
use crate::cli::args::Cli;
use crate::error::Error;

/// Writes one page per command.
pub fn run(directory: &Path) -> Outcome {
    let failed = |error: std::io::Error| Error::new(format!("cannot write to `{}`: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    Ok(0)
}
