//! `devbox stop`.

use std::path::Path;
use std::time::Duration;

use crate::boxes::{list, session};
use crate::cli::Outcome;
use crate::cli::args::Stop;
use crate::paths::Paths;

/// Stops one box, or all; returns when they have stopped.
pub fn run(folder: &Path, args: &Stop) -> Outcome {
    let paths = Paths::from_environment()?;
    let grace = Duration::from_secs(args.time.into());
    if args.all {
        for listed in list::list(&paths)? {
            session::stop(&paths, &listed.id, grace)?;
        }
    } else {
        let id = super::find(&paths, folder, &args.target)?;
        session::stop(&paths, &id, grace)?;
    }
    Ok(0)
}
