//! What a supervisor looks after while its box runs.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::control::{self, Answer, Request};
use super::denied::Denials;
use super::fuse::Server;
use super::guard::keeper::Keeper;
use super::init::EventLog;
use super::net::host::HostSide;
use super::window::Window;
use crate::limits::amount::format_size;
use crate::limits::disk;
use crate::limits::group::Group;
use crate::limits::state::State;
use crate::limits::{Key, Limits};
use crate::sys::{Context, SysResult, process};

/// How long the processes of a box may take to end when its disk limit is reached.
const DISK_GRACE: Duration = Duration::from_secs(2);

/// Until the box ends.
#[derive(Debug)]
pub struct Watch<'a> {
    init: OwnedFd,
    log: &'a EventLog,
    server: Option<&'a mut Server>,
    group: Option<Group>,
    memory: Option<Memory>,
    disk: Option<disk::Watch>,
    /// Where other limits are found, when they were set meanwhile.
    runtime: Option<&'a Path>,
    network: Option<HostSide<'a>>,
    keeper: Option<Keeper>,
    control: Option<UnixListener>,
    denials: Option<Denials>,
    window: Option<Window>,
}

/// The box's memory limit.
#[derive(Debug)]
struct Memory {
    events: File,
    killed: u64,
}

impl Memory {
    fn of(group: &Group) -> Option<Self> {
        Some(Self { events: group.memory_events()?, killed: 0 })
    }
}

impl<'a> Watch<'a> {
    /// Watches over the box of `init`, a child of this process.
    pub fn new(init: Pid, log: &'a EventLog) -> SysResult<Self> {
        Ok(Self {
            init: process::pidfd_open(init)?,
            log,
            server: None,
            group: None,
            memory: None,
            disk: None,
            runtime: None,
            network: None,
            keeper: None,
            control: None,
            denials: None,
            window: None,
        })
    }

    /// The box ends with its root file system.
    #[must_use]
    pub fn with_server(mut self, server: Option<&'a mut Server>) -> Self {
        self.server = server;
        self
    }

    /// Says when the group's memory limit kills.
    #[must_use]
    pub fn with_group(mut self, group: Option<Group>) -> Self {
        self.memory = group.as_ref().and_then(Memory::of);
        self.group = group;
        self
    }

    /// The box ends with who guards its project.
    #[must_use]
    pub fn with_keeper(mut self, keeper: Option<Keeper>) -> Self {
        self.keeper = keeper;
        self
    }

    /// Ends the box when its writable layer becomes too large. New limits, and a group that the box gets later, are found in `runtime`.
    #[must_use]
    pub fn with_disk(mut self, disk: Option<disk::Watch>, runtime: Option<&'a Path>) -> Self {
        self.disk = disk;
        self.runtime = runtime;
        self
    }

    /// Serves the box's network agent until the box has ended, and the user's commands that connect to `control`.
    pub fn with_network(mut self, network: HostSide<'a>, control: Option<UnixListener>) -> SysResult<Self> {
        if let Some(control) = &control {
            control.set_nonblocking(true).call(|| "fcntl `control`".to_owned())?;
        }
        self.network = Some(network);
        self.control = control;
        Ok(self)
    }

    /// Answers the system calls that the filter refuses.
    #[must_use]
    pub fn with_denials(mut self, denials: Option<Denials>) -> Self {
        self.denials = denials;
        self
    }

    /// Shows the box's files to programs of the host that ask for them.
    #[must_use]
    pub fn with_window(mut self, window: Option<Window>) -> Self {
        self.window = window;
        self
    }

    /// Returns when init has ended; what is left is the box's group, if it has one. A box that lost its root file system, or
    /// outgrew its disk limit, is ended.
    pub fn until_end(mut self) -> SysResult<Option<Group>> {
        let mut deadline = None;
        while !self.wait(deadline)? {
            if self.server.as_mut().is_some_and(|server| !server.lives()) {
                let said = self.server.take().and_then(|server| server.said());
                let said = said.unwrap_or_else(|| "it was killed".to_owned());
                self.log.append("failed", &[("error", &format!("`fuse-overlayfs` ended: {said}"))]);
                self.signal(Signal::KILL)?;
            }
            if self.unguarded()? {
                self.signal(Signal::KILL)?;
            }
            self.tell_killed();
            self.serve();
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.signal(Signal::KILL)?;
                deadline = None;
            }
            if let Some(bytes) = self.excess() {
                let bytes = format_size(bytes);
                self.log.append("limit_reached", &[("limit", Key::Disk.name()), ("used", &bytes)]);
                // Init passes it on to every process of the box.
                self.signal(Signal::TERM)?;
                deadline = Some(Instant::now() + DISK_GRACE);
                self.disk = None;
            }
        }
        // What killed the last process may have been the limit.
        self.tell_killed();
        self.denials.iter_mut().for_each(Denials::finish);
        self.network.as_mut().map_or(Ok(()), HostSide::finish)?;
        Ok(self.group)
    }

    /// Sleeps until something happens. Whether init has ended.
    fn wait(&mut self, deadline: Option<Instant>) -> SysResult<bool> {
        let pauses = [
            self.disk.as_ref().map(disk::Watch::pause),
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
            self.denials.as_ref().and_then(Denials::pause),
        ];
        let pause = pauses.into_iter().flatten().min().and_then(|pause| Timespec::try_from(pause).ok());
        let mut set = vec![PollFd::new(&self.init, PollFlags::IN)];
        set.extend(self.server.as_ref().map(|server| PollFd::from_borrowed_fd(server.standard_error(), PollFlags::IN)));
        set.extend(self.memory.as_ref().map(|memory| PollFd::from_borrowed_fd(memory.events.as_fd(), PollFlags::PRI)));
        set.extend(self.keeper.as_ref().map(|keeper| PollFd::from_borrowed_fd(keeper.process(), PollFlags::IN)));
        set.extend(self.control.as_ref().map(|control| PollFd::new(control, PollFlags::IN)));
        set.extend(self.network.as_ref().and_then(|network| network.poll_fd()));
        set.extend(self.denials.iter().flat_map(Denials::poll_fds));
        match poll(&mut set, pause.as_ref()) {
            Ok(_) => Ok(!set[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno).call(|| "poll".to_owned()),
        }
    }

    /// Whether the keeper has failed.
    fn unguarded(&mut self) -> SysResult<bool> {
        let ended = |keeper: &mut Keeper| {
            let mut set = [PollFd::from_borrowed_fd(keeper.process(), PollFlags::IN)];
            poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        };
        match self.keeper.take_if(ended) {
            Some(mut keeper) => keeper.has_failed(),
            None => Ok(false),
        }
    }

    /// None of them waits for anybody.
    fn serve(&mut self) {
        self.denials.iter_mut().for_each(Denials::serve);
        let Some(network) = &mut self.network else { return };
        network.serve();
        if let Some(control) = &self.control {
            let Self { window, runtime, group, memory, .. } = self;
            control::serve(control, |request| match (request, window.as_mut()) {
                (Request::Tree, Some(window)) => (open(window), Vec::new()),
                (Request::Group, _) => {
                    let found = runtime.and_then(State::load).and_then(|state| state.group);
                    *group = found.as_deref().map(Group::at);
                    *memory = group.as_ref().and_then(Memory::of);
                    (Answer::Group, Vec::new())
                }
                (request, _) => network.answer(request),
            });
        }
    }

    fn tell_killed(&mut self) {
        let (Some(group), Some(memory)) = (&self.group, &mut self.memory) else { return };
        let killed = group.killed_by_memory();
        if killed > memory.killed {
            let more = (killed - memory.killed).to_string();
            self.log.append("limit_reached", &[("limit", Key::Memory.name()), ("killed", &more)]);
            memory.killed = killed;
        }
    }

    /// The size of a writable layer that has become too large.
    fn excess(&mut self) -> Option<u64> {
        let disk = self.disk.as_mut().filter(|disk| disk.pause().is_zero())?;
        let limits = self.runtime.and_then(State::load).map(|state| state.limits);
        if let Some(limit) = limits.as_ref().and_then(|limits: &Limits| limits.get(Key::Disk)) {
            disk.set_if_other(limit);
        }
        match disk.excess() {
            Ok(excess) => excess,
            Err(error) => {
                // A count that fails (no process may be made, say) is tried again later.
                self.log.append("failed", &[("error", &format!("cannot count what the box wrote: {error}"))]);
                None
            }
        }
    }

    fn signal(&self, signal: Signal) -> SysResult<()> {
        match pidfd_send_signal(&self.init, signal) {
            // What has ended meanwhile is as good as killed.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno).call(|| "kill `init`".to_owned()),
        }
    }
}

fn open(window: &mut Window) -> Answer {
    match window.open() {
        Ok(()) => Answer::Tree,
        Err(error) => Answer::Refused { reason: error.to_string() },
    }
}
