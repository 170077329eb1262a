//! Ports: connections from the host into the box, and to the host's loopback where the profile names a port.
//!
//! ```text
//! host port (bound by the host side) ──accept──┐
//!                                              ├── Stream: two sockets, data by splice
//! a target in the box (connected by the dialer) ┘
//!
//! port at the box's loopback (bound here) ──accept──┐
//!                                                   ├── Stream
//! the host's port (connected by the host side) ─────┘
//! ```
//!
//! What listens in the box is looked for by [`scan`] and told to the host side, which may answer with a socket to serve.

pub mod scan;
pub mod stream;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use rustix::process::Resource;

use self::scan::Scanner;
use self::stream::{Fate, Pipes, Stream};
use super::Shared;
use super::dns;
use super::message::Report;
use super::reactor::{Key, Part};
use super::slab::Slab;
use crate::profile::ports::{HostPort, Protocol};
use crate::sandbox::net::plan::Tasks;
use crate::sys::{Context, SysResult};

/// The most connections of a box at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;
/// Descriptors that a connection may take: two sockets and a pipe for each direction.
const DESCRIPTORS_EACH: u64 = 6;
/// How often the box is looked at for programs that listen. With what follows, a port appears within half a second.
const SCAN_INTERVAL: Duration = Duration::from_millis(400);
/// A listener that cannot accept, because there are too many descriptors, is asked again after this.
const PAUSE: Duration = Duration::from_millis(200);
/// How many connections one listener may bring before others get their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// What a connection to a listener leads to.
#[derive(Debug, Clone)]
enum Service {
    /// The first of these addresses in the box that answers. Published under this number.
    Box { id: u32, targets: Vec<SocketAddr> },
    /// This port of the host's loopback.
    Host(u16),
}

#[derive(Debug)]
enum Slot {
    Listener {
        socket: TcpListener,
        service: Service,
        paused: bool,
    },
    /// A client, and the socket that is on its way to a target; the next ones to try.
    Connecting {
        client: TcpStream,
        server: TcpStream,
        rest: Vec<SocketAddr>,
    },
    /// A client in the box that waits for a socket of the host.
    Asking {
        client: TcpStream,
    },
    Stream(Stream),
}

/// The part of the agent.
#[derive(Debug)]
pub struct Ports {
    slots: Slab<Slot>,
    /// Listeners that are not registered yet.
    fresh: Vec<usize>,
    connections: usize,
    max_connections: usize,
    /// When listeners that were paused are asked again.
    resume: Option<Instant>,
    pipes: Pipes,
    /// What was asked of the host side, and for which slot.
    tickets: HashMap<u32, usize>,
    next_ticket: u32,
    scanner: Option<(Scanner, Instant)>,
    /// What the host side was told of.
    listening: BTreeMap<u16, IpAddr>,
    /// TCP ports of our own in the box.
    own: Vec<u16>,
}

/// The number of a slot's first descriptor is even, of its second one odd.
fn key(slot: usize, second: u32) -> Key {
    // There are fewer slots than descriptors.
    Key::new(Part::Ports, (slot as u32) << 1 | second)
}

impl Ports {
    /// Binds the host's ports in the box, low ones too.
    pub fn new(tasks: &Tasks) -> SysResult<Self> {
        let descriptors = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let affordable = usize::try_from(descriptors / DESCRIPTORS_EACH).unwrap_or(usize::MAX);
        let mut ports = Self {
            slots: Slab::default(),
            fresh: Vec::new(),
            connections: 0,
            max_connections: affordable.clamp(1, MAX_CONNECTIONS),
            resume: None,
            pipes: Pipes::default(),
            tickets: HashMap::new(),
            next_ticket: 0,
            scanner: None,
            listening: BTreeMap::new(),
            own: Vec::new(),
        };
        for HostPort { port, protocol } in &tasks.host_ports {
            if *protocol == Protocol::Tcp {
                for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                    match TcpListener::bind((address, *port)) {
                        Ok(socket) => ports.add_listener(socket, Service::Host(*port))?,
                        // A box without IPv6.
                        Err(_) if address.is_ipv6() => {}
                        Err(error) => return Err(error).call(|| format!("bind `{address}:{port}` in the box")),
                    }
                }
                ports.own.push(*port);
            }
        }
        if tasks.resolver {
            ports.own.push(dns::PORT);
        }
        if tasks.forward {
            ports.scanner = Some((Scanner::new()?, Instant::now()));
        }
        Ok(ports)
    }

    fn add_listener(&mut self, socket: TcpListener, service: Service) -> SysResult<()> {
        socket.set_nonblocking(true).call(|| "fcntl `listener`".to_owned())?;
        let slot = self.slots.insert(Slot::Listener { socket, service, paused: true });
        self.fresh.push(slot);
        Ok(())
    }

    /// When [`Self::on_time`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let soon = (!self.fresh.is_empty()).then(Instant::now);
        [soon, self.resume, self.scanner.as_ref().map(|(_, at)| *at)].into_iter().flatten().min()
    }

    /// A new round: does what is due.
    pub fn on_time(&mut self, shared: &mut Shared) -> SysResult<()> {
        self.slots.settle();
        let now = Instant::now();
        if !self.fresh.is_empty() || self.resume.is_some_and(|at| at <= now) {
            self.fresh.clear();
            self.resume_listeners(shared)?;
        }
        if let Some((scanner, at)) = self.scanner.as_mut().filter(|(_, at)| *at <= now) {
            let found = scanner.scan()?;
            *at = now + SCAN_INTERVAL;
            self.compare(found, shared)?;
        }
        Ok(())
    }

    /// Tells the host side what has changed since the last look.
    fn compare(&mut self, mut found: BTreeMap<u16, IpAddr>, shared: &mut Shared) -> SysResult<()> {
        found.retain(|port, _| !self.own.contains(port));
        for (port, address) in &self.listening {
            if found.get(port) != Some(address) {
                shared.link.send(&Report::Silent { port: *port }, Vec::new())?;
            }
        }
        for (port, address) in &found {
            if self.listening.get(port) != Some(address) {
                shared.link.send(&Report::Listening { port: *port, address: *address }, Vec::new())?;
            }
        }
        self.listening = found;
        Ok(())
    }

    /// Serves `sockets`, which the host side has bound.
    pub fn publish(&mut self, id: u32, sockets: Vec<OwnedFd>, targets: &[SocketAddr]) -> SysResult<()> {
        sockets.into_iter().try_for_each(|socket| {
            self.add_listener(TcpListener::from(socket), Service::Box { id, targets: targets.to_vec() })
        })
    }

    /// Serves `clients`, which the host side has accepted and which do not block, as far as there is room.
    pub fn serve(&mut self, clients: Vec<OwnedFd>, targets: &[SocketAddr], shared: &Shared) -> SysResult<()> {
        for client in clients.into_iter().map(TcpStream::from) {
            if self.connections < self.max_connections {
                self.connect(client, targets.to_vec(), shared)?;
            } else {
                stream::reset(&client);
            }
        }
        Ok(())
    }

    /// Serves what was published under `withdrawn` no longer.
    pub fn withdraw(&mut self, withdrawn: u32, shared: &Shared) -> SysResult<()> {
        let mut gone = Vec::new();
        for (index, slot) in self.slots.iter_mut() {
            if let Slot::Listener { socket, service: Service::Box { id, .. }, .. } = slot
                && *id == withdrawn
            {
                shared.reactor.remove(&*socket)?;
                gone.push(index);
            }
        }
        for index in gone {
            self.slots.remove(index);
        }
        Ok(())
    }

    /// The host side's answer to [`Report::Connect`].
    pub fn connected(&mut self, ticket: u32, socket: Option<OwnedFd>, shared: &Shared) -> SysResult<()> {
        let Some(slot) = self.tickets.remove(&ticket) else { return Ok(()) };
        let Some(Slot::Asking { client }) = self.slots.remove(slot) else { return Ok(()) };
        self.connections -= 1;
        match socket {
            // Perhaps not quite connected yet.
            Some(socket) => self.await_connection(client, TcpStream::from(socket), Vec::new(), shared),
            None => {
                stream::reset(&client);
                Ok(())
            }
        }
    }

    /// A descriptor is ready.
    pub fn on_ready(&mut self, id: u32, shared: &mut Shared) -> SysResult<()> {
        let index = (id >> 1) as usize;
        match self.slots.get_mut(index) {
            Some(Slot::Listener { .. }) => self.accept(index, shared),
            Some(Slot::Connecting { .. }) => self.finish_connecting(index, shared),
            Some(Slot::Stream(stream)) => {
                if stream.advance(&mut self.pipes, &shared.reactor)? == Fate::Over {
                    self.slots.remove(index);
                    self.closed(shared)?;
                }
                Ok(())
            }
            // It was closed in this round.
            Some(Slot::Asking { .. }) | None => Ok(()),
        }
    }

    fn accept(&mut self, index: usize, shared: &mut Shared) -> SysResult<()> {
        for _ in 0..ACCEPTED_AT_ONCE {
            let Some(Slot::Listener { socket, service, paused }) = self.slots.get_mut(index) else { return Ok(()) };
            let accepted = if self.connections < self.max_connections {
                rustix::net::accept_with(&*socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            } else {
                Err(Errno::MFILE)
            };
            let client = match accepted {
                Ok(client) => TcpStream::from(client),
                Err(Errno::AGAIN) => return Ok(()),
                // Whoever it was has gone meanwhile.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => continue,
                Err(_) => {
                    *paused = true;
                    shared.reactor.remove(&*socket)?;
                    self.resume = Some(Instant::now() + PAUSE);
                    return Ok(());
                }
            };
            match service.clone() {
                Service::Box { targets, .. } => self.connect(client, targets, shared)?,
                Service::Host(port) => {
                    let slot = self.slots.insert(Slot::Asking { client });
                    self.connections += 1;
                    self.next_ticket = self.next_ticket.wrapping_add(1);
                    let ticket = self.next_ticket;
                    self.tickets.insert(ticket, slot);
                    shared.link.send(&Report::Connect { ticket, protocol: Protocol::Tcp, port }, Vec::new())?;
                }
            }
        }
        Ok(())
    }

    /// Connects `client` to the first of `targets` that does not refuse.
    fn connect(&mut self, client: TcpStream, mut targets: Vec<SocketAddr>, shared: &Shared) -> SysResult<()> {
        while !targets.is_empty() {
            if let Some(server) = shared.dialer.connect(Protocol::Tcp, targets.remove(0))? {
                return self.await_connection(client, server.into(), targets, shared);
            }
        }
        stream::reset(&client);
        Ok(())
    }

    fn await_connection(
        &mut self,
        client: TcpStream,
        server: TcpStream,
        rest: Vec<SocketAddr>,
        shared: &Shared,
    ) -> SysResult<()> {
        shared.reactor.add(&server, key(self.slots.next(), 1), EventFlags::OUT)?;
        self.slots.insert(Slot::Connecting { client, server, rest });
        self.connections += 1;
        Ok(())
    }

    fn finish_connecting(&mut self, index: usize, shared: &mut Shared) -> SysResult<()> {
        let Some(Slot::Connecting { client, server, rest }) = self.slots.remove(index) else { return Ok(()) };
        self.connections -= 1;
        shared.reactor.remove(&server)?;
        match sockopt::socket_error(&server) {
            Ok(Ok(())) => self.join(client, server, shared),
            _ => self.connect(client, rest, shared),
        }
    }

    /// Two sockets become a connection.
    fn join(&mut self, client: TcpStream, server: TcpStream, shared: &Shared) -> SysResult<()> {
        let slot = self.slots.next();
        let mut stream = Stream::new([client, server], [key(slot, 0), key(slot, 1)]);
        if stream.advance(&mut self.pipes, &shared.reactor)? == Fate::Open {
            self.slots.insert(Slot::Stream(stream));
            self.connections += 1;
        }
        Ok(())
    }

    /// There is room for another connection.
    fn closed(&mut self, shared: &Shared) -> SysResult<()> {
        self.connections -= 1;
        if self.resume.is_some() { self.resume_listeners(shared) } else { Ok(()) }
    }

    fn resume_listeners(&mut self, shared: &Shared) -> SysResult<()> {
        self.resume = None;
        for (index, slot) in self.slots.iter_mut() {
            if let Slot::Listener { socket, paused, .. } = slot
                && *paused
            {
                *paused = false;
                shared.reactor.add(&*socket, key(index, 0), EventFlags::IN)?;
            }
        }
        Ok(())
    }
}
