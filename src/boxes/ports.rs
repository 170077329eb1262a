//! The ports of a running box, asked of its supervisor.

use super::directory::BoxDir;
use super::running;
use crate::profile::ports::Published;
use crate::sandbox::control::{self, Answer, Request};
use crate::sandbox::net::host::forwards::Forward;

/// A port could not be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is no supervisor.
    #[error("the box does not run")]
    Stopped,
    /// The supervisor does not do it.
    #[error("{reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// The conversation broke off.
    #[error("cannot talk to the box's supervisor")]
    Io(#[from] std::io::Error),
}

/// What is reachable on the host, oldest first.
pub fn list(directory: &BoxDir) -> Result<Vec<Forward>, PortError> {
    ask(directory, &Request::Ports)
}

/// Makes a port of the box reachable until the box stops.
pub fn add(directory: &BoxDir, port: Published) -> Result<Vec<Forward>, PortError> {
    ask(directory, &Request::AddPort(port))
}

/// Takes a port back; returns what is no longer reachable. Connections go on.
pub fn remove(directory: &BoxDir, port: Published) -> Result<Vec<Forward>, PortError> {
    ask(directory, &Request::RemovePort(port))
}

fn ask(directory: &BoxDir, request: &Request) -> Result<Vec<Forward>, PortError> {
    let stream = running::connect_to_supervisor(directory).ok_or(PortError::Stopped)?;
    match control::ask(stream, request)? {
        Some((Answer::Ports(ports), _)) => Ok(ports),
        Some((Answer::Refused { reason }, _)) => Err(PortError::Refused { reason }),
        Some((Answer::Namespaces | Answer::Tree | Answer::Group, _)) => {
            Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into())
        }
        None => Err(PortError::Stopped),
    }
}
