//! Layers from their archives.
//!
//! ```text
//! fork, mapped: one thread per layer, several layers at once
//!   partial file, then source --> digest --> partial file --> channel --> unpack_layer (see image::layer)
//! ```
//!
//! The work is done in one fork that has the ids of the map: it is alone in its memory, and may start threads. A layer
//! is committed as soon as it is complete, so that a next try begins with what is missing; of a layer that is cut off,
//! the archive stays in `partial/`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::error::TransferError;
use super::implied;
use super::layers::{Meter, each_layer};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::layer::{Owners, UnpackLimits, UnpackOptions, UnpackReport, Whiteouts, fill, unpack_layer};
use crate::image::store::{LayerBuild, LayerRecord, Store, layer_name};
use crate::progress::Progress;
use crate::text::with_causes;
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::{self, StageError};

/// Bytes that are handed on at a time.
const CHUNK_BYTES: usize = 1 << 18;
/// Pieces that may wait for the unpacker.
const PIECES: usize = 8;
/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its archive, as the manifest names it.
    pub blob: Descriptor,
    /// The digest of the uncompressed archive, as the configuration names it.
    pub diff_id: Digest,
}

/// Where archives come from.
pub trait Source: Sync {
    /// The archive of layer `number` of the image, counted from 0, from byte `offset` on.
    fn open(&self, number: usize, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;

    /// Whether a next try should begin with what this one got: it comes from far away, and can be had again.
    fn is_worth_keeping(&self) -> bool;
}

/// Brings `layers` (the lowest first) into the store for the ids of `map`, unless they are there; returns their names.
/// The caller must be single-threaded, and hold the store's shared lock until an image names the layers. What can be
/// fetched again is unsettled.
pub fn install(
    store: &Store,
    map: &IdMap,
    image: &str,
    layers: &[Wanted],
    source: &dyn Source,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<Vec<String>, TransferError> {
    let found = implied::find(store, map, layers);
    if let Some(names) = found.iter().cloned().collect() {
        return Ok(names);
    }
    store.sweep(map)?;
    let mut slots = Vec::new();
    for (layer, name) in layers.iter().zip(&found) {
        let slot = match name {
            Some(_) => None,
            None => Some(Slot {
                build: store.begin(map)?,
                is_unfit: store.tree(&layer_name(&layer.diff_id), &map.layout()).is_some(),
            }),
        };
        slots.push(Mutex::new(slot));
    }
    let what = if source.is_worth_keeping() { "fetching" } else { "unpacking" };
    let what = format!("{what} {image}");
    let result = stage::run_mapped(map, || {
        let work = Work { store, map, layers, source, limits, slots: &slots };
        work.perform(&what, progress)
    });
    let names = result.map_err(|source: StageError| TransferError::Layers { image: image.to_owned(), source })?;
    if !source.is_worth_keeping() {
        store.settle()?;
    }
    Ok(names)
}

/// A layer that is to be made.
struct Slot {
    build: LayerBuild,
    /// There is one with its content, which does not fit the layers below.
    is_unfit: bool,
}

struct Work<'a> {
    store: &'a Store,
    map: &'a IdMap,
    layers: &'a [Wanted],
    source: &'a dyn Source,
    limits: UnpackLimits,
    slots: &'a [Mutex<Option<Slot>>],
}

/// What became of one layer.
enum Outcome {
    /// It is in the store.
    There,
    /// It was brought there.
    Made,
    /// It is unpacked, but what it implies must be looked up in the layers below first.
    Implies(LayerBuild, Box<UnpackReport>),
}

impl Work<'_> {
    /// All layers; their names. Errors are texts, since they cross a process boundary.
    fn perform(&self, what: &str, progress: &dyn Progress) -> Result<Vec<String>, String> {
        let blobs: Vec<&Descriptor> = self.layers.iter().map(|layer| &layer.blob).collect();
        let word = |outcome: &Outcome| if matches!(outcome, Outcome::There) { "exists" } else { "done" };
        let outcomes =
            each_layer(what, &blobs, progress, word, |number, meter| self.layer(number, &self.layers[number], meter))?;
        let deferred = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Implies(build, report) => Some((build, report)),
            Outcome::There | Outcome::Made => None,
        });
        implied::commit(self.store, self.map, self.layers, deferred.collect())
    }

    /// One layer: looked up, or fetched and unpacked.
    fn layer(&self, number: usize, layer: &Wanted, meter: &Meter<'_>) -> Result<Outcome, String> {
        let name = layer_name(&layer.diff_id);
        let within = |error: String| format!("layer {} ({}): {error}", number + 1, layer.blob.digest.short());
        let Some(Slot { build, is_unfit }) = self.slots[number].lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return Ok(Outcome::There);
        };
        // Another process may be at it: then its result is ours.
        let _making = self.store.lock_name(&name).map_err(|error| within(with_causes(&error)))?;
        if !is_unfit && self.store.tree(&name, &self.map.layout()).is_some() {
            return Ok(Outcome::There);
        }
        let partial = self.store.partial_path(&layer.blob.digest).map_err(|error| within(with_causes(&error)))?;
        let kept = partial.metadata().map_or(0, |meta| meta.len());
        meter.begin(if kept <= layer.blob.size { kept } else { 0 });
        let report = self.fetch(number, layer, &build, &partial, meter).map_err(within)?;
        if !report.implied.is_empty() {
            return Ok(Outcome::Implies(build, Box::new(report)));
        }
        build.commit_unsettled(record(&name, self.map, layer, &report)).map_err(|error| within(with_causes(&error)))?;
        Ok(Outcome::Made)
    }

    fn fetch(
        &self,
        number: usize,
        layer: &Wanted,
        build: &LayerBuild,
        partial: &Path,
        meter: &Meter<'_>,
    ) -> Result<UnpackReport, String> {
        let text = |error: &dyn std::error::Error| with_causes(error);
        let tree = crate::sys::fs::open_directory(&build.tree()).map_err(|error| text(&error))?;
        let owners = if self.map.mode == IdMode::Single { Owners::Remember } else { Owners::Keep };
        let (pieces_in, pieces) = sync_channel(PIECES);
        let (unpacked, digest) = std::thread::scope(|scope| {
            let fetching = scope.spawn(move || self.feed(number, &layer.blob, partial, &pieces_in, meter));
            let options = UnpackOptions {
                owners,
                whiteouts: Whiteouts::Convert,
                limits: self.limits,
                advance: None,
                names_blob: false,
            };
            let unpacked = unpack_layer(Pieces { pieces, current: Vec::new(), used: 0 }, tree.as_fd(), options);
            (unpacked, fetching.join())
        });
        let found = match digest {
            Ok(Fed::Whole(found)) => found,
            fed => {
                // What was kept may be what is wrong.
                if matches!(fed, Ok(Fed::Refused)) {
                    remove(partial)?;
                }
                return Err(unpacked.err().map_or("the download ended".to_owned(), |error| with_causes(&error)));
            }
        };
        if found != layer.blob.digest {
            remove(partial)?;
            return Err(format!("its archive has the digest {found}, not {}", layer.blob.digest));
        }
        let report = unpacked.map_err(|error| with_causes(&error))?;
        remove(partial)?;
        if report.diff_id != layer.diff_id.to_string() {
            return Err(format!("its content has the digest {}, not {}", report.diff_id, layer.diff_id));
        }
        Ok(report)
    }

    /// Sends the archive in pieces, first what an earlier try has kept.
    fn feed(&self, number: usize, blob: &Descriptor, partial: &Path, pieces: &Feed, meter: &Meter<'_>) -> Fed {
        match self.try_feed(number, blob, partial, pieces, meter) {
            Ok(Some(digest)) => Fed::Whole(digest),
            Ok(None) => Fed::Refused,
            Err(error) => {
                // A receiver that is gone has failed itself.
                pieces.send(Err(error)).unwrap_or_default();
                Fed::Broken
            }
        }
    }

    fn try_feed(
        &self,
        number: usize,
        blob: &Descriptor,
        path: &Path,
        pieces: &Feed,
        meter: &Meter<'_>,
    ) -> io::Result<Option<Digest>> {
        let mut hasher = blob.digest.hasher();
        let mut partial =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if partial.metadata()?.len() > blob.size {
            partial.set_len(0)?;
        }
        let mut offset = 0;
        // Keeps what it can: a full disk is for the unpacker to report.
        let mut keep = self.source.is_worth_keeping();
        let mut pass = |reader: &mut dyn Read, copy: Option<&mut File>, offset: &mut u64| -> io::Result<bool> {
            let mut copy = copy;
            loop {
                let mut piece = vec![0; CHUNK_BYTES];
                let (filled, result) = fill(reader, &mut piece);
                result?;
                if filled == 0 {
                    return Ok(true);
                }
                piece.truncate(filled);
                if meter.is_in_vain() {
                    return Err(io::Error::other("another layer failed"));
                }
                hasher.update(&piece);
                *offset += piece.len() as u64;
                if let Some(file) = &mut copy
                    && file.write_all(&piece).is_err()
                {
                    copy = None;
                }
                meter.add(piece.len() as u64);
                if pieces.send(Ok(piece)).is_err() {
                    return Ok(false);
                }
            }
        };
        if !pass(&mut &partial, None, &mut offset)? {
            return Ok(None);
        }
        if offset < blob.size {
            let mut reader = self.source.open(number, offset)?;
            keep &= offset <= blob.size;
            if !pass(&mut reader, keep.then_some(&mut partial), &mut offset)? {
                return Ok(None);
            }
        }
        if offset != blob.size {
            return Err(io::Error::other(format!("its archive has {offset} bytes, not {}", blob.size)));
        }
        Ok(Some(hasher.digest()))
    }
}

/// How the way of an archive to the unpacker ended.
enum Fed {
    /// All of it was sent; it has this digest.
    Whole(Digest),
    /// The unpacker wanted no more, and says why.
    Refused,
    /// It cannot be read; the reason was sent.
    Broken,
}

/// Takes the pieces of one archive.
type Feed = SyncSender<io::Result<Vec<u8>>>;

/// The pieces as one stream.
struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    used: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.current.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.current, self.used) = (piece?, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.used);
        buffer[..count].copy_from_slice(&self.current[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

/// What is known of an unpacked layer.
pub(super) fn record(name: &str, map: &IdMap, layer: &Wanted, report: &UnpackReport) -> LayerRecord {
    LayerRecord {
        diff_id: Some(layer.diff_id.to_string()),
        entries: report.entries,
        size_bytes: report.size_bytes,
        implied: implied::listed(report).unwrap_or_default(),
        hides_everything: report.hides_everything,
        ..LayerRecord::new(name, map, &layer.blob.digest.to_string())
    }
}

fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove `{}`: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
