//! The files of an image on disk, by their names: a directory, or a tar archive that is looked into where it lies.
//!
//! Nothing is unpacked. Of an archive only the headers are read, the content is passed over; what cannot be passed over
//! (a pipe, a compressed archive) is first written to an unnamed file of the store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use tar_core::parse::{Limits, ParseEvent, Parser};
use tar_core::{EntryType, HEADER_SIZE};

use super::error::LoadError;
use crate::image::layer::{UnpackLimits, decompress, is_compressed};
use crate::image::store::Store;
use crate::sys::fs::{Root, open_directory};

/// Files in one archive; an image of 500 layers has some 2000.
const MAX_FILES: usize = 100_000;
/// Links that lead to links.
const MAX_LINKS: usize = 8;
/// Headers are read in pieces of this size.
const BLOCK_BYTES: usize = 8 << 10;
/// What one entry may have in front of its content.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// An image on disk.
#[derive(Debug)]
pub struct Bundle(Content);

#[derive(Debug)]
enum Content {
    Directory(OwnedFd),
    Archive { file: Arc<File>, parts: HashMap<String, Part> },
}

/// What a name in an archive stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    File {
        offset: u64,
        size: u64,
    },
    /// A link to another name.
    Link(String),
}

/// One file of a bundle.
#[derive(Debug, Clone)]
pub struct Stored {
    file: Arc<File>,
    offset: u64,
    /// Bytes.
    pub size: u64,
}

impl Stored {
    /// Its content from byte `from` on. Readers do not disturb each other.
    #[must_use]
    pub fn reader(&self, from: u64) -> StoredReader {
        let from = from.min(self.size);
        StoredReader { file: Arc::clone(&self.file), position: self.offset + from, left: self.size - from }
    }
}

/// Reads one file of a bundle.
#[derive(Debug)]
pub struct StoredReader {
    file: Arc<File>,
    position: u64,
    left: u64,
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Bundle {
    /// Opens the directory or archive `path`.
    pub fn open(path: &Path, store: &Store, limits: UnpackLimits) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { source };
        if std::fs::metadata(path).map_err(read)?.is_dir() {
            let directory = open_directory(path).map_err(|error| read(error.into()))?;
            return Ok(Self(Content::Directory(directory)));
        }
        Self::from_file(File::open(path).map_err(read)?, store, limits)
    }

    /// Takes an archive from an open file: a regular one, a pipe, a socket.
    pub fn from_file(file: File, store: &Store, limits: UnpackLimits) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { source };
        let mut magic = [0; 6];
        let is_plain = file.metadata().map_err(read)?.is_file() && {
            let count = file.read_at(&mut magic, 0).map_err(read)?;
            !is_compressed(&magic[..count])
        };
        let file = if is_plain { file } else { spool(file, store, limits)? };
        let parts = index(&file)?;
        Ok(Self(Content::Archive { file: Arc::new(file), parts }))
    }

    /// The file `name` (relative, `/` between its parts), or `None`. Symlinks stay inside; what is no regular file is
    /// not there.
    pub fn find(&self, name: &str) -> Result<Option<Stored>, LoadError> {
        match &self.0 {
            Content::Directory(directory) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = match Root::new(directory.as_fd()).open_with(Path::new(name), flags) {
                    Ok(fd) => File::from(fd),
                    Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(None),
                    Err(error) => return Err(LoadError::Read { source: error.into() }),
                };
                let meta = file.metadata().map_err(|source| LoadError::Read { source })?;
                Ok(meta.is_file().then(|| Stored { file: Arc::new(file), offset: 0, size: meta.len() }))
            }
            Content::Archive { file, parts } => {
                let mut name = name.to_owned();
                for _ in 0..=MAX_LINKS {
                    match parts.get(&name) {
                        Some(Part::File { offset, size }) => {
                            return Ok(Some(Stored { file: Arc::clone(file), offset: *offset, size: *size }));
                        }
                        Some(Part::Link(target)) => name.clone_from(target),
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    /// The content of a small file.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, LoadError> {
        let Some(found) = self.find(name)? else { return Ok(None) };
        if found.size > limit as u64 {
            return Err(LoadError::TooLarge { file: name.to_owned(), limit });
        }
        let mut bytes = Vec::new();
        found.reader(0).read_to_end(&mut bytes).map_err(|source| LoadError::Read { source })?;
        Ok(Some(bytes))
    }
}

/// Writes what a stream gives, decompressed, to a file without a name.
fn spool(stream: File, store: &Store, limits: UnpackLimits) -> Result<File, LoadError> {
    let directory = store.path().join("tmp");
    let write = |source| LoadError::Spool { path: directory.clone(), source };
    let mut file = tempfile::tempfile_in(&directory).map_err(write)?;
    decompress(stream, limits, |piece| file.write_all(piece).map_err(write))?;
    Ok(file)
}

/// Where the files of a tar archive lie. Of several with one name the last counts.
fn index(file: &File) -> Result<HashMap<String, Part>, LoadError> {
    let mut parser = Parser::new(Limits { max_path_len: Some(4095), ..Limits::default() });
    parser.set_ignore_pax_errors(true);
    let mut parts = HashMap::new();
    let mut buffer: Vec<u8> = Vec::new();
    // The buffer's first byte in the file.
    let mut position = 0_u64;
    loop {
        let event = parser.parse(&buffer).map_err(|source| LoadError::Tar { position, source })?;
        match event {
            ParseEvent::NeedData { min_bytes } => {
                let wanted = min_bytes.max(buffer.len() + 1).next_multiple_of(BLOCK_BYTES);
                if wanted > MAX_HEADER_BYTES {
                    return Err(LoadError::Truncated { position });
                }
                let before = buffer.len();
                buffer.resize(wanted, 0);
                let count = read_fully(file, &mut buffer[before..], position + before as u64)?;
                buffer.truncate(before + count);
                if count == 0 {
                    // The end marker is missing: some writers leave it out.
                    return if buffer.is_empty() && position > 0 {
                        Ok(parts)
                    } else {
                        Err(LoadError::Truncated { position })
                    };
                }
            }
            ParseEvent::Entry { consumed, entry } => {
                let is_link = matches!(entry.entry_type, EntryType::Symlink | EntryType::Link);
                let size = if is_link || entry.entry_type == EntryType::Directory { 0 } else { entry.size };
                let offset = position + consumed as u64;
                if let Some(name) = normal(&entry.path, "") {
                    let above = name.rsplit_once('/').map_or("", |(above, _)| above);
                    let target = entry.link_target.as_deref().unwrap_or_default();
                    let part = match entry.entry_type {
                        EntryType::Symlink => normal(target, above).map(Part::Link),
                        EntryType::Link => normal(target, "").map(Part::Link),
                        EntryType::Regular => Some(Part::File { offset, size }),
                        _ => None,
                    };
                    parts.extend(part.map(|part| (name, part)));
                }
                if parts.len() > MAX_FILES {
                    return Err(LoadError::TooManyFiles { limit: MAX_FILES });
                }
                let padded = size.checked_next_multiple_of(HEADER_SIZE as u64);
                position = padded.and_then(|size| offset.checked_add(size)).ok_or(LoadError::Truncated { position })?;
                buffer.clear();
            }
            ParseEvent::SparseEntry { .. } => return Err(LoadError::Sparse),
            ParseEvent::GlobalExtensions { consumed, .. } => {
                buffer.drain(..consumed);
                position += consumed as u64;
            }
            ParseEvent::End { .. } => return Ok(parts),
        }
    }
}

fn read_fully(file: &File, buffer: &mut [u8], position: u64) -> Result<usize, LoadError> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read_at(&mut buffer[count..], position + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(LoadError::Read { source }),
        }
    }
    Ok(count)
}

/// `untrusted`, seen from the directory `above`, without `.` and `..`; `None` when it leads out or is no text.
fn normal(untrusted: &[u8], above: &str) -> Option<String> {
    let text = std::str::from_utf8(untrusted).ok()?;
    let mut parts: Vec<&str> = if text.starts_with('/') { Vec::new() } else { above.split('/').collect() };
    parts.retain(|part| !part.is_empty());
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
