//! `image pull`: from a registry into the store.

use std::io::{self, Read};

use super::archives::open_remote;
use super::error::TransferError;
use super::install::{Source, Wanted, install};
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::manifest::{Document, Manifest, parse_document};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::registry::Client;
use crate::userns::idmap::IdMap;

/// Indexes within indexes that are followed.
pub(super) const MAX_INDEXES: usize = 4;

/// Fetches what `reference` names now for `platform`, and unpacks it for the ids of `map`. What the store has is not
/// fetched again. The caller must be single-threaded.
pub fn pull(
    paths: &Paths,
    map: &IdMap,
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<ImageRecord, TransferError> {
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let image = reference.familiar();
    let Found { manifest, descriptor, index } = find_manifest(client, &store, reference, platform)?;
    manifest.require_image().map_err(|source| TransferError::Manifest { image: image.clone(), source })?;
    let config = config(client, &store, reference, &manifest)?;

    let mut record = ImageRecord::new(reference, descriptor);
    record.index = index;
    record.environment.clone_from(&config.config.env);
    if let Some(known) = store.image(reference).ok().flatten().filter(|known| known.manifest == record.manifest) {
        record.layers = known.layers;
        record.origins = known.origins;
    }
    record.add_origin(reference);
    let layers: Vec<Wanted> = wanted(&manifest, &config);
    let source = Remote { client, reference, layers: &layers };
    let names = install(&store, map, &image, &layers, &source, client.settings().limits, progress)?;
    record.layers.insert(map.layout(), names);
    store.put_image(&record)?;
    store.settle_later()?;
    Ok(record)
}

/// The configuration of what `reference` names now for `platform`; its layers are not fetched.
pub fn image_config(
    client: &Client,
    store: &Store,
    reference: &Reference,
    platform: &Platform,
) -> Result<ImageConfig, TransferError> {
    let Found { manifest, .. } = find_manifest(client, store, reference, platform)?;
    config(client, store, reference, &manifest)
}

/// The manifest's layers with what the configuration says of them.
pub(super) fn wanted(manifest: &Manifest, config: &ImageConfig) -> Vec<Wanted> {
    let diff_ids = config.rootfs.diff_ids.iter().cloned();
    manifest.layers.iter().cloned().zip(diff_ids).map(|(blob, diff_id)| Wanted { blob, diff_id }).collect()
}

struct Found {
    manifest: Manifest,
    descriptor: Descriptor,
    index: Option<Digest>,
}

fn find_manifest(
    client: &Client,
    store: &Store,
    reference: &Reference,
    platform: &Platform,
) -> Result<Found, TransferError> {
    let image = || reference.familiar();
    let mut next = reference.clone();
    let mut index = None;
    for _ in 0..=MAX_INDEXES {
        let fetched = client.manifest(&next)?;
        let document = parse_document(&fetched.bytes, Some(&fetched.media_type))
            .map_err(|source| TransferError::Manifest { image: image(), source })?;
        store.put_blob(&fetched.digest, &fetched.bytes)?;
        match document {
            Document::Manifest(manifest) => {
                let media_type = manifest.media_type.as_deref().unwrap_or(&fetched.media_type);
                let descriptor = Descriptor::new(media_type, fetched.digest, fetched.bytes.len() as u64);
                return Ok(Found { manifest, descriptor, index });
            }
            Document::Index(entries) => {
                let Some(chosen) = entries.choose(platform) else {
                    let (wanted, found) = (platform.to_string(), entries.platforms());
                    return Err(TransferError::Platform { image: image(), wanted, found });
                };
                next = reference.with_digest(chosen.digest.clone());
                index = index.or(Some(fetched.digest));
            }
        }
    }
    Err(TransferError::Nested { image: image() })
}

fn config(
    client: &Client,
    store: &Store,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<ImageConfig, TransferError> {
    let bytes = match store.blob(&manifest.config.digest)? {
        Some(bytes) => bytes,
        None => client.blob_bytes(reference, &manifest.config)?,
    };
    let config = ImageConfig::parse(&bytes)
        .and_then(|config| config.require_layers(manifest.layers.len()).map(|()| config))
        .map_err(|source| TransferError::Config { image: reference.familiar(), source })?;
    store.put_blob(&manifest.config.digest, &bytes)?;
    Ok(config)
}

/// Layers of a repository.
struct Remote<'a> {
    client: &'a Client,
    reference: &'a Reference,
    layers: &'a [Wanted],
}

impl Source for Remote<'_> {
    fn open(&self, number: usize, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        open_remote(self.client, self.reference, &self.layers[number].blob, offset)
    }

    fn is_worth_keeping(&self) -> bool {
        true
    }
}
