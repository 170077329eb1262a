//! Whether a box runs, and the address of its socket.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::directory::BoxDir;
use super::error::{BoxesResult, IoContext};
use crate::sys;

/// Longest path of a unix socket, in bytes: `sun_path` holds 108, one of them the terminator.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// The socket's name in the box's runtime directory.
const SOCKET_NAME: &str = "s";

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
    let shown = runtime.join(SOCKET_NAME);
    if shown.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH_BYTES {
        return Ok(SocketAddress { path: shown.clone(), shown, _directory: None });
    }
    let handle = sys::fs::open_path(runtime).map_err(std::io::Error::from).at("open", runtime)?;
    Ok(SocketAddress { path: sys::fs::proc_path(&handle).join(SOCKET_NAME), shown, _directory: Some(handle) })
}

/// Connects to a running box. `None` when it does not run.
pub fn connect(directory: &BoxDir) -> Option<UnixStream> {
    UnixStream::connect(socket_address(directory).ok()?.path()).ok()
}

/// Whether the box runs: somebody listens on its socket.
#[must_use]
pub fn probe(directory: &BoxDir) -> bool {
    connect(directory).is_some()
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
            assert!(!probe(&directory));
            std::fs::create_dir_all(directory.runtime()).unwrap();
            assert!(!probe(&directory));
            let listener = UnixListener::bind(socket_address(&directory).unwrap().path()).unwrap();
            assert!(probe(&directory), "depth {depth}");
            assert!(socket_address(&directory).unwrap().shown().exists());
            drop(listener);
            assert!(!probe(&directory), "a socket that nobody listens on is no running box");
        }
    }
}
