//! Small files that are seen whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::{At, StoreError};

/// How the names of files begin that are not complete yet.
pub const TEMPORARY: &str = ".new-";

/// Replaces the file `path` (mode 0600) by one with `content`: temporary file, fsync, rename, fsync of the directory.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(parent).at("write", path)?;
    file.write_all(content).at("write", path)?;
    file.as_file().sync_all().at("sync", path)?;
    file.persist(path).map_err(|error| error.error).at("write", path)?;
    sync_directory(parent)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).at("sync", path)
}
