//! Removing boxes, and emptying the trash.
//!
//! A box goes by one rename into the trash, so that it is there or not, and so that this works on a full disk: no
//! record needs to be written. Emptying the trash may take long and needs the box's ids; it can be repeated and left
//! to a background process.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::directory::{BoxDir, trash};
use super::error::{BoxesError, BoxesResult, IoContext};
use super::id::BoxId;
use super::list::no_such_box;
use super::lock::{BoxLock, Sharing};
use super::pool::{MAP_FILE, collect, discard, entries};
use super::state::BoxRecord;
use super::tree::{self, Failures};
use super::{guards, running, state};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::run_mapped;

/// What tells the id map of an entry of the trash, in a layer and in a box. Removed after everything else.
const MAP_SOURCES: [&str; 2] = [MAP_FILE, "box.json"];

/// Removes a box: its snapshots, its writable layer, its log. Its project's folder is left alone. A broken box can be
/// removed too. What it held is in the trash afterwards: call [`empty_trash`].
pub fn remove_box(paths: &Paths, id: &BoxId, who: &str, progress: &dyn Progress) -> BoxesResult<()> {
    let directory = BoxDir::new(paths, id);
    if !directory.exists() {
        return Err(no_such_box(paths, id.as_str()));
    }
    if !directory.path().is_dir() {
        return discard(&paths.data, directory.path());
    }
    let lock = match BoxLock::acquire(&directory.lock(), Sharing::Exclusive, who, progress) {
        Err(BoxesError::Io { source, .. }) if !directory.exists() && source.kind() == std::io::ErrorKind::NotFound => {
            return Err(no_such_box(paths, id.as_str()));
        }
        lock => lock?,
    };
    if !running::wait_until_stopped(paths, &directory, running::STOPPING_TIME)? {
        let name = state::load(&directory).map_or_else(|_| id.to_string(), |record| record.name);
        return Err(BoxesError::Running { name });
    }
    guards::sweep(&directory).ok();
    discard(&paths.data, directory.path())?;
    drop(lock);
    remove_runtime(&directory)?;
    collect(paths)?;
    Ok(())
}

fn remove_runtime(directory: &BoxDir) -> BoxesResult<()> {
    let runtime = directory.runtime();
    match std::fs::remove_dir_all(&runtime) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", &runtime),
    }
}

/// Removes everything in the trash for good, whatever ids own it and whatever modes it has. Waits for another process
/// that does the same. `fallback` is the id map for what does not say with which one it was made.
///
/// Must be called while this process is single-threaded (see [`run_mapped`]).
pub fn empty_trash(paths: &Paths, fallback: &IdMap, progress: &dyn Progress) -> BoxesResult<()> {
    let path = trash(&paths.data);
    if entries(&path)?.is_empty() {
        return Ok(());
    }
    let _lock = BoxLock::acquire(&path.with_extension("lock"), Sharing::Exclusive, "devbox", progress)?;
    let directory = crate::sys::fs::open_directory(&path).map_err(std::io::Error::from).at("open", &path)?;
    let mut groups: HashMap<IdMap, Vec<String>> = HashMap::new();
    for name in entries(&path)? {
        let map = map_of(&path.join(&name)).unwrap_or_else(|| fallback.clone());
        groups.entry(map).or_default().push(name);
    }
    let mut refused = None;
    for (map, names) in &groups {
        if map.mode == IdMode::Root && !rustix::process::geteuid().is_root() {
            continue;
        }
        if let Err(source) = run_mapped(map, || Ok(remove_all(&directory, names))) {
            refused = Some(BoxesError::Stage { action: "empty the trash", source });
        }
    }
    // What is left needs no ids of the box, or cannot be removed; who else dropped something removes it too.
    let left = entries(&path)?;
    let failures = remove_all(&directory, &left);
    match (failures, refused) {
        (Failures { count: 0, .. }, _) => Ok(()),
        (_, Some(refused)) => Err(refused),
        (Failures { count, example }, None) => {
            Err(BoxesError::NotRemoved { path, count, example: example.unwrap_or_default() })
        }
    }
}

fn remove_all(directory: &OwnedFd, names: &[String]) -> Failures {
    let mut failures = Failures::default();
    for name in names {
        failures.join(tree::remove(directory.as_fd(), OsStr::new(name), &MAP_SOURCES));
    }
    failures
}

/// The id map of a dropped layer or box.
fn map_of(entry: &Path) -> Option<IdMap> {
    let read = |name: &str| std::fs::read(entry.join(name)).ok();
    if let Some(text) = read(MAP_FILE) {
        return serde_json::from_slice(&text).ok();
    }
    let record: BoxRecord = serde_json::from_slice(&read("box.json")?).ok()?;
    Some(record.id_map)
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
