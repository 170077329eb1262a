//! Where the parts of a box lie.

use std::path::{Path, PathBuf};

use super::error::{BoxesResult, IoContext};
use super::id::BoxId;
use super::state::BoxRecord;
use crate::paths::{Paths, create_private};

/// The directory of one box. Nothing says that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxDir {
    id: BoxId,
    path: PathBuf,
    data: PathBuf,
    runtime: PathBuf,
}

impl BoxDir {
    /// The directory of the box `id`.
    #[must_use]
    pub fn new(paths: &Paths, id: &BoxId) -> Self {
        Self {
            id: id.clone(),
            path: paths.boxes().join(id.as_str()),
            data: paths.data.clone(),
            runtime: paths.runtime.clone(),
        }
    }

    /// The box.
    #[must_use]
    pub fn id(&self) -> &BoxId {
        &self.id
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// devbox's data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `box.json`.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.path.join("box.json")
    }

    /// The file that is locked by whoever changes the box.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The file that the supervisor of a running box locks.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.path.join("running")
    }

    /// What holds the writable layer: `fs` and `map.json`.
    #[must_use]
    pub fn upper_holder(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// The writable layer: overlayfs' `upperdir`.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.upper_holder().join("fs")
    }

    /// Overlayfs' `workdir`, on the same file system as [`Self::upper`].
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Placeholders for what is mounted over; made anew at every start.
    #[must_use]
    pub fn generated(&self) -> PathBuf {
        self.path.join("generated")
    }

    /// The directory of the box's volumes, by their names.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// The directory of logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The event log.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.log().join("events.jsonl")
    }

    /// What the box reached and did not.
    #[must_use]
    pub fn traffic(&self) -> PathBuf {
        self.log().join("net.jsonl")
    }

    /// The system calls that the box's filter refused.
    #[must_use]
    pub fn denied(&self) -> PathBuf {
        self.log().join("denied.jsonl")
    }

    /// The directory of the running box's socket, short whatever the box's name is.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.runtime.join(self.id.short())
    }

    /// The box's frozen layers as overlayfs' `lowerdir`s, topmost first.
    #[must_use]
    pub fn frozen_layers(&self, record: &BoxRecord) -> Vec<PathBuf> {
        record.layers.iter().map(|layer| pool(&self.data).join(layer).join("fs")).collect()
    }

    /// Whether there is such a box.
    #[must_use]
    pub fn exists(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok()
    }
}

/// The directory of all frozen layers.
#[must_use]
pub fn pool(data: &Path) -> PathBuf {
    data.join("store/box-layers")
}

/// The directory of dropped trees.
#[must_use]
pub fn trash(data: &Path) -> PathBuf {
    data.join("trash")
}

/// Makes the directories that boxes need. They lie in one file system: trees are renamed between them.
pub fn prepare(paths: &Paths) -> BoxesResult<()> {
    for directory in [paths.data.clone(), paths.boxes(), pool(&paths.data), trash(&paths.data)] {
        create_private(&directory)?;
    }
    Ok(())
}

/// 32 hexadecimal digits that nobody has used: the name of a layer or of an entry of the trash.
pub fn fresh_name() -> BoxesResult<String> {
    let mut bytes = [0_u8; 16];
    // 16 bytes are never delivered in part.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .at("read random bytes for", Path::new("a name"))?;
    Ok(super::id::hexadecimal(&bytes))
}
