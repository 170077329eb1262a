//! `devbox rm`.

use std::path::Path;
use std::time::Duration;

use crate::boxes::{BoxesError, list, remove, session};
use crate::cli::Outcome;
use crate::cli::args::Remove;
use crate::paths::Paths;
use crate::ui;
use crate::userns::mapper::Offer;

/// Removes a box: nothing of it stays on the disk.
pub fn run(folder: &Path, args: &Remove) -> Outcome {
    let paths = Paths::from_environment()?;
    let progress = ui::Terminal::default();
    if args.force {
        let is_missing = match &args.target.name {
            Some(name) => matches!(list::find_by_name(&paths, name), Err(BoxesError::NoSuchBox { .. })),
            None => list::find_by_project(&paths, &super::project(&paths, folder)?)?.is_none(),
        };
        if is_missing {
            return Ok(0);
        }
    }
    let id = super::find(&paths, folder, &args.target)?;
    if args.force {
        session::stop(&paths, &id, Duration::ZERO)?;
    }
    remove::remove_box(&paths, &id, "devbox rm", &progress)?;
    remove::empty_trash(&paths, &Offer::probe().map(0), &progress)?;
    Ok(0)
}
