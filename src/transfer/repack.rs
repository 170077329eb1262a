//! The archives of layers that were built here.
//!
//! A build keeps the trees of its layers, and of their archives only the digests: most images never leave the machine.
//! When one does, its layers are packed, compressed, and named by a manifest of their own.

use super::archives::{Archives, manifest};
use super::compose::pack;
use super::error::TransferError;
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::layer::Compression;
use crate::image::layer::pack::PackSpec;
use crate::image::media_type::LAYER;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;
use crate::userns::idmap::IdMap;

/// The image of `record` with an archive for each layer: `record` itself if there are, else one whose manifest names new
/// archives and whose configuration is the same; its name stands for it from then on. The caller must be
/// single-threaded, and hold the store's shared lock.
pub fn with_archives(
    store: &Store,
    client: &Client,
    map: &IdMap,
    record: &ImageRecord,
    compression: Compression,
    progress: &dyn Progress,
) -> Result<ImageRecord, TransferError> {
    let damaged = || TransferError::Damaged { image: record.name.clone() };
    let mut manifest = manifest(store, record)?.ok_or_else(damaged)?;
    let archives = Archives::new(store, client)?;
    // A registry that has the base's layers has none of those that were built on them, which are named by plain archives.
    let is_there = |layer: &Descriptor| {
        archives.kept(layer).is_some() || (layer.media_type != LAYER && !archives.origins(layer).is_empty())
    };
    if manifest.layers.iter().all(is_there) {
        return Ok(record.clone());
    }
    let config = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config = ImageConfig::parse(&config).map_err(|_| damaged())?;
    let layout = map.layout();
    let names = record.layers.get(&layout).filter(|names| names.len() == manifest.layers.len());
    let mut below = Vec::new();
    for (number, layer) in manifest.layers.iter_mut().enumerate() {
        let tree = names.and_then(|names| store.tree(&names[number], &layout));
        if !is_there(layer) {
            let none = || TransferError::NoArchive { layer: layer.digest.clone() };
            let tree = tree.clone().ok_or_else(none)?;
            let spec = PackSpec { layers: vec![tree], below: below.clone(), ..PackSpec::default() };
            let (packed, report) = pack(store, map, &record.name, &spec, compression, progress)?;
            // Another content would belong to another configuration: then the archive is somebody else's.
            if config.rootfs.diff_ids.get(number) == Some(&report.diff_id) {
                *layer = packed;
            } else if !archives.knows(layer) {
                return Err(none());
            }
        }
        below.splice(..0, tree);
    }
    let bytes =
        serde_json::to_vec(&manifest).map_err(|source| TransferError::Json { image: record.name.clone(), source })?;
    let descriptor = Descriptor::of_bytes(&record.manifest.media_type, &bytes);
    store.put_blob(&descriptor.digest, &bytes)?;
    let record = ImageRecord { manifest: descriptor, ..record.clone() };
    store.put_image(&record)?;
    Ok(record)
}
