//! What the packet filter tells of packets, over `NFLOG`.
//!
//! The kernel puts what it tells into the socket's buffer and goes on: who is slow to read loses lines, never packets. Its
//! numbers have holes where lines were lost, so that they can be counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::sandbox::net::filter::ALLOWED;
use crate::sandbox::net::netlink::{Socket, Writer, attributes, messages};
use crate::sandbox::net::reached::{TrafficProtocol, Verdict};
use crate::sys::{Context, SysResult};

/// `NFNL_SUBSYS_ULOG` of linux/netfilter/nfnetlink.h, and the messages of linux/netfilter/nfnetlink_log.h.
const SUBSYSTEM: u16 = 4;
const PACKET: u16 = SUBSYSTEM << 8;
const CONFIG: u16 = SUBSYSTEM << 8 | 1;
/// Attributes of a configuration.
const COMMAND: u16 = 1;
const MODE: u16 = 2;
const TIMEOUT: u16 = 4;
const THRESHOLD: u16 = 5;
const FLAGS: u16 = 6;
/// `NFULNL_CFG_CMD_BIND`, `NFULNL_COPY_PACKET`, `NFULNL_CFG_F_SEQ`.
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const WITH_SEQUENCE: u16 = 1;
/// Attributes of a packet.
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const UID: u16 = 11;
const SEQUENCE: u16 = 12;
/// So much of each packet is told: the headers, in bytes.
const COPIED: u32 = 64;
/// The kernel waits for so many packets before it tells of them, or for so many hundredths of a second.
const TOGETHER: u32 = 1;
const PATIENCE: u32 = 1;

/// A packet, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What the filter did.
    pub verdict: Verdict,
    /// By its header.
    pub protocol: TrafficProtocol,
    /// Where it comes from.
    pub from: IpAddr,
    /// Its destination.
    pub address: IpAddr,
    /// Of TCP and UDP: from where, and to where.
    pub ports: Option<(u16, u16)>,
    /// Of TCP: the number of its first byte.
    pub tcp_sequence: Option<u32>,
    /// Who sent it.
    pub uid: Option<u32>,
}

/// The socket.
#[derive(Debug)]
pub struct Packets {
    socket: Socket,
    buffer: Vec<u8>,
    /// The kernel's number of the next one.
    expected: Option<u32>,
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Packets {
    /// Those of `group`, in the network namespace of the caller, who needs `CAP_NET_ADMIN` over it.
    pub fn new(group: u16) -> SysResult<Self> {
        let mode = [&COPIED.to_be_bytes()[..], &[COPY_PACKET, 0]].concat();
        let mut writer = Writer::default();
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        writer.message(CONFIG, flags, 1, |writer| {
            writer.netfilter_header(0, group);
            writer.attribute(COMMAND, &[BIND]);
            writer.attribute(MODE, &mode);
            writer.attribute(TIMEOUT, &PATIENCE.to_be_bytes());
            writer.attribute(THRESHOLD, &TOGETHER.to_be_bytes());
            writer.attribute(FLAGS, &WITH_SEQUENCE.to_be_bytes());
        });
        let socket = Socket::new(Some(NETFILTER))?;
        socket.request(writer, "bind `NFLOG`")?;
        Ok(Self { socket, buffer: vec![0; 64 << 10], expected: None })
    }

    /// What has been told since, and how many were lost before; `None` when there is nothing more now.
    pub fn read(&mut self, into: &mut Vec<Packet>) -> SysResult<Option<u64>> {
        match self.socket.receive(&mut self.buffer) {
            Ok(size) => {
                let told = messages(&self.buffer[..size]).filter(|message| message.kind == PACKET);
                let mut lost = 0;
                for (sequence, packet) in told.filter_map(|message| parse(message.body)) {
                    lost += self.expected.map_or(0, |expected| u64::from(sequence.wrapping_sub(expected)));
                    self.expected = Some(sequence.wrapping_add(1));
                    into.push(packet);
                }
                Ok(Some(lost))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // Lines were lost; the numbers will tell how many.
            Err(Errno::NOBUFS) => Ok(Some(0)),
            Err(errno) => Err(errno).call(|| "read `NFLOG`".to_owned()),
        }
    }
}

/// Reads the body of a message: four bytes of header, then attributes. The kernel's number of the packet, and the packet.
#[must_use]
pub fn parse(body: &[u8]) -> Option<(u32, Packet)> {
    let (mut verdict, mut uid, mut sequence, mut headers) = (Verdict::Denied, None, 0, None);
    let number = |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes);
    for (kind, value) in attributes(body.get(4..)?) {
        match kind {
            PREFIX if value.strip_suffix(&[0]).unwrap_or(value) == ALLOWED.as_bytes() => verdict = Verdict::Allowed,
            UID => uid = number(value),
            SEQUENCE => sequence = number(value)?,
            PAYLOAD => headers = header(value),
            _ => {}
        }
    }
    let Header { from, address, protocol, first_words } = headers?;
    let protocol = match i32::from(protocol) {
        libc::IPPROTO_TCP => TrafficProtocol::Tcp,
        libc::IPPROTO_UDP => TrafficProtocol::Udp,
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => TrafficProtocol::Icmp,
        _ => TrafficProtocol::Other,
    };
    let [ports, second] = first_words;
    let has_ports = matches!(protocol, TrafficProtocol::Tcp | TrafficProtocol::Udp);
    let ports = ports.filter(|_| has_ports).map(|both| ((both >> 16) as u16, both as u16));
    let tcp_sequence = second.filter(|_| protocol == TrafficProtocol::Tcp);
    Some((sequence, Packet { verdict, protocol, from, address, ports, tcp_sequence, uid }))
}

/// What is read of a packet's header.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    from: IpAddr,
    address: IpAddr,
    /// Its number.
    protocol: u8,
    /// The first words of the protocol's own header: of TCP and UDP the ports, and of TCP the number of the first byte.
    first_words: [Option<u32>; 2],
}

fn header(packet: &[u8]) -> Option<Header> {
    let word = |at: usize| packet.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let words = |at: usize| [word(at), word(at + 4)];
    match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
            let length = usize::from(packet[0] & 15) * 4;
            let (from, address) = (address(12)?, address(16)?);
            Some(Header { from, address, protocol: packet[9], first_words: words(length) })
        }
        6 => {
            let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
            let (from, address) = (address(8)?, address(24)?);
            Some(Header { from, address, protocol: packet[6], first_words: words(40) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        let mut ip = vec![0x46, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1];
        ip.extend([0; 4]);
        ip.extend([0x12, 0x34, 0x01, 0xbb, 0, 0, 1, 2]);
        let mut writer = Writer::default();
        writer.raw(&[2, 0, 0, 1]);
        writer.attribute(PREFIX, b"a\0");
        writer.attribute(UID, &7_u32.to_be_bytes());
        writer.attribute(SEQUENCE, &3_u32.to_be_bytes());
        writer.attribute(PAYLOAD, &ip);
        let (sequence, read) = parse(writer.bytes()).unwrap();
        assert_eq!((sequence, read.uid, read.tcp_sequence), (3, Some(7), Some(258)));
        assert_eq!((read.verdict, read.protocol), (Verdict::Allowed, TrafficProtocol::Tcp));
        assert_eq!((read.from.to_string(), read.address.to_string()), ("10.0.0.1".to_owned(), "192.0.2.1".to_owned()));
        assert_eq!(read.ports, Some((0x1234, 443)));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        v6.extend([0; 16]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        let (from, address) = (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into());
        assert_eq!(header(&v6), Some(Header { from, address, protocol: 17, first_words: [None; 2] }));
        assert!((0..v6.len()).all(|cut| header(&v6[..cut]).is_none()));
        assert!(parse(&[]).is_none());
    }
}
