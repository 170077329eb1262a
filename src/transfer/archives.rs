//! Where the archives of layers are, once the layers are unpacked.
//!
//! An archive of hundreds of megabytes is not kept beside what was unpacked from it, and cannot be made again: other
//! programs compress differently, and order and pad differently. Nor need it be. What was pulled is still in the
//! repository that it came from (`ImageRecord::origins`); a push to the same registry asks it to mount the layer from
//! there, any other one streams it through. What came from nowhere else, because it was packed here, is kept
//! among the store's blobs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::install::Source;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::manifest::{Document, Manifest, parse_document};
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store, StoreError};
use crate::registry::Client;

/// What is known of the archives of all images of a store.
#[derive(Debug)]
pub struct Archives<'a> {
    store: &'a Store,
    client: &'a Client,
    origins: HashMap<Digest, Vec<Reference>>,
}

impl<'a> Archives<'a> {
    /// Reads which repositories have what. Images that cannot be read have nothing.
    pub fn new(store: &'a Store, client: &'a Client) -> Result<Self, StoreError> {
        let mut origins: HashMap<Digest, Vec<Reference>> = HashMap::new();
        for record in store.images()?.iter().filter(|record| !record.origins.is_empty()) {
            let Some(manifest) = manifest(store, record)? else { continue };
            for layer in manifest.layers {
                let known = origins.entry(layer.digest).or_default();
                known.extend(
                    record.origins.iter().filter(|origin| !known.contains(origin)).cloned().collect::<Vec<_>>(),
                );
            }
        }
        Ok(Self { store, client, origins })
    }

    /// The archive in the store, if it is kept there.
    pub fn kept(&self, blob: &Descriptor) -> Option<PathBuf> {
        let path = self.store.blob_path(&blob.digest);
        std::fs::metadata(&path).is_ok_and(|meta| meta.len() == blob.size).then_some(path)
    }

    /// Repositories that have, or had, the archive.
    pub fn origins(&self, blob: &Descriptor) -> &[Reference] {
        self.origins.get(&blob.digest).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody has, or had, the archive.
    pub fn knows(&self, blob: &Descriptor) -> bool {
        self.kept(blob).is_some() || !self.origins(blob).is_empty()
    }

    /// The bytes of the archive from `offset` on. Their digest is for the reader to check.
    pub fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        if let Some(path) = self.kept(blob) {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(file));
        }
        let mut failure = None;
        for origin in self.origins(blob) {
            match open_remote(self.client, origin, blob, offset) {
                Ok(reader) => return Ok(reader),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "its archive is not kept here and came from no registry")
        }))
    }
}

/// The bytes of a layer in the repository of `reference`, from `offset` on.
pub(super) fn open_remote<'a>(
    client: &'a Client,
    reference: &Reference,
    blob: &Descriptor,
    offset: u64,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = client.blob(reference, blob, offset).map_err(io::Error::other)?;
    // A registry that knows no ranges begins at the beginning.
    let known = offset.saturating_sub(reader.start());
    io::copy(&mut reader.by_ref().take(known), &mut io::sink())?;
    Ok(Box::new(reader))
}

/// The manifest of an image; `None` if the store does not have it as it was.
pub fn manifest(store: &Store, record: &ImageRecord) -> Result<Option<Manifest>, StoreError> {
    let Some(bytes) = store.blob(&record.manifest.digest)? else { return Ok(None) };
    match parse_document(&bytes, Some(&record.manifest.media_type)) {
        Ok(Document::Manifest(manifest)) => Ok(Some(manifest)),
        Ok(Document::Index(_)) | Err(_) => Ok(None),
    }
}

/// The layers of one image.
pub(super) struct Layers<'a> {
    pub archives: &'a Archives<'a>,
    pub layers: &'a [Descriptor],
}

impl Source for Layers<'_> {
    fn open(&self, number: usize, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self.archives.open(&self.layers[number], offset)
    }

    fn is_worth_keeping(&self) -> bool {
        false
    }
}
