//! The session bus of the host in a box: `xdg-dbus-proxy` stands between, and lets the box talk to the names of its profile
//! only.
//!
//! ```text
//! box: /run/devbox/bus --> relay --> xdg-dbus-proxy --> the host's session bus
//! ```
//!
//! The supervisor starts both before init mounts the socket; they die with the supervisor. The [`relay`] is there for programs that
//! tell the bus who they are in the box.

pub mod relay;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use super::companion::Companion;
use super::net::agent::confine::{Role, restrict_calls};
use crate::process::{ProcessError, Program, Running};
use crate::sys::SysError;

/// How long the proxy may take to listen.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the proxy is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusProxy {
    /// `xdg-dbus-proxy`, absolute.
    pub program: PathBuf,
    /// The address of the host's bus.
    pub address: String,
    /// Where the relay listens, on the host. The proxy does so beside it.
    pub socket: PathBuf,
    /// Names that the box can talk to; a last `.*` stands for all below.
    pub names: Vec<String>,
}

/// Why there is no way to the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The proxy did not start.
    #[error(transparent)]
    Proxy(#[from] ProcessError),
    /// A socket could not be made.
    #[error("cannot listen at `{}`", path.display())]
    Listen {
        /// Its place.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// There is no relay.
    #[error("cannot start the relay to `xdg-dbus-proxy`")]
    Relay(#[source] SysError),
}

/// A proxy that listens, and the way to it. Dropping it ends both.
#[derive(Debug)]
pub struct Bus {
    _relay: Companion,
    _running: Running,
    /// The proxy ends when this is closed.
    _ready: File,
}

impl BusProxy {
    /// Starts the proxy, waits until it listens, and forks the relay. The caller has one thread.
    pub fn start(&self) -> Result<Bus, BusError> {
        let failed = |source| ProcessError::Start { program: self.program.clone(), source };
        let proxy = self.proxy_socket();
        for path in [&self.socket, &proxy] {
            match std::fs::remove_file(path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(BusError::Listen { path: path.clone(), source });
                }
                _ => {}
            }
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let arguments = self.arguments(write.as_raw_fd());
        let mut running = Program::new(&self.program).args(arguments).inherit(write).long_lived().start()?;
        let mut ready = File::from(read);
        running.wait_for_pipe(TIMEOUT, &mut ready)?;
        let listen = |source| BusError::Listen { path: self.socket.clone(), source };
        let listener = OwnedFd::from(UnixListener::bind(&self.socket).map_err(listen)?);
        let uid = rustix::process::getuid().as_raw();
        let relay = Companion::start(move |supervisor| {
            let ended = supervisor
                .settle("devbox: bus", &[listener.as_raw_fd()], || Ok(()))
                .and_then(|()| restrict_calls(Role::Relay))
                .and_then(|()| relay::serve(&listener, &proxy, uid));
            i32::from(ended.is_err())
        });
        Ok(Bus { _relay: relay.map_err(BusError::Relay)?, _running: running, _ready: ready })
    }

    /// Where the proxy listens.
    fn proxy_socket(&self) -> PathBuf {
        self.socket.with_extension("proxy")
    }

    /// The options; a byte is written to `ready` when the proxy listens.
    fn arguments(&self, ready: RawFd) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![format!("--fd={ready}").into(), (&self.address).into()];
        arguments.push(self.proxy_socket().into());
        arguments.push("--filter".into());
        arguments.extend(self.names.iter().map(|name| format!("--talk={name}").into()));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_filtered() {
        let proxy = BusProxy {
            program: "/usr/bin/xdg-dbus-proxy".into(),
            address: "unix:path=/run/user/1000/bus".into(),
            socket: "/run/user/1000/devbox/x/bus".into(),
            names: vec!["org.freedesktop.Notifications".into()],
        };
        let expected = [
            "--fd=7",
            "unix:path=/run/user/1000/bus",
            "/run/user/1000/devbox/x/bus.proxy",
            "--filter",
            "--talk=org.freedesktop.Notifications",
        ];
        assert_eq!(proxy.arguments(7), expected.map(OsString::from));
    }
}
