//! The supervisor: makes the namespaces of a box, starts init in them, and outlives every client.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::unistd::Pid;

use super::channel::{Channel, Failure, Phase, Reply};
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
            drop((gate_write, report_read, client, log));
            let inherited =
                Inheritance { gate: gate_read, report: report_write, listener, first, events: EventLog::new(events) };
            exit_now(init::run(spec, &filter, inherited))
        }
        Ok(Forked::Parent { pid, .. }) => pid,
    };
    drop((gate_read, report_write, listener, first, events));
    let mut gate = std::fs::File::from(gate_write);

    // 2. The id map; then init mounts while the network helper configures its interface.
    if let Err(error) = mapper::write(pid, &spec.id_map) {
        return abandon(pid, gate, &client, &log, &Failure::new(Phase::IdMap, &error));
    }
    // Before init makes itself undumpable, and its namespaces unreachable by path.
    let target = NetTarget::of(pid.as_raw());
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
        let failure = serde_json::from_slice(&text).unwrap_or_else(|_| died(Phase::Mounts));
        process::wait(pid)?;
        return fail(&client, &log, &failure);
    }
    drop(client);
    log.append("started", &[]);
    ready();

    // 4. Nothing to do until init ends, and every process of the box with it.
    let ended = process::wait(pid)?;
    if let Some(helper) = helper.take() {
        // It may have ended with the namespace already.
        helper.stop().ok();
    }
    log.append("stopped", &[("status", &ended.status().to_string())]);
    Ok(ended)
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
