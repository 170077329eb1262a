//! Compression in blocks that do not know each other, in several threads.
//!
//! Each block becomes a member of a gzip file or a frame of a zstd file, which both may have many of. So the bytes do
//! not depend on the number of threads, for some per cent more of them.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use flate2::write::GzEncoder;

use super::super::method::Method;
use super::super::source::Compression;
use crate::image::digest::Hasher;

/// More than this many do not help: reading and hashing are one thread each.
const MAX_THREADS: usize = 4;

/// A block to compress, and who waits for it.
type Job = (Vec<u8>, Sender<io::Result<Vec<u8>>>);
/// Compressed blocks to come, in their order.
type Queue = SyncSender<Receiver<io::Result<Vec<u8>>>>;

/// Where the uncompressed bytes go.
pub(super) struct Blocks {
    block: Vec<u8>,
    size: usize,
    jobs: SyncSender<Job>,
    queue: Queue,
}

/// Starts threads that compress what is given to the first result into `output`. The second, when the first has ended,
/// gives the digest and the number of the bytes written.
pub(super) fn start<'scope, W: Write + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    method: Method,
    output: W,
) -> (Blocks, ScopedJoinHandle<'scope, io::Result<(Hasher, u64)>>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (jobs, waiting) = sync_channel::<Job>(threads);
    let (queue, results) = sync_channel(2 * threads);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..threads {
        let waiting = Arc::clone(&waiting);
        scope.spawn(move || work(method, &waiting));
    }
    let writing = scope.spawn(move || write_in_order(&results, output));
    let size = block_size(method.compression);
    (Blocks { block: Vec::with_capacity(size), size, jobs, queue }, writing)
}

fn block_size(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip => 1 << 20,
        // Frames do not see what was before them, and zstd looks farther back than gzip's 32 KiB.
        Compression::Zstd => 4 << 20,
    }
}

impl Blocks {
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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

    /// Nothing more will come.
    pub fn end(mut self) -> io::Result<()> {
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
) -> io::Result<(Hasher, u64)> {
    let (mut digest, mut bytes) = (Hasher::default(), 0);
    for result in results {
        let block = result.recv().map_err(|_| io::Error::other("the compressor failed"))??;
        digest.update(&block);
        bytes += block.len() as u64;
        output.write_all(&block)?;
    }
    output.flush()?;
    Ok((digest, bytes))
}
