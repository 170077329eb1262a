//! `devbox man`.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::args::Cli;
use crate::cli::{Outcome, print};
use crate::error::Error;

/// Writes one page per command.
pub fn write_all(directory: &Path) -> Outcome {
    let failed = |error: std::io::Error| Error::new(format!("cannot write to `{}`: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    Ok(0)
}

/// Prints the page of devbox itself, for `man -l -`.
pub fn print_first() -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("cannot make the manual page: {error}"));
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| failed(&error))?;
    print(&String::from_utf8(page).map_err(|error| failed(&error))?)
}
