//! The stream below a tar archive: detecting and undoing its compression, and its digest, in a thread of its own.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use flate2::bufread::MultiGzDecoder;

use serde::{Deserialize, Serialize};

use super::error::UnpackError;
use super::limits::{Limited, UnpackLimits};
use crate::image::digest::Hasher;
use crate::image::media_type;

/// Bytes per piece handed from the decompressor to the unpacker. A multiple of the tar block size.
const CHUNK: usize = 1 << 18;

/// What zstd's highest level needs: a window of 128 MiB. A frame that wants more memory is refused.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// How the archive of a layer is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip, which everybody reads.
    #[default]
    Gzip,
    /// With zstd: faster, smaller, and unknown to old programs.
    Zstd,
}

impl Compression {
    /// The media type of a layer that is compressed so.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::LAYER,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd => media_type::LAYER_ZSTD,
        }
    }
}

/// Reads the first bytes and tells the compression; the bytes are to be put back.
pub(super) fn detect(reader: &mut impl Read) -> Result<(Compression, Vec<u8>), UnpackError> {
    let mut magic = Vec::with_capacity(8);
    reader.take(6).read_to_end(&mut magic).map_err(|source| UnpackError::Read { bytes: 0, source })?;
    let refused = |name| Err(UnpackError::Compression { name });
    let compression = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return refused("xz"),
        [b'B', b'Z', b'h', ..] => return refused("bzip2"),
        [0x04, 0x22, 0x4d, 0x18, ..] => return refused("lz4"),
        _ => Compression::None,
    };
    Ok((compression, magic))
}

/// Counts and hashes what passes.
struct Counting<'a, R> {
    reader: R,
    digest: Option<Hasher>,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(digest) = &mut self.digest {
            digest.update(&buffer[..count]);
        }
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Pieces of the uncompressed archive, or why there are no more. Ends when the sender is gone.
pub(super) type Pieces = Receiver<io::Result<Vec<u8>>>;

/// Sends the uncompressed archive in pieces until it ends, fails, or nobody wants more; `digest` is given the blob.
///
/// `used` gives buffers back; `count` follows the position in the blob.
pub(super) fn pump(
    reader: impl Read,
    compression: Compression,
    digest: Option<Hasher>,
    limits: UnpackLimits,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
    used: &Receiver<Vec<u8>>,
    count: &AtomicU64,
) -> Option<Hasher> {
    let mut counting = Counting { reader, digest, count };
    match decoder(&mut counting, compression) {
        Ok(reader) => send(&mut Limited { reader, limits, packed: count, unpacked: 0 }, pieces, used),
        Err(error) => report(pieces, Err(error)),
    }
    counting.digest
}

/// Undoes the compression.
fn decoder<'a>(reader: impl Read + 'a, compression: Compression) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, reader))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(reader)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Whether a file that begins with `start` (6 bytes suffice) is compressed, in whatever way.
#[must_use]
pub fn is_compressed(mut start: &[u8]) -> bool {
    !matches!(detect(&mut start), Ok((Compression::None, _)))
}

/// Hands what `reader` gives, decompressed, to `each` in pieces.
pub fn decompress<E: From<UnpackError>>(
    mut reader: impl Read,
    limits: UnpackLimits,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (compression, magic) = detect(&mut reader)?;
    let count = AtomicU64::new(0);
    let counting = Counting { reader: magic.chain(reader), digest: None, count: &count };
    let failed = |bytes| move |source| UnpackError::Read { bytes, source };
    let decoder = decoder(counting, compression).map_err(failed(0))?;
    let mut limited = Limited { reader: decoder, limits, packed: &count, unpacked: 0 };
    let mut buffer = vec![0; CHUNK];
    loop {
        match limited.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(limited.unpacked)(error).into()),
        }
    }
}

fn send(reader: &mut impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>, used: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = used.try_recv().unwrap_or_default();
        // Its bytes are there from the last time.
        piece.resize(CHUNK, 0);
        // Whole pieces, so that headers seldom straddle two.
        let (filled, result) = fill(reader, &mut piece);
        piece.truncate(filled);
        let is_last = filled < CHUNK;
        if filled > 0 && pieces.send(Ok(piece)).is_err() {
            return;
        }
        if let Err(error) = result {
            return report(pieces, Err(error));
        }
        if is_last {
            return;
        }
    }
}

/// Reads until `buffer` is full or there is no more, and returns how much that is. A buffer that has its bytes already lets a
/// decompressor write as much at a time as it can, which `read_to_end` does not.
pub fn fill(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

/// Nobody listening any more is no error: the unpacker has failed and says why.
fn report(pieces: &SyncSender<io::Result<Vec<u8>>>, piece: io::Result<Vec<u8>>) {
    pieces.send(piece).unwrap_or_default();
}

/// Gives a buffer back to [`pump`], which may be gone.
pub(super) fn give_back(used: &Sender<Vec<u8>>, buffer: Vec<u8>) {
    used.send(buffer).unwrap_or_default();
}
