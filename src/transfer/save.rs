//! `image save`: an image as a file.
//!
//! ```text
//! oci-layout                {"imageLayoutVersion":"1.0.0"}
//! index.json                names the manifest, and the image's name in annotations
//! manifest.json             docker's list of what is inside; only in an archive for docker
//! blobs/sha256/<digits>     the manifest, the configuration, and the layers as they are in registries
//! ```
//!
//! This is the OCI image layout, as a directory or as a tar; docker writes the same with its own list beside it. The
//! same image gives the same bytes.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar_core::HEADER_SIZE;
use tar_core::builder::EntryBuilder;

use super::archives::{Archives, manifest};
use super::error::TransferError;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::manifest::Manifest;
use crate::image::media_type::INDEX;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::progress::Progress;
use crate::registry::Client;

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 18;

/// Where the files of an image go.
pub enum Output<'a> {
    /// Into a new directory.
    Directory(&'a Path),
    /// Into a tar.
    Archive {
        /// It is written here.
        writer: &'a mut dyn Write,
        /// What that is called in errors.
        name: &'a Path,
        /// With docker's own list.
        for_docker: bool,
    },
}

/// Writes the image of `record`, called `reference`. Layers that are not kept here are fetched from where they came from.
pub fn save(
    store: &Store,
    client: &Client,
    record: &ImageRecord,
    reference: &Reference,
    output: &mut Output<'_>,
    progress: &dyn Progress,
) -> Result<(), TransferError> {
    let damaged = || TransferError::Damaged { image: record.name.clone() };
    let manifest = manifest(store, record)?.ok_or_else(damaged)?;
    let config = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let bytes = store.blob(&record.manifest.digest)?.ok_or_else(damaged)?;
    let archives = Archives::new(store, client)?;
    if let Output::Directory(path) = output {
        fs::create_dir(*path).map_err(io_error("create", path))?;
    }
    output.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    output.bytes("index.json", index(record, reference).to_string().as_bytes())?;
    if let Output::Archive { for_docker: true, .. } = output {
        output.bytes("manifest.json", docker_list(&manifest, reference).to_string().as_bytes())?;
    }
    output.directory("blobs/")?;
    let digests = manifest.layers.iter().map(|layer| &layer.digest);
    let digests = digests.chain([&record.manifest.digest, &manifest.config.digest]);
    for algorithm in digests.map(|digest| digest.algorithm().name()).collect::<BTreeSet<_>>() {
        output.directory(&format!("blobs/{algorithm}/"))?;
    }
    output.bytes(&blob_name(&record.manifest.digest), &bytes)?;
    output.bytes(&blob_name(&manifest.config.digest), &config)?;
    let total = manifest.layers.iter().map(|layer| layer.size).sum();
    progress.begin(&format!("saving {}", reference.familiar()), Some(total));
    let mut done = 0;
    let mut seen = HashSet::new();
    for layer in manifest.layers.iter().filter(|layer| seen.insert(&layer.digest)) {
        let mut reader = archives.open(layer, 0).map_err(io_error("read the layer", layer.digest.short()))?;
        output.copy(layer, &mut reader, &mut |count| {
            done += count;
            progress.advance(done);
        })?;
    }
    progress.end();
    output.finish()
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hexadecimal())
}

fn index(record: &ImageRecord, reference: &Reference) -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": record.manifest.media_type,
            "digest": record.manifest.digest,
            "size": record.manifest.size,
            "annotations": {
                "io.containerd.image.name": reference.to_string(),
                "org.opencontainers.image.ref.name": reference.tag().unwrap_or("latest"),
            },
        }],
    })
}

fn docker_list(manifest: &Manifest, reference: &Reference) -> serde_json::Value {
    let tags: Vec<String> = reference.tag().map(|tag| format!("{}:{tag}", reference.name())).into_iter().collect();
    serde_json::json!([{
        "Config": blob_name(&manifest.config.digest),
        "RepoTags": tags,
        "Layers": manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect::<Vec<_>>(),
    }])
}

fn io_error(operation: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> TransferError {
    let path: PathBuf = path.as_ref().to_owned();
    move |source| TransferError::Io { operation, path, source }
}

impl Output<'_> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.file(name, bytes.len() as u64, &mut &*bytes)
    }

    /// A directory, whose name ends with a slash. Programs that unpack as ordinary users often fail without its entry: they
    /// make what is missing belong to root.
    fn directory(&mut self, name: &str) -> Result<(), TransferError> {
        let Self::Archive { writer, name: archive, .. } = self else { return Ok(()) };
        let header = header(name, tar_core::EntryType::Directory, 0).map_err(io::Error::other);
        header.and_then(|header| writer.write_all(&header)).map_err(io_error("write", archive))
    }

    /// A layer, whose digest and size are checked.
    fn copy(
        &mut self,
        layer: &Descriptor,
        reader: &mut dyn Read,
        advance: &mut dyn FnMut(u64),
    ) -> Result<(), TransferError> {
        let mut hasher = layer.digest.hasher();
        let mut checked = Checked {
            reader,
            each: &mut |bytes: &[u8]| {
                hasher.update(bytes);
                advance(bytes.len() as u64);
            },
        };
        self.file(&blob_name(&layer.digest), layer.size, &mut checked)?;
        let found = hasher.digest();
        let (size, expected) = (layer.size, &layer.digest);
        if found == *expected {
            return Ok(());
        }
        let wrong = io::Error::other(format!("{size} bytes with the digest {found}, not {expected}"));
        Err(io_error("read the layer", expected.short())(wrong))
    }

    fn file(&mut self, name: &str, size: u64, reader: &mut dyn Read) -> Result<(), TransferError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap_or(root)).map_err(io_error("create", &path))?;
                let mut file = File::create_new(&path).map_err(io_error("create", &path))?;
                copy_exactly(reader, &mut file, size).and_then(|()| file.sync_all()).map_err(io_error("write", &path))
            }
            Self::Archive { writer, name: archive, .. } => {
                let header = header(name, tar_core::EntryType::Regular, size).map_err(io::Error::other);
                let padding = [0; HEADER_SIZE];
                let over = (size % HEADER_SIZE as u64) as usize;
                let padding = if over == 0 { &[][..] } else { &padding[over..] };
                header
                    .and_then(|header| writer.write_all(&header))
                    .and_then(|()| copy_exactly(reader, writer, size))
                    .and_then(|()| writer.write_all(padding))
                    .map_err(io_error("write", archive))
            }
        }
    }

    fn finish(&mut self) -> Result<(), TransferError> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Archive { writer, name, .. } => {
                let end = writer.write_all(&[0; 2 * HEADER_SIZE]).and_then(|()| writer.flush());
                end.map_err(io_error("write", name))
            }
        }
    }
}

fn header(name: &str, kind: tar_core::EntryType, size: u64) -> Result<Vec<u8>, tar_core::HeaderError> {
    let mode = if kind == tar_core::EntryType::Directory { 0o755 } else { 0o644 };
    let mut entry = EntryBuilder::new_ustar();
    entry.mode(mode)?.uid(0)?.gid(0)?.mtime(0)?.size(size)?;
    Ok(entry.entry_type(kind).path(name).finish_bytes())
}

fn copy_exactly(reader: &mut dyn Read, writer: &mut dyn Write, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let count = reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        writer.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// Shows what passes to `each`.
struct Checked<'a> {
    reader: &'a mut dyn Read,
    each: &'a mut dyn FnMut(&[u8]),
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        (self.each)(&buffer[..count]);
        Ok(count)
    }
}
