//! The network agent: a small process of ours in a box's network, invisible to the box.
//!
//! ```text
//! host's network            |            box's network
//!                           |
//!  supervisor ("host side") |          agent ─── sockets in the box
//!       │   decides         |            │
//!       └─────────── Order, Report ──────┘      packets, [`link`]; sockets of the host ride along
//! ```
//!
//! It is a fork of the supervisor that joins the box's user and network namespace and nothing else of the box, so that the
//! box cannot see it; it dies with the supervisor. What it needs of the host's network it asks the host side for
//! ([`super::host`]), which compares every wish with the profile. Once it is set up it gives up the file system,
//! capabilities and most system calls ([`confine`]); connections in the box are made for it by the [`dialer`].
//!
//! One thread, one loop ([`reactor`]); each task is a part of it with a file of its own:
//!
//! - a part that needs privileges, such as a low port of the box, does so when it is made, before the confinement
//! - it registers its descriptors under keys of its own, and is handed those that are ready
//! - it names the moment at which it wants to be woken

pub mod confine;
pub mod datagrams;
pub mod dialer;
pub mod dns;
pub mod egress;
pub mod link;
pub mod message;
pub mod ports;
pub mod reactor;
pub mod slab;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use caps::Capability;
use rustix::event::epoll::EventFlags;
use rustix::process::{Resource, Rlimit};

use self::confine::Role;
use self::datagrams::Datagrams;
use self::dialer::{Dialer, Voice};
use self::dns::Resolver;
use self::egress::Gate;
use self::link::{Link, Received};
use self::message::{Order, Report};
use self::ports::Ports;
use self::reactor::{Key, Part, Reactor};
use super::NetTarget;
use super::plan::{Filter, Tasks};
use crate::profile::ports::Protocol;
use crate::sandbox::companion::{Companion, Parent};
use crate::sys::{Context, SysError, SysResult, net, process};

/// Where the only descriptor of [`Part::Link`] is.
const LINK: Key = Key::new(Part::Link, 0);

/// Forks an agent for the namespaces `target`; `empty` is a directory without entries. The caller has one thread.
///
/// The first message over the link tells whether it could be set up.
pub fn start(tasks: &Tasks, target: &NetTarget, empty: &Path) -> SysResult<(Companion, Link)> {
    let (host, mut agent) = link::pair()?;
    let companion = Companion::start(move |supervisor| {
        let kept: &[Capability] = if tasks.filter.is_some() { &[Capability::CAP_NET_ADMIN] } else { &[] };
        let ended = enter(tasks, target, &agent, supervisor).and_then(|()| {
            let reactor = Reactor::new()?;
            let parts = Agent::new(tasks)?;
            let dialer = Dialer::start(&parts.voices(), empty)?;
            confine::confine(empty, kept, Role::Agent)?;
            Ok((parts, reactor, dialer))
        });
        let ended = match ended {
            Ok((parts, reactor, dialer)) => parts.run(&mut Shared { reactor, dialer, link: agent }),
            Err(error) => give_up(&mut agent, &error),
        };
        i32::from(ended.is_err())
    });
    Ok((companion?, host))
}

/// Tells the host side why there is no agent.
fn give_up(link: &mut Link, error: &SysError) -> SysResult<()> {
    link.send(&Report::Failed { causes: vec![error.to_string()] }, Vec::new())
}

/// Joins the box's namespaces, and lets go of everything else that the supervisor has.
fn enter(tasks: &Tasks, target: &NetTarget, link: &Link, supervisor: Parent) -> SysResult<()> {
    let link = link.as_fd().as_raw_fd();
    let kept: Vec<i32> = target.descriptors().chain([link]).collect();
    supervisor.settle("devbox: network", &kept, || {
        target.enter()?;
        process::close_all_but(&[link])?;
        if tasks.filter.is_some() && target.user.is_some() {
            // A program that it starts would lose its capabilities otherwise.
            process::become_namespace_root(false)?;
        }
        Ok(())
    })?;
    // Each connection takes two descriptors.
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .call(|| "setrlimit `RLIMIT_NOFILE`".to_owned())
}

/// What the parts of an agent share.
#[derive(Debug)]
pub struct Shared {
    /// Where descriptors are registered.
    pub reactor: Reactor,
    /// Who connects in the box's network.
    pub dialer: Dialer,
    /// The connection to the host side.
    pub link: Link,
}

/// The parts of an agent.
#[derive(Debug)]
struct Agent {
    ports: Ports,
    datagrams: Datagrams,
    resolver: Option<Resolver>,
    gate: Option<Gate>,
}

impl Agent {
    /// Does what needs privileges.
    fn new(tasks: &Tasks) -> SysResult<Self> {
        // Init does so as well, but perhaps later: an interface that is down has no `::1`.
        net::bring_up_loopback()?;
        let datagrams = Datagrams::new(tasks)?;
        let voices = datagrams.voices().count() as u16;
        let resolver = tasks.resolver.then(|| Resolver::new(Voice(voices))).transpose()?;
        let voices = voices + u16::from(resolver.is_some());
        let gate = |filter: &Filter| Gate::new(&filter.egress, &filter.nft, Voice(voices));
        let gate = tasks.filter.as_ref().map(gate).transpose()?;
        Ok(Self { ports: Ports::new(tasks)?, datagrams, resolver, gate })
    }

    /// The sockets of the box that answer whoever asks, in the order of their [`Voice`]s.
    fn voices(&self) -> Vec<BorrowedFd<'_>> {
        let resolver = self.resolver.as_ref().map(Resolver::voice);
        self.datagrams.voices().chain(resolver).chain(self.gate.iter().flat_map(Gate::voices)).collect()
    }

    /// Until the supervisor is gone.
    fn run(mut self, shared: &mut Shared) -> SysResult<()> {
        let ended = self.serve(shared);
        ended.or_else(|error| give_up(&mut shared.link, &error))
    }

    fn serve(&mut self, shared: &mut Shared) -> SysResult<()> {
        shared.reactor.add(&shared.link, LINK, EventFlags::IN)?;
        shared.link.send(&Report::Ready, Vec::new())?;
        let mut ready = Vec::new();
        loop {
            let deadlines = [
                self.ports.deadline(),
                self.datagrams.deadline(),
                self.resolver.as_mut().and_then(Resolver::deadline),
                self.gate.as_ref().and_then(Gate::deadline),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            shared.reactor.wait(deadline, &mut ready)?;
            self.ports.on_time(shared)?;
            self.datagrams.on_time(shared)?;
            if let Some(resolver) = &mut self.resolver {
                resolver.on_time(&mut self.gate, shared)?;
            }
            if let Some(gate) = &mut self.gate {
                gate.on_time(shared)?;
            }
            for (key, _) in ready.drain(..) {
                match key.part {
                    Part::Link => match shared.link.receive()? {
                        Received::Message(order, descriptors) => self.obey(order, descriptors, shared)?,
                        Received::Nothing => {}
                        Received::Closed => return Ok(()),
                    },
                    Part::Ports => self.ports.on_ready(key.id, shared)?,
                    Part::Datagrams => self.datagrams.on_ready(key.id, shared)?,
                    Part::Resolver => {
                        if let Some(resolver) = &mut self.resolver {
                            resolver.on_ready(key.id, &mut self.gate, shared)?;
                        }
                    }
                    Part::Egress => {
                        if let Some(gate) = &mut self.gate {
                            gate.on_ready(key.id, shared)?;
                        }
                    }
                }
            }
        }
    }

    fn obey(&mut self, order: Order, descriptors: Vec<OwnedFd>, shared: &mut Shared) -> SysResult<()> {
        match order {
            Order::Publish { id, protocol: Protocol::Tcp, targets } => self.ports.publish(id, descriptors, &targets),
            Order::Publish { id, protocol: Protocol::Udp, targets } => {
                self.datagrams.publish(id, descriptors, &targets)
            }
            Order::Serve { targets } => self.ports.serve(descriptors, &targets, shared),
            Order::Withdraw { id } => {
                self.datagrams.withdraw(id);
                self.ports.withdraw(id, shared)
            }
            Order::Connected { ticket, protocol } => {
                let socket = descriptors.into_iter().next();
                match protocol {
                    Protocol::Tcp => self.ports.connected(ticket, socket, shared),
                    Protocol::Udp => self.datagrams.connected(ticket, socket, shared),
                }
            }
            Order::Client { ticket, address } => {
                let client = address.zip(descriptors.into_iter().next());
                self.datagrams.accepted(ticket, client, shared)
            }
            Order::Written => self.gate.as_mut().map_or(Ok(()), |gate| gate.written(shared)),
            Order::Flush => {
                if let Some(gate) = &mut self.gate {
                    gate.flush(shared)?;
                }
                shared.link.send(&Report::Flushed, Vec::new())
            }
            Order::Resolver { ticket, host } => {
                if let Some(gate) = &mut self.gate {
                    gate.know_host(host);
                }
                match &mut self.resolver {
                    Some(resolver) => {
                        resolver.connected(ticket, descriptors.into_iter().next(), &mut self.gate, shared)
                    }
                    None => Ok(()),
                }
            }
        }
    }
}
