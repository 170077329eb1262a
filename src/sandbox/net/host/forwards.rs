//! Which ports of a box are reachable on the host at the moment: what `devbox port list` shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::bind::{self, Bound};
use crate::profile::ports::{Protocol, Published};
use crate::sys::SysResult;

/// A box that listens on more ports than this has the rest to itself.
const MAX_FOUND: usize = 256;

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
}

/// All of a box.
#[derive(Debug, Default)]
pub struct Forwards {
    entries: Vec<Entry>,
    next_id: u32,
}

impl Forwards {
    /// In the order in which they were made.
    pub fn list(&self) -> impl Iterator<Item = &Forward> {
        self.entries.iter().map(|entry| &entry.forward)
    }

    /// Binds what `published` names.
    pub fn publish(&mut self, published: &Published, origin: Origin) -> SysResult<(&Entry, Bound)> {
        let mut bound = bind::publish(published)?;
        let forward = Forward {
            box_port: published.box_port,
            protocol: published.protocol,
            addresses: std::mem::take(&mut bound.addresses),
            origin,
            moved_from: None,
        };
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let targets = loopback.map(|address| SocketAddr::new(address, published.box_port)).to_vec();
        Ok((self.insert(forward, targets), bound))
    }

    /// A program in the box listens on `port` of `address`. `None`: it is reachable already, or there are too many.
    pub fn found(&mut self, port: u16, address: IpAddr) -> SysResult<Option<(&Entry, Bound)>> {
        let known = |forward: &Forward| forward.box_port == port && forward.protocol == Protocol::Tcp;
        let found = self.list().filter(|forward| forward.origin == Origin::Found).count();
        if found >= MAX_FOUND || self.list().any(known) {
            return Ok(None);
        }
        let mut bound = bind::publish_somewhere(port, Protocol::Tcp)?;
        let addresses = std::mem::take(&mut bound.addresses);
        let moved_from = addresses.first().is_some_and(|address| address.port() != port).then_some(port);
        let forward = Forward { box_port: port, protocol: Protocol::Tcp, addresses, origin: Origin::Found, moved_from };
        Ok(Some((self.insert(forward, vec![SocketAddr::new(reachable(address), port)]), bound)))
    }

    fn insert(&mut self, forward: Forward, targets: Vec<SocketAddr>) -> &Entry {
        self.next_id += 1;
        let at = self.entries.len();
        self.entries.push(Entry { id: self.next_id, forward, targets });
        &self.entries[at]
    }

    /// Takes the entries out that `unwanted` holds for.
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
    use super::*;

    #[test]
    fn one_forward_for_each_port() {
        let mut forwards = Forwards::default();
        let wanted = Published { address: None, host_port: None, box_port: 80, protocol: Protocol::Tcp };
        let (id, targets) = {
            let (entry, bound) = forwards.publish(&wanted, Origin::Profile).unwrap();
            assert_eq!(entry.forward.addresses.len(), bound.sockets.len());
            (entry.id, entry.targets.clone())
        };
        assert_eq!(targets[0].to_string(), "127.0.0.1:80");
        assert!(forwards.found(80, "0.0.0.0".parse().unwrap()).unwrap().is_none(), "published already");
        let (found, _bound) = forwards.found(45_678, "::".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.targets[0].to_string(), "[::1]:45678");
        assert_eq!(
            forwards.remove(|forward| forward.box_port == 80).iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [id]
        );
        assert_eq!(forwards.list().count(), 1);
    }
}
