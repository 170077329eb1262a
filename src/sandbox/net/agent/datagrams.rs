//! UDP ports: each client of a bound socket gets a connected socket of its own on the other side, for as long as one of
//! them says something.
//!
//! ```text
//! client A ── own socket ──┐                     ┌── socket A ──┐
//!                          ├── bound socket ─────┤              ├── service
//! client B ── own socket ──┘                     └── socket B ──┘
//! ```
//!
//! The bound socket is the host's and the service the box's for a published port. Then each client has a connected socket on
//! its side, too, which the host side makes when the kernel shows it a datagram of somebody new: so an answer cannot be sent
//! to anybody else. For a port of the host's loopback the bound socket is the box's, whose clients are answered by the dialer.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::Shared;
use super::dialer::{Dialer, Voice};
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
    /// The first of these addresses in the box that does not refuse. The bound socket is the host's, and this one of those
    /// that were published under this number.
    Box { id: u32, socket: usize, targets: Vec<SocketAddr> },
    /// This port of the host's loopback. The bound socket is the box's.
    Host { port: u16, voice: Voice },
}

/// A bound socket and the slots of its clients.
#[derive(Debug)]
struct Bound {
    socket: UdpSocket,
    service: Service,
    clients: HashMap<SocketAddr, usize>,
}

/// How a client is answered.
#[derive(Debug)]
enum Back {
    /// By a socket of the host that is connected to it.
    Socket(UdpSocket),
    /// By the dialer.
    Voice(Voice),
}

/// One client.
#[derive(Debug)]
struct Client {
    bound: usize,
    address: SocketAddr,
    back: Back,
    /// The one to the service. Absent while the host side connects it.
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

/// The number of a slot's first descriptor is even; that of a client's socket to its service is odd.
fn key(slot: usize, second: u32) -> Key {
    // There are fewer slots than descriptors.
    Key::new(Part::Datagrams, (slot as u32) << 1 | second)
}

impl Datagrams {
    /// Binds the host's ports in the box, low ones too.
    pub fn new(tasks: &Tasks) -> SysResult<Self> {
        let mut datagrams =
            Self { slots: Slab::default(), fresh: Vec::new(), clients: 0, sweep: None, buffer: Vec::new() };
        for HostPort { port, .. } in tasks.host_ports.iter().filter(|port| port.protocol == Protocol::Udp) {
            for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                match UdpSocket::bind((address, *port)) {
                    Ok(socket) => {
                        let voice = Voice(datagrams.slots.len() as u16);
                        datagrams.add(socket, Service::Host { port: *port, voice })?;
                    }
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

    /// The sockets of the box, in the order of their [`Voice`]s; to be asked before anything is published.
    pub fn voices(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Bound(bound) => Some(bound.socket.as_fd()),
            Slot::Client(_) => None,
        })
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
                shared.reactor.add(&bound.socket, key(slot, 0), EventFlags::IN)?;
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
        sockets.into_iter().enumerate().try_for_each(|(number, socket)| {
            self.add(UdpSocket::from(socket), Service::Box { id, socket: number, targets: targets.to_vec() })
        })
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
                shared.reactor.add(&socket, key(slot, 1), EventFlags::IN)?;
                // A datagram may get lost.
                socket.send(&std::mem::take(&mut client.waiting)).unwrap_or_default();
                client.socket = Some(socket);
            }
            Some(_) => {}
            None => self.forget(slot),
        }
        Ok(())
    }

    /// The host side's answer to [`Report::Client`]; the ticket is the bound socket's slot.
    pub fn accepted(
        &mut self,
        ticket: u32,
        client: Option<(SocketAddr, OwnedFd)>,
        shared: &mut Shared,
    ) -> SysResult<()> {
        let index = ticket as usize;
        let Some(Slot::Bound(Bound { socket, service: Service::Box { targets, .. }, clients, .. })) =
            self.slots.get_mut(index)
        else {
            return Ok(());
        };
        shared.reactor.add(&*socket, key(index, 0), EventFlags::IN)?;
        let targets = targets.clone();
        match client {
            Some((address, back)) if !clients.contains_key(&address) => {
                let slot = self.slots.next();
                let back = UdpSocket::from(back);
                shared.reactor.add(&back, key(slot, 0), EventFlags::IN)?;
                let (service, rest) = connect(targets, &shared.dialer)?;
                if let Some(service) = &service {
                    shared.reactor.add(service, key(slot, 1), EventFlags::IN)?;
                }
                self.add_client(index, address, Back::Socket(back), service, rest);
                Ok(())
            }
            // Nothing to be done for whoever it was.
            _ => socket.recv_from(&mut [0]).map(drop).or(Ok(())),
        }
    }

    /// A descriptor is ready.
    pub fn on_ready(&mut self, id: u32, shared: &mut Shared) -> SysResult<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM_BYTES, 0);
        let index = (id >> 1) as usize;
        let done = match self.slots.get_mut(index) {
            Some(Slot::Bound(_)) => self.hear_bound(index, &mut buffer, shared),
            Some(Slot::Client(_)) if id & 1 == 0 => self.hear_client(index, &mut buffer, shared),
            Some(Slot::Client(_)) => self.answer(index, &mut buffer, shared),
            None => Ok(()),
        };
        self.buffer = buffer;
        done
    }

    /// A bound socket got something.
    fn hear_bound(&mut self, index: usize, buffer: &mut [u8], shared: &mut Shared) -> SysResult<()> {
        for _ in 0..TURN {
            let Some(Slot::Bound(bound)) = self.slots.get_mut(index) else { return Ok(()) };
            let address = match bound.socket.peek_from(&mut buffer[..1]) {
                Ok((_, address)) => address,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The answer to something that was sent from here: a client that is gone.
                Err(_) => continue,
            };
            let slot = match bound.clients.get(&address) {
                Some(slot) => Some(*slot),
                None if self.clients >= MAX_CLIENTS => None,
                None => match bound.service {
                    Service::Box { id, socket, .. } => {
                        // It is read again when the answer is there.
                        shared.reactor.remove(&bound.socket)?;
                        return shared.link.send(&Report::Client { ticket: index as u32, id, socket }, Vec::new());
                    }
                    Service::Host { port, voice } => {
                        let slot = self.add_client(index, address, Back::Voice(voice), None, Vec::new());
                        let connect = Report::Connect { ticket: slot as u32, protocol: Protocol::Udp, port };
                        shared.link.send(&connect, Vec::new())?;
                        Some(slot)
                    }
                },
            };
            let Some(Slot::Bound(bound)) = self.slots.get_mut(index) else { return Ok(()) };
            if let (Ok((size, _)), Some(slot)) = (bound.socket.recv_from(buffer), slot) {
                self.say(slot, &buffer[..size], shared)?;
            }
        }
        Ok(())
    }

    fn add_client(
        &mut self,
        bound: usize,
        address: SocketAddr,
        back: Back,
        socket: Option<UdpSocket>,
        rest: Vec<SocketAddr>,
    ) -> usize {
        let client = Client { bound, address, back, socket, waiting: Vec::new(), rest, heard: Instant::now() };
        let slot = self.slots.insert(Slot::Client(client));
        if let Some(Slot::Bound(bound)) = self.slots.get_mut(bound) {
            bound.clients.insert(address, slot);
        }
        self.clients += 1;
        self.sweep.get_or_insert_with(|| Instant::now() + SWEEP_INTERVAL);
        slot
    }

    /// A client's own socket got something.
    fn hear_client(&mut self, slot: usize, buffer: &mut [u8], shared: &Shared) -> SysResult<()> {
        for _ in 0..TURN {
            let Some(Slot::Client(Client { address, back: Back::Socket(back), .. })) = self.slots.get_mut(slot) else {
                return Ok(());
            };
            match back.recv_from(buffer) {
                Ok((size, from)) if from == *address => self.say(slot, &buffer[..size], shared)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Somebody else, from before it was connected; or the client does not listen any more.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
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
        if let (Some(next), rest) = connect(std::mem::take(&mut client.rest), &shared.dialer)? {
            shared.reactor.add(&next, key(slot, 1), EventFlags::IN)?;
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
            match &client.back {
                Back::Socket(back) => drop(back.send(&buffer[..size])),
                Back::Voice(voice) => shared.dialer.say(*voice, client.address, &buffer[..size])?,
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
    error.kind() == ErrorKind::ConnectionRefused
}

/// A socket that is connected to the first of `targets` that there is a way to, and those behind it.
fn connect(mut targets: Vec<SocketAddr>, dialer: &Dialer) -> SysResult<(Option<UdpSocket>, Vec<SocketAddr>)> {
    while !targets.is_empty() {
        if let Some(socket) = dialer.connect(Protocol::Udp, targets.remove(0))? {
            return Ok((Some(socket.into()), targets));
        }
    }
    Ok((None, targets))
}
