//! An image that is here, unpacked once more for other ids.
//!
//! The files of a layer have owners on the host; boxes whose user has another id need them with others. What came from a
//! registry is fetched from there again, of just the same content; what was built here is packed first.

use super::archives::{Archives, Layers, manifest};
use super::error::TransferError;
use super::install::install;
use super::pull::wanted;
use super::repack::with_archives;
use super::{implied, install::Wanted};
use crate::image::config::ImageConfig;
use crate::image::manifest::Manifest;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;
use crate::userns::idmap::IdMap;

/// The image of `record`, which is unpacked for the ids of `from`, unpacked for those of `map` as well; `None`: it is not
/// unpacked for the ids of `from`. The caller must be single-threaded.
pub fn unpack_again(
    store: &Store,
    client: &Client,
    from: &IdMap,
    map: &IdMap,
    record: &ImageRecord,
    progress: &dyn Progress,
) -> Result<Option<ImageRecord>, TransferError> {
    if store.image_trees(record, &from.layout()).is_none() {
        return Ok(None);
    }
    let _using = store.lock_shared()?;
    let (_, layers) = layers(store, record)?;
    let known: Option<Vec<String>> = implied::find(store, map, &layers).into_iter().collect();
    let mut record = record.clone();
    let names = match known {
        Some(names) => names,
        None => {
            record = with_archives(store, client, from, &record, None, progress)?;
            let (manifest, layers) = self::layers(store, &record)?;
            let archives = Archives::new(store, client)?;
            let source = Layers { archives: &archives, layers: &manifest.layers };
            install(store, map, &record.name, &layers, &source, client.settings().limits, progress)?
        }
    };
    record.layers.insert(map.layout(), names);
    store.put_image(&record)?;
    Ok(Some(record))
}

/// The layers of an image as its manifest and its configuration name them.
fn layers(store: &Store, record: &ImageRecord) -> Result<(Manifest, Vec<Wanted>), TransferError> {
    let damaged = || TransferError::Damaged { image: record.name.clone() };
    let manifest = manifest(store, record)?.ok_or_else(damaged)?;
    let config = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config = ImageConfig::parse(&config)
        .and_then(|config| config.require_layers(manifest.layers.len()).map(|()| config))
        .map_err(|_| damaged())?;
    let layers = wanted(&manifest, &config);
    Ok((manifest, layers))
}
