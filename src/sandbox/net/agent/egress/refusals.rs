//! Connections that are refused once their process is known.
//!
//! ```text
//! connect() ─ SYN ─ filter: tells of it in the group of held packets, and drops it
//!    │                         agent: which socket?        host side: which process? writes it down
//!    │ waits                   │ <─────────────────────────────── "written"
//!    └──── RST, from the address that was meant ── dialer: raw socket
//! ```
//!
//! A reset of the filter's own reaches the socket within the call that connects, and a socket that was reset has no address any more by
//! which the kernel finds it. So the filter leaves the reset to us. It does so for a number of connections in a second;
//! the others it resets itself.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::packets::Packet;
use crate::sandbox::net::agent::dialer::{Dialer, Voice};
use crate::sys::{Context, SysResult};

/// Of the headers, in bytes.
const TCP: usize = 20;
const IPV4: usize = 20;
/// The flags RST and ACK.
const RESET: u8 = 0x14;
/// How many routers a packet passes: it stays in the box.
const HOPS: u8 = 64;

/// Resets connections of the box.
#[derive(Debug)]
pub struct Refusals {
    /// For IPv4 and IPv6.
    sockets: [OwnedFd; 2],
    /// What the dialer knows the first of them by; the other is the next.
    voice: Voice,
    /// Those that wait to be written down, the first one first.
    held: VecDeque<Packet>,
}

impl Refusals {
    /// In the network namespace of the caller, who needs `CAP_NET_RAW` over it.
    pub fn new(voice: Voice) -> SysResult<Self> {
        // Of this protocol, what is sent has its headers with it.
        let socket = |family| socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW));
        let raw = |family| socket(family).call(|| format!("socket `SOCK_RAW` {family:?}"));
        Ok(Self { sockets: [raw(AddressFamily::INET)?, raw(AddressFamily::INET6)?], voice, held: VecDeque::new() })
    }

    /// The sockets, as the dialer is to know them.
    pub fn voices(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// This one is refused when it is written down, after those before it.
    pub fn hold(&mut self, packet: Packet) {
        self.held.push_back(packet);
    }

    /// The first one is written down.
    pub fn written(&mut self, dialer: &Dialer) -> SysResult<()> {
        self.held.pop_front().map_or(Ok(()), |packet| self.refuse(&packet, dialer))
    }

    /// Answers the first packet of a connection with a reset.
    pub fn refuse(&self, packet: &Packet, dialer: &Dialer) -> SysResult<()> {
        let Some(reset) = reset(packet) else { return Ok(()) };
        let Voice(first) = self.voice;
        let voice = Voice(first + u16::from(packet.from.is_ipv6()));
        dialer.say(voice, SocketAddr::new(packet.from, 0), &reset)
    }
}

/// The packet that refuses a connection whose first one is `packet`: RFC 9293, section 3.10.7.1. The kernel adds the sum of IPv4's header.
fn reset(packet: &Packet) -> Option<Vec<u8>> {
    let ((from_port, to_port), sequence) = packet.ports.zip(packet.tcp_sequence)?;
    let mut tcp = [0; TCP];
    tcp[..2].copy_from_slice(&to_port.to_be_bytes());
    tcp[2..4].copy_from_slice(&from_port.to_be_bytes());
    tcp[8..12].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    tcp[12] = (TCP as u8 / 4) << 4;
    tcp[13] = RESET;
    let protocol = libc::IPPROTO_TCP as u8;
    let pseudo_header = [0, protocol, 0, TCP as u8];
    let (mut whole, addresses) = match (packet.address, packet.from) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = (IPV4 + TCP) as u8;
            let header = [0x45, 0, 0, length, 0, 0, 0, 0, HOPS, protocol, 0, 0];
            (header.to_vec(), [from.octets(), to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = [0x60, 0, 0, 0, 0, TCP as u8, protocol, HOPS];
            (header.to_vec(), [from.octets(), to.octets()].concat())
        }
        _ => return None,
    };
    let sum = checksum(&[&addresses, &pseudo_header, &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    whole.extend(addresses);
    whole.extend(tcp);
    Some(whole)
}

/// RFC 1071, of pieces whose lengths are even.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.as_chunks::<2>().0);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::net::reached::{TrafficProtocol, Verdict};

    fn packet(from: &str, address: &str) -> Packet {
        Packet {
            verdict: Verdict::Denied,
            protocol: TrafficProtocol::Tcp,
            from: from.parse().unwrap(),
            address: address.parse().unwrap(),
            ports: Some((40000, 443)),
            tcp_sequence: Some(u32::MAX),
            uid: None,
        }
    }

    #[test]
    fn a_reset_goes_the_other_way() {
        let v4 = reset(&packet("10.0.0.1", "203.0.113.9")).unwrap();
        assert_eq!((v4.len(), v4[3]), (40, 40));
        assert_eq!((&v4[12..16], &v4[16..20]), (&[203, 0, 113, 9][..], &[10, 0, 0, 1][..]));
        assert_eq!(v4[20..24], [443_u16.to_be_bytes(), 40000_u16.to_be_bytes()].concat());
        assert_eq!((&v4[28..32], v4[33]), (&[0; 4][..], RESET), "one more than the greatest number is 0");
        // A sum over what has its sum in it is nothing.
        assert_eq!(checksum(&[&v4[12..20], &[0, 6, 0, 20], &v4[20..]]), 0);
        let v6 = reset(&packet("2001:db8::1", "2001:db8::9")).unwrap();
        assert_eq!((v6.len(), v6[5], v6[23], v6[39]), (60, 20, 9, 1));
        assert_eq!(checksum(&[&v6[8..40], &[0, 6, 0, 20], &v6[40..]]), 0);
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        assert_eq!(reset(&packet("10.0.0.1", "2001:db8::9")), None);
        assert_eq!(reset(&Packet { tcp_sequence: None, ..packet("10.0.0.1", "203.0.113.9") }), None);
        assert_eq!(reset(&Packet { ports: None, ..packet("10.0.0.1", "203.0.113.9") }), None);
    }
}
