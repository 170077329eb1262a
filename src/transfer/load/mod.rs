//! `image load`: from a file into the store.
//!
//! ```text
//! OCI layout (directory or archive)     index.json -> [index ->] manifest -> configuration, layers: blobs/sha256/..
//! docker archive                        manifest.json -> configuration and layers by file names; no digests of layers
//! ```
//!
//! An archive with both, as docker writes since version 25, is read as an OCI layout.

mod bundle;
mod docker;
mod error;
mod layout;

use std::io::{self, Read};

pub use bundle::Bundle;
pub use error::LoadError;

use super::error::TransferError;
use super::install::{Source, install};
use super::pull::wanted;
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::layer::UnpackLimits;
use crate::image::manifest::Manifest;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::userns::idmap::IdMap;
use bundle::Stored;

/// What the loaded images are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// As the file says.
    Own,
    /// The only image gets this name.
    As(Reference),
    /// The only image gets the name of this repository with its own digest; its archives are not kept for a push.
    Digest(Reference),
}

/// What to load, and how.
#[derive(Debug, Clone)]
pub struct LoadSpec<'a> {
    /// The file in messages.
    pub shown: &'a str,
    /// Of images for several platforms this one is taken.
    pub platform: &'a Platform,
    /// What the images are called.
    pub naming: Naming,
    /// How large layers may become.
    pub limits: UnpackLimits,
}

/// One image of a bundle, checked but for its layers.
#[derive(Debug)]
struct Found {
    /// None when the file does not say.
    names: Vec<Reference>,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    descriptor: Descriptor,
    config: ImageConfig,
    config_bytes: Vec<u8>,
    index: Option<Digest>,
    /// The archives of the layers, the lowest first.
    archives: Vec<Stored>,
}

/// Brings the images of `bundle` into the store and unpacks them for the ids of `map`; returns one record for each
/// name. The caller must be single-threaded.
pub fn load(
    store: &Store,
    map: &IdMap,
    bundle: &Bundle,
    spec: &LoadSpec<'_>,
    progress: &dyn Progress,
) -> Result<Vec<ImageRecord>, TransferError> {
    let _using = store.lock_shared()?;
    let mut found = match layout::find(bundle, spec)? {
        Some(found) => found,
        None => docker::find(bundle)
            .and_then(|found| found.ok_or(LoadError::NoImage))
            .map_err(|source| spec.failed(source))?,
    };
    name(&mut found, &spec.naming).map_err(|source| spec.failed(source))?;
    let mut records = Vec::new();
    for image in found {
        let check = || spec.shown.to_owned();
        image.manifest.require_image().map_err(|source| TransferError::Manifest { image: check(), source })?;
        image
            .config
            .require_layers(image.manifest.layers.len())
            .map_err(|source| TransferError::Config { image: check(), source })?;
        store.put_blob(&image.descriptor.digest, &image.manifest_bytes)?;
        store.put_blob(&image.manifest.config.digest, &image.config_bytes)?;
        let layers = wanted(&image.manifest, &image.config);
        let shown = image.names.first().map_or_else(check, Reference::familiar);
        let names = install(store, map, &shown, &layers, &Archives(&image.archives), spec.limits, progress)?;
        // These archives come from no registry, where a push could find them again.
        if !matches!(spec.naming, Naming::Digest(_)) {
            for (layer, archive) in image.manifest.layers.iter().zip(&image.archives) {
                store.put_blob_from(&layer.digest, layer.size, &mut archive.reader(0))?;
            }
        }
        for reference in &image.names {
            let mut record = ImageRecord::new(reference, image.descriptor.clone());
            record.index.clone_from(&image.index);
            record.environment.clone_from(&image.config.config.env);
            let known = store.image(reference).ok().flatten().filter(|known| known.manifest == record.manifest);
            record.layers = known.map(|known| known.layers).unwrap_or_default();
            record.layers.insert(map.layout(), names.clone());
            store.put_image(&record)?;
            records.push(record);
        }
    }
    Ok(records)
}

impl LoadSpec<'_> {
    fn failed(&self, source: LoadError) -> TransferError {
        TransferError::Load { shown: self.shown.to_owned(), source }
    }
}

/// Gives every image at least one name.
fn name(found: &mut [Found], naming: &Naming) -> Result<(), LoadError> {
    let count = found.len();
    match (naming, found) {
        (Naming::As(name), [only]) => only.names = vec![name.clone()],
        (Naming::Digest(name), [only]) => only.names = vec![name.with_digest(only.descriptor.digest.clone())],
        (Naming::As(_) | Naming::Digest(_), _) => return Err(LoadError::Several { count }),
        (Naming::Own, found) if found.iter().any(|image| image.names.is_empty()) => return Err(LoadError::NoName),
        (Naming::Own, _) => {}
    }
    Ok(())
}

/// Archives that lie in a bundle.
struct Archives<'a>(&'a [Stored]);

impl Source for Archives<'_> {
    fn open(&self, number: usize, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0[number].reader(offset)))
    }

    fn is_worth_keeping(&self) -> bool {
        false
    }
}
