//! Which ports of a box are reachable on the host at the moment: what `devbox port list` shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags};
use serde::{Deserialize, Serialize};

use super::bind::{self, Bound};
use crate::profile::ports::{Attributes, Protocol, Published};
use crate::sys::{Context, SysResult};

/// A box that listens on more ports than this has the rest to itself.
const MAX_FOUND: usize = 256;
/// So many clients that wait for a port that is removed are served yet: they take descriptors of ours for a moment.
const MAX_WAITING: usize = 512;

/// A port of the box and its places on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The box's port.
    pub box_port: u16,
    /// Of both sides.
    pub protocol: Protocol,
    /// On the host; all have the same port.
    pub addresses: Vec<SocketAddr>,
    /// Why it is there.
    pub origin: Origin,
    /// The host's port that it should have had.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moved_from: Option<u16>,
    /// What it is for: any text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
}

/// Who wanted a port to be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `ports` of the profile.
    Profile,
    /// `devbox port add`.
    Command,
    /// A program in the box listens.
    Found,
}

/// A forward, and what the agent knows it by.
#[derive(Debug)]
pub struct Entry {
    /// The number.
    pub id: u32,
    /// What is shown.
    pub forward: Forward,
    /// Addresses in the box.
    pub targets: Vec<SocketAddr>,
    /// The sockets, which the agent has as well.
    sockets: Vec<OwnedFd>,
}

impl Entry {
    /// The sockets, for the agent.
    pub fn share(&self) -> SysResult<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.try_clone().call(|| "dup a socket".to_owned())).collect()
    }

    /// Turns new connections away, whatever the agent does with its descriptors. Returns the clients that had connected and
    /// were not accepted yet: the kernel would reset them with their listener.
    pub fn close(&self) -> Vec<OwnedFd> {
        let mut waiting = Vec::new();
        for socket in &self.sockets {
            if self.forward.protocol == Protocol::Tcp {
                accept_all(socket, &mut waiting);
            }
            // A listener listens no longer. One for datagrams has nothing that could be shut down.
            rustix::net::shutdown(socket, Shutdown::Both).unwrap_or_default();
        }
        waiting
    }
}

/// Accepts who waits at `listener`, which does not block, until there are [`MAX_WAITING`] in `clients`.
fn accept_all(listener: &OwnedFd, clients: &mut Vec<OwnedFd>) {
    while clients.len() < MAX_WAITING {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(client) => clients.push(client),
            // Whoever it was has gone meanwhile.
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
            // Nobody waits any more, or there is no descriptor to spare.
            Err(_) => return,
        }
    }
}

/// All of a box.
#[derive(Debug, Default)]
pub struct Forwards {
    entries: Vec<Entry>,
    next_id: u32,
    attributes: Vec<Attributes>,
}

impl Forwards {
    /// None yet; `attributes` is what is said of some.
    #[must_use]
    pub fn new(attributes: Vec<Attributes>) -> Self {
        Self { attributes, ..Self::default() }
    }

    /// In the order in which they were made.
    pub fn list(&self) -> impl Iterator<Item = &Forward> {
        self.entries.iter().map(|entry| &entry.forward)
    }

    /// The UDP socket `number` of the entry `id`.
    #[must_use]
    pub fn datagrams(&self, id: u32, number: usize) -> Option<&OwnedFd> {
        let entry = self.entries.iter().find(|entry| entry.id == id && entry.forward.protocol == Protocol::Udp)?;
        entry.sockets.get(number)
    }

    /// Binds what `published` names.
    pub fn publish(&mut self, published: &Published, origin: Origin) -> SysResult<&Entry> {
        let Bound { sockets, addresses } = bind::publish(published)?;
        let forward = self.forward(published.box_port, published.protocol, addresses, origin);
        let targets = bind::LOOPBACK.map(|address| SocketAddr::new(address, published.box_port)).to_vec();
        Ok(self.insert(forward, targets, sockets))
    }

    /// A program in the box listens on `port` of `address`. `None`: it is reachable already, or is not to be, or there are too many.
    pub fn found(&mut self, port: u16, address: IpAddr) -> SysResult<Option<&Entry>> {
        let known = |forward: &Forward| forward.box_port == port && forward.protocol == Protocol::Tcp;
        let found = self.list().filter(|forward| forward.origin == Origin::Found).count();
        let is_ignored = Attributes::of(&self.attributes, port).is_some_and(|said| said.is_ignored);
        if is_ignored || found >= MAX_FOUND || self.list().any(known) {
            return Ok(None);
        }
        let Bound { sockets, addresses } = bind::publish_somewhere(port, Protocol::Tcp)?;
        let moved_from = addresses.first().is_some_and(|address| address.port() != port).then_some(port);
        let forward = Forward { moved_from, ..self.forward(port, Protocol::Tcp, addresses, Origin::Found) };
        Ok(Some(self.insert(forward, vec![SocketAddr::new(reachable(address), port)], sockets)))
    }

    fn forward(&self, box_port: u16, protocol: Protocol, addresses: Vec<SocketAddr>, origin: Origin) -> Forward {
        let label = Attributes::of(&self.attributes, box_port).and_then(|said| said.label.clone());
        Forward { box_port, protocol, addresses, origin, moved_from: None, label }
    }

    fn insert(&mut self, forward: Forward, targets: Vec<SocketAddr>, sockets: Vec<OwnedFd>) -> &Entry {
        self.next_id += 1;
        let at = self.entries.len();
        self.entries.push(Entry { id: self.next_id, forward, targets, sockets });
        &self.entries[at]
    }

    /// Takes the entries out that `unwanted` holds for; they are not closed yet.
    pub fn remove(&mut self, unwanted: impl Fn(&Forward) -> bool) -> Vec<Entry> {
        self.entries.extract_if(.., |entry| unwanted(&entry.forward)).collect()
    }
}

/// Where in the box a socket is reached that is bound to `address`.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn one_forward_for_each_port() {
        let mut forwards = Forwards::default();
        let wanted = Published { address: None, host_port: None, box_port: 80, protocol: Protocol::Tcp };
        let (id, targets) = {
            let entry = forwards.publish(&wanted, Origin::Profile).unwrap();
            assert_eq!(entry.forward.addresses.len(), entry.sockets.len());
            (entry.id, entry.targets.clone())
        };
        assert_eq!(targets[0].to_string(), "127.0.0.1:80");
        assert!(forwards.found(80, "0.0.0.0".parse().unwrap()).unwrap().is_none(), "published already");
        let found = forwards.found(45_678, "::".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.targets[0].to_string(), "[::1]:45678");
        assert_eq!(
            forwards.remove(|forward| forward.box_port == 80).iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [id]
        );
        assert_eq!(forwards.list().count(), 1);
    }

    #[test]
    fn what_is_said_of_ports() {
        let attributes = [
            Attributes { first: 45_000, last: 45_999, label: Some("many".into()), is_ignored: true },
            Attributes { first: 45_679, last: 45_679, label: Some("one".into()), is_ignored: false },
        ];
        let mut forwards = Forwards::new(attributes.to_vec());
        let address = "0.0.0.0".parse().unwrap();
        assert!(forwards.found(45_678, address).unwrap().is_none());
        assert_eq!(forwards.found(45_679, address).unwrap().unwrap().forward.label.as_deref(), Some("one"));
        let wanted = Published { address: None, host_port: None, box_port: 45_680, protocol: Protocol::Tcp };
        assert_eq!(forwards.publish(&wanted, Origin::Profile).unwrap().forward.label.as_deref(), Some("many"));
    }

    #[test]
    fn a_removed_port_closes_whatever_the_agent_does() {
        let mut forwards = Forwards::default();
        let wanted = Published { address: None, host_port: None, box_port: 80, protocol: Protocol::Tcp };
        let entry = forwards.publish(&wanted, Origin::Command).unwrap();
        let (kept_by_the_agent, address) = (entry.share().unwrap(), entry.forward.addresses[0]);
        let clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let waiting: Vec<OwnedFd> = forwards.remove(|_| true).iter().flat_map(Entry::close).collect();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        // Whoever had connected is not turned away.
        let waiting: Vec<TcpStream> = waiting.into_iter().map(TcpStream::from).collect();
        assert_eq!(
            waiting.iter().map(|waiting| waiting.peer_addr().unwrap()).collect::<Vec<_>>(),
            clients.iter().map(|client| client.local_addr().unwrap()).collect::<Vec<_>>()
        );
        drop(kept_by_the_agent);
    }
}
