//! Whether a box runs, and the addresses of its sockets.
//!
//! A box that runs listens on its socket. Its supervisor holds the lock on `running` a little longer: until everything
//! is cleaned up. A `run --rm` listens in a directory of its own, where nobody joins it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::directory::BoxDir;
use super::error::{BoxesError, BoxesResult, IoContext};
use super::lock::{BoxLock, Sharing};
use crate::image::digest;
use crate::paths::Paths;
use crate::sys;

/// Longest path of a unix socket, in bytes: `sun_path` holds 108, one of them the terminator.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// The socket's name in the box's runtime directory.
const SOCKET_NAME: &str = "s";
/// The name of the supervisor's own socket, beside it.
const CONTROL_NAME: &str = "c";
/// How the directories of `run --rm` sessions begin, in the box's directory.
const SCRATCH_PREFIX: &str = "scratch-";
/// A box whose last session has just ended listens no longer after this, also on a busy machine.
pub const STOPPING_TIME: Duration = Duration::from_secs(1);
/// Between two looks at a box that is stopping.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// A path to bind or connect to. Valid in this process, as long as the value lives.
#[derive(Debug)]
pub struct SocketAddress {
    path: PathBuf,
    /// Where the socket lies, whatever the length of its path.
    shown: PathBuf,
    _directory: Option<OwnedFd>,
}

impl SocketAddress {
    /// What to hand to `bind` and `connect`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The real path, for messages and removal.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }
}

/// The address of the socket of a running box. A path that is too long for a socket is replaced by one through
/// `/proc/self/fd`, for which the runtime directory must exist (`NotFound` otherwise).
pub fn socket_address(directory: &BoxDir) -> BoxesResult<SocketAddress> {
    socket_address_in(&directory.runtime())
}

/// As [`socket_address`], for any runtime directory.
pub fn socket_address_in(runtime: &Path) -> BoxesResult<SocketAddress> {
    address(runtime, SOCKET_NAME)
}

/// The address of the supervisor's own socket, see [`crate::sandbox::control`].
pub fn control_address_in(runtime: &Path) -> BoxesResult<SocketAddress> {
    address(runtime, CONTROL_NAME)
}

fn address(runtime: &Path, name: &str) -> BoxesResult<SocketAddress> {
    let shown = runtime.join(name);
    if shown.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH_BYTES {
        return Ok(SocketAddress { path: shown.clone(), shown, _directory: None });
    }
    let handle = sys::fs::open_path(runtime).map_err(std::io::Error::from).at("open", runtime)?;
    Ok(SocketAddress { path: sys::fs::proc_path(&handle).join(name), shown, _directory: Some(handle) })
}

/// Connects to a running box. `None` when it does not run.
pub fn connect(directory: &BoxDir) -> Option<UnixStream> {
    UnixStream::connect(socket_address(directory).ok()?.path()).ok()
}

/// Connects to the supervisor of a running box. `None` when it does not run.
pub fn connect_to_supervisor(directory: &BoxDir) -> Option<UnixStream> {
    UnixStream::connect(control_address_in(&directory.runtime()).ok()?.path()).ok()
}

/// Connects to everything that runs on the box's layers: the box itself, and sessions whose changes are thrown away.
pub fn connect_all(paths: &Paths, directory: &BoxDir) -> Vec<UnixStream> {
    let scratch = scratch_holders(directory).into_iter().filter_map(|holder| {
        UnixStream::connect(socket_address_in(&temporary_runtime(paths, &holder)).ok()?.path()).ok()
    });
    connect(directory).into_iter().chain(scratch).collect()
}

/// Whether something runs on the box's layers.
#[must_use]
pub fn probe(paths: &Paths, directory: &BoxDir) -> bool {
    !connect_all(paths, directory).is_empty()
}

/// A directory for the writable layer of a session whose changes are thrown away.
pub fn new_scratch_holder(directory: &BoxDir) -> BoxesResult<PathBuf> {
    Ok(directory.path().join(format!("{SCRATCH_PREFIX}{}", super::directory::fresh_name()?)))
}

/// The runtime directories of a box: its own, and those of its sessions whose changes are thrown away.
#[must_use]
pub fn runtimes(paths: &Paths, directory: &BoxDir) -> (PathBuf, Vec<PathBuf>) {
    let scratch = scratch_holders(directory);
    (directory.runtime(), scratch.iter().map(|holder| temporary_runtime(paths, holder)).collect())
}

pub(super) fn scratch_holders(directory: &BoxDir) -> Vec<PathBuf> {
    let names = super::pool::entries(directory.path()).unwrap_or_default();
    names.iter().filter(|name| name.starts_with(SCRATCH_PREFIX)).map(|name| directory.path().join(name)).collect()
}

/// Where the runtime directory of a sandbox lies that nobody else joins: named after `place`, which is unique.
#[must_use]
pub fn temporary_runtime(paths: &Paths, place: &Path) -> PathBuf {
    paths.runtime.join(&digest::of_bytes(place.as_os_str().as_encoded_bytes())[..12])
}

/// Waits until nothing runs on the box's layers and the supervisor is gone, which may take a while after the box has
/// stopped: the kernel writes out what the box wrote. `false` as soon as something has listened for `patience`.
pub fn wait_until_stopped(paths: &Paths, directory: &BoxDir, patience: Duration) -> BoxesResult<bool> {
    let lock = directory.running();
    let start = Instant::now();
    loop {
        // A box that has never run has no lock.
        if std::fs::symlink_metadata(&lock).is_err() {
            return Ok(true);
        }
        match BoxLock::try_acquire(&lock, Sharing::Shared, "devbox") {
            Ok(_) => return Ok(true),
            Err(BoxesError::Busy { .. }) => {}
            Err(error) => return Err(error),
        }
        if start.elapsed() >= patience && probe(paths, directory) {
            return Ok(false);
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::boxes::id::BoxId;
    use crate::paths::Paths;

    #[test]
    fn sockets_work_at_any_depth() {
        for depth in [0, 3] {
            let scratch = tempfile::tempdir().unwrap();
            let mut runtime = scratch.path().to_owned();
            for _ in 0..depth {
                runtime.push("x".repeat(60));
            }
            let root = scratch.path().to_owned();
            let paths = Paths { home: root.clone(), data: root.clone(), config: root.clone(), cache: root, runtime };
            let directory = BoxDir::new(&paths, &BoxId::new("shop", Path::new("/p")));
            assert!(!probe(&paths, &directory));
            std::fs::create_dir_all(directory.runtime()).unwrap();
            assert!(!probe(&paths, &directory));
            let listener = UnixListener::bind(socket_address(&directory).unwrap().path()).unwrap();
            assert!(probe(&paths, &directory), "depth {depth}");
            assert!(socket_address(&directory).unwrap().shown().exists());
            drop(listener);
            assert!(!probe(&paths, &directory), "a socket that nobody listens on is no running box");
        }
    }
}
