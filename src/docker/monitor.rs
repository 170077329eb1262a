//! Who looks after a container while its first process runs: the client of that session.
//!
//! ```text
//! docker run --fork--> monitor --fork--> supervisor --clone--> init --fork--> leader --> first process
//!    |                    |  ^                                                   |
//!    +<--- Message -------+  +------------ how it ended ------------------------+
//! ```
//!
//! The monitor holds the container's lock, appends what the process writes to its logs, passes signals that are sent to it on, and
//! writes down how it ended. Then it ends the box: what joined it goes with it.

use std::cell::Cell;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::container::{Container, State, find};
use super::error::{At, DockerError, DockerResult};
use super::{events, images, volumes};
use crate::boxes::lock::{BoxLock, Sharing};
use crate::boxes::pool::discard;
use crate::boxes::service::{self, Service};
use crate::boxes::session::{self, SessionError};
use crate::boxes::{BoxesError, remove};
use crate::image::store::Store;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sandbox::channel::WithoutDirectory;
use crate::sys::fs::{null, pipe};
use crate::sys::process::pidfd_open;

/// The exit status of what was killed.
const KILLED: i32 = 137;

/// What a monitor tells whoever started it; one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Something worth saying.
    Note(String),
    /// The first process runs.
    Started,
    /// It does not.
    Failed(Failed),
    /// It has ended with this status.
    Ended(i32),
}

/// An error on its way to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The sentence.
    pub message: String,
    /// Its causes.
    pub causes: Vec<String>,
    /// What can be done.
    pub hints: Vec<String>,
    /// The exit status.
    pub status: i32,
}

/// Runs the container to its end; returns the exit status. With `streams` the process has these, and else the logs are its output.
/// The caller must be single-threaded.
pub fn watch(
    paths: &Paths,
    container: &Container,
    own_streams: bool,
    started: &dyn Fn(),
    progress: &dyn Progress,
) -> DockerResult<i32> {
    let lock = match BoxLock::try_acquire(&container.lock_path(paths), Sharing::Exclusive, "devbox docker") {
        Err(BoxesError::Busy { .. }) => return Err(DockerError::Running { name: container.name.clone() }),
        lock => lock?,
    };
    let loaded = container.load_profile(paths)?;
    for name in container.mounts.iter().filter_map(|mount| mount.volume.as_deref()) {
        volumes::ensure(paths, name, &Default::default())?;
    }
    // Both ends of its input: it never ends.
    let (input, _kept) = input(container)?;
    let streams = if own_streams { None } else { Some(streams(&container.logs(paths), input)?) };
    let arguments: Vec<_> = container.arguments().into_iter().map(Into::into).collect();
    let failed_to_note: Cell<Option<DockerError>> = Cell::new(None);
    let began = Cell::new(None);
    let pid = i32::try_from(std::process::id()).ok();
    let on_start = || {
        let now = Timestamp::now();
        began.set(Some(now));
        let state = State { started: Some(now), monitor: pid, ..State::default() };
        let noted = container.save_state(paths, &state).and_then(|()| events::append(paths, container, "start", &[]));
        failed_to_note.set(noted.err());
        started();
    };
    // Whoever meets the lock finds who holds it.
    container.save_state(paths, &State { monitor: pid, ..State::default() })?;
    let command = Command { arguments: &arguments, user: None, directory: None, variables: &[] };
    let service =
        Service { without_directory: WithoutDirectory::Make, ..command.service(paths, container, streams, &on_start) };
    let outcome = service::run(paths, &loaded, &service, progress);
    let status = match &outcome {
        Ok(status) => *status,
        Err(SessionError::NotExecuted { status, .. }) => *status,
        // It was killed with its box.
        Err(_) if began.get().is_some() => KILLED,
        Err(_) => 125,
    };
    let error = outcome.as_ref().err().filter(|_| began.get().is_none()).map(ToString::to_string);
    let state = State {
        started: began.get(),
        finished: began.get().map(|_| Timestamp::now()),
        exit_code: status,
        error: error.unwrap_or_default(),
        monitor: pid,
    };
    container.save_state(paths, &state)?;
    let ended = end_box(paths, container);
    if began.get().is_some() {
        events::append(paths, container, "die", &[("exitCode", status.to_string())])?;
    }
    drop(lock);
    if container.remove {
        remove_ended(paths, container, progress)?;
    }
    ended?;
    match (outcome, failed_to_note.take()) {
        (Err(error), _) if began.get().is_none() => Err(error.into()),
        (_, Some(error)) => Err(error),
        _ => Ok(status),
    }
}

fn input(container: &Container) -> DockerResult<(OwnedFd, Option<OwnedFd>)> {
    if container.open_input {
        let (read, write) = pipe()?;
        return Ok((read, Some(write)));
    }
    Ok((null()?, None))
}

fn streams(logs: &[PathBuf; 2], input: OwnedFd) -> DockerResult<[OwnedFd; 3]> {
    let open = |path: &Path| -> DockerResult<OwnedFd> {
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        Ok(options.open(path).at("open", path)?.into())
    };
    Ok([input, open(&logs[0])?, open(&logs[1])?])
}

/// Kills what is left in the box.
fn end_box(paths: &Paths, container: &Container) -> DockerResult<()> {
    let directory = container.box_directory(paths);
    if directory.exists() {
        session::stop(paths, directory.id(), Duration::ZERO)?;
    }
    Ok(())
}

/// The process that looks after a container which runs.
#[derive(Debug)]
pub struct Monitor(OwnedFd);

impl Monitor {
    /// That of `container`; `None`: it does not run. One whose first process has ended is waited for: until then the container
    /// can neither be started nor removed.
    pub fn find(paths: &Paths, container: &Container) -> DockerResult<Option<Self>> {
        let State { started: Some(_), finished, monitor: Some(pid), .. } = container.state(paths)? else {
            return Ok(None);
        };
        let Ok(process) = pidfd_open(Pid::from_raw(pid)) else { return Ok(None) };
        // Only now is it sure that the number is still the monitor's.
        let found = container.is_watched(paths).then_some(Self(process));
        match found {
            Some(ending) if finished.is_some() => ending.wait(None).map(|_| None),
            found => Ok(found),
        }
    }

    /// Whether it ended in time; `None`: it is waited for.
    pub fn wait(&self, patience: Option<Duration>) -> DockerResult<bool> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout =
                left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(std::io::Error::from(error)).at("wait for", Path::new("the monitor")),
            }
        }
    }

    /// Gives it a signal, which it passes on.
    fn send(&self, signal: Signal) -> DockerResult<()> {
        let named = rustix::process::Signal::from_named_raw(signal as i32);
        let Some(named) = named else { return Ok(()) };
        match rustix::process::pidfd_send_signal(&self.0, named) {
            // It has just ended.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(std::io::Error::from(error)).at("signal", Path::new("the monitor")),
        }
    }
}

impl AsFd for Monitor {
    /// Can be read when the monitor has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the container runs, or is about to.
pub fn is_busy(paths: &Paths, container: &Container) -> DockerResult<bool> {
    Ok(Monitor::find(paths, container)?.is_some() || container.is_watched(paths))
}

/// Asks the first process to end by `signal`; kills everything that is left after `patience`. Whether it ran.
pub fn stop(paths: &Paths, container: &Container, signal: Signal, patience: Option<Duration>) -> DockerResult<bool> {
    let Some(monitor) = Monitor::find(paths, container)? else {
        // Sessions that outlived a monitor which was killed.
        end_box(paths, container)?;
        return Ok(false);
    };
    events::append(paths, container, "kill", &[("signal", (signal as i32).to_string())])?;
    monitor.send(signal)?;
    if !monitor.wait(patience)? {
        end_box(paths, container)?;
        monitor.wait(None)?;
    }
    if find(paths, &container.id).is_ok() {
        events::append(paths, container, "stop", &[])?;
    }
    Ok(true)
}

/// Sends `signal` to the first process; `SIGKILL` ends the box.
pub fn kill(paths: &Paths, container: &Container, signal: Signal) -> DockerResult<()> {
    let not_running = || DockerError::NotRunning { name: container.name.clone() };
    let monitor = Monitor::find(paths, container)?.ok_or_else(not_running)?;
    events::append(paths, container, "kill", &[("signal", (signal as i32).to_string())])?;
    if signal == Signal::SIGKILL {
        end_box(paths, container)?;
        monitor.wait(None)?;
        return Ok(());
    }
    monitor.send(signal)
}

/// Removes a container that does not run: its box, its logs, its hold on the image. What it held is in the trash afterwards.
pub fn remove(paths: &Paths, container: &Container, progress: &dyn Progress) -> DockerResult<()> {
    // One that is ending is waited for.
    Monitor::find(paths, container)?;
    remove_ended(paths, container, progress)
}

fn remove_ended(paths: &Paths, container: &Container, progress: &dyn Progress) -> DockerResult<()> {
    if container.is_watched(paths) {
        return Err(DockerError::Running { name: container.name.clone() });
    }
    let directory = container.box_directory(paths);
    if directory.exists() {
        remove::remove_box(paths, directory.id(), "docker rm", progress)?;
    }
    images::release(&Store::open(&paths.store())?, &container.id)?;
    crate::boxes::directory::prepare(paths)?;
    match discard(&paths.data, &container.directory(paths)) {
        // Somebody else removes it, too.
        Err(_) if !container.directory(paths).exists() => return Ok(()),
        result => result?,
    }
    events::append(paths, container, "destroy", &[])
}
