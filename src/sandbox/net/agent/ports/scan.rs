//! Which TCP ports programs of the box listen on, asked of the kernel by `sock_diag`, which walks the listening sockets
//! of this network namespace alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use crate::sandbox::net::netlink::{Socket, Writer, messages};
use crate::sys::{Context, SysError, SysResult};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
pub const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` of the kernel's socket states, as a bit.
const LISTEN: u32 = 1 << 10;
/// What is behind the states in `struct inet_diag_req_v2`, in bytes: which sockets are meant, if not all.
const SOCKET_ID: usize = 48;
/// The end of the source address in `struct inet_diag_msg`.
const MESSAGE: usize = 24;

/// Asks the kernel.
#[derive(Debug)]
pub struct Scanner {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Scanner {
    /// In the network namespace of the caller.
    pub fn new() -> SysResult<Self> {
        Ok(Self { socket: Socket::new(Some(SOCK_DIAG))?, buffer: vec![0; 32 << 10] })
    }

    /// The ports, and the address that each is bound to: where a port is bound more than once, the best one to connect to.
    pub fn scan(&mut self) -> SysResult<BTreeMap<u16, IpAddr>> {
        let mut found = BTreeMap::new();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            self.socket.send(request(family)).call(|| "send `sock_diag`".to_owned())?;
            loop {
                let size = self.socket.receive(&mut self.buffer).call(|| "receive `sock_diag`".to_owned())?;
                if read(&self.buffer[..size], &mut found)? {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// "Dump all TCP sockets of `family` that listen."
fn request(family: u8) -> Writer {
    let mut writer = Writer::default();
    writer.message(BY_FAMILY, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, 0, |writer| {
        writer.raw(&[family, libc::IPPROTO_TCP as u8, 0, 0]);
        writer.words(&[LISTEN]);
        writer.raw(&[0; SOCKET_ID]);
    });
    writer
}

/// Adds what one packet tells. True at the end of the dump.
fn read(packet: &[u8], found: &mut BTreeMap<u16, IpAddr>) -> SysResult<bool> {
    for message in messages(packet) {
        if let Some(errno) = message.errno() {
            return Err(SysError::new("dump `sock_diag`", Errno::from_raw_os_error(errno)));
        }
        if i32::from(message.kind) == libc::NLMSG_DONE {
            return Ok(true);
        }
        let (port, address) = listener(message.body).ok_or_else(|| SysError::new("read `sock_diag`", Errno::BADMSG))?;
        let best = found.entry(port).or_insert(address);
        if rank(address) < rank(*best) {
            *best = address;
        }
    }
    Ok(false)
}

/// `struct inet_diag_msg`: family, state, timer, retransmissions; source and destination port; source address.
fn listener(body: &[u8]) -> Option<(u16, IpAddr)> {
    let body = body.get(..MESSAGE)?;
    let address = match i32::from(body[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*body[8..].first_chunk::<4>()?)),
        _ => IpAddr::V6(Ipv6Addr::from(*body[8..].first_chunk::<16>()?)),
    };
    Some((u16::from_be_bytes([body[4], body[5]]), address))
}

/// Any address and loopback before a certain one, IPv4 before IPv6.
fn rank(address: IpAddr) -> (bool, bool) {
    (!address.is_unspecified() && !address.is_loopback(), address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_who_listens() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let mut scanner = Scanner::new().unwrap();
        let found = scanner.scan().unwrap();
        assert_eq!(found.get(&port(&own)), Some(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(found.get(&port(&other)), Some(&"127.0.0.2".parse().unwrap()));
        let gone = port(&own);
        drop(own);
        assert!(!scanner.scan().unwrap().contains_key(&gone));
    }

    #[test]
    fn the_best_address_of_a_port() {
        let mut ranked: Vec<IpAddr> =
            ["fd00::1", "::", "192.0.2.1", "127.0.0.1"].map(|text| text.parse().unwrap()).to_vec();
        ranked.sort_by_key(|address| rank(*address));
        assert_eq!(
            ranked.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1", "::", "192.0.2.1", "fd00::1"]
        );
    }
}
