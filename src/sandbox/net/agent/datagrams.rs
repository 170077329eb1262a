//! UDP ports: each client of a bound socket gets a connected socket of its own on the other side, for as long as one of
//! them says something.
//!
//! ```text
//! client A ──┐                        ┌── socket A ──┐
//!            ├── bound socket ────────┤              ├── service
//! client B ──┘                        └── socket B ──┘
//! ```
//!
//! The bound socket is the host's and the others are the box's for a published port; the other way round for a port of
//! the host's loopback, whose connected sockets the host side makes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::Shared;
use super::message::Report;
use super::reactor::{Key, Part};
use super::slab::Slab;
use crate::profile::ports::{HostPort, Protocol};
use crate::sandbox::net::plan::Tasks;
use crate::sys::{Context, SysResult};

/// The most clients of all ports together; what further ones say is dropped, as UDP may be.
const MAX_CLIENTS: usize = 1024;
/// A client that has been silent for so long, and was not answered, is forgotten.
const IDLE: Duration = Duration::from_secs(120);
/// How often is looked for silent clients.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// The largest datagram.
const DATAGRAM_BYTES: usize = 64 << 10;
/// How many datagrams of one socket are passed on before others get their turn.
const TURN: usize = 64;

/// What a bound socket leads to.
#[derive(Debug)]
enum Service {
    /// The first of these addresses in the box that does not refuse. Published under this number.
    Box { id: u32, targets: Vec<SocketAddr> },
    /// This port of the host's loopback.
    Host(u16),
}

/// A bound socket and the slots of its clients.
#[derive(Debug)]
struct Bound {
    socket: UdpSocket,
    service: Service,
    clients: HashMap<SocketAddr, usize>,
}

/// The other side of one client.
#[derive(Debug)]
struct Client {
    bound: usize,
    address: SocketAddr,
    /// Absent while the host side connects it.
    socket: Option<UdpSocket>,
    /// What it said last, until it is known to have arrived somewhere.
    waiting: Vec<u8>,
    /// Targets to try when this one refuses.
    rest: Vec<SocketAddr>,
    heard: Instant,
}

#[derive(Debug)]
enum Slot {
    Bound(Bound),
    Client(Client),
}

/// The part of the agent.
#[derive(Debug)]
pub struct Datagrams {
    slots: Slab<Slot>,
    /// Bound sockets that are not registered yet.
    fresh: Vec<usize>,
    clients: usize,
    sweep: Option<Instant>,
    buffer: Vec<u8>,
}

fn key(slot: usize) -> Key {
    // There are fewer slots than descriptors.
    Key::new(Part::Datagrams, slot as u32)
}

impl Datagrams {
    /// Binds the host's ports in the box, low ones too.
    pub fn new(tasks: &Tasks) -> SysResult<Self> {
        let mut datagrams =
            Self { slots: Slab::default(), fresh: Vec::new(), clients: 0, sweep: None, buffer: Vec::new() };
        for HostPort { port, .. } in tasks.host_ports.iter().filter(|port| port.protocol == Protocol::Udp) {
            for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                match UdpSocket::bind((address, *port)) {
                    Ok(socket) => datagrams.add(socket, Service::Host(*port))?,
                    // A box without IPv6.
                    Err(_) if address.is_ipv6() => {}
                    Err(error) => return Err(error).call(|| format!("bind `{address}:{port}/udp` in the box")),
                }
            }
        }
        Ok(datagrams)
    }

    fn add(&mut self, socket: UdpSocket, service: Service) -> SysResult<()> {
        socket.set_nonblocking(true).call(|| "fcntl `socket`".to_owned())?;
        let slot = self.slots.insert(Slot::Bound(Bound { socket, service, clients: HashMap::new() }));
        self.fresh.push(slot);
        Ok(())
    }

    /// When [`Self::on_time`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let soon = (!self.fresh.is_empty()).then(Instant::now);
        soon.or(self.sweep)
    }

    /// A new round: does what is due.
    pub fn on_time(&mut self, shared: &Shared) -> SysResult<()> {
        self.slots.settle();
        for slot in std::mem::take(&mut self.fresh) {
            if let Some(Slot::Bound(bound)) = self.slots.get_mut(slot) {
                shared.reactor.add(&bound.socket, key(slot), EventFlags::IN)?;
            }
        }
        let now = Instant::now();
        if self.sweep.is_some_and(|at| at <= now) {
            let silent = |slot: &Slot| matches!(slot, Slot::Client(client) if now - client.heard > IDLE);
            let gone: Vec<usize> =
                self.slots.iter_mut().filter(|(_, slot)| silent(slot)).map(|(index, _)| index).collect();
            gone.into_iter().for_each(|index| self.forget(index));
            self.sweep = (self.clients > 0).then(|| now + SWEEP_INTERVAL);
        }
        Ok(())
    }

    /// Serves `sockets`, which the host side has bound.
    pub fn publish(&mut self, id: u32, sockets: Vec<OwnedFd>, targets: &[SocketAddr]) -> SysResult<()> {
        sockets
            .into_iter()
            .try_for_each(|socket| self.add(UdpSocket::from(socket), Service::Box { id, targets: targets.to_vec() }))
    }

    /// Serves what was published under `withdrawn` no longer; its clients are cut off.
    pub fn withdraw(&mut self, withdrawn: u32) {
        let mut gone = Vec::new();
        for (index, slot) in self.slots.iter_mut() {
            if let Slot::Bound(Bound { service: Service::Box { id, .. }, clients, .. }) = slot
                && *id == withdrawn
            {
                gone.extend(clients.values().copied());
                gone.push(index);
            }
        }
        // Closing its only descriptor takes a socket off the reactor.
        gone.into_iter().for_each(|index| self.forget(index));
    }

    /// The host side's answer to [`Report::Connect`]; the ticket is the client's slot.
    pub fn connected(&mut self, ticket: u32, socket: Option<OwnedFd>, shared: &Shared) -> SysResult<()> {
        let slot = ticket as usize;
        let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
        match socket.map(UdpSocket::from) {
            Some(socket) if client.socket.is_none() => {
                shared.reactor.add(&socket, key(slot), EventFlags::IN)?;
                // A datagram may get lost.
                socket.send(&std::mem::take(&mut client.waiting)).unwrap_or_default();
                client.socket = Some(socket);
            }
            Some(_) => {}
            None => self.forget(slot),
        }
        Ok(())
    }

    /// A descriptor is ready.
    pub fn on_ready(&mut self, id: u32, shared: &mut Shared) -> SysResult<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM_BYTES, 0);
        let index = id as usize;
        let done = match self.slots.get_mut(index) {
            Some(Slot::Bound(_)) => self.hear_clients(index, &mut buffer, shared),
            Some(Slot::Client(_)) => self.answer(index, &mut buffer, shared),
            None => Ok(()),
        };
        self.buffer = buffer;
        done
    }

    /// Clients have said something.
    fn hear_clients(&mut self, index: usize, buffer: &mut [u8], shared: &mut Shared) -> SysResult<()> {
        for _ in 0..TURN {
            let Some(Slot::Bound(bound)) = self.slots.get_mut(index) else { return Ok(()) };
            let (size, address) = match bound.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // The answer to something that was sent from here: a client that is gone.
                Err(_) => continue,
            };
            let slot = match bound.clients.get(&address) {
                Some(slot) => *slot,
                None => match self.new_client(index, address, shared)? {
                    Some(slot) => slot,
                    None => continue,
                },
            };
            self.say(slot, &buffer[..size], shared)?;
        }
        Ok(())
    }

    /// The slot of a client that is new. `None`: there are too many.
    fn new_client(&mut self, index: usize, address: SocketAddr, shared: &mut Shared) -> SysResult<Option<usize>> {
        if self.clients >= MAX_CLIENTS {
            return Ok(None);
        }
        let slot = self.slots.next();
        let Some(Slot::Bound(bound)) = self.slots.get_mut(index) else { return Ok(None) };
        let (socket, rest) = match &bound.service {
            Service::Box { targets, .. } => match connect(targets.clone()) {
                (None, _) => return Ok(None),
                connected => connected,
            },
            Service::Host(port) => {
                let connect = Report::Connect { ticket: slot as u32, protocol: Protocol::Udp, port: *port };
                shared.link.send(&connect, Vec::new())?;
                (None, Vec::new())
            }
        };
        if let Some(socket) = &socket {
            shared.reactor.add(socket, key(slot), EventFlags::IN)?;
        }
        bound.clients.insert(address, slot);
        let heard = Instant::now();
        self.slots.insert(Slot::Client(Client { bound: index, address, socket, waiting: Vec::new(), rest, heard }));
        self.clients += 1;
        self.sweep.get_or_insert_with(|| Instant::now() + SWEEP_INTERVAL);
        Ok(Some(slot))
    }

    /// Passes on what a client said.
    fn say(&mut self, slot: usize, said: &[u8], shared: &Shared) -> SysResult<()> {
        let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
        client.heard = Instant::now();
        // While it may have to be said again.
        if client.socket.is_none() || !client.rest.is_empty() {
            client.waiting = said.to_vec();
        }
        match client.socket.as_ref().map(|socket| socket.send(said)) {
            Some(Err(error)) if is_refusal(&error) => self.refused(slot, shared),
            _ => Ok(()),
        }
    }

    /// Nobody is there: says it to the next target.
    fn refused(&mut self, slot: usize, shared: &Shared) -> SysResult<()> {
        let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
        if let (Some(next), rest) = connect(std::mem::take(&mut client.rest)) {
            shared.reactor.add(&next, key(slot), EventFlags::IN)?;
            next.send(&client.waiting).unwrap_or_default();
            (client.socket, client.rest) = (Some(next), rest);
        }
        Ok(())
    }

    /// The service has said something to a client.
    fn answer(&mut self, slot: usize, buffer: &mut [u8], shared: &Shared) -> SysResult<()> {
        for _ in 0..TURN {
            let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
            let size = match client.socket.as_ref().map(|socket| socket.recv(buffer)) {
                Some(Ok(size)) => size,
                Some(Err(error)) if is_refusal(&error) => return self.refused(slot, shared),
                Some(Err(_)) | None => return Ok(()),
            };
            client.heard = Instant::now();
            // It is there: no other one is tried from now on.
            client.rest.clear();
            client.waiting = Vec::new();
            let (bound, address) = (client.bound, client.address);
            if let Some(Slot::Bound(bound)) = self.slots.get_mut(bound) {
                bound.socket.send_to(&buffer[..size], address).unwrap_or_default();
            }
        }
        Ok(())
    }

    fn forget(&mut self, slot: usize) {
        if let Some(Slot::Client(client)) = self.slots.remove(slot) {
            self.clients -= 1;
            if let Some(Slot::Bound(bound)) = self.slots.get_mut(client.bound) {
                bound.clients.remove(&client.address);
            }
        }
    }
}

fn is_refusal(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionRefused
}

/// A socket that is connected to the first of `targets` that there is a way to, and those behind it.
fn connect(mut targets: Vec<SocketAddr>) -> (Option<UdpSocket>, Vec<SocketAddr>) {
    while !targets.is_empty() {
        let target = targets.remove(0);
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let connected = UdpSocket::bind((any, 0))
            .and_then(|socket| socket.connect(target).and_then(|()| socket.set_nonblocking(true)).map(|()| socket));
        if let Ok(socket) = connected {
            return (Some(socket), targets);
        }
    }
    (None, targets)
}
