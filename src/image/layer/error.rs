//! What can be wrong with an archive.

use crate::sys::SysError;

/// An archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The first block is no tar header.
    #[error("this is not a tar archive")]
    NotTar,
    /// A compression that is not read here.
    #[error("the archive is compressed with {name}; plain, gzip and zstd archives are read")]
    Compression {
        /// Its name.
        name: &'static str,
    },
    /// The archive could not be read or decompressed.
    #[error("cannot read the archive behind {bytes} bytes of its content")]
    Read {
        /// Position in the uncompressed archive.
        bytes: u64,
        /// What the reader or the decompressor said.
        source: std::io::Error,
    },
    /// The archive ends too early.
    #[error("the archive is cut short: it ends after {entries} entries, {bytes} bytes{}", behind(.last))]
    Truncated {
        /// Complete entries.
        entries: u64,
        /// Size of the uncompressed archive as far as it goes.
        bytes: u64,
        /// The last entry that was begun.
        last: Option<String>,
    },
    /// A header cannot be understood.
    #[error("the archive is damaged after {entries} entries, {bytes} bytes{}", behind(.last))]
    Damaged {
        /// Complete entries.
        entries: u64,
        /// Position in the uncompressed archive.
        bytes: u64,
        /// The last entry that was read.
        last: Option<String>,
        /// What is wrong.
        source: tar_core::parse::ParseError,
    },
    /// An entry asks for something that is refused, or that the file system refuses.
    #[error("cannot unpack `{path}`")]
    Entry {
        /// Its name as the archive has it, printable.
        path: String,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The root directory could not be prepared or finished.
    #[error(transparent)]
    Root(#[from] SysError),
}

/// What is wrong with one entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// `..` in a name.
    #[error("its name leads out of the archive's root (`..`)")]
    Escapes,
    /// `..` in the target of a hard link.
    #[error("it is a hard link to `{target}`, which leads out of the archive's root (`..`)")]
    LinkEscapes {
        /// The target, printable.
        target: String,
    },
    /// A hard link to something that is not there or cannot be linked to.
    #[error("it is a hard link to `{target}`, which is no file of the archive")]
    LinkTarget {
        /// The target, printable.
        target: String,
    },
    /// A symlink or hard link without a target.
    #[error("it is a link without a target")]
    NoTarget,
    /// The root itself as something else than a directory.
    #[error("the root of the archive must be a directory")]
    Root,
    /// A name with `.wh.` that is no whiteout's.
    #[error("its name is that of a whiteout without an object")]
    Whiteout,
    /// The map of a sparse file contradicts its size.
    #[error("the map of the sparse file does not fit its size")]
    Sparse,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] SysError),
}

fn behind(last: &Option<String>) -> String {
    last.as_ref().map(|path| format!(", in or behind `{path}`")).unwrap_or_default()
}

/// An untrusted name as it can be shown: one line, no control characters, not endless.
pub(super) fn printable(untrusted: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(untrusted).escape_debug().take(300).collect();
    text.replace("\\'", "'").replace("\\\"", "\"")
}
