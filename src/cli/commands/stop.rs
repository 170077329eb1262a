//! `devbox stop`.

use std::path::Path;
use std::time::Duration;

use crate::boxes::{list, session};
use crate::cli::Outcome;
use crate::cli::args::Stop;
use crate::error::Error;
use crate::paths::Paths;
use crate::ui;

/// Stops one box, or all; returns when they have stopped.
pub fn run(folder: &Path, args: &Stop) -> Outcome {
    let paths = Paths::from_environment()?;
    let grace = Duration::from_secs(args.time.into());
    if args.all {
        return stop_all(&paths, grace);
    }
    let id = super::find(&paths, folder, &args.target)?;
    session::stop(&paths, &id, grace)?;
    Ok(0)
}

/// A box that cannot be stopped does not keep the others running.
fn stop_all(paths: &Paths, grace: Duration) -> Outcome {
    let mut status = 0;
    for listed in list::list(paths)? {
        if let Err(error) = session::stop(paths, &listed.id, grace) {
            let shown = Error::from(error).within(format!("cannot stop `{}`", listed.id.as_str()));
            status = shown.status;
            ui::show_error(&shown);
        }
    }
    Ok(status)
}
