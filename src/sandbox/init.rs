//! Pid 1 of a box: builds it, then starts a session leader for each client and reaps.
//!
//! The steps of [`run`] are those of "Starting a box" in `docs/architecture.md`.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use caps::Capability;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::channel::{Failure, Phase};
use super::landlock;
use super::seccomp::Filter;
use super::session::{self, Outcome};
use super::spec::{Lifetime, Network, SandboxSpec};
use super::{caps as capability, mounts, overlay};
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::Root;
use crate::sys::process::{self, Ended};
use crate::sys::signal::Signals;
use crate::sys::{Context, SysResult, mount, net, socket};

/// A leader's exit status that asks init to stop the box.
const STOP_BOX: i32 = 77;

/// Where a box's events are appended to, from inside: one `write` per line.
#[derive(Debug)]
pub struct EventLog(Option<OwnedFd>);

impl EventLog {
    /// `file` is open for appending.
    #[must_use]
    pub fn new(file: Option<OwnedFd>) -> Self {
        Self(file)
    }

    /// The number of its descriptor.
    pub fn descriptor(&self) -> Option<i32> {
        self.0.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Appends `{"time": .., "event": .., "details": {..}}`, the form that `boxes::events` reads. A full disk must not end a session, so failure is not an error.
    pub fn append(&self, event: &str, details: &[(&str, &str)]) {
        let Some(file) = &self.0 else { return };
        let details: serde_json::Map<_, _> =
            details.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let time = jiff::Timestamp::now().to_string();
        let text = format!("{}\n", serde_json::json!({ "time": time, "event": event, "details": details }));
        rustix::io::write(file, text.as_bytes()).ok();
    }
}

/// What init inherits from the supervisor.
#[derive(Debug)]
pub struct Inheritance {
    /// One byte: the id map is written. A second: the network is ready.
    pub gate: OwnedFd,
    /// Where the filter's listener is sent, and failures are written; closed when the box is ready.
    pub report: UnixStream,
    /// Where the mount of `fuse-overlayfs` comes from, if that stacks the layers.
    pub fuse: Option<UnixStream>,
    /// Where clients connect.
    pub listener: UnixListener,
    /// The connection of the client that started the box.
    pub first: UnixStream,
    /// The event log.
    pub events: EventLog,
    /// What root of the box keeps.
    pub capabilities: Vec<Capability>,
}

/// Pid 1's whole life.
pub fn run(spec: &SandboxSpec, filter: &Filter, inherited: Inheritance) -> i32 {
    let Inheritance { gate, report, fuse, listener, first, events, capabilities } = inherited;
    let keep = [
        gate.as_raw_fd(),
        report.as_raw_fd(),
        listener.as_raw_fd(),
        first.as_raw_fd(),
        events.0.as_ref().map_or(-1, AsRawFd::as_raw_fd),
    ];
    if let Err(failure) = build(spec, filter, &capabilities, gate, &report, fuse, &keep) {
        // Nobody listens if the supervisor is gone, and then nothing matters.
        serde_json::to_writer(report, &failure).ok();
        return 1;
    }
    drop(report);
    match serve(listener, first, &events, spec.lifetime) {
        Ok(()) => 0,
        Err(error) => {
            events.append("failed", &[("error", &error.to_string())]);
            1
        }
    }
}

fn build(
    spec: &SandboxSpec,
    filter: &Filter,
    capabilities: &[Capability],
    gate: OwnedFd,
    report: &UnixStream,
    fuse: Option<UnixStream>,
    keep: &[i32],
) -> Result<(), Failure> {
    let at = |phase: Phase| move |error: crate::sys::SysError| Failure::new(phase, &error);
    let mut gate = std::fs::File::from(gate);
    let pass = |gate: &mut std::fs::File| {
        let mut byte = [0];
        matches!(gate.read(&mut byte), Ok(1))
    };
    let abandoned =
        |phase: Phase| Failure { phase, causes: vec!["the process that starts the box is gone".to_owned()] };

    // 1. Wait for the id map; without it nothing here has an owner.
    process::die_with_parent().map_err(at(Phase::Namespaces))?;
    if !pass(&mut gate) {
        return Err(abandoned(Phase::IdMap));
    }
    let groups_can_be_set = spec.id_map.gids.len() > 1 || spec.id_map.gids.iter().any(|extent| extent.count > 1);
    if spec.id_map.uid_outside(0).is_some() {
        process::become_namespace_root(groups_can_be_set).map_err(at(Phase::IdMap))?;
    }
    if let Some(limit) = spec.rlimits.processes {
        set_limit(Resource::Nproc, limit).map_err(at(Phase::Limits))?;
    }
    if let Some(limit) = spec.rlimits.files {
        set_limit(Resource::Nofile, limit).map_err(at(Phase::Limits))?;
    }
    // 2. The map is written: from here on nothing of this process may be read from inside (see docs/architecture.md).
    //    The change of ids has cleared the parent-death signal.
    process::set_undumpable().map_err(at(Phase::Namespaces))?;
    process::die_with_parent().map_err(at(Phase::Namespaces))?;
    process::set_title("devbox: init").map_err(at(Phase::Namespaces))?;
    rustix::process::setsid().call(|| "setsid".to_owned()).map_err(at(Phase::Namespaces))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    // The group that init was born in becomes the root of all that the box can see of cgroups.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .call(|| "unshare `cgroup`".to_owned())
        .map_err(at(Phase::Namespaces))?;

    // 3. Names and mounts, none of which the host sees.
    nix::unistd::sethostname(&spec.hostname)
        .call(|| format!("sethostname `{}`", spec.hostname))
        .map_err(at(Phase::Namespaces))?;
    mount::make_everything_private().map_err(at(Phase::Mounts))?;
    let root = overlay::assemble(&spec.root, fuse.as_ref()).map_err(at(Phase::Overlay))?;
    for operation in &spec.mounts {
        mounts::perform(Root::new(root.as_fd()), operation).map_err(at(Phase::Mounts))?;
    }
    mount::pivot_into(root.as_fd()).map_err(at(Phase::Mounts))?;

    // 4. The network, which was set up meanwhile.
    if spec.network == Network::Own {
        net::bring_up_loopback().map_err(at(Phase::Network))?;
    }
    if !pass(&mut gate) {
        return Err(abandoned(Phase::Network));
    }

    // 5. Restrictions, last: they forbid what the steps above needed.
    drop((gate, root, fuse));
    process::close_all_but(keep).map_err(at(Phase::Restrictions))?;
    silence_standard_streams().map_err(at(Phase::Restrictions))?;
    rustix::thread::set_keep_capabilities(false)
        .call(|| "prctl `PR_SET_KEEPCAPS`".to_owned())
        .map_err(at(Phase::Restrictions))?;
    // Below it nobody can mount: a profile that lets the box do so wants no such wall.
    if spec.security.breaks_mounts().is_none() {
        landlock::restrict_to_root().map_err(at(Phase::Restrictions))?;
    }
    if spec.security.no_new_privileges {
        process::set_no_new_privileges().map_err(at(Phase::Restrictions))?;
    }
    if let Some(listener) = filter.install().map_err(at(Phase::Restrictions))? {
        // White space before a failure, if there is one.
        socket::send_with_descriptors(report, b"\n", &[listener.as_fd()]).map_err(at(Phase::Restrictions))?;
    }
    capability::reduce_to(capabilities).map_err(|error| Failure::new(Phase::Restrictions, &error))
}

/// Sets the soft and the hard limit, the latter never above what it is: that takes a privilege.
fn set_limit(resource: Resource, most: u64) -> SysResult<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(resource, limit).call(|| format!("setrlimit `{resource:?}` `{most}`"))
}

/// The supervisor's standard streams are the client's: a terminal of the host must not stay open in the box.
fn silence_standard_streams() -> SysResult<()> {
    crate::sys::terminal::silence(0..3)
}

/// A session leader, as init sees it.
struct Leader {
    pid: Pid,
    /// Where it says that its session is over; closed when init knows.
    farewell: Option<UnixStream>,
}

/// Starts leaders and reaps, until the box has no reason to run.
fn serve(listener: UnixListener, first: UnixStream, events: &EventLog, lifetime: Lifetime) -> SysResult<()> {
    let signals = Signals::receive(&[Signal::SIGCHLD, Signal::SIGTERM])?;
    listener.set_nonblocking(true).call(|| "fcntl `socket`".to_owned())?;
    let mut leaders = vec![start_leader(first, events)?];
    let mut listener = Some(listener);
    loop {
        while let Some((pid, ended)) = process::reap()? {
            if let Some(position) = leaders.iter().position(|leader| leader.pid == pid) {
                leaders.swap_remove(position);
                if ended == Ended::Exited(STOP_BOX) {
                    return Ok(());
                }
            }
        }
        if leaders.is_empty() && lifetime == Lifetime::Session {
            return Ok(());
        }
        let mut set = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        set.extend(listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        let first_farewell = set.len();
        let speaking: Vec<usize> = (0..leaders.len()).filter(|index| leaders[*index].farewell.is_some()).collect();
        set.extend(leaders.iter().filter_map(|leader| Some(PollFd::new(leader.farewell.as_ref()?, PollFlags::IN))));
        match poll(&mut set, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).call(|| "poll".to_owned()),
        }
        let said = set[first_farewell..].iter().zip(speaking).filter(|(polled, _)| !polled.revents().is_empty());
        let over: Vec<usize> = said.map(|(_, index)| index).collect();
        if !over.is_empty() {
            let farewells: Vec<_> = over.into_iter().map(|index| leaders[index].farewell.take()).collect();
            if lifetime == Lifetime::Session && leaders.iter().all(|leader| leader.farewell.is_none()) {
                // Before its client knows: whoever comes next finds nobody and starts the box anew. So do clients that
                // connected just now.
                listener = None;
            }
            drop(farewells);
        }
        let mut child_ended = false;
        while let Some((signal, _)) = signals.next()? {
            if signal == Signal::SIGTERM as i32 {
                // Nobody waits for an answer any more.
                leaders.clear();
                terminate_everything(Duration::from_secs(10));
                return Ok(());
            }
            child_ended |= signal == Signal::SIGCHLD as i32;
        }
        if child_ended {
            // The last session may just have ended: then nobody joins any more.
            continue;
        }
        while let Some(Ok((stream, _))) = listener.as_ref().map(UnixListener::accept) {
            // Somebody inside who got hold of the socket is visible in this pid namespace; the host is not.
            if crate::sys::socket::peer_pid(&stream).is_ok_and(|pid| pid == 0) {
                leaders.push(start_leader(stream, events)?);
            }
        }
    }
}

fn start_leader(stream: UnixStream, events: &EventLog) -> SysResult<Leader> {
    stream.set_nonblocking(false).call(|| "fcntl `socket`".to_owned())?;
    let (farewell, own) = UnixStream::pair().call(|| "socketpair".to_owned())?;
    match fork()? {
        Forked::Parent { pid, .. } => Ok(Leader { pid, farewell: Some(farewell) }),
        Forked::Child => {
            let events_file = events.0.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            // A leader must not hold other sessions' connections open, nor accept in init's place.
            let outcome = match process::close_all_but(&[stream.as_raw_fd(), own.as_raw_fd(), events_file]) {
                Ok(()) => session::lead(stream, events, Farewell(own)),
                Err(_) => Outcome::Done,
            };
            exit_now(if outcome == Outcome::StopBox { STOP_BOX } else { 0 })
        }
    }
}

/// A leader's way to tell init that its session is over.
#[derive(Debug)]
pub struct Farewell(UnixStream);

impl Farewell {
    /// Returns when init knows: if it was the last session, nobody can join the box any more.
    pub fn say(&self) {
        let mut init = &self.0;
        // Where init is gone, so is the box.
        if init.write_all(&[0]).is_ok() {
            init.read_exact(&mut [0]).ok();
        }
    }
}

/// Asks every process of the box but the caller and init to end; returns when they have, or when `grace` is over.
/// Whatever is left dies with init. Without any grace nobody is asked: some would react in time, and others not.
pub fn terminate_everything(grace: Duration) {
    if grace.is_zero() {
        return;
    }
    let deadline = Instant::now() + grace;
    let signal_all = |signal| kill(Pid::from_raw(-1), signal).is_ok();
    signal_all(Signal::SIGTERM);
    // Interactive shells ignore SIGTERM. Others must not get SIGHUP: it would end them in the middle of their cleaning up.
    for pid in terminal_leaders() {
        kill(pid, Signal::SIGHUP).ok();
    }
    signal_all(Signal::SIGCONT);
    while Instant::now() < deadline && others_exist() {
        while let Ok(Some(_)) = process::reap() {}
        let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        poll(&mut [], Some(&pause)).ok();
    }
}

/// Session leaders that have a terminal.
fn terminal_leaders() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc")) else { return Vec::new() };
    let leads = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; then: state, parent, process group, session, terminal.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        (fields.get(3)?.parse() == Ok(pid) && *fields.get(4)? != "0").then_some(Pid::from_raw(pid))
    };
    entries.flatten().filter_map(leads).collect()
}

/// Whether the box has processes besides init, this one and other leaders (which show init's title).
fn others_exist() -> bool {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc")) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { return false };
        if pid == 1 || pid == std::process::id() {
            return false;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        !command.starts_with(b"devbox: init\0") && !command.is_empty()
    })
}
