//! New images from layers and a configuration.

use std::fs::File;
use std::path::PathBuf;

use super::archives::{Archives, Layers};
use super::error::TransferError;
use super::install::install;
use super::pull::wanted;
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::layer::Method;
use crate::image::layer::pack::{PackReport, PackSpec, pack_layer};
use crate::image::manifest::Manifest;
use crate::image::media_type::{CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST};
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, LayerBuild, Store};
use crate::progress::Progress;
use crate::registry::Client;
use crate::text::with_causes;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// What an image is to be.
#[derive(Debug, Clone)]
pub struct NewImage<'a> {
    /// Its name.
    pub reference: &'a Reference,
    /// Its configuration, with a diff id for each layer.
    pub config: &'a ImageConfig,
    /// Its layers, the lowest first. The store keeps their archives, or knows where they are.
    pub layers: Vec<Descriptor>,
    /// Repositories that have archives of them.
    pub origins: Vec<Reference>,
}

/// Packs `spec`, whose files have the ids of `map`, and keeps the archive among the blobs of `store`. The caller must be
/// single-threaded.
pub fn pack(
    store: &Store,
    map: &IdMap,
    image: &str,
    spec: &PackSpec,
    method: Method,
    progress: &dyn Progress,
) -> Result<(Descriptor, PackReport), TransferError> {
    let new = NewBlob::create(store, map)?;
    let packed = run_mapped(map, || {
        progress.begin("packing", None);
        let advance = |bytes| progress.advance(bytes);
        let packed = pack_layer(spec, method, &new.file, Some(&advance));
        progress.end();
        packed.map_err(|error| with_causes(&error))
    });
    let report = packed.map_err(|source| TransferError::Pack { image: image.to_owned(), source })?;
    new.keep(store, &report.blob)?;
    Ok((Descriptor::new(method.compression.media_type(), report.blob.clone(), report.blob_bytes), report))
}

/// An archive that is being written, to become a blob of the store.
pub(super) struct NewBlob {
    /// Gone with it, whatever happens.
    _scratch: LayerBuild,
    path: PathBuf,
    pub file: File,
}

impl NewBlob {
    pub fn create(store: &Store, map: &IdMap) -> Result<Self, TransferError> {
        let scratch = store.begin(map)?;
        let path = scratch.path().join("blob");
        match File::create_new(&path) {
            Ok(file) => Ok(Self { _scratch: scratch, path, file }),
            Err(source) => Err(TransferError::Io { operation: "create", path, source }),
        }
    }

    pub fn keep(self, store: &Store, digest: &Digest) -> Result<(), TransferError> {
        let synced = self.file.sync_all();
        synced.map_err(|source| TransferError::Io { operation: "sync", path: self.path.clone(), source })?;
        Ok(store.adopt_blob(&self.path, digest)?)
    }
}

/// Makes the image and unpacks what of it is not unpacked for the ids of `map`. The caller must be single-threaded, and
/// hold the store's shared lock.
pub fn compose(
    store: &Store,
    client: &Client,
    map: &IdMap,
    image: &NewImage<'_>,
    progress: &dyn Progress,
) -> Result<ImageRecord, TransferError> {
    let json = |source| TransferError::Json { image: image.reference.familiar(), source };
    let config = serde_json::to_vec(image.config).map_err(json)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::of_bytes(CONFIG, &config),
        layers: image.layers.iter().map(in_oci_words).collect(),
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(json)?;
    let mut record = ImageRecord::new(image.reference, Descriptor::of_bytes(MANIFEST, &bytes));
    record.environment.clone_from(&image.config.config.env);
    record.origins.clone_from(&image.origins);
    let archives = Archives::new(store, client)?;
    let source = Layers { archives: &archives, layers: &manifest.layers };
    let layers = wanted(&manifest, image.config);
    let names = install(store, map, &image.reference.familiar(), &layers, &source, client.settings().limits, progress)?;
    record.layers.insert(map.layout(), names);
    store.put_blob(&manifest.config.digest, &config)?;
    store.put_blob(&record.manifest.digest, &bytes)?;
    store.put_image(&record)?;
    Ok(record)
}

/// A layer that docker named, in a manifest of OCI: the bytes are the same.
fn in_oci_words(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => LAYER_ZSTD,
        other => other,
    };
    Descriptor { media_type: media_type.to_owned(), ..layer.clone() }
}
