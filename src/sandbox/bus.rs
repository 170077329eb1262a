//! The session bus of the host in a box: `xdg-dbus-proxy` stands between, and lets the box talk to the names of its profile
//! only.
//!
//! The supervisor starts it before init mounts its socket; it dies with the supervisor.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use crate::process::{ProcessError, Program, Running};

/// How long the proxy may take to listen.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the proxy is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusProxy {
    /// `xdg-dbus-proxy`, absolute.
    pub program: PathBuf,
    /// The address of the host's bus.
    pub address: String,
    /// Where the proxy listens, on the host.
    pub socket: PathBuf,
    /// Names that the box can talk to; a last `.*` stands for all below.
    pub names: Vec<String>,
}

/// A proxy that listens. Dropping it ends it.
#[derive(Debug)]
pub struct Bus {
    _running: Running,
    /// The proxy ends when this is closed.
    _ready: File,
}

impl BusProxy {
    /// Starts the proxy and waits until it listens.
    pub fn start(&self) -> Result<Bus, ProcessError> {
        let failed = |source| ProcessError::Start { program: self.program.clone(), source };
        match std::fs::remove_file(&self.socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let arguments = self.arguments(write.as_raw_fd());
        let mut running = Program::new(&self.program).args(arguments).inherit(write).long_lived().start()?;
        let mut ready = File::from(read);
        running.wait_for_pipe(TIMEOUT, &mut ready)?;
        Ok(Bus { _running: running, _ready: ready })
    }

    /// The options; a byte is written to `ready` when the proxy listens.
    fn arguments(&self, ready: RawFd) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![format!("--fd={ready}").into(), (&self.address).into()];
        arguments.push((&self.socket).into());
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
            "/run/user/1000/devbox/x/bus",
            "--filter",
            "--talk=org.freedesktop.Notifications",
        ];
        assert_eq!(proxy.arguments(7), expected.map(OsString::from));
    }
}
