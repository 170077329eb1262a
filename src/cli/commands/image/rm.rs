//! `devbox image rm`.

use crate::cli::Outcome;
use crate::cli::args::image::Names;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::ui;
use crate::upkeep::gc::{Options, gc};
use crate::userns::mapper::Offer;

/// Forgets images, all of which must be here, and removes what nothing needs any more.
pub fn run(args: &Names) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let found: Vec<_> = args.images.iter().map(|typed| super::find(&paths, &store, typed)).collect::<Result<_, _>>()?;
    for (reference, _) in found {
        store.remove_image(&reference)?;
    }
    let report = gc(&paths, &Offer::probe().map(0), Options::default(), &ui::Terminal::default())?;
    if report.busy || !report.unreadable.is_empty() {
        ui::say("devbox: layers and blobs were left alone; `devbox gc` says why, and removes them later");
    }
    Ok(0)
}
