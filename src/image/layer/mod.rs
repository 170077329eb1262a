//! Layers as archives and as directory trees: [`unpack_layer`] reads hostile tar streams, [`pack`] writes them, [`stack`]
//! reads several trees as one.
//!
//! ```text
//! reader -> source: sha256 of the blob, decompression (a thread of its own)
//!        -> archive: sha256 of the tar (the diff id), headers -> entry: what one entry asks for
//!        -> unpack: what is done about it -> tree: files beneath the root handle; whiteout: names of overlayfs
//! ```
//!
//! Nothing outside the root is ever named: parents are resolved by `openat2` with `RESOLVE_IN_ROOT`, last components
//! are created exclusively and never followed. What is refused is an error that names the entry; what is left out
//! (devices, attributes that may not be set) is counted in the report.

mod archive;
mod entry;
mod error;
mod ids;
mod limits;
mod method;
pub mod owner;
pub mod pack;
mod pending;
mod source;
mod spill;
pub mod stack;
mod tree;
mod unpack;
mod whiteout;

pub use error::{EntryError, UnpackError};
pub use limits::{LimitError, UnpackLimits};
pub use method::{Method, MethodError};
pub use pending::Implied;
pub use source::{Compression, decompress, fill, is_compressed};
pub use unpack::{Owners, UnpackOptions, UnpackReport, Whiteouts, unpack_layer};

#[cfg(test)]
mod tests;
