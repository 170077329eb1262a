//! The supervisor: makes the namespaces of a box, starts init in them, and outlives every client.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bus::BusProxy;
use super::caps;
use super::channel::{Channel, Failure, Phase, Reply};
use super::companion::Namespaces;
use super::denied::Denials;
use super::fuse::{self, Server};
use super::guard::keeper::Keeper;
use super::guard::placeholder::Placeholders;
use super::init::{self, EventLog, Inheritance};
use super::net::host::HostSide;
use super::net::plan::{Driver, NetPlan};
use super::net::{Helper, NetError, NetTarget};
use super::overlay::{Stack, Writable};
use super::owners::{Emulation, Owners};
use super::seccomp::{Filter, policy_for};
use super::spec::{Network, RootSpec, SandboxSpec};
use super::watch::Watch;
use super::window::Window;
use crate::limits::group::Group;
use crate::limits::host::Unheld;
use crate::limits::quota::Quota;
use crate::limits::state::{self, State};
use crate::limits::{Key, Plan, disk};
use crate::sys::clone::{self, Forked, exit_now};
use crate::sys::fs::pipe;
use crate::sys::process::{self, Ended};
use crate::sys::{Context, SysResult, socket};
use crate::userns::idmap::{IdMap, IdMode};
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
    /// The namespaces of the box whose network is shared, and its ids.
    pub join: Option<(NetTarget, IdMap)>,
    /// Where the user's commands will connect to the supervisor; bound, listening.
    pub control: Option<UnixListener>,
    /// For the keeper of what is guarded.
    pub placeholders: Option<Placeholders>,
    /// Where refused system calls are written down, if they are to be.
    pub denied: Option<PathBuf>,
}

/// Starts the box and waits for its end. Called in the detached supervisor process; `ready` is called once the box
/// accepts sessions.
pub fn supervise(spec: &SandboxSpec, net: &NetPlan, resources: Resources, ready: impl FnOnce()) -> SysResult<Ended> {
    let Resources { listener, first, events, control, join, placeholders, denied } = resources;
    let limits = &spec.limits;
    let client = Channel::new(first.try_clone().call(|| "dup `socket`".to_owned())?);
    let log = EventLog::new(events.as_ref().map(|fd| fd.try_clone()).transpose().call(|| "dup `log`".to_owned())?);
    let (gate_read, gate_write) = pipe()?;
    let (report, report_of_init) = UnixStream::pair().call(|| "socketpair".to_owned())?;
    let (fuse, fuse_init) = match spec.root.fuse_overlayfs {
        Some(_) => {
            UnixStream::pair().map(|(ours, theirs)| (Some(ours), Some(theirs))).call(|| "socketpair".to_owned())?
        }
        None => (None, None),
    };
    // Compiled once per box: every session inherits it through fork.
    let policy = policy_for(spec.id_map.mode, &spec.security);
    let filter = match denied {
        None if spec.id_map.mode != IdMode::Single => Filter::silent(policy.clone()),
        _ => Filter::reporting(policy.clone()),
    };

    // Its socket is one of the mounts.
    let bus = match spec.bus.as_ref().map(BusProxy::start).transpose() {
        Ok(bus) => bus,
        Err(error) => return fail(&client, &log, &Failure::new(Phase::Mounts, &error)),
    };

    // 1. The box's cgroup, and in it a child in new namespaces, waiting at the gate. The cgroup namespace is init's
    //    to make: its root is the group of whoever makes it.
    // Mounting an overlay takes room, which the box may have used up.
    Quota::release(&spec.root.upper);
    let (group, unheld) = match make_group(limits, &log) {
        Ok(made) => made,
        Err(failure) => return fail(&client, &log, &failure),
    };
    let inside = group.as_ref().map(Group::inside).transpose()?;
    let mut namespaces = clone::Namespaces::USER
        | clone::Namespaces::MOUNT
        | clone::Namespaces::PID
        | clone::Namespaces::IPC
        | clone::Namespaces::UTS;
    if spec.network == Network::Own {
        namespaces = namespaces | clone::Namespaces::NET;
    }
    // A network can be entered by who has its user namespace: the box's own becomes a child of that.
    let outer = match join.map(|(target, outer)| enter_other(&target, &outer, spec)).transpose() {
        Ok(nested) => nested,
        Err(failure) => return fail(&client, &log, &failure),
    };
    let pid = match clone::clone_into(namespaces, inside.as_ref().map(AsFd::as_fd)) {
        Err(error) => return fail(&client, &log, &Failure::new(Phase::Namespaces, &error)),
        Ok(Forked::Child) => {
            drop((gate_write, report, fuse, client, log, control, placeholders));
            let events = EventLog::new(events);
            let inherited = Inheritance {
                gate: gate_read,
                report: report_of_init,
                fuse: fuse_init,
                listener,
                first,
                events,
                capabilities: caps::of_box(
                    net.tasks.filter.is_some() || net.driver == Driver::Joined,
                    &spec.security.capabilities,
                ),
            };
            exit_now(init::run(spec, &filter, inherited))
        }
        Ok(Forked::Parent { pid, .. }) => pid,
    };
    drop((gate_read, report_of_init, fuse_init, listener, first, events, inside));
    let mut gate = std::fs::File::from(gate_write);

    // 2. The id map; then init mounts while the network helper configures its interface.
    let prepared = map_ids(pid, spec, outer.as_ref()).and_then(|()| {
        let has_window = control.is_some();
        Beside::of(pid, spec, net, &log, fuse, has_window, Emulation::of(spec, &policy))
    });
    let Beside { target, mut host_side, guards, owners, window, mut server } = match prepared {
        Ok(beside) => beside,
        Err(failure) => return abandon(pid, gate, &client, &log, &failure),
    };
    gate.write_all(b"m").call(|| "write `gate`".to_owned())?;
    let mut helper = match start_network(net, target, &mut host_side) {
        Ok(helper) => helper,
        Err(failure) => return abandon(pid, gate, &client, &log, &failure),
    };

    // What the box has already is counted before it can write: with more than its limit it may still be entered.
    let disk = watched_disk(spec, &log);

    // 3. Both done: the box is complete when init closes its report.
    gate.write_all(b"n").ok();
    drop(gate);
    let listen = |listener| Denials::new(listener, &policy, denied.as_deref(), owners);
    let (text, denials) = read_report(&report, listen)?;
    if !text.trim_ascii().is_empty() {
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
    if let Err(error) = leave_state(limits, pid, group.as_ref(), unheld, spec.network) {
        log.append("failed", &[("error", &error.to_string())]);
    }
    log.append("started", &[]);
    ready();
    let keeper = spec.guards.as_ref().zip(guards);
    let keeper =
        keeper.map(|(guards, namespaces)| Keeper::start(&namespaces, guards, placeholders, &log)).transpose()?;

    // 4. Serve until init ends, and every process of the box with it.
    if let Err(error) = host_side.start_agent() {
        log.append("failed", &[("error", &error.to_string())]);
    }
    let group = Watch::new(pid, &log)?
        .with_server(server.as_mut())
        .with_group(group)
        .with_disk(disk, limits.runtime.as_deref())
        .with_network(host_side, control)?
        .with_keeper(keeper)
        .with_denials(denials)
        .with_window(window)
        .until_end()?;
    let ended = process::wait(pid)?;
    if let Some(helper) = helper.take() {
        // It may have ended with the namespace already.
        helper.stop().ok();
    }
    drop(bus);
    if let Some(server) = server {
        // What the box wrote last is on its way through it.
        server.finish(fuse::PATIENCE)?;
    }
    if let Some(group) = group
        && let Err(error) = group.remove()
    {
        log.append("failed", &[("error", &error.to_string())]);
    }
    log.append("stopped", &[("status", &ended.status().to_string())]);
    Ok(ended)
}

/// What works for a box outside of it. It is found before init makes itself undumpable, and its namespaces unreachable by
/// path.
struct Beside<'a> {
    /// Where the network helper works.
    target: Option<NetTarget>,
    host_side: HostSide<'a>,
    /// Where the keeper works, if something is guarded.
    guards: Option<Namespaces>,
    /// Who remembers owners that no id map has.
    owners: Option<Owners>,
    window: Option<Window>,
    /// `fuse-overlayfs`, if that stacks the layers.
    server: Option<Server>,
}

impl<'a> Beside<'a> {
    fn of(
        init: Pid,
        spec: &'a SandboxSpec,
        net: &'a NetPlan,
        log: &'a EventLog,
        fuse: Option<UnixStream>,
        has_window: bool,
        emulation: Option<Emulation>,
    ) -> Result<Self, Failure> {
        let namespaces = |are_needed: bool| are_needed.then(|| Namespaces::of(init)).transpose();
        let of_mounts = |error| Failure::new(Phase::Mounts, &error);
        let (target, host_side) =
            network_of(spec, init, net, log).map_err(|error| Failure::new(Phase::Network, &error))?;
        let window = namespaces(has_window).map_err(of_mounts)?.zip(spec.root.staging.parent());
        Ok(Self {
            target,
            host_side,
            guards: namespaces(spec.guards.is_some()).map_err(of_mounts)?,
            owners: namespaces(spec.id_map.mode == IdMode::Single)
                .map_err(of_mounts)?
                .map(|found| Owners::new(found, emulation)),
            window: window.map(|(found, runtime)| Window::new(found, runtime)),
            server: start_fuse(spec, init, fuse).map_err(|error| Failure::new(Phase::Overlay, &error))?,
        })
    }
}

/// Writes the id map of the namespace that `init` is root of, in `outer` ids where it is not a child of the host's.
fn map_ids(init: Pid, spec: &SandboxSpec, outer: Option<&IdMap>) -> Result<(), Failure> {
    let written = match outer {
        None => mapper::write(init, &spec.id_map),
        Some(nested) => mapper::write_within(init, nested),
    };
    written.map_err(|error| Failure::new(Phase::IdMap, &error))
}

/// The watch over the disk limit, if there is one and no quota holds it; the box works without.
fn watched_disk(spec: &SandboxSpec, log: &EventLog) -> Option<disk::Watch> {
    let limit = spec.limits.limits.get(Key::Disk)?;
    let RootSpec { upper, work, .. } = &spec.root;
    if Quota::hold(upper, work, limit) {
        return None;
    }
    let failed = |error| log.append("failed", &[("error", &format!("the disk limit does not hold: {error}"))]);
    disk::Watch::new(upper, &spec.id_map, limit).map_err(failed).ok()
}

/// What init reports, to its end, and the listener of its filter, which may be needed before: until it is restricted, init makes
/// calls like any other program of the box.
fn read_report(report: &UnixStream, listen: impl FnOnce(OwnedFd) -> Denials) -> SysResult<(Vec<u8>, Option<Denials>)> {
    let (mut text, mut denials, mut listen) = (Vec::new(), None::<Denials>, Some(listen));
    loop {
        let mut set = vec![PollFd::new(report, PollFlags::IN)];
        set.extend(denials.iter().flat_map(Denials::poll_fds));
        let pause = denials.as_ref().and_then(Denials::pause).and_then(|pause| Timespec::try_from(pause).ok());
        poll(&mut set, pause.as_ref()).call(|| "poll".to_owned())?;
        if !set[0].revents().is_empty() {
            let (mut buffer, mut descriptors) = ([0; 4096], Vec::new());
            let size = socket::receive_with_descriptors(report, &mut buffer, &mut descriptors)?;
            if size == 0 {
                return Ok((text, denials));
            }
            text.extend_from_slice(&buffer[..size]);
            if let Some((listener, listen)) = descriptors.pop().zip(listen.take()) {
                denials = Some(listen(listener));
            }
        }
        denials.iter_mut().for_each(Denials::serve);
    }
}

/// The cgroup, if a limit needs one; and what does not hold, which is an error only where the profile says so.
fn make_group(plan: &Plan, log: &EventLog) -> Result<(Option<Group>, Vec<Unheld>), Failure> {
    let Some(place) = plan.place.as_ref().filter(|_| plan.limits.need_group()) else {
        return Ok((None, plan.unheld.clone()));
    };
    match Group::make(place, &plan.name, &plan.limits, &plan.devices) {
        Ok((group, unheld)) if plan.limits.require && !unheld.is_empty() => {
            group.remove().ok();
            let causes = unheld.iter().map(|unheld| format!("`{}` does not hold: {}", unheld.key, unheld.reason));
            Err(Failure { phase: Phase::Limits, causes: causes.collect() })
        }
        Ok((group, unheld)) => Ok((Some(group), unheld)),
        Err(error) if plan.limits.require => Err(Failure::new(Phase::Limits, &error)),
        Err(error) => {
            let reason = Failure::new(Phase::Limits, &error).causes.join(": ");
            log.append("failed", &[("error", &reason)]);
            let keys = plan.limits.values.keys().filter(|key| key.controller().is_some());
            Ok((None, keys.map(|key| Unheld { key: *key, reason: reason.clone() }).collect()))
        }
    }
}

/// Leaves what holds for `devbox limits`, `stats` and `status`.
fn leave_state(
    plan: &Plan,
    init: Pid,
    group: Option<&Group>,
    unheld: Vec<Unheld>,
    network: Network,
) -> std::io::Result<()> {
    let Some(runtime) = &plan.runtime else { return Ok(()) };
    let state = State {
        init: init.as_raw(),
        started: state::start_time(init.as_raw()).unwrap_or_default(),
        group: group.map(|group| group.path().to_owned()),
        limits: plan.limits.clone(),
        unheld,
        devices: plan.devices.clone(),
        own_network: network == Network::Own,
    };
    state.save(runtime)
}

/// Starts `fuse-overlayfs` if that stacks the layers. Before init makes its namespaces unreachable.
fn start_fuse(spec: &SandboxSpec, init: Pid, to_init: Option<UnixStream>) -> SysResult<Option<Server>> {
    let (Some(program), Some(to_init)) = (&spec.root.fuse_overlayfs, to_init) else { return Ok(None) };
    let user = format!("/proc/{init}/ns/user");
    let user = std::fs::File::open(&user).call(|| format!("open `{user}`"))?;
    let RootSpec { lower, upper, work, is_volatile, host_directories, staging, .. } = &spec.root;
    let writable = Writable { upper: upper.clone(), work: work.join("fuse"), is_volatile: *is_volatile };
    let stack = Stack { lower: lower.clone(), data_only: Vec::new(), writable: Some(writable) };
    let wanted = fuse::Wanted { program, stack: &stack, host_directories, map: &spec.id_map, staging };
    fuse::start(&wanted, Some(user.as_fd()), to_init).map(Some)
}

/// Why `server` could not serve, if it ended for a reason of its own.
fn said_at_the_end(server: &mut Server) -> Option<String> {
    // It ends with the mount if not before.
    server.wait_beside(None, Some(fuse::PATIENCE)).ok()?;
    server.said()
}

/// Enters the namespaces of another box; returns the ids of the box as they are seen from there.
fn enter_other(target: &NetTarget, outer: &IdMap, spec: &SandboxSpec) -> Result<IdMap, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Phase::Network, error);
    let nested = spec.id_map.within(outer).ok_or_else(|| Failure {
        phase: Phase::Network,
        causes: vec!["the box whose network is shared has other ids than this one".to_owned()],
    })?;
    target.enter().map_err(|error| failed(&error))?;
    // Otherwise the maps of our child would be the host root's to write.
    process::set_dumpable().map_err(|error| failed(&error))?;
    Ok(nested)
}

/// The box's namespaces, as the network helper needs them, and the host side of its network.
fn network_of<'a>(
    spec: &'a SandboxSpec,
    init: Pid,
    net: &'a NetPlan,
    log: &'a EventLog,
) -> Result<(Option<NetTarget>, HostSide<'a>), NetError> {
    let target = match spec.network {
        Network::Own => Some(NetTarget::of(init.as_raw())?),
        Network::Host => None,
    };
    let own = target.as_ref().map(NetTarget::try_clone).transpose()?;
    Ok((target, HostSide::new(net, own, log, &spec.root.staging)?))
}

fn start_network(
    net: &NetPlan,
    target: Option<NetTarget>,
    host_side: &mut HostSide<'_>,
) -> Result<Option<Helper>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Phase::Network, error);
    let Some(target) = target else { return Ok(None) };
    let mut helper = super::net::start(net, target).map_err(|error| failed(&error))?;
    if host_side.agent_comes_first() {
        // Beside the helper, which takes longer.
        host_side.start_agent().map_err(|error| failed(&error))?;
        host_side.wait_until_ready(NETWORK_TIMEOUT).map_err(|error| failed(&error))?;
    }
    helper.ready(NETWORK_TIMEOUT).map_err(|error| failed(&error))?;
    host_side.shape().map_err(|error| failed(&error))?;
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
