//! Sockets of the host's network that a box's agent may have.
//!
//! The agent gets them for good, and must not turn them to another address. It has no call that could (`agent/confine.rs`);
//! and each connected or listening socket has a filter that cannot be taken off and lets it be used for what it is for alone, a second wall
//! where the kernel lets ordinary users filter.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use libc::sock_filter;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, connect, listen, recvfrom, socket_with, sockopt,
};

use crate::profile::ports::{HostPort, Protocol, Published};
use crate::sys::socket::lock_filter;
use crate::sys::{Context, SysResult};

/// As many connections wait to be accepted as the kernel allows.
const BACKLOG: i32 = 4096;
/// Both of the host's, the one that every program tries first.
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Added to a low port that may not be bound: 80 becomes 8080.
const LOW_PORT_OFFSET: u16 = 8000;
/// How many ports after a taken one are tried, before any.
const NEIGHBOURS: u16 = 50;

/// Sockets that are bound, and where.
#[derive(Debug)]
pub struct Bound {
    /// TCP sockets listen.
    pub sockets: Vec<OwnedFd>,
    /// One for each socket; all have the same port.
    pub addresses: Vec<SocketAddr>,
}

/// Binds what `published` names. Without an address that is the loopback: IPv4, and IPv6 if the port is free there.
pub fn publish(published: &Published) -> SysResult<Bound> {
    let protocol = published.protocol;
    let port = published.host_port.unwrap_or(0);
    let (first, second) = match published.address {
        Some(address) => (address, None),
        None => (LOOPBACK[0], Some(LOOPBACK[1])),
    };
    let (socket, address) = bind_one(protocol, SocketAddr::new(first, port))?;
    let mut bound = Bound { sockets: vec![socket], addresses: vec![address] };
    if let Some(Ok((socket, other))) = second.map(|second| bind_one(protocol, SocketAddr::new(second, address.port())))
    {
        bound.sockets.push(socket);
        bound.addresses.push(other);
    }
    Ok(bound)
}

/// Binds `port` on the host's loopback; a port that is taken, or that only root may bind, is moved to one that is free.
pub fn publish_somewhere(port: u16, protocol: Protocol) -> SysResult<Bound> {
    let at = |host_port| publish(&Published { address: None, host_port, box_port: port, protocol });
    let movable = |errno: Errno| matches!(errno, Errno::ADDRINUSE | Errno::ACCESS);
    for candidate in candidates(port) {
        match at(Some(candidate)) {
            Err(error) if movable(error.errno) => {}
            other => return other,
        }
    }
    at(None)
}

/// The ports that are tried for `port`, the best first.
fn candidates(port: u16) -> impl Iterator<Item = u16> {
    let next = if port < 1024 { port + LOW_PORT_OFFSET } else { port.saturating_add(1) };
    std::iter::once(port).chain(next..=next.saturating_add(NEIGHBOURS - 1))
}

fn bind_one(protocol: Protocol, address: SocketAddr) -> SysResult<(OwnedFd, SocketAddr)> {
    let call = || format!("bind `{address}/{protocol}`");
    let socket = new_socket(protocol, address).call(call)?;
    if address.is_ipv6() {
        // What is bound to `[::]` leaves `0.0.0.0` to others.
        sockopt::set_ipv6_v6only(&socket, true).call(call)?;
    }
    if protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true).call(call)?;
    }
    bind(&socket, &address).call(call)?;
    if protocol == Protocol::Tcp {
        dedicate(&socket, &NEVER_CONNECTS)?;
        listen(&socket, BACKLOG).call(call)?;
    }
    let bound = rustix::net::getsockname(&socket).call(call)?;
    let bound = SocketAddr::try_from(bound).map_err(|_| Errno::AFNOSUPPORT).call(call)?;
    Ok((socket, bound))
}

/// Connects to `port` of the host's loopback. The socket may still be connecting; `None`: nobody listens.
pub fn connect_to(port: HostPort) -> SysResult<Option<OwnedFd>> {
    for address in LOOPBACK.map(|address| SocketAddr::new(address, port.port)) {
        let socket = connect_only_to(port.protocol, address)?;
        if socket.is_some() {
            return Ok(socket);
        }
    }
    Ok(None)
}

/// Connects to `address`, for the agent. The socket may still be connecting; `None`: there is nobody, or no way.
pub fn connect_only_to(protocol: Protocol, address: SocketAddr) -> SysResult<Option<OwnedFd>> {
    let call = || format!("connect `{address}/{protocol}`");
    let socket = match new_socket(protocol, address) {
        // A host without IPv6.
        Err(Errno::AFNOSUPPORT) => return Ok(None),
        other => other.call(call)?,
    };
    dedicate(&socket, &only_from(address.port()))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Some(socket)),
        Err(errno) if std::io::Error::from(errno).kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(Errno::ADDRNOTAVAIL | Errno::NETUNREACH | Errno::HOSTUNREACH) => Ok(None),
        Err(errno) => Err(errno).call(call),
    }
}

/// The sender of the next datagram that is to be read from `bound`, and a socket that is bound as that one is and connected to
/// the sender, whose further datagrams it gets. `None`: there is none, or the sender has such a socket.
pub fn client_of(bound: &OwnedFd) -> SysResult<Option<(SocketAddr, OwnedFd)>> {
    let call = || "make a socket for a client".to_owned();
    let address = |any| SocketAddr::try_from(any).map_err(|_| Errno::AFNOSUPPORT).call(call);
    let sender = match recvfrom(bound, &mut [0][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, _, Some(sender))) => address(sender)?,
        Ok(_) | Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno).call(call),
    };
    let own = address(rustix::net::getsockname(bound).call(call)?)?;
    let socket = new_socket(Protocol::Udp, own).call(call)?;
    if own.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).call(call)?;
    }
    dedicate(&socket, &only_from(sender.port()))?;
    sockopt::set_socket_reuseaddr(&socket, true).call(call)?;
    // For this moment alone: else every program could listen here.
    sockopt::set_socket_reuseaddr(bound, true).call(call)?;
    let done = bind(&socket, &own);
    sockopt::set_socket_reuseaddr(bound, false).call(call)?;
    match done {
        Err(Errno::ADDRINUSE) => return Ok(None),
        other => other.call(call)?,
    }
    connect(&socket, &sender).call(call)?;
    Ok(Some((sender, socket)))
}

fn new_socket(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Locks `filter` onto `socket`, where the kernel lets us.
fn dedicate(socket: &OwnedFd, filter: &[sock_filter]) -> SysResult<()> {
    match lock_filter(socket, filter) {
        Err(error) if error.errno == Errno::PERM => Ok(()),
        other => other,
    }
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const PASS: sock_filter = step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0);
const DROP: sock_filter = step(libc::BPF_RET | libc::BPF_K, 0, 0, 0);

/// A TCP socket that gets no answer to a connection of its own: packets with both SYN and ACK are dropped. Connections
/// that it accepts inherit this.
const NEVER_CONNECTS: [sock_filter; 5] = [
    // The flags lie in the 14th byte of the header.
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 13, 0, 0),
    step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0x12, 0, 0),
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0x12, 0, 1),
    DROP,
    PASS,
];

/// A socket that hears of nobody but who has this port.
const fn only_from(port: u16) -> [sock_filter; 4] {
    [
        // The source port is the first field of both headers.
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, port as u32, 1, 0),
        DROP,
        PASS,
    ]
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::*;

    fn server() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Whether `socket` can be turned to another address.
    fn turns_to(socket: OwnedFd, address: SocketAddr) -> bool {
        rustix::net::connect_unspec(&socket).unwrap();
        rustix::io::ioctl_fionbio(&socket, true).unwrap();
        let connected = connect(&socket, &address);
        assert!(matches!(connected, Ok(()) | Err(Errno::INPROGRESS)), "{connected:?}");
        let mut set = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
        let wait = rustix::event::Timespec::try_from(Duration::from_millis(200)).unwrap();
        rustix::event::poll(&mut set, Some(&wait)).unwrap() == 1
    }

    #[test]
    fn a_taken_port_is_moved() {
        let (_listener, port) = server();
        let taken = Published { address: None, host_port: Some(port), box_port: 1, protocol: Protocol::Tcp };
        assert_eq!(publish(&taken).unwrap_err().errno, Errno::ADDRINUSE);
        let moved = publish_somewhere(port, Protocol::Tcp).unwrap();
        assert!(moved.addresses[0].port() > port, "{moved:?}");
        assert_eq!(candidates(80).take(3).collect::<Vec<_>>(), [80, 8080, 8081]);
        assert_eq!(candidates(3000).take(2).collect::<Vec<_>>(), [3000, 3001]);
        assert!(candidates(65_535).all(|port| port == 65_535));
    }

    #[test]
    fn a_client_of_a_datagram_socket_has_a_socket_of_its_own() {
        let published = Published { address: None, host_port: None, box_port: 1, protocol: Protocol::Udp };
        let bound = publish(&published).unwrap();
        let (address, main) = (bound.addresses[0], &bound.sockets[0]);
        assert!(client_of(main).unwrap().is_none(), "nobody has said anything");
        let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let own = clients.each_ref().map(|client| {
            client.send_to(b"first", address).unwrap();
            let (sender, socket) = client_of(main).unwrap().unwrap();
            assert_eq!(sender, client.local_addr().unwrap());
            assert_eq!(rustix::net::recv(main, &mut [0; 9], RecvFlags::DONTWAIT).unwrap().0, 5);
            UdpSocket::from(socket)
        });
        for (client, own) in clients.iter().zip(&own) {
            client.send_to(b"next", address).unwrap();
            let mut said = [0; 9];
            assert_eq!(own.recv_from(&mut said).unwrap(), (4, client.local_addr().unwrap()));
            own.send(b"answer").unwrap();
            assert_eq!(client.recv_from(&mut said).unwrap(), (6, address));
        }
        // Nobody else comes in between.
        let thief = new_socket(Protocol::Udp, address).unwrap();
        sockopt::set_socket_reuseaddr(&thief, true).unwrap();
        assert_eq!(bind(&thief, &address), Err(Errno::ADDRINUSE));
    }

    #[test]
    fn what_is_handed_out_serves_one_purpose() {
        // Some kernels leave filters of TCP to root: there the wall is the agent's own alone.
        let has_wall = lock_filter(&server().0, &[PASS]).is_ok();
        let (other, elsewhere) = server();
        let elsewhere = SocketAddr::new(LOOPBACK[0], elsewhere);
        let free = Published { address: Some(LOOPBACK[0]), host_port: None, box_port: 1, protocol: Protocol::Tcp };

        let mut bound = publish(&free).unwrap();
        let mut client = TcpStream::connect(bound.addresses[0]).unwrap();
        let accepted = rustix::net::accept(&bound.sockets[0]).unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(TcpStream::from(accepted.try_clone().unwrap()).read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(turns_to(accepted, elsewhere), !has_wall, "an accepted connection");
        assert_eq!(turns_to(bound.sockets.remove(0), elsewhere), !has_wall, "a listening socket");

        let (named, port) = server();
        let port = HostPort { port, protocol: Protocol::Tcp };
        let socket = connect_to(port).unwrap().unwrap();
        named.accept().unwrap();
        assert!(lock_filter(&socket, &[PASS]).is_err());
        assert_eq!(turns_to(socket, elsewhere), !has_wall, "a connection to a named port");
        drop((other, named));
        // The refusal may take a moment.
        if let Some(socket) = connect_to(port).unwrap() {
            let mut set = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
            rustix::event::poll(&mut set, None).unwrap();
            assert_eq!(sockopt::socket_error(&socket).unwrap(), Err(Errno::CONNREFUSED));
        }
    }
}
