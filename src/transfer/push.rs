//! `image push`: from the store into a registry.
//!
//! For each layer the cheapest way is taken: the repository has it; it takes it from another repository of the same
//! registry; it is uploaded, from the store or from the registry that it came from. The manifest comes last, so that
//! whoever sees it finds all that it names.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::archives::{Archives, manifest};
use super::error::TransferError;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::media_type::Kind;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;

/// Layers that are uploaded at the same time.
const AT_ONCE: usize = 3;
/// Between two reports of progress.
const TICK: Duration = Duration::from_millis(100);

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
    let pushing = Push { client, archives: &archives, target, layers: &layers, done: AtomicU64::new(0) };
    let ways = pushing.run(progress)?;
    if !client.has_blob(target, &manifest.config.digest)? {
        client.upload_blob(target, &manifest.config, &mut || Ok(Box::new(config.as_slice())))?;
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
    layers: &'a [Descriptor],
    /// Bytes that need no more work.
    done: AtomicU64,
}

impl Push<'_> {
    fn run(&self, progress: &dyn Progress) -> Result<Vec<Way>, TransferError> {
        let total = self.layers.iter().map(|layer| layer.size).sum();
        progress.begin(&format!("pushing {}", self.target.familiar()), Some(total));
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let mut ways = Vec::new();
        let mut failure = None;
        std::thread::scope(|scope| {
            let (finished_in, finished) = sync_channel(self.layers.len().max(1));
            for _ in 0..AT_ONCE.min(self.layers.len()) {
                let (next, failed, finished_in) = (&next, &failed, finished_in.clone());
                scope.spawn(move || {
                    while !failed.load(Ordering::Relaxed) {
                        let Some(layer) = self.layers.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                        let result = self.layer(layer);
                        if result.is_err() {
                            failed.store(true, Ordering::Relaxed);
                        }
                        finished_in.send(result).unwrap_or_default();
                    }
                });
            }
            drop(finished_in);
            loop {
                match finished.recv_timeout(TICK) {
                    Ok(Ok(way)) => ways.push(way),
                    Ok(Err(error)) => failure = failure.take().or(Some(error)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                progress.advance(self.done.load(Ordering::Relaxed));
            }
        });
        progress.end();
        failure.map_or(Ok(ways), Err)
    }

    fn layer(&self, layer: &Descriptor) -> Result<Way, TransferError> {
        if self.client.has_blob(self.target, &layer.digest)? {
            self.done.fetch_add(layer.size, Ordering::Relaxed);
            return Ok(Way::There);
        }
        for origin in self.archives.origins(layer) {
            if origin.registry() == self.target.registry()
                && origin.repository() != self.target.repository()
                && self.client.mount_blob(self.target, origin.repository(), &layer.digest)?
            {
                self.done.fetch_add(layer.size, Ordering::Relaxed);
                return Ok(Way::Mounted);
            }
        }
        if !self.archives.knows(layer) {
            return Err(TransferError::NoArchive { layer: layer.digest.clone() });
        }
        let sent = AtomicU64::new(0);
        let mut open = || -> io::Result<Box<dyn Read>> {
            // Another try: what the last one sent does not count.
            self.done.fetch_sub(sent.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            let reader = self.archives.open(layer, 0)?;
            Ok(Box::new(Counting { reader, counts: [&sent, &self.done] }))
        };
        self.client.upload_blob(self.target, layer, &mut open)?;
        Ok(Way::Uploaded(layer.size))
    }
}

/// Counts what passes.
struct Counting<'a, R> {
    reader: R,
    counts: [&'a AtomicU64; 2],
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        for total in self.counts {
            total.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(count)
    }
}
