//! The writable layer of `devbox run --rm`, which is thrown away with its session.

use std::path::PathBuf;

use super::change::LockedBox;
use super::error::{BoxesResult, IoContext};
use super::{pool, running};
use crate::paths::Paths;

/// A writable layer for one session.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Where it lies.
    pub holder: PathBuf,
}

impl Scratch {
    /// Makes it above the box's own layers.
    pub fn new(paths: &Paths, locked: &LockedBox) -> BoxesResult<Self> {
        let holder = running::new_scratch_holder(&locked.directory)?;
        pool::make_layer(&holder, &locked.record.id_map, Some(&locked.directory.upper()))
            .inspect_err(|_| drop(pool::discard(&paths.data, &holder)))?;
        Ok(Self { holder })
    }

    /// Throws it away.
    pub fn discard(&self, paths: &Paths) -> BoxesResult<()> {
        let runtime = running::temporary_runtime(paths, &self.holder);
        match std::fs::remove_dir_all(&runtime) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &runtime),
            _ => {}
        }
        pool::discard(&paths.data, &self.holder)
    }
}
