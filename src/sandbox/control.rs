//! What the user's commands ask the supervisor of a running box, over the box's second socket.
//!
//! Sessions are init's business ([`super::channel`]); this is for what lies outside the box: its ports, its namespaces.
//! One request and one answer a connection. The socket lies in a directory that only the user can enter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::net::host::forwards::Forward;
use crate::profile::ports::Published;

/// A client that does not say or take anything for so long is left: the box's other business waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The box's user and network namespace, to share the network.
    Namespaces,
    /// A way to the box's files for programs of the host, see [`super::window`].
    Tree,
    /// Which ports are reachable.
    Ports,
    /// Make this one reachable.
    AddPort(Published),
    /// The box has got a cgroup: look for it in `limits.json`.
    Group,
    /// No longer: every forward to its box port, if it names a host port or an address only that.
    RemovePort(Published),
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The network namespace comes along, and behind it the user namespace that owns it, unless that is the caller's.
    Namespaces,
    /// The symlink in the runtime directory leads there.
    Tree,
    /// It is known now.
    Group,
    /// Those that were asked for, added or removed.
    Ports(Vec<Forward>),
    /// Why not, as a sentence without a full stop.
    Refused {
        /// The reason.
        reason: String,
    },
}

/// Asks the supervisor that listens behind `stream`.
pub fn ask(stream: UnixStream, request: &Request) -> std::io::Result<Option<(Answer, Vec<OwnedFd>)>> {
    let channel = Channel::new(stream);
    channel.send(request, &[])?;
    channel.receive()
}

/// Answers everybody who has connected to `listener`, which does not block. A client that breaks off is its own concern.
pub fn serve(listener: &UnixListener, mut answer: impl FnMut(Request) -> (Answer, Vec<OwnedFd>)) {
    while let Ok((stream, _)) = listener.accept() {
        serve_one(stream, &mut answer).unwrap_or_default();
    }
}

fn serve_one(stream: UnixStream, answer: &mut impl FnMut(Request) -> (Answer, Vec<OwnedFd>)) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let channel = Channel::new(stream);
    if let Some((request, _)) = channel.receive()? {
        let (answer, descriptors) = answer(request);
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        channel.send(&answer, &borrowed)?;
    }
    Ok(())
}
