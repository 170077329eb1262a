//! `devbox image rm`.

use crate::cli::Outcome;
use crate::cli::args::image::Names;
use crate::error::Error;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::ui;
use crate::upkeep::gc::{Options, gc};
use crate::userns::mapper::Offer;

/// Forgets those images that are here, and removes what nothing needs any more. The others are the error.
pub fn run(args: &Names) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for typed in &args.images {
        match super::find(&paths, &store, typed) {
            Ok((reference, _)) => found.push(reference),
            Err(error) => errors.push(error),
        }
    }
    for reference in &found {
        store.remove_image(reference)?;
    }
    if !found.is_empty() {
        let report = gc(&paths, &Offer::probe().map(0), Options::default(), &ui::Terminal::default())?;
        if report.busy || !report.unreadable.is_empty() {
            ui::say("devbox: layers and blobs were left alone; `devbox gc` says why, and removes them later");
        }
    }
    let (wanted, left) = (args.images.len(), errors.len());
    match Error::of_several(errors, format!("{left} of {wanted} images were not removed")) {
        Some(error) => Err(error),
        None => Ok(0),
    }
}
