//! The archives of layers that were built here.
//!
//! A build keeps the trees of its layers, and of their archives only the digests: most images never leave the machine.
//! When one does, its layers are packed, compressed, and named by a manifest of their own. So a built image has another
//! manifest, and another digest, once it has left for the first time; its configuration, which is what other programs
//! call its ID, stays.

use std::fs::File;
use std::path::Path;

use super::archives::{Archives, manifest};
use super::compose::{NewBlob, pack};
use super::error::TransferError;
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::layer::pack::{PackSpec, recompress};
use crate::image::layer::{Method, UnpackLimits};
use crate::image::media_type::{Kind, LAYER};
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;
use crate::userns::idmap::IdMap;

/// The image of `record` with an archive for each layer: `record` itself if there are, else one whose manifest names new
/// archives and whose configuration is the same; its name stands for it from then on. Archives that are kept here, since
/// they came from no registry, are compressed again if a method is `wanted` and they have another one: those of
/// registries would have to be fetched first, and could not be shared any more. The caller must be single-threaded, and
/// hold the store's shared lock.
pub fn with_archives(
    store: &Store,
    client: &Client,
    map: &IdMap,
    record: &ImageRecord,
    wanted: Option<Method>,
    progress: &dyn Progress,
) -> Result<ImageRecord, TransferError> {
    let damaged = || TransferError::Damaged { image: record.name.clone() };
    let mut manifest = manifest(store, record)?.ok_or_else(damaged)?;
    let archives = Archives::new(store, client)?;
    let again = |layer: &Descriptor| wanted.filter(|method| is_other(layer, *method)).zip(archives.kept(layer));
    // A registry that has the base's layers has none of those that were built on them, which are named by plain archives.
    let is_there = |layer: &Descriptor| {
        archives.kept(layer).is_some() || (layer.media_type != LAYER && !archives.origins(layer).is_empty())
    };
    if manifest.layers.iter().all(|layer| is_there(layer) && again(layer).is_none()) {
        return Ok(record.clone());
    }
    let config = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config = ImageConfig::parse(&config).map_err(|_| damaged())?;
    let layout = map.layout();
    let names = record.layers.get(&layout).filter(|names| names.len() == manifest.layers.len());
    let mut below = Vec::new();
    for (number, layer) in manifest.layers.iter_mut().enumerate() {
        let tree = names.and_then(|names| store.tree(&names[number], &layout));
        let none = || TransferError::NoArchive { layer: layer.digest.clone() };
        let made = if let Some((method, path)) = again(layer) {
            Some(compress(store, map, &record.name, &path, method, client.settings().limits, progress)?)
        } else if !is_there(layer) {
            let tree = tree.clone().ok_or_else(none)?;
            let spec = PackSpec { layers: vec![tree], below: below.clone(), ..PackSpec::default() };
            let (packed, report) = pack(store, map, &record.name, &spec, wanted.unwrap_or_default(), progress)?;
            Some((packed, report.diff_id))
        } else {
            None
        };
        if let Some((packed, diff_id)) = made {
            // Another content would belong to another configuration: then the archive is somebody else's.
            if config.rootfs.diff_ids.get(number) == Some(&diff_id) {
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

/// Whether the archive is not what `method` makes. A level cannot be seen in it.
fn is_other(layer: &Descriptor, method: Method) -> bool {
    layer.kind() != Kind::ForeignLayer
        && (method.level.is_some() || !layer.media_type.ends_with(&method.compression.to_string()))
}

/// The archive in the file `path` compressed with `method`, among the blobs of `store`; and the digest of its content.
fn compress(
    store: &Store,
    map: &IdMap,
    image: &str,
    path: &Path,
    method: Method,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<(Descriptor, Digest), TransferError> {
    let archive = File::open(path);
    let archive = archive.map_err(|source| TransferError::Io { operation: "open", path: path.to_owned(), source })?;
    let new = NewBlob::create(store, map)?;
    progress.begin("compressing", None);
    let made = recompress(archive, limits, method, &new.file, &|bytes| progress.advance(bytes));
    progress.end();
    let made = made.map_err(|source| TransferError::Compress { image: image.to_owned(), source: Box::new(source) })?;
    new.keep(store, &made.blob)?;
    Ok((Descriptor::new(method.compression.media_type(), made.blob, made.blob_bytes), made.diff_id))
}
