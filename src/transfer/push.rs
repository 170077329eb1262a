//! `image push`: from the store into a registry.
//!
//! For each layer the cheapest way is taken: the repository has it; it takes it from another repository of the same
//! registry; it is uploaded, from the store or from the registry that it came from. The manifest comes last, so that
//! whoever sees it finds all that it names.

use std::collections::HashSet;
use std::io::{self, Read};

use super::archives::{Archives, manifest};
use super::error::TransferError;
use super::layers::{Meter, each_layer};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::media_type::Kind;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's, under which the registry has the image.
    pub digest: Digest,
    /// Layers that the repository had.
    pub there: usize,
    /// Layers that it took from another repository.
    pub mounted: usize,
    /// Layers that were uploaded.
    pub uploaded: usize,
    /// Bytes of these.
    pub uploaded_bytes: u64,
}

/// How a layer came into the repository.
enum Way {
    There,
    Mounted,
    Uploaded(u64),
}

/// Pushes the image of `record` to `target`, which has no digest, and remembers that it is there.
pub fn push(
    store: &Store,
    client: &Client,
    record: &ImageRecord,
    target: &Reference,
    progress: &dyn Progress,
) -> Result<Pushed, TransferError> {
    let damaged = || TransferError::Damaged { image: record.name.clone() };
    let manifest = manifest(store, record)?.ok_or_else(damaged)?;
    let config = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let bytes = store.blob(&record.manifest.digest)?.ok_or_else(damaged)?;
    let archives = Archives::new(store, client)?;
    // The same layer twice is one blob. Layers that registries must not give away stay where they are.
    let mut layers = manifest.layers;
    let mut seen = HashSet::new();
    layers.retain(|layer| layer.kind() != Kind::ForeignLayer && seen.insert(layer.digest.clone()));
    let pushing = Push { client, archives: &archives, target };
    let ways = each_layer(
        &format!("pushing {}", target.familiar()),
        &layers.iter().collect::<Vec<_>>(),
        progress,
        |way| match way {
            Way::There => "exists",
            Way::Mounted => "mounted",
            Way::Uploaded(_) => "done",
        },
        |number, meter| pushing.layer(&layers[number], meter),
    )?;
    if !client.has_blob(target, &manifest.config.digest)? {
        client.upload_blob(target, &manifest.config, &mut |_| Ok(Box::new(config.as_slice())))?;
    }
    let digest = client.put_manifest(target, &record.manifest.media_type, &bytes)?;
    let mut pushed = Pushed { digest, there: 0, mounted: 0, uploaded: 0, uploaded_bytes: 0 };
    for way in ways {
        match way {
            Way::There => pushed.there += 1,
            Way::Mounted => pushed.mounted += 1,
            Way::Uploaded(bytes) => {
                pushed.uploaded += 1;
                pushed.uploaded_bytes += bytes;
            }
        }
    }
    let mut known = record.clone();
    known.add_origin(target);
    if known != *record {
        store.put_image(&known)?;
    }
    Ok(pushed)
}

struct Push<'a> {
    client: &'a Client,
    archives: &'a Archives<'a>,
    target: &'a Reference,
}

impl Push<'_> {
    fn layer(&self, layer: &Descriptor, meter: &Meter<'_>) -> Result<Way, TransferError> {
        if self.client.has_blob(self.target, &layer.digest)? {
            return Ok(Way::There);
        }
        for origin in self.archives.origins(layer) {
            if origin.registry() == self.target.registry()
                && origin.repository() != self.target.repository()
                && self.client.mount_blob(self.target, origin.repository(), &layer.digest)?
            {
                return Ok(Way::Mounted);
            }
        }
        if !self.archives.knows(layer) {
            return Err(TransferError::NoArchive { layer: layer.digest.clone() });
        }
        meter.begin(0);
        let mut open = |offset| -> io::Result<Box<dyn Read>> {
            // What was sent and has not arrived does not count.
            meter.set(offset);
            Ok(Box::new(Counting { reader: self.archives.open(layer, offset)?, meter }))
        };
        self.client.upload_blob(self.target, layer, &mut open)?;
        Ok(Way::Uploaded(layer.size))
    }
}

/// Counts what passes.
struct Counting<'a, R> {
    reader: R,
    meter: &'a Meter<'a>,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}
