//! Manifests and configurations, byte for byte as they were hashed, and layers that are on their way.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::files::sync_directory;
use super::{At, Store, StoreError, write_durably};
use crate::image::digest::Digest;

impl Store {
    /// Where a manifest or configuration lies, or would.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path().join("blobs").join(digest.algorithm().name()).join(digest.hexadecimal())
    }

    /// Keeps `bytes`, which have the digest `digest`.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == bytes.len() as u64) {
            return Ok(());
        }
        make_directory(path.parent().unwrap_or(self.path()))?;
        write_durably(&path, bytes)
    }

    /// Keeps the `size` bytes that `reader` gives, which must have the digest `digest`.
    pub fn put_blob_from(&self, digest: &Digest, size: u64, reader: &mut dyn Read) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == size) {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(self.path());
        make_directory(directory)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory).at("write", &path)?;
        let (mut hasher, mut buffer) = (digest.hasher(), vec![0; 256 << 10]);
        loop {
            match reader.read(&mut buffer).at("fill", &path)? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).at("write", &path)?;
                }
            }
        }
        if hasher.digest() != *digest {
            return Err(std::io::Error::from(ErrorKind::InvalidData)).at("fill", &path);
        }
        file.as_file().sync_all().at("sync", &path)?;
        file.persist(&path).map_err(|error| error.error).at("write", &path)?;
        sync_directory(directory)
    }

    /// The bytes of `digest`. `None` when they are not here; what is damaged is not here either.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| digest.matches(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Makes the file `path`, which has the digest `digest` and is durable, a blob. It must lie in the store.
    pub fn adopt_blob(&self, path: &Path, digest: &Digest) -> Result<(), StoreError> {
        let target = self.blob_path(digest);
        let directory = target.parent().unwrap_or(self.path());
        make_directory(directory)?;
        std::fs::rename(path, &target).at("rename", path)?;
        sync_directory(directory)
    }

    /// Where the beginning of a layer's archive is kept while it is being fetched.
    pub fn partial_path(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let directory = self.path().join("partial");
        make_directory(&directory)?;
        Ok(directory.join(digest.file_name()))
    }
}

/// A directory of the store, private like the store.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).at("create", path)
}
