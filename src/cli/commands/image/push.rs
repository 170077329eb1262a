//! `devbox image push`, and `devbox push`.

use std::path::Path;

use crate::cli::args::image::{Commit, Push};
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::image::layer::Method;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::registries;
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer;
use crate::ui;
use crate::userns::mapper::Offer;

/// Gives an image to a registry; prints its digest.
pub fn run(args: &Push) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let (reference, record) = super::find(&paths, &store, &args.image)?;
    let target = match &args.destination {
        Some(destination) => super::new_name(&paths, destination)?,
        None if reference.digest().is_some() => super::new_name(&paths, &args.image)?,
        None => reference,
    };
    push(&paths, &store, &record, &target, args.compression)
}

/// Makes an image of a box, and gives it to a registry.
pub fn commit_and_push(folder: &Path, args: &Commit) -> Outcome {
    let paths = Paths::from_environment()?;
    let (reference, record) = super::commit::make(&paths, folder, args)?;
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    push(&paths, &store, &record, &reference, None)
}

fn push(
    paths: &Paths,
    store: &Store,
    record: &ImageRecord,
    target: &Reference,
    compression: Option<Method>,
) -> Outcome {
    let progress = ui::Terminal::default();
    let client = Client::new(registries::load(paths)?, paths).with_notice(progress.notice());
    let map = Offer::probe().map(0);
    let record = transfer::repack::with_archives(store, &client, &map, record, compression, &progress)?;
    let pushed = transfer::push::push(store, &client, &record, target, &progress).map_err(Error::from)?;
    print(&format!("{}@{}\n", target.name(), pushed.digest))
}
