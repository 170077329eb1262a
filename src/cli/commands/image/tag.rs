//! `devbox image tag`.

use crate::cli::Outcome;
use crate::cli::args::image::Tag;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;

/// Gives an image another name as well.
pub fn run(args: &Tag) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let (_, record) = super::find(&paths, &store, &args.image)?;
    let name = super::new_name(&paths, &args.name)?;
    store.put_image(&ImageRecord { name: name.to_string(), ..record })?;
    Ok(0)
}
