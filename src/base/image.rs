//! An image as the base: its layers as they are in the store, pulled when they are not.
//!
//! What is here is used as it is: a name is looked up again by `devbox image pull` only. An image in a file is loaded the first time.

use std::path::Path;

use super::error::BaseError;
use super::{OverlayDriver, RootLayers};
use crate::image::layer::UnpackLimits;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::registry::{Client, Settings};
use crate::transfer::load::{Bundle, LoadSpec, Naming};
use crate::transfer::other_ids::unpack_again;
use crate::transfer::pull::pull;
use crate::transfer::{self, TransferError};
use crate::userns::idmap::IdMap;
use crate::userns::mapper::Offer;

/// Images from files given as `rootfs` are called so, with their digests.
const ROOTFS: &str = "localhost/rootfs";

/// Whether an image is called as those from files given as `rootfs` are: nobody asked for it by that name, so it is needed
/// only as long as a box stands on it.
#[must_use]
pub fn is_from_file(name: &str) -> bool {
    name.strip_prefix(ROOTFS).is_some_and(|rest| rest.starts_with('@'))
}

/// Finds or fetches the image for the ids of `map`. The caller must be single-threaded.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    reference: &Reference,
    registries: &Settings,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let store = Store::open(&paths.store())?;
    if let Some(layers) = find(&store, map, reference)? {
        return Ok(layers);
    }
    let client = Client::new(registries.clone(), paths).with_notice(progress.notice());
    // Most images are unpacked for boxes of root first, and those that were built here can be had nowhere else.
    let usual = Offer::probe().map(0);
    if let Some(known) = store.find_image(reference)?
        && let Some(record) = unpack_again(&store, &client, &usual, map, &known, progress)?
    {
        return stack(&store, map, &record).ok_or_else(|| BaseError::EmptyImage { image: reference.familiar() });
    }
    let record = pull(paths, map, &client, reference, &Platform::host(), progress)?;
    stack(&store, map, &record).ok_or_else(|| BaseError::EmptyImage { image: reference.familiar() })
}

/// The image if it is here, unpacked for the ids of `map`.
pub(super) fn find(store: &Store, map: &IdMap, reference: &Reference) -> Result<Option<RootLayers>, BaseError> {
    Ok(store.find_image(reference)?.and_then(|record| stack(store, map, &record)))
}

/// Loads the only image of an archive or directory, and says what it is called here.
pub(super) fn load(
    store: &Store,
    map: &IdMap,
    path: &Path,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<(Reference, RootLayers), BaseError> {
    let shown = path.display().to_string();
    let failed = |source| TransferError::Load { shown: shown.clone(), source };
    let bundle = Bundle::open(path, store, limits).map_err(failed)?;
    let naming = Naming::Digest(ROOTFS.parse().map_err(|_| BaseError::EmptyImage { image: ROOTFS.to_owned() })?);
    let spec = LoadSpec { shown: &shown, platform: &Platform::host(), naming, limits };
    let records = transfer::load::load(store, map, &bundle, &spec, progress)?;
    let empty = || BaseError::EmptyImage { image: shown.clone() };
    let record = records.first().ok_or_else(empty)?;
    let reference = record.name.parse().map_err(|_| empty())?;
    Ok((reference, stack(store, map, record).ok_or_else(empty)?))
}

/// The layers of an image that is unpacked for the ids of `map`; `None` when one is missing.
fn stack(store: &Store, map: &IdMap, record: &ImageRecord) -> Option<RootLayers> {
    let mut lower = store.image_trees(record, &map.layout())?;
    lower.reverse();
    if lower.is_empty() {
        return None;
    }
    let variables = record.environment.iter().filter_map(|entry| entry.split_once('='));
    Some(RootLayers {
        id: format!("image-{}", record.manifest.digest.hexadecimal()),
        lower,
        digest: Some(record.pin().clone()),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        driver: OverlayDriver::Kernel,
        ..RootLayers::default()
    })
}
