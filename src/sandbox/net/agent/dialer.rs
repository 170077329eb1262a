//! The agent's hand in the box's network: the only process of ours there that may choose whom to talk to.
//!
//! ```text
//! agent    sockets of the host and of the box; no call that turns one to another address
//!   │      "connect to ..", "say from the bound socket 2, to .., this"
//! dialer   sockets of the box alone
//! ```
//!
//! The agent reads what hostile programs send, and holds sockets of the host's network: with `connect` it could turn one of
//! those to whatever listens on the host. So it has no such call ([`confine`]). It asks this process, its own fork from before
//! it had any socket of the host, which reaches no more than the box itself does.
//!
//! ```text
//! wish: what u16 | family u8 | port u16 | address 16 bytes | datagram
//! ```
//!
//! The answer to a wish to connect is a byte; the socket rides along, if there is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, sendto, socket_with, socketpair,
};

use super::confine::{self, Role};
use crate::profile::ports::Protocol;
use crate::sandbox::companion::Parent;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::{Context, SysError, SysResult, socket};

/// A wish without its datagram, in bytes.
const HEADER: usize = 21;
/// The longest datagram, in bytes.
const MAX_DATAGRAM: usize = 64 << 10;

/// A bound UDP socket of the box, by its number among those that the dialer was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice(pub u16);

/// What the dialer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Connect(Protocol),
    Say(Voice),
}

/// The agent's end.
#[derive(Debug)]
pub struct Dialer(OwnedFd);

impl Dialer {
    /// Forks a dialer into the namespaces of the caller, who has one thread and holds nothing of the host's network yet. It
    /// speaks through `voices`, and ends with the caller. `empty` is a directory without entries.
    pub fn start(voices: &[BorrowedFd<'_>], empty: &Path) -> SysResult<Self> {
        let (agent, own) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .call(|| "socketpair".to_owned())?;
        let parent = Parent::this_process();
        match fork()? {
            Forked::Parent { .. } => Ok(Self(agent)),
            Forked::Child => {
                drop(agent);
                let kept: Vec<i32> = voices.iter().chain([&own.as_fd()]).map(AsRawFd::as_raw_fd).collect();
                let ended = parent
                    .settle("devbox: dialer", &kept, || Ok(()))
                    .and_then(|()| confine::confine(empty, &[], Role::Dialer))
                    .and_then(|()| serve(&own, voices));
                exit_now(i32::from(ended.is_err()))
            }
        }
    }

    /// A socket that is on its way to `address`; `None`: there is nobody, or no way.
    pub fn connect(&self, protocol: Protocol, address: SocketAddr) -> SysResult<Option<OwnedFd>> {
        let call = || format!("ask for a connection to `{address}/{protocol}`");
        send(&self.0, &encode(What::Connect(protocol), address), SendFlags::NOSIGNAL).call(call)?;
        let mut sockets = Vec::new();
        match socket::receive_with_descriptors(&self.0, &mut [0], &mut sockets)? {
            0 => Err(SysError::new(call(), Errno::PIPE)),
            _ => Ok(sockets.pop()),
        }
    }

    /// Sends `datagram` from a bound socket of the box. It may get lost.
    pub fn say(&self, voice: Voice, to: SocketAddr, datagram: &[u8]) -> SysResult<()> {
        let wish = [&encode(What::Say(voice), to), datagram].concat();
        send(&self.0, &wish, SendFlags::NOSIGNAL).map(drop).call(|| format!("ask for a datagram to `{to}`"))
    }
}

/// Until the agent is gone.
fn serve(own: &OwnedFd, voices: &[BorrowedFd<'_>]) -> SysResult<()> {
    let mut buffer = vec![0; HEADER + MAX_DATAGRAM];
    loop {
        let size = match recv(own, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Ok(()),
            Ok((size, _)) => size,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).call(|| "receive a wish".to_owned()),
        };
        let (what, address, datagram) =
            decode(&buffer[..size]).ok_or_else(|| SysError::new("decode a wish", Errno::BADMSG))?;
        match what {
            What::Connect(protocol) => {
                let made = dial(protocol, address).ok();
                let borrowed: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
                socket::send_with_descriptors(own, &[0], &borrowed)?;
            }
            What::Say(Voice(number)) => {
                if let Some(voice) = voices.get(usize::from(number)) {
                    // A datagram may get lost.
                    sendto(voice, datagram, SendFlags::DONTWAIT, &address).unwrap_or_default();
                }
            }
        }
    }
}

fn dial(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn encode(what: What, address: SocketAddr) -> [u8; HEADER] {
    let what = match what {
        What::Connect(Protocol::Tcp) => 0,
        What::Connect(Protocol::Udp) => 1,
        What::Say(Voice(number)) => number.saturating_add(2),
    };
    let mut bytes = [0; HEADER];
    bytes[..2].copy_from_slice(&what.to_be_bytes());
    bytes[3..5].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => bytes[5..9].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => {
            bytes[2] = 6;
            bytes[5..].copy_from_slice(&ip.octets());
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(What, SocketAddr, &[u8])> {
    let (header, datagram) = bytes.split_first_chunk::<HEADER>()?;
    let what = match u16::from_be_bytes([header[0], header[1]]) {
        0 => What::Connect(Protocol::Tcp),
        1 => What::Connect(Protocol::Udp),
        number => What::Say(Voice(number - 2)),
    };
    let ip: [u8; 16] = *header.last_chunk()?;
    let ip = match header[2] {
        6 => IpAddr::from(Ipv6Addr::from(ip)),
        _ => IpAddr::from(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])),
    };
    Some((what, SocketAddr::new(ip, u16::from_be_bytes([header[3], header[4]])), datagram))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    #[test]
    fn wishes_are_understood() {
        for (what, address) in [
            (What::Connect(Protocol::Tcp), "127.0.0.1:80"),
            (What::Connect(Protocol::Udp), "[2001:db8::1]:65535"),
            (What::Say(Voice(0)), "10.0.0.1:53"),
            (What::Say(Voice(7)), "[::1]:1"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let wish = [&encode(what, address)[..], b"said"].concat();
            assert_eq!(decode(&wish), Some((what, address, &b"said"[..])));
            assert!((0..HEADER).all(|cut| decode(&wish[..cut]).is_none()));
        }
    }

    #[test]
    fn it_connects_and_speaks() {
        let voice = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (hearer, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), voice.try_clone().unwrap());
        let (agent, own) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let dialer = Dialer(agent);
        let serving = thread::spawn(move || serve(&own, &[other.as_fd()]).unwrap());
        assert!(dialer.connect(Protocol::Tcp, listener.local_addr().unwrap()).unwrap().is_some());
        listener.accept().unwrap();
        assert!(dialer.connect(Protocol::Tcp, "[ff0e::1]:1".parse().unwrap()).unwrap().is_none());
        dialer.say(Voice(9), hearer.local_addr().unwrap(), b"nobody").unwrap();
        dialer.say(Voice(0), hearer.local_addr().unwrap(), b"hello").unwrap();
        let mut said = [0; 9];
        assert_eq!(hearer.recv_from(&mut said).unwrap(), (5, voice.local_addr().unwrap()));
        drop(dialer);
        serving.join().unwrap();
    }
}
