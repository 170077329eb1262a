//! The supervisor: makes the namespaces of a box, starts init in them, and outlives every client.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::io::Errno;

use super::channel::{Channel, Failure, Phase, Reply};
use super::fuse::{self, Server};
use super::init::{self, EventLog, Inheritance};
use super::net::plan::NetPlan;
use super::net::{Helper, NetError, NetTarget};
use super::seccomp::{Program, program_for};
use super::spec::{Network, SandboxSpec};
use crate::sys::clone::{self, Forked, Namespaces, exit_now};
use crate::sys::process::{self, Ended};
use crate::sys::{Context, SysError, SysResult};
use crate::userns::mapper;

/// How long a network helper may take to configure its interface.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long `fuse-overlayfs` may take to write what is left when the box has ended.
const FUSE_PATIENCE: Duration = Duration::from_secs(30);

/// What a supervisor needs besides the plan.
#[derive(Debug)]
pub struct Resources {
    /// Where clients will connect; bound, listening.
    pub listener: UnixListener,
    /// The first client's end of the conversation.
    pub first: UnixStream,
    /// The event log, open for appending.
    pub events: Option<OwnedFd>,
}

/// Starts the box and waits for its end. Called in the detached supervisor process; `ready` is called once the box
/// accepts sessions.
pub fn supervise(spec: &SandboxSpec, net: &NetPlan, resources: Resources, ready: impl FnOnce()) -> SysResult<Ended> {
    let Resources { listener, first, events } = resources;
    let client = Channel::new(first.try_clone().call(|| "dup `socket`".to_owned())?);
    let log = EventLog::new(events.as_ref().map(|fd| fd.try_clone()).transpose().call(|| "dup `log`".to_owned())?);
    let (gate_read, gate_write) = pipe()?;
    let (report_read, report_write) = pipe()?;
    let (fuse, fuse_init) = match spec.root.fuse_overlayfs {
        Some(_) => {
            UnixStream::pair().map(|(ours, theirs)| (Some(ours), Some(theirs))).call(|| "socketpair".to_owned())?
        }
        None => (None, None),
    };
    // Compiled once per box: every session inherits it through fork.
    let filter: Program = program_for(spec.id_map.mode);

    // 1. A child in new namespaces, waiting at the gate.
    let mut namespaces =
        Namespaces::USER | Namespaces::MOUNT | Namespaces::PID | Namespaces::IPC | Namespaces::UTS | Namespaces::CGROUP;
    if spec.network == Network::Own {
        namespaces = namespaces | Namespaces::NET;
    }
    let pid = match clone::clone(namespaces) {
        Err(error) => return fail(&client, &log, &Failure::new(Phase::Namespaces, &error)),
        Ok(Forked::Child) => {
            drop((gate_write, report_read, fuse, client, log));
            let events = EventLog::new(events);
            let inherited =
                Inheritance { gate: gate_read, report: report_write, fuse: fuse_init, listener, first, events };
            exit_now(init::run(spec, &filter, inherited))
        }
        Ok(Forked::Parent { pid, .. }) => pid,
    };
    drop((gate_read, report_write, fuse_init, listener, first, events));
    let mut gate = std::fs::File::from(gate_write);

    // 2. The id map; then init mounts while the network helper configures its interface.
    if let Err(error) = mapper::write(pid, &spec.id_map) {
        return abandon(pid, gate, &client, &log, &Failure::new(Phase::IdMap, &error));
    }
    // Before init makes itself undumpable, and its namespaces unreachable by path.
    let target = NetTarget::of(pid.as_raw());
    let mut server = match start_fuse(spec, pid, fuse) {
        Ok(server) => server,
        Err(error) => return abandon(pid, gate, &client, &log, &Failure::new(Phase::Overlay, &error)),
    };
    gate.write_all(b"m").call(|| "write `gate`".to_owned())?;
    let mut helper = match start_network(net, target) {
        Ok(helper) => helper,
        Err(failure) => return abandon(pid, gate, &client, &log, &failure),
    };

    // 3. Both done: the box is complete when init closes its report.
    gate.write_all(b"n").ok();
    drop(gate);
    let mut text = Vec::new();
    std::fs::File::from(report_read).read_to_end(&mut text).call(|| "read `report`".to_owned())?;
    if !text.is_empty() {
        let mut failure = serde_json::from_slice(&text).unwrap_or_else(|_| died(Phase::Mounts));
        process::wait(pid)?;
        // Init sees only that its root does not answer.
        if failure.phase == Phase::Overlay
            && let Some(said) = server.as_mut().and_then(said_at_the_end)
        {
            failure = Failure { phase: Phase::Overlay, causes: vec![format!("`fuse-overlayfs`: {said}")] };
        }
        return fail(&client, &log, &failure);
    }
    drop(client);
    log.append("started", &[]);
    ready();

    // 4. Nothing to do until init ends, and every process of the box with it.
    if let Some(server) = &mut server
        && let Some(said) = outlived(server, pid)?
    {
        log.append("failed", &[("error", &format!("`fuse-overlayfs` ended: {said}"))]);
    }
    let ended = process::wait(pid)?;
    if let Some(helper) = helper.take() {
        // It may have ended with the namespace already.
        helper.stop().ok();
    }
    if let Some(server) = server {
        // What the box wrote last is on its way through it.
        server.finish(FUSE_PATIENCE)?;
    }
    log.append("stopped", &[("status", &ended.status().to_string())]);
    Ok(ended)
}

/// Starts `fuse-overlayfs` if that stacks the layers. Before init makes its namespaces unreachable.
fn start_fuse(spec: &SandboxSpec, init: Pid, to_init: Option<UnixStream>) -> SysResult<Option<Server>> {
    let (Some(program), Some(to_init)) = (&spec.root.fuse_overlayfs, to_init) else { return Ok(None) };
    let user = format!("/proc/{init}/ns/user");
    let user = std::fs::File::open(&user).call(|| format!("open `{user}`"))?;
    fuse::start(&spec.root, program, &spec.id_map, user.as_fd(), to_init).map(Some)
}

/// Why `server` could not serve, if it ended for a reason of its own.
fn said_at_the_end(server: &mut Server) -> Option<String> {
    // It ends with the mount if not before.
    server.wait_beside(None, Some(FUSE_PATIENCE)).ok()?;
    server.said()
}

/// Waits for the end of `init` or of `server`. Without its root file system a box is of no use: it is ended, and what
/// `server` said is returned.
fn outlived(server: &mut Server, init: Pid) -> SysResult<Option<String>> {
    let call = || format!("pidfd_open `{init}`");
    let pid = rustix::process::Pid::from_raw(init.as_raw()).ok_or_else(|| SysError::new(call(), Errno::SRCH))?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).call(call)?;
    if !server.wait_beside(Some(pidfd.as_fd()), None)? {
        return Ok(None);
    }
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL)
        .or_else(gone)
        .call(|| format!("kill `{init}`"))?;
    Ok(Some(server.said().unwrap_or_else(|| "it was killed".to_owned())))
}

/// A process that has ended meanwhile is as good as killed.
fn gone(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::SRCH { Ok(()) } else { Err(errno) }
}

fn start_network(net: &NetPlan, target: Result<NetTarget, NetError>) -> Result<Option<Helper>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Phase::Network, error);
    if !net.own_namespace() {
        return Ok(None);
    }
    let mut helper = super::net::start(net, target.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    helper.ready(NETWORK_TIMEOUT).map_err(|error| failed(&error))?;
    Ok(Some(helper))
}

/// Init finds its gate closed and ends.
fn abandon(pid: Pid, gate: std::fs::File, client: &Channel, log: &EventLog, failure: &Failure) -> SysResult<Ended> {
    drop(gate);
    process::wait(pid)?;
    fail(client, log, failure)
}

fn fail(client: &Channel, log: &EventLog, failure: &Failure) -> SysResult<Ended> {
    log.append("failed", &[("error", &failure.causes.join(": "))]);
    client.send(&Reply::Failed(failure.clone()), &[]).ok();
    Ok(Ended::Exited(1))
}

fn died(phase: Phase) -> Failure {
    Failure { phase, causes: vec!["pid 1 of the box ended unexpectedly".to_owned()] }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SysError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call(|| "pipe2".to_owned())
}

/// Detaches from the client: a new session, no working directory, nothing open that is not `keep`.
pub fn detach(keep: &[std::os::fd::RawFd]) -> SysResult<()> {
    rustix::process::setsid().call(|| "setsid".to_owned())?;
    rustix::process::chdir("/").call(|| "chdir `/`".to_owned())?;
    process::close_all_but(keep)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())
        .call(|| "open `/dev/null`".to_owned())?;
    for number in 0..3 {
        crate::sys::terminal::install_as_standard(null.as_fd(), number)?;
    }
    Ok(())
}
