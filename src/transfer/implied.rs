//! Directories that a layer implies.
//!
//! An archive need not have an entry for a directory that lower layers have; the file system that the layers make
//! together has that directory's attributes. overlayfs takes them from the topmost layer that has the directory, so they
//! are copied up. Where that changes anything the layer depends on those below it, and is named after its chain id.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::install::{Wanted, record};
use crate::image::digest::Digest;
use crate::image::layer::UnpackReport;
use crate::image::store::{LayerBuild, Store, layer_name};
use crate::text::with_causes;
use crate::userns::idmap::IdMap;

/// Nothing is followed: a layer does not decide what another one's path means.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// overlayfs' mark of a directory that hides what is below.
const OPAQUE: &str = "user.overlay.opaque";

/// A layer that is unpacked and waits for those below it.
pub(super) type Deferred = Option<(LayerBuild, Box<UnpackReport>)>;

/// How many directories the record of a layer lists.
const MAX_LISTED: u64 = 1024;

/// What a layer implies, as its record lists it; `None`: that would be too much, or cannot be read again.
pub(super) fn listed(report: &UnpackReport) -> Option<Vec<Vec<u8>>> {
    (report.implied.len() <= MAX_LISTED).then(|| report.implied.paths().collect::<Result<_, _>>().ok())?
}

/// The name of a layer that depends on those below it: after the chain id, as the OCI image specification defines it.
fn chain_names(layers: &[Wanted]) -> Vec<String> {
    let mut chain: Option<String> = None;
    let next = |layer: &Wanted| {
        let id = match &chain {
            None => layer.diff_id.to_string(),
            Some(below) => Digest::of_bytes(format!("{below} {}", layer.diff_id).as_bytes()).to_string(),
        };
        chain = Some(id.clone());
        format!("chain-{}", id.split_once(':').map_or(id.as_str(), |(_, digits)| digits))
    };
    layers.iter().map(next).collect()
}

/// For each of `layers`, the lowest first, the name under which it is in the store, complete and right for this chain.
pub(super) fn find(store: &Store, map: &IdMap, layers: &[Wanted]) -> Vec<Option<String>> {
    let layout = map.layout();
    let mut below: Option<Vec<PathBuf>> = Some(Vec::new());
    let mut names = Vec::new();
    for (layer, chained) in layers.iter().zip(chain_names(layers)) {
        let name = layer_name(&layer.diff_id);
        let found = match store.layer(&chained, &layout) {
            Some(layer) => Some((chained, layer.tree())),
            None => store.layer(&name, &layout).and_then(|layer| {
                let implied = &layer.record.implied;
                let fits = implied.is_empty()
                    || below.as_ref().is_some_and(|below| {
                        implied.iter().all(|path| matches!(attributes_differ(&layer.tree(), below, path), Ok(None)))
                    });
                fits.then(|| (name, layer.tree()))
            }),
        };
        match &found {
            Some((_, tree)) => {
                if let Some(below) = &mut below {
                    below.insert(0, tree.clone());
                }
            }
            None => below = None,
        }
        names.push(found.map(|(name, _)| name));
    }
    names
}

/// Commits the layers that were deferred, now that all below them are there; returns the names of all.
pub(super) fn commit(
    store: &Store,
    map: &IdMap,
    layers: &[Wanted],
    deferred: Vec<Deferred>,
) -> Result<Vec<String>, String> {
    let layout = map.layout();
    let mut names: Vec<String> = Vec::new();
    let mut below: Vec<PathBuf> = Vec::new();
    for (number, ((layer, chained), deferred)) in layers.iter().zip(chain_names(layers)).zip(deferred).enumerate() {
        let plain = layer_name(&layer.diff_id);
        let name = match deferred {
            None => match find(store, map, &layers[..=number]).pop().flatten() {
                Some(name) => name,
                None => return Err(format!("layer {} has gone from the store", number + 1)),
            },
            Some((build, report)) => {
                // What is implied and not listed cannot be compared with other layers below: the layer is for these alone.
                let mut is_bound = listed(&report).is_none();
                for path in report.implied.paths() {
                    let path =
                        path.map_err(|error| format!("cannot read what layer {} implies: {error}", number + 1))?;
                    is_bound |= adopt(&build.tree(), &below, &path).map_err(|errno| {
                        format!(
                            "cannot copy the attributes of `{}`: {errno}",
                            String::from_utf8_lossy(&path).escape_debug()
                        )
                    })?;
                }
                let name = if is_bound || store.tree(&plain, &layout).is_some() { chained } else { plain };
                build.commit_unsettled(record(&name, map, layer, &report)).map_err(|error| with_causes(&error))?;
                name
            }
        };
        let Some(tree) = store.tree(&name, &layout) else {
            return Err(format!("layer `{name}` has gone from the store"));
        };
        below.insert(0, tree);
        names.push(name);
    }
    Ok(names)
}

/// Gives the directory `path` of `tree` the attributes that it has in the trees below, topmost first; whether that
/// changed any.
fn adopt(tree: &Path, below: &[PathBuf], path: &[u8]) -> Result<bool, Errno> {
    let Some((source, stat)) = attributes_differ(tree, below, path)? else { return Ok(false) };
    let Some(target) = directory(tree, path)? else { return Ok(false) };
    rustix::fs::fchown(
        &target,
        Some(rustix::fs::Uid::from_raw(stat.st_uid)),
        Some(rustix::fs::Gid::from_raw(stat.st_gid)),
    )?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in xattrs(&source)? {
        match rustix::fs::fsetxattr(&target, &name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or_default() };
    rustix::fs::futimens(&target, &Timestamps { last_access: modified, last_modification: modified })?;
    Ok(true)
}

/// The directory below that decides, if it differs from the one in `tree`. Times alone are no difference.
fn attributes_differ(tree: &Path, below: &[PathBuf], path: &[u8]) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let Some(own) = directory(tree, path)? else { return Ok(None) };
    let own_stat = rustix::fs::fstat(&own)?;
    let Some(source) = deciding(below, path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&source)?;
    let same = (own_stat.st_mode, own_stat.st_uid, own_stat.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid)
        && xattrs(&own)? == xattrs(&source)?;
    Ok((!same).then_some((source, stat)))
}

/// The directory `path` in the topmost of `trees` that has anything there.
fn deciding(trees: &[PathBuf], path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    for tree in trees {
        match directory(tree, path) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            // A file, a symlink or a whiteout: there is no such directory in what the layers make.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        if hides(tree, path)? {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Whether a directory on the way to `path` hides what lower layers have.
fn hides(tree: &Path, path: &[u8]) -> Result<bool, Errno> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends {
        if let Some(above) = directory(tree, &path[..end])?
            && rustix::fs::fgetxattr(&above, OPAQUE, &mut [0_u8; 1]).is_ok()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` when there is nothing.
fn directory(tree: &Path, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let root = crate::sys::fs::open_directory(tree).map_err(|error| error.errno)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), RESOLVE) {
        Ok(found) => {
            let stat = rustix::fs::fstat(&found)?;
            debug_assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Directory);
            Ok(Some(found))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The attributes that a layer may have, sorted; overlayfs' own are no attributes of the image.
fn xattrs(fd: &OwnedFd) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut names = vec![0_u8; 64 << 10];
    let size = match rustix::fs::flistxattr(fd, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other?,
    };
    let mut found = Vec::new();
    for name in names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        value.truncate(length);
        found.push((CString::new(name).map_err(|_| Errno::INVAL)?, value));
    }
    found.sort();
    Ok(found)
}
