//! `devbox image diff`.

use std::path::PathBuf;

use crate::boxes::diff::{DiffSpec, Sides, diff};
use crate::cli::Outcome;
use crate::cli::args::image::Diff;
use crate::error::Error;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::text::sanitize;
use crate::userns::idmap::IdMap;
use crate::userns::mapper::Offer;

/// Lists what must be done to the first image to get the second; of one image, what its last layer does to those below.
pub fn run(args: &Diff) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let map = Offer::probe().map(0);
    let (_, record) = super::find(&paths, &store, &args.image)?;
    let layers = trees(&store, &map, &record)?;
    let (base, own) = match &args.other {
        Some(other) => (layers, trees(&store, &map, &super::find(&paths, &store, other)?.1)?),
        None => (layers.iter().skip(1).cloned().collect(), layers),
    };
    let spec = DiffSpec { own, base, sides: Sides::Beside, ..DiffSpec::default() };
    crate::cli::commands::diff::show(&diff(&spec, &map)?, args.format)
}

/// The layers of an image, the topmost first.
fn trees(store: &Store, map: &IdMap, record: &ImageRecord) -> Result<Vec<PathBuf>, Error> {
    let mut trees = store.image_trees(record, &map.layout()).ok_or_else(|| {
        Error::new(format!("the layers of `{}` are not unpacked for your ids", sanitize(&record.name)))
            .hint("`devbox image pull` unpacks them")
    })?;
    trees.reverse();
    Ok(trees)
}
