//! Compression in blocks that do not know each other, in several threads.
//!
//! Each block becomes a member of a gzip file or a frame of a zstd file, which both may have many of. So the bytes do
//! not depend on the number of threads, for some per cent more of them.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use flate2::write::GzEncoder;

use super::super::method::Method;
use super::super::source::Compression;
use crate::image::digest::{Digest, Hasher};

/// More than this many do not help: reading and hashing are one thread each.
const MAX_THREADS: usize = 4;

/// A block to compress, and who waits for it.
type Job = (Vec<u8>, Sender<io::Result<Vec<u8>>>);
/// Compressed blocks to come, in their order.
type Queue = SyncSender<Receiver<io::Result<Vec<u8>>>>;

/// Where the uncompressed bytes go.
pub(super) enum Output<'scope, W: Write> {
    /// They stay as they are.
    Plain(BufWriter<W>),
    /// Threads compress them.
    Compressed(Blocks, ScopedJoinHandle<'scope, io::Result<(Digest, u64)>>),
}

impl<'scope, W: Write + Send + 'scope> Output<'scope, W> {
    /// Starts the threads that `method` needs to write into `output`.
    pub fn start(scope: &'scope Scope<'scope, '_>, method: Method, output: W) -> Self {
        if method.compression == Compression::None {
            return Self::Plain(BufWriter::new(output));
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (jobs, waiting) = sync_channel::<Job>(threads);
        let (queue, results) = sync_channel(2 * threads);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            scope.spawn(move || work(method, &waiting));
        }
        let writing = scope.spawn(move || write_in_order(&results, output));
        // Frames of zstd do not see what was before them, and zstd looks farther back than gzip's 32 KiB.
        let size = if method.compression == Compression::Zstd { 4 << 20 } else { 1 << 20 };
        Self::Compressed(Blocks { block: Vec::with_capacity(size), size, jobs, queue }, writing)
    }

    /// Nothing more will come. The digest and the number of the bytes written, where those are not the ones given.
    pub fn end(self) -> io::Result<Option<(Digest, u64)>> {
        match self {
            Self::Plain(mut output) => output.flush().map(|()| None),
            Self::Compressed(blocks, writing) => {
                let ended = blocks.end();
                // When the output fails, all that the others know is that nobody listens any more.
                let written = writing.join().unwrap_or_else(|_| Err(io::Error::other("the compressor failed")))?;
                ended.map(|()| Some(written))
            }
        }
    }
}

impl<W: Write> Write for Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Compressed(blocks, _) => blocks.write(bytes).map(|()| bytes.len()),
        }
    }

    /// What is not full yet is kept for more: see [`Output::end`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes on their way to the threads.
pub(super) struct Blocks {
    block: Vec<u8>,
    size: usize,
    jobs: SyncSender<Job>,
    queue: Queue,
}

impl Blocks {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.size - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == self.size {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        if self.block.is_empty() { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(self.size));
        let (done, result) = channel();
        self.queue.send(result).map_err(|_| gone())?;
        self.jobs.send((block, done)).map_err(|_| gone())
    }
}

fn work(method: Method, waiting: &Mutex<Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, done)) = next else { return };
        // Whoever waited for it has failed, and says so.
        done.send(compress(method, block)).unwrap_or_default();
    }
}

fn compress(method: Method, block: Vec<u8>) -> io::Result<Vec<u8>> {
    match method.compression {
        Compression::None => Ok(block),
        Compression::Gzip => {
            let output = Vec::with_capacity(block.len() / 2);
            let mut encoder = GzEncoder::new(output, flate2::Compression::new(method.level().unsigned_abs()));
            encoder.write_all(&block)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(&block, method.level()),
    }
}

fn write_in_order(
    results: &Receiver<Receiver<io::Result<Vec<u8>>>>,
    mut output: impl Write,
) -> io::Result<(Digest, u64)> {
    let (mut digest, mut bytes) = (Hasher::default(), 0);
    for result in results {
        let block = result.recv().map_err(|_| io::Error::other("the compressor failed"))??;
        digest.update(&block);
        bytes += block.len() as u64;
        output.write_all(&block)?;
    }
    output.flush()?;
    Ok((digest.digest(), bytes))
}
