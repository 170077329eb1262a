//! `devbox doctor`.

use crate::cli::args::Format;
use crate::cli::{Outcome, print, print_json};
use crate::doctor::{self, State};
use crate::paths::Paths;

/// Prints every finding; fails when one of them keeps boxes from starting.
pub fn run(format: Format) -> Outcome {
    let paths = Paths::from_environment()?;
    let findings = doctor::run(&paths);
    if format == Format::Json {
        print_json(&findings)?;
    } else {
        print(&doctor::report(&findings))?;
    }
    Ok(i32::from(findings.iter().any(|finding| finding.state == State::Blocker)))
}
