//! Starting a planned sandbox: the supervisor is forked off, and the first session is attached to.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::error::{BoxesError, BoxesResult, IoContext};
use super::events::EventLog;
use super::lock::{BoxLock, Sharing};
use super::running::SocketAddress;
use super::session::{SessionError, io};
use crate::paths;
use crate::process;
use crate::progress::Progress;
use crate::sandbox::attach::{self, Outcome, Purpose};
use crate::sandbox::channel::{Channel, Failure, Phase};
use crate::sandbox::guard::placeholder::Placeholders;
use crate::sandbox::launch::{self, Resources};
use crate::sandbox::net::NetTarget;
use crate::sandbox::net::plan::NetPlan;
use crate::sandbox::spec::SandboxSpec;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::process::Ended;
use crate::userns::idmap::IdMap;

/// Where a running sandbox is known by.
#[derive(Debug)]
pub struct Place {
    /// Its directory while it runs.
    pub runtime: PathBuf,
    /// Where clients connect.
    pub socket: SocketAddress,
    /// Where commands connect to its supervisor.
    pub control: SocketAddress,
    /// Locked by the supervisor as long as it lives.
    pub running: PathBuf,
    /// The event log.
    pub events: Option<PathBuf>,
    /// What stands in the project, and the project.
    pub placeholders: Option<(Placeholders, PathBuf)>,
    /// The namespaces of the box whose network is shared, and its ids.
    pub join: Option<(NetTarget, IdMap)>,
    /// Where refused system calls are written down.
    pub denied: Option<PathBuf>,
}

/// Starts `spec` and does what `purpose` says first. `lock` is released once that has begun; `hold` is kept open
/// as long as the sandbox exists.
pub fn boot(
    spec: &SandboxSpec,
    net: &NetPlan,
    place: Place,
    purpose: Purpose<'_>,
    lock: Option<BoxLock>,
    hold: Option<File>,
    progress: &dyn Progress,
) -> Result<Outcome, SessionError> {
    paths::create_private(&place.runtime).map_err(BoxesError::from)?;
    paths::create_private(&spec.root.staging).map_err(BoxesError::from)?;
    touch(&place.running)?;
    // The previous supervisor may still be cleaning up.
    let supervised = BoxLock::acquire(&place.running, Sharing::Exclusive, "the box's supervisor", progress)?;
    let control = listen(&place.control)?;
    let listener = listen(&place.socket)?;
    let (ours, theirs) = UnixStream::pair().map_err(io("make a socket pair"))?;
    let events = place.events.as_deref().map(open_events).transpose()?;

    let successor = place.placeholders.as_ref().map(|(made, _)| made.successor()).transpose();
    let successor =
        successor.map_err(|error| SessionError::Io { action: "keep the placeholders", source: error.into() })?;

    match fork().map_err(|error| SessionError::Io { action: "fork", source: error.into() })? {
        Forked::Child => {
            drop(ours);
            let hold: Option<OwnedFd> = hold.map(OwnedFd::from);
            let keep: Vec<RawFd> =
                [listener.as_raw_fd(), control.as_raw_fd(), theirs.as_raw_fd(), supervised.as_fd().as_raw_fd()]
                    .into_iter()
                    .chain(events.as_ref().map(AsRawFd::as_raw_fd))
                    .chain(lock.as_ref().map(|lock| lock.as_fd().as_raw_fd()))
                    .chain(hold.as_ref().map(AsRawFd::as_raw_fd))
                    .chain(successor.iter().flat_map(Placeholders::descriptors))
                    .chain(place.placeholders.iter().flat_map(|(made, _)| made.descriptors()))
                    .chain(place.join.iter().flat_map(|(target, _)| target.descriptors()))
                    .collect();
            let resources = Resources {
                listener,
                first: theirs,
                events,
                control: Some(control),
                join: place.join,
                placeholders: successor,
                denied: place.denied,
            };
            let status = process::detach(&keep)
                .and_then(|()| launch::supervise(spec, net, resources, || drop(lock)))
                .map_or(1, Ended::status);
            for socket in [&place.socket, &place.control] {
                std::fs::remove_file(socket.shown()).ok();
            }
            if let Some((placeholders, project)) = place.placeholders {
                // What cannot be removed now is removed later.
                placeholders.release(&project).ok();
            }
            exit_now(status)
        }
        Forked::Parent { .. } => {
            supervised.leave_to_child();
            drop((theirs, listener, control, events, hold, successor, place.placeholders));
            let lock = std::cell::Cell::new(lock);
            let outcome =
                attach::serve(Channel::new(ours), purpose, || drop(lock.take())).map_err(io("talk to the box"))?;
            // Nobody answered: the supervisor died without a word.
            Ok(if outcome == Outcome::Refused {
                Outcome::Failed(Failure {
                    phase: Phase::Namespaces,
                    causes: vec!["the box's supervisor ended unexpectedly".to_owned()],
                })
            } else {
                outcome
            })
        }
    }
}

/// Listens in place of whoever did so before.
fn listen(address: &SocketAddress) -> BoxesResult<UnixListener> {
    let shown = address.shown();
    match std::fs::remove_file(shown) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", shown)?,
        _ => {}
    }
    UnixListener::bind(address.path()).at("bind", shown)
}

fn touch(path: &Path) -> BoxesResult<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path).map(drop).at("create", path)
}

fn open_events(path: &Path) -> BoxesResult<OwnedFd> {
    // Puts a log aside that has become too long.
    drop(EventLog::open(path)?);
    std::fs::OpenOptions::new().append(true).create(true).open(path).map(OwnedFd::from).at("open", path)
}
