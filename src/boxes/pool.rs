//! Writable layers, and the pool of frozen ones.
//!
//! A layer is a directory with `fs`, which belongs to the box, and `map.json`, which says with which id map it can be
//! removed. A layer in the pool is never changed. It stays as long as a record names it, and goes to the trash when
//! [`collect`] finds that none does.
//!
//! Collecting takes the pool's lock exclusively, and lists the pool before it reads the records: a command that
//! freezes a layer names it in its record first. Only a command that copies names from one record to another (clone)
//! must hold the lock, shared.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};

use super::directory::{self, BoxDir};
use super::error::{BoxesError, BoxesResult, IoContext};
use super::id::BoxId;
use super::lock::{BoxLock, Sharing};
use super::state;
use crate::paths::Paths;
use crate::progress::Silent;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// The id map of a layer or of a dropped one, beside its `fs`.
pub const MAP_FILE: &str = "map.json";
/// Mode of `/` in a new box.
const ROOT_MODE: u32 = 0o755;
/// Names of directories in which boxes are being made begin with this, which no id does.
pub const NEW_BOX_PREFIX: &str = ".new-";

/// Makes an empty writable layer at `holder`, at once. Its `fs` has the owner and the mode of `like`, or else belongs
/// to the root of `map`. Remains of an earlier attempt are replaced.
pub fn make_layer(holder: &Path, map: &IdMap, like: Option<&Path>) -> BoxesResult<()> {
    let temporary = holder.with_extension("new");
    let tree = temporary.join("fs");
    match std::fs::create_dir(&temporary) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => match std::fs::remove_dir(&tree) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &tree),
            _ => {}
        },
        result => result.at("create", &temporary)?,
    }
    std::fs::create_dir(&tree).at("create", &tree)?;
    let map_file = temporary.join(MAP_FILE);
    let text = serde_json::to_vec(map).map_err(|source| BoxesError::Damaged { path: map_file.clone(), source })?;
    std::fs::write(&map_file, text).at("write", &map_file)?;
    dress(&tree, map, like)?;
    std::fs::rename(&temporary, holder).at("rename", &temporary)
}

/// Gives a new, empty directory its owner and mode.
fn dress(tree: &Path, map: &IdMap, like: Option<&Path>) -> BoxesResult<()> {
    let ours = open_path(tree)?;
    let like = like.map(open_path).transpose()?;
    let stat = |fd: &OwnedFd| rustix::fs::fstat(fd).at("read", tree);
    let made = stat(&ours)?;
    let (mode, owners) = match &like {
        Some(like) => stat(like).map(|it| (it.st_mode & 0o7777, (it.st_uid, it.st_gid)))?,
        None => {
            let owners = map.uid_outside(0).zip(map.gid_outside(0));
            (ROOT_MODE, owners.unwrap_or((made.st_uid, made.st_gid)))
        }
    };
    if owners != (made.st_uid, made.st_gid) {
        let change = || {
            let (uid, gid) = match &like {
                Some(like) => rustix::fs::fstat(like).map(|it| (it.st_uid, it.st_gid))?,
                None => (0, 0),
            };
            rustix::fs::chownat(
                &ours,
                "",
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                rustix::fs::AtFlags::EMPTY_PATH,
            )
        };
        run_mapped(map, || {
            change().map_err(|errno| errno.to_string())?;
            set_mode(&ours, mode).map_err(|errno| errno.to_string())
        })
        .map_err(|source| BoxesError::Stage { action: "make a writable layer", source })
    } else {
        set_mode(&ours, mode).at("change the mode of", tree)
    }
}

/// The directory is held by an `O_PATH` descriptor, which `fchmod` refuses.
fn set_mode(directory: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(crate::sys::fs::proc_path(directory), Mode::from_raw_mode(mode))
}

fn open_path(path: &Path) -> BoxesResult<OwnedFd> {
    crate::sys::fs::open_path(path).map_err(std::io::Error::from).at("open", path)
}

/// Whether nothing was ever written to the layer at `holder`, as far as can be told: `false` when in doubt.
#[must_use]
pub fn is_untouched(holder: &Path, map: &IdMap, like: Option<&Path>) -> bool {
    let tree = holder.join("fs");
    let Ok(meta) = std::fs::symlink_metadata(&tree) else { return false };
    let expected = match like {
        Some(like) => std::fs::symlink_metadata(like).ok().map(|it| (it.mode() & 0o7777, it.uid(), it.gid())),
        None => {
            let root = map.uid_outside(0).zip(map.gid_outside(0)).unwrap_or((meta.uid(), meta.gid()));
            Some((ROOT_MODE, root.0, root.1))
        }
    };
    expected == Some((meta.mode() & 0o7777, meta.uid(), meta.gid()))
        && std::fs::read_dir(&tree).is_ok_and(|mut entries| entries.next().is_none())
}

/// Renames the tree at `path` into the trash. Costs the same whatever it holds. `Ok` when it is not there.
pub fn discard(data: &Path, path: &Path) -> BoxesResult<()> {
    let trash = directory::trash(data);
    crate::paths::create_private(&trash)?;
    let entry = trash.join(directory::fresh_name()?);
    match std::fs::rename(path, &entry) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && std::fs::symlink_metadata(path).is_err() => {
            Ok(())
        }
        result => result.at("rename", path),
    }
}

/// Takes the pool's lock; see the module's text for who needs it.
pub fn lock_pool(data: &Path, sharing: Sharing) -> BoxesResult<BoxLock> {
    let path = directory::pool(data).with_extension("lock");
    BoxLock::acquire(&path, sharing, "devbox", &Silent)
}

/// What [`collect`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collection {
    /// So many layers went to the trash.
    Done(usize),
    /// Nothing: the record of this box cannot be read, so that nobody knows which layers it needs.
    Held(BoxId),
}

/// Moves the layers that no box needs to the trash, and the remains of boxes that were never finished.
pub fn collect(paths: &Paths) -> BoxesResult<Collection> {
    let _lock = lock_pool(&paths.data, Sharing::Exclusive)?;
    match unneeded(paths)? {
        Unneeded::Unknown(id) => Ok(Collection::Held(id)),
        Unneeded::Trees(trees) => {
            for tree in &trees {
                discard(&paths.data, tree)?;
            }
            let pool = directory::pool(&paths.data);
            Ok(Collection::Done(trees.iter().filter(|tree| tree.starts_with(&pool)).count()))
        }
    }
}

/// What [`collect`] would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unneeded {
    /// These.
    Trees(Vec<PathBuf>),
    /// Nobody knows: the record of this box cannot be read.
    Unknown(BoxId),
}

/// Finds what [`collect`] would remove now.
pub fn unneeded(paths: &Paths) -> BoxesResult<Unneeded> {
    let pool = directory::pool(&paths.data);
    // Before the records: what is frozen now is named by one already.
    let layers = entries(&pool)?;
    let mut needed = HashSet::new();
    let mut trees = Vec::new();
    for name in entries(&paths.boxes())? {
        if name.starts_with(NEW_BOX_PREFIX) {
            trees.push(paths.boxes().join(&name));
            continue;
        }
        let Ok(id) = BoxId::parse(&name) else { continue };
        let directory = BoxDir::new(paths, &id);
        match state::load(&directory) {
            Ok(record) => needed.extend(record.referenced_layers().map(str::to_owned)),
            Err(_) if !directory.exists() => {}
            Err(_) => return Ok(Unneeded::Unknown(id)),
        }
    }
    trees.extend(layers.iter().filter(|layer| !needed.contains(*layer)).map(|layer| pool.join(layer)));
    Ok(Unneeded::Trees(trees))
}

/// Names in a directory of ours, sorted; all of them are ours and UTF-8, others are left alone.
pub(super) fn entries(directory: &Path) -> BoxesResult<Vec<String>> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.at("list", directory)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.at("list", directory)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The path of a layer's tree in the pool.
#[must_use]
pub fn tree(data: &Path, layer: &str) -> PathBuf {
    directory::pool(data).join(layer).join("fs")
}

/// Flushes the entries of a directory to the disk, so that a record written later cannot outlive them.
pub(super) fn sync_directory(path: &Path) -> BoxesResult<()> {
    let directory = std::fs::File::open(path).at("open", path)?;
    rustix::fs::fsync(directory.as_fd()).at("flush", path)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
