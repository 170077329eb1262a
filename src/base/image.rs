//! An image as the base: its layers as they are in the store, pulled when they are not.
//!
//! What is here is used as it is: a name is looked up again by `devbox image pull` only.

use super::error::BaseError;
use super::{OverlayDriver, RootLayers};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store, StoreError};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::registry::{Client, Settings};
use crate::transfer::pull::pull;
use crate::userns::idmap::IdMap;

/// Finds or fetches the image for the ids of `map`. The caller must be single-threaded.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    reference: &Reference,
    registries: &Settings,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let store = Store::open(&paths.store())?;
    if let Some(layers) = known(&store, reference)?.and_then(|record| stack(&store, map, &record)) {
        return Ok(layers);
    }
    let client = Client::new(registries.clone(), paths);
    let record = pull(paths, map, &client, reference, &Platform::host(), progress)?;
    stack(&store, map, &record).ok_or_else(|| BaseError::EmptyImage { image: reference.familiar() })
}

/// The record of the image. One that was pulled by its tag is also the one with the digest that the tag had then.
fn known(store: &Store, reference: &Reference) -> Result<Option<ImageRecord>, StoreError> {
    let found = store.image(reference)?;
    let (None, Some(digest), Some(tag)) = (&found, reference.digest(), reference.tag()) else { return Ok(found) };
    let Ok(by_tag) = reference.with_tag(tag) else { return Ok(None) };
    Ok(store
        .image(&by_tag)?
        .filter(|record| record.manifest.digest == *digest || record.index.as_ref() == Some(digest)))
}

/// The layers of an image that is unpacked for the ids of `map`; `None` when one is missing.
fn stack(store: &Store, map: &IdMap, record: &ImageRecord) -> Option<RootLayers> {
    let layout = map.layout();
    let mut lower = Vec::new();
    for name in record.layers.get(&layout)?.iter().rev() {
        lower.push(store.tree(name, &layout)?);
    }
    if lower.is_empty() {
        return None;
    }
    let variables = record.environment.iter().filter_map(|entry| entry.split_once('='));
    Some(RootLayers {
        id: format!("image-{}", record.manifest.digest.hexadecimal()),
        lower,
        digest: Some(record.index.clone().unwrap_or_else(|| record.manifest.digest.clone())),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        driver: OverlayDriver::Kernel,
        ..RootLayers::default()
    })
}
