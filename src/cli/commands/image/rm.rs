//! `devbox image rm`.

use crate::cli::Outcome;
use crate::cli::args::image::Names;
use crate::image::store::Store;
use crate::paths::Paths;

/// Forgets images, all of which must be here.
pub fn run(args: &Names) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let found: Vec<_> = args.images.iter().map(|typed| super::find(&paths, &store, typed)).collect::<Result<_, _>>()?;
    for (reference, _) in found {
        store.remove_image(&reference)?;
    }
    Ok(0)
}
