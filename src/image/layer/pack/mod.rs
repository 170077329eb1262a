//! Packing of layers: directory trees with overlayfs' marks become tar archives with those of OCI.
//!
//! ```text
//! walk: several layers as one, name by name, over what they lie on
//!   -> header: what a tar says of a file -> digest of the tar (the diff id)
//!   -> compress: blocks, in several threads -> digest of the blob -> output
//! ```
//!
//! The same content gives the same bytes, on every machine and with any number of threads: names are sorted, whiteouts
//! belong to nobody and to no time, and blocks are compressed independently of each other. Nothing is held in memory
//! but some blocks, and the numbers of files with several names.
//!
//! Times have their fractions: make, for one, compares them. A layer without fractions would make files that a box
//! has written older than those of its base from the same second.

mod compress;
mod header;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::compress::Output;
use super::error::UnpackError;
use super::limits::UnpackLimits;
use super::method::Method;
use super::source::decompress;
use super::stack::{Marks, Stack};
use crate::image::digest::{Digest, Hasher};
use crate::sys::SysError;

/// What becomes a layer. Layers are topmost first.
#[derive(Debug, Clone, Default)]
pub struct PackSpec {
    /// The trees that become one layer.
    pub layers: Vec<PathBuf>,
    /// What they lie on.
    pub below: Vec<PathBuf>,
    /// Where files of which a layer has the metadata only find their content.
    pub data_only: Vec<PathBuf>,
    /// How the layers say that something is gone.
    pub marks: Marks,
    /// How much is packed.
    pub content: Content,
    /// Absolute paths in the root that are left out with everything below: those that are mounted over, or made at
    /// each start. What lies [`Self::below`] is packed there if everything is.
    pub leave_out: BTreeSet<PathBuf>,
    /// Seconds since 1970; later times become this one.
    pub latest: Option<i64>,
}

/// How much is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Content {
    /// What [`PackSpec::layers`] change.
    #[default]
    Changes,
    /// All of the root file system, what lies below as well.
    Everything,
}

/// What was packed, and what a layer cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackReport {
    /// Of the uncompressed archive.
    pub diff_id: Digest,
    /// Of the archive as it was written.
    pub blob: Digest,
    /// Size of the archive as it was written.
    pub blob_bytes: u64,
    /// Size of the uncompressed archive.
    pub tar_bytes: u64,
    /// What was found.
    pub contents: Contents,
}

/// What was found in the trees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Files, directories, links and whiteouts.
    pub entries: u64,
    /// Bytes of all regular files.
    pub size_bytes: u64,
    /// The latest modification, seconds since 1970.
    pub newest: Option<i64>,
    /// Sockets left out: nobody listens.
    pub sockets_skipped: u64,
    /// Files left out that are called as whiteouts are: in a layer they would remove what they are called after.
    pub names_skipped: u64,
    /// Extended attributes left out: access control lists, labels of the host, names that a tar cannot hold.
    pub xattrs_skipped: u64,
}

/// A layer could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A layer cannot be read.
    #[error(transparent)]
    System(#[from] SysError),
    /// The content of a file is not to be found.
    #[error("the content of `{path}` cannot be read")]
    NoContent {
        /// Where it is in the root, printable.
        path: String,
    },
    /// A file got shorter.
    #[error("`{path}` was changed while it was packed")]
    Changed {
        /// Where it is in the root, printable.
        path: String,
    },
    /// A tar cannot say what the file is.
    #[error("cannot pack `{path}`")]
    Header {
        /// Where it is in the root, printable.
        path: String,
        /// What it cannot say.
        source: tar_core::HeaderError,
    },
    /// The archive that was to be compressed in another way cannot be read.
    #[error(transparent)]
    Read(#[from] UnpackError),
    /// The archive could not be written.
    #[error("cannot write the layer")]
    Write {
        /// What the kernel said.
        source: io::Error,
    },
}

/// Packs `spec` into `output`, as root of the namespace whose ids the files have.
///
/// `advance` is told how many bytes of the uncompressed archive are done.
pub fn pack_layer(
    spec: &PackSpec,
    method: impl Into<Method>,
    output: impl Write + Send,
    advance: Option<&dyn Fn(u64)>,
) -> Result<PackReport, PackError> {
    let method = method.into();
    let layers: Vec<PathBuf> = spec.layers.iter().chain(&spec.below).cloned().collect();
    let stack = Stack::open(&layers, &spec.data_only, spec.marks)?;
    std::thread::scope(|scope| {
        let mut output = Output::start(scope, method, output);
        let mut archive = Archive { output: &mut output, digest: Hasher::default(), bytes: 0, advance };
        let packed = walk::Walk::new(spec, &stack, &mut archive).run();
        let Archive { digest, bytes: tar_bytes, .. } = archive;
        let written = output.end().map_err(|source| PackError::Write { source })?;
        let (contents, diff_id) = (packed?, digest.digest());
        let (blob, blob_bytes) = written.unwrap_or_else(|| (diff_id.clone(), tar_bytes));
        Ok(PackReport { diff_id, blob, blob_bytes, tar_bytes, contents })
    })
}

/// An archive in another compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recompressed {
    /// Of the uncompressed archive.
    pub diff_id: Digest,
    /// Of the archive as it was written.
    pub blob: Digest,
    /// Size of the archive as it was written.
    pub blob_bytes: u64,
}

/// Writes the archive that `reader` gives, however compressed, into `output` with `method`.
///
/// `advance` is told how many bytes of the uncompressed archive are done.
pub fn recompress(
    reader: impl Read,
    limits: UnpackLimits,
    method: Method,
    output: impl Write + Send,
    advance: &dyn Fn(u64),
) -> Result<Recompressed, PackError> {
    std::thread::scope(|scope| {
        let mut output = Output::start(scope, method, output);
        let (mut digest, mut bytes) = (Hasher::default(), 0);
        let failed = |source| PackError::Write { source };
        let passed = decompress(reader, limits, |piece| {
            digest.update(piece);
            bytes += piece.len() as u64;
            advance(bytes);
            output.write_all(piece).map_err(failed)
        });
        let written = output.end().map_err(failed)?;
        passed?;
        let diff_id = digest.digest();
        let (blob, blob_bytes) = written.unwrap_or_else(|| (diff_id.clone(), bytes));
        Ok(Recompressed { diff_id, blob, blob_bytes })
    })
}

/// The uncompressed archive on its way to the output.
struct Archive<'a> {
    output: &'a mut dyn Write,
    digest: Hasher,
    bytes: u64,
    advance: Option<&'a dyn Fn(u64)>,
}

impl Archive<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(advance) = self.advance {
            advance(self.bytes);
        }
        self.output.write_all(bytes).map_err(|source| PackError::Write { source })
    }

    /// Zeros up to the next whole block.
    fn pad(&mut self) -> Result<(), PackError> {
        const ZEROS: [u8; tar_core::HEADER_SIZE] = [0; tar_core::HEADER_SIZE];
        let over = (self.bytes % ZEROS.len() as u64) as usize;
        if over == 0 { Ok(()) } else { self.write(&ZEROS[over..]) }
    }

    /// The end of an archive: two empty blocks.
    fn finish(&mut self) -> Result<(), PackError> {
        self.write(&[0; 2 * tar_core::HEADER_SIZE])
    }
}
