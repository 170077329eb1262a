//! The kernel's numbers of sockets, by which their processes are found.

use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::SOCK_DIAG;

use crate::sandbox::net::agent::ports::scan::BY_FAMILY;
use crate::sandbox::net::netlink::{Socket, Writer, messages};
use crate::sys::SysResult;

/// Where the number is in `struct inet_diag_msg`, in bytes.
const INODE: usize = 68;
/// `INET_DIAG_NOCOOKIE`: any generation of the socket.
const ANY: u32 = u32::MAX;

/// Asks the kernel.
#[derive(Debug)]
pub struct Sockets {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Sockets {
    /// In the network namespace of the caller.
    pub fn new() -> SysResult<Self> {
        Ok(Self { socket: Socket::new(Some(SOCK_DIAG))?, buffer: vec![0; 4096] })
    }

    /// The number of the socket that sends from `from` to `to`, by `protocol` as IP numbers them, if it is still there.
    pub fn number(&mut self, protocol: i32, from: SocketAddr, to: SocketAddr) -> Option<u64> {
        self.socket.send(request(protocol, from, to)).ok()?;
        let size = self.socket.receive(&mut self.buffer).ok()?;
        let body = messages(&self.buffer[..size]).find(|message| message.kind == BY_FAMILY)?.body;
        let inode = body.get(INODE..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
        // A connection that nobody has any more.
        (inode != 0).then_some(inode.into())
    }
}

/// "This one socket."
fn request(protocol: i32, from: SocketAddr, to: SocketAddr) -> Writer {
    // As the one who receives sees it, for UDP.
    let (source, destination) = if protocol == libc::IPPROTO_UDP { (to, from) } else { (from, to) };
    let family = if from.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut writer = Writer::default();
    writer.message(BY_FAMILY, libc::NLM_F_REQUEST as u16, 0, |writer| {
        writer.raw(&[family as u8, protocol as u8, 0, 0]);
        // Every state.
        writer.words(&[u32::MAX]);
        writer.raw(&source.port().to_be_bytes());
        writer.raw(&destination.port().to_be_bytes());
        for address in [source, destination] {
            match address.ip() {
                IpAddr::V4(ip) => writer.raw(&[&ip.octets()[..], &[0; 12]].concat()),
                IpAddr::V6(ip) => writer.raw(&ip.octets()),
            }
        }
        // Of any interface.
        writer.words(&[0, ANY, ANY]);
    });
    writer
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_have_numbers() {
        let mut sockets = Sockets::new().unwrap();
        let inode = |socket: &dyn AsFd| rustix::fs::fstat(socket.as_fd()).unwrap().st_ino;
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(loopback) else { continue };
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (from, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            assert_eq!(sockets.number(libc::IPPROTO_TCP, from, to), Some(inode(&stream)), "{loopback}");
            let datagrams = UdpSocket::bind(loopback).unwrap();
            let from = datagrams.local_addr().unwrap();
            assert_eq!(sockets.number(libc::IPPROTO_UDP, from, to), Some(inode(&datagrams)), "{loopback}");
            drop(datagrams);
            assert_eq!(sockets.number(libc::IPPROTO_UDP, from, to), None, "{loopback}");
        }
    }
}
