//! `--mount=type=cache`: directories that outlive the build.
//!
//! ```text
//! store/build/mounts/<digest of id>.<layout>[-N]/
//!   lock     held while a command has the cache: exclusively where it asked for that
//!   fs/      the directory that is mounted
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::mounts::Sharing;
use crate::build::copy::walk::Fate;
use crate::build::copy::whole::copy_whole;
use crate::build::copy::write::Destination;
use crate::build::error::{At, BuildError};
use crate::build::layer::StepLayer;
use crate::build::trees::Tree;
use crate::image::digest;
use crate::paths::Paths;
use crate::text::with_causes;
use crate::userns::idmap::{IdMap, IdMode};

/// A private cache has this many copies at most.
const MAX_COPIES: u32 = 64;

/// The cache that a command wants.
#[derive(Debug)]
pub struct Cache<'a> {
    /// What it is known by.
    pub id: &'a str,
    /// What happens when two commands want it at once.
    pub sharing: Sharing,
    /// What it begins with.
    pub from: Option<&'a (Tree, PathBuf)>,
    /// Permission bits of a new one.
    pub mode: u32,
    /// Owner and group of a new one, in the image.
    pub owner: (u32, u32),
}

/// The directory of the cache, made if it is not there, and its lock.
pub fn open(paths: &Paths, map: &IdMap, layer: &StepLayer, wanted: &Cache<'_>) -> Result<(PathBuf, File), BuildError> {
    let name = format!("{}.{}", &digest::of_bytes(wanted.id.as_bytes())[..32], map.layout());
    let all = paths.store().join("build/mounts");
    let mut copy = 0;
    loop {
        let suffix = if copy == 0 { String::new() } else { format!("-{copy}") };
        let directory = all.join(format!("{name}{suffix}"));
        std::fs::create_dir_all(&directory).at("create", &directory)?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).at("open", &path)?;
        match wanted.sharing {
            Sharing::Shared => lock.lock_shared().at("lock", &path)?,
            Sharing::Locked => lock.lock().at("lock", &path)?,
            Sharing::Private => match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if copy < MAX_COPIES => {
                    copy += 1;
                    continue;
                }
                Err(TryLockError::WouldBlock) => lock.lock().at("lock", &path)?,
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
            },
        }
        // The garbage collection goes by the time of the last use.
        lock.set_modified(std::time::SystemTime::now()).at("touch", &path)?;
        let tree = directory.join("fs");
        if !tree.is_dir() {
            fill(map, layer, wanted, &directory, &tree)?;
        }
        return Ok((tree, lock));
    }
}

/// Makes a new cache: beside its place, and then at once, whoever else is at it.
fn fill(map: &IdMap, layer: &StepLayer, wanted: &Cache<'_>, directory: &Path, tree: &Path) -> Result<(), BuildError> {
    let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(directory).at("create", directory)?.keep();
    let inner = fresh.join("fs");
    std::fs::create_dir(&inner).at("create", &inner)?;
    let (trees, from): (&[Tree], _) = match wanted.from {
        Some((tree, path)) => (std::slice::from_ref(tree), Some(path)),
        None => (&[], None),
    };
    let is_single = layer.map().mode == IdMode::Single;
    layer.trees()?.read(trees, |roots| {
        let text = |error: &dyn std::error::Error| error.to_string();
        if let (Some(root), Some(path)) = (roots.first(), from) {
            let inside = Destination { path: "/".into(), is_directory: true };
            copy_whole(*root, path, &inner, &inside, is_single, &|_| Fate::Kept)
                .map_err(|error| with_causes(&error))?;
        }
        if !is_single {
            std::os::unix::fs::chown(&inner, Some(wanted.owner.0), Some(wanted.owner.1))
                .map_err(|error| text(&error))?;
        }
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(wanted.mode)).map_err(|error| text(&error))
    })?;
    match rustix::fs::renameat_with(rustix::fs::CWD, &inner, rustix::fs::CWD, tree, rustix::fs::RenameFlags::NOREPLACE)
    {
        // Somebody who shares the cache was first: theirs counts.
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno).at("rename", &inner),
    }
    crate::image::remove::remove_tree(&fresh, map).map_err(crate::image::store::StoreError::from)?;
    Ok(())
}
