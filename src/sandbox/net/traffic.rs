//! How fast a box sends and receives: traffic control on its interface, set once by a fork that joins the box's network.
//! Nobody in the box has the capability to undo it.
//!
//! ```text
//! sent:      eth0, root qdisc: tbf
//! received:  eth0, ingress qdisc -- u32, everything -- mirred --> ifb, root qdisc: tbf --> the box
//! ```
//!
//! The kernel shapes only what an interface sends. What comes in is redirected to one that does nothing but send it on
//! (`ifb`): dropping what is too much instead (`police`) costs connections much more than the rate says.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

use super::{INTERFACE, NetTarget};
use crate::profile::bandwidth::Bandwidth;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::{Context, SysError, SysResult, process};

/// The interface that sends what was received.
const IFB: &str = "ifb-devbox";
/// How much of what was received may wait, in bytes: more than a connection has on its way. `pasta` is slow to send again what
/// was dropped: with a queue of 50 ms a third of the rate came through.
const RECEIVED_QUEUE: u64 = 16 << 20;
/// A packet of `pasta` is this long with its headers, in bytes: a bucket must hold one.
const LONGEST_PACKET: u64 = 66 << 10;

// linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/if_link.h
const NEW_LINK: u16 = 16;
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const PARENT_ROOT: u32 = 0xffff_ffff;
const PARENT_INGRESS: u32 = 0xffff_fff1;
const HANDLE_INGRESS: u32 = 0xffff_0000;
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const TBF_PARMS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
const U32_SEL: u16 = 5;
const U32_ACT: u16 = 7;
const MIRRED_PARMS: u16 = 2;
const LINKLAYER_ETHERNET: u8 = 1;
const ACT_STOLEN: u32 = 4;
const EGRESS_REDIR: u32 = 1;

/// Limits the box of `target`, whose interface is configured. The caller has one thread.
pub fn shape(target: &NetTarget, bandwidth: &Bandwidth) -> SysResult<()> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call(|| "pipe2".to_owned())?;
    let pid = match fork()? {
        Forked::Child => {
            drop(read);
            if let Err(error) = target.enter().and_then(|()| apply(bandwidth)) {
                // The errno follows the call: "call\0errno".
                let text = format!("{}\0{}", error.call, error.errno.raw_os_error());
                rustix::io::write(&write, text.as_bytes()).unwrap_or_default();
            }
            exit_now(0)
        }
        Forked::Parent { pid } => pid,
    };
    drop(write);
    let mut said = String::new();
    let heard = std::fs::File::from(read).read_to_string(&mut said).call(|| "read `pipe`".to_owned());
    process::wait(pid)?;
    heard?;
    match said.split_once('\0') {
        None => Ok(()),
        Some((call, errno)) => {
            let errno = errno.parse().map_or(Errno::IO, Errno::from_raw_os_error);
            Err(SysError::new(call, errno))
        }
    }
}

/// In the network namespace of the caller.
fn apply(bandwidth: &Bandwidth) -> SysResult<()> {
    // Of all protocols of netlink it is the first one.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .call(|| "socket `NETLINK_ROUTE`".to_owned())?;
    let own = index(&socket, INTERFACE)?;
    if let Some(rate) = bandwidth.up {
        send(&socket, bucket(own, rate, rate / 8 / 20), "limit what is sent")?;
    }
    if let Some(rate) = bandwidth.down {
        send(&socket, ifb(), "add an interface of the kind `ifb`")?;
        let other = index(&socket, IFB)?;
        send(&socket, up(other), "set the interface of the kind `ifb` up")?;
        send(&socket, bucket(other, rate, RECEIVED_QUEUE), "limit what is received")?;
        send(&socket, ingress(own), "add the qdisc `ingress`")?;
        send(&socket, redirect(own, other), "redirect what is received")?;
    }
    Ok(())
}

fn index(socket: &OwnedFd, name: &str) -> SysResult<u32> {
    // Any socket of the namespace will do.
    rustix::net::netdevice::name_to_index(socket.as_fd(), name).call(|| format!("ioctl `SIOCGIFINDEX` `{name}`"))
}

/// Sends one request and waits for its acknowledgement.
fn send(socket: &OwnedFd, message: Message, what: &str) -> SysResult<()> {
    let call = || what.to_owned();
    rustix::net::send(socket, &message.finish(), SendFlags::empty()).call(call)?;
    let mut answer = [0; 4096];
    let (_, size) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()).call(call)?;
    // `struct nlmsgerr` behind the header begins with a negative errno, or 0.
    match answer[..size].get(16..20).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno)).call(call),
        None => Err(Errno::BADMSG).call(call),
    }
}

/// A netlink request under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }

    /// Appends an attribute.
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(attribute(kind, value));
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() as u32).to_ne_bytes();
        self.0[..4].copy_from_slice(&length);
        self.0
    }
}

/// Length, kind, value, and zeroes up to a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct tcmsg`
fn traffic(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    words(&[0, interface, handle, parent, info])
}

/// `struct ifinfomsg`
fn link(interface: u32, flags: u32) -> Vec<u8> {
    words(&[0, interface, flags, flags])
}

fn ifb() -> Message {
    let kind = attribute(KIND, b"ifb\0");
    Message::new(NEW_LINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &link(0, 0))
        .attribute(IFLA_IFNAME, format!("{IFB}\0").as_bytes())
        .attribute(IFLA_LINKINFO, &kind)
}

fn up(interface: u32) -> Message {
    Message::new(NEW_LINK, 0, &link(interface, libc::IFF_UP as u32))
}

/// A token bucket that passes `rate` bits per second, and lets `queue` bytes wait.
fn bucket(interface: u32, rate: u64, queue: u64) -> Message {
    let bytes = rate / 8;
    // What passes at once: 5 ms.
    let burst = (bytes / 200).max(2 * LONGEST_PACKET) as u32;
    let limit = (u64::from(burst) + queue).min(u64::from(u32::MAX)) as u32;
    // `struct tc_ratespec`: cell size, link layer, overhead, alignment, smallest packet, rate.
    let mut spec = vec![0, LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    spec.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes());
    // `struct tc_tbf_qopt`: the rate, no peak rate, then limit, bucket and largest packet.
    let mut parameters = spec;
    parameters.extend([0; 12]);
    parameters.extend(words(&[limit, 0, 0]));
    let options = [
        attribute(TBF_PARMS, &parameters),
        attribute(TBF_BURST, &burst.to_ne_bytes()),
        attribute(TBF_RATE64, &bytes.to_ne_bytes()),
    ]
    .concat();
    Message::new(NEW_QDISC, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &traffic(interface, 0, PARENT_ROOT, 0))
        .attribute(KIND, b"tbf\0")
        .attribute(OPTIONS, &options)
}

fn ingress(interface: u32) -> Message {
    Message::new(
        NEW_QDISC,
        libc::NLM_F_CREATE | libc::NLM_F_EXCL,
        &traffic(interface, HANDLE_INGRESS, PARENT_INGRESS, 0),
    )
    .attribute(KIND, b"ingress\0")
}

/// Whatever arrives at `interface` is sent by `to`.
fn redirect(interface: u32, to: u32) -> Message {
    let mirred = attribute(MIRRED_PARMS, &words(&[0, 0, ACT_STOLEN, 0, 0, EGRESS_REDIR, to]));
    let action = [attribute(KIND, b"mirred\0"), attribute(OPTIONS, &mirred)].concat();
    // `struct tc_u32_sel`, terminal, with one key that everything matches: no bit of the first word is looked at.
    let mut selector = vec![1, 0, 1, 0];
    selector.extend([0; 12]);
    selector.extend([0; 16]);
    let options = [attribute(U32_SEL, &selector), attribute(U32_ACT, &attribute(1, &action))].concat();
    // Priority 1, every protocol in network order.
    let info = 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    Message::new(NEW_FILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &traffic(interface, 0, HANDLE_INGRESS, info))
        .attribute(KIND, b"u32\0")
        .attribute(OPTIONS, &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded() {
        assert_eq!(attribute(1, b"ifb\0"), [8, 0, 1, 0, b'i', b'f', b'b', 0]);
        assert_eq!(attribute(2, b"x"), [5, 0, 2, 0, b'x', 0, 0, 0]);
        let message = Message::new(NEW_LINK, 0, &link(7, 1)).attribute(KIND, b"x").finish();
        assert_eq!((message.len(), message[0]), (16 + 16 + 8, 40));
        assert_eq!(bucket(1, 50_000_000, 0).finish().len() % 4, 0);
    }
}
