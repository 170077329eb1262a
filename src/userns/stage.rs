//! A piece of work done as the root of a mapped user namespace.
//!
//! Files of a layer belong to the ids of the box's map, most of which the invoking user cannot chown to or remove.
//! In a namespace with that map it can. The work runs in a fork: its result comes back as JSON through a pipe, and its
//! memory is gone when it is done. The caller must be single-threaded; the work may start threads.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::idmap::{IdMap, IdMode};
use super::mapper::{self, MapperError};
use crate::sys::clone::{self, Forked, Namespaces};
use crate::sys::fs::pipe;
use crate::sys::process::Ended;
use crate::sys::{Context, SysError, process};

/// Work in a mapped namespace failed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The namespace could not be made.
    #[error("cannot make a user namespace")]
    Namespace(#[from] SysError),
    /// The id map was refused.
    #[error(transparent)]
    Map(#[from] MapperError),
    /// The work itself failed, in its own words.
    #[error("{0}")]
    Work(String),
    /// The process that did the work was killed.
    #[error("the process doing the work ended unexpectedly ({ended:?})")]
    Died {
        /// How.
        ended: Ended,
    },
}

/// Runs `work` as uid 0 and gid 0 of a user namespace with `map`, and returns what it returned.
///
/// In root mode the ids are the host's, and the work runs in this process.
pub fn run_mapped<T, F>(map: &IdMap, work: F) -> Result<T, StageError>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T, String>,
{
    if map.mode == IdMode::Root {
        return work().map_err(StageError::Work);
    }
    run_in(Namespaces::USER, map, work)
}

/// As [`run_mapped`], with a mount namespace as well: what `work` mounts is gone with it.
pub fn run_mapped_mounting<T, F>(map: &IdMap, work: F) -> Result<T, StageError>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T, String>,
{
    let private = || crate::sys::mount::make_everything_private().map_err(|error| error.to_string());
    let namespaces = if map.mode == IdMode::Root { Namespaces::MOUNT } else { Namespaces::USER | Namespaces::MOUNT };
    run_in(namespaces, map, || private().and_then(|()| work()))
}

/// Runs `work` in a child with `namespaces` of its own.
fn run_in<T, F>(namespaces: Namespaces, map: &IdMap, work: F) -> Result<T, StageError>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T, String>,
{
    let (go_read, go_write) = pipe()?;
    let (result_read, result_write) = pipe()?;
    match clone::clone(namespaces)? {
        Forked::Child => {
            drop((go_write, result_read));
            let status = child(map, go_read, result_write, work);
            clone::exit_now(status)
        }
        Forked::Parent { pid, .. } => {
            drop((go_read, result_write));
            // In root mode there is no user namespace to write a map for.
            let mapped = if map.mode == IdMode::Root { Ok(()) } else { mapper::write(pid, map) };
            if mapped.is_ok() {
                std::fs::File::from(go_write).write_all(b"g").call(|| "write `pipe`".to_owned())?;
            } else {
                drop(go_write);
            }
            let mut text = Vec::new();
            std::fs::File::from(result_read).read_to_end(&mut text).call(|| "read `pipe`".to_owned())?;
            let ended = process::wait(pid)?;
            mapped?;
            match serde_json::from_slice::<Result<T, String>>(&text) {
                Ok(result) => result.map_err(StageError::Work),
                Err(_) => Err(StageError::Died { ended }),
            }
        }
    }
}

fn child<T: Serialize>(map: &IdMap, go: OwnedFd, result: OwnedFd, work: impl FnOnce() -> Result<T, String>) -> i32 {
    let mut byte = [0];
    if process::die_with_parent().is_err() || !matches!(std::fs::File::from(go).read(&mut byte), Ok(1)) {
        return 1;
    }
    // In single mode with a named user there is no uid 0: the work runs as that user, which owns everything.
    let has_root = map.mode != IdMode::Root && map.uid_outside(0).is_some();
    let prepared = if has_root {
        process::become_namespace_root(map.mode != IdMode::Single)
            .and_then(|()| process::set_dumpable())
            .and_then(|()| process::die_with_parent())
            .map_err(|error| error.to_string())
    } else {
        Ok(())
    };
    let outcome = prepared.and_then(|()| work());
    let written = serde_json::to_vec(&outcome)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::File::from(result).write_all(&text));
    i32::from(written.is_err())
}
