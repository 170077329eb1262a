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
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::netlink::{Socket, Writer};
use super::{INTERFACE, NetTarget};
use crate::profile::bandwidth::Bandwidth;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::pipe;
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
    let (read, write) = pipe()?;
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
    let socket = Socket::new(None)?;
    let own = index(&socket, INTERFACE)?;
    if let Some(rate) = bandwidth.up {
        socket.request(bucket(own, rate, rate / 8 / 20), "limit what is sent")?;
    }
    if let Some(rate) = bandwidth.down {
        socket.request(ifb(), "add an interface of the kind `ifb`")?;
        let other = index(&socket, IFB)?;
        socket.request(up(other), "set the interface of the kind `ifb` up")?;
        socket.request(bucket(other, rate, RECEIVED_QUEUE), "limit what is received")?;
        socket.request(ingress(own), "add the qdisc `ingress`")?;
        socket.request(redirect(own, other), "redirect what is received")?;
    }
    Ok(())
}

fn index(socket: &Socket, name: &str) -> SysResult<u32> {
    // Any socket of the namespace will do.
    rustix::net::netdevice::name_to_index(socket.as_fd(), name).call(|| format!("ioctl `SIOCGIFINDEX` `{name}`"))
}

/// A request that is to be acknowledged.
fn request(kind: u16, flags: i32, body: impl FnOnce(&mut Writer)) -> Writer {
    let mut writer = Writer::default();
    writer.message(kind, (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16, 0, body);
    writer
}

/// Writes a `struct tcmsg`.
fn write_traffic(writer: &mut Writer, interface: u32, handle: u32, parent: u32, info: u32) {
    writer.words(&[0, interface, handle, parent, info]);
}

/// Writes a `struct ifinfomsg`.
fn write_link(writer: &mut Writer, interface: u32, flags: u32) {
    writer.words(&[0, interface, flags, flags]);
}

fn ifb() -> Writer {
    request(NEW_LINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |writer| {
        write_link(writer, 0, 0);
        writer.attribute(IFLA_IFNAME, format!("{IFB}\0").as_bytes());
        writer.nested(IFLA_LINKINFO, |writer| writer.attribute(KIND, b"ifb\0"));
    })
}

fn up(interface: u32) -> Writer {
    request(NEW_LINK, 0, |writer| write_link(writer, interface, libc::IFF_UP as u32))
}

/// A token bucket that passes `rate` bits per second, and lets `queue` bytes wait.
fn bucket(interface: u32, rate: u64, queue: u64) -> Writer {
    let bytes = rate / 8;
    // What passes at once: 5 ms.
    let burst = (bytes / 200).max(2 * LONGEST_PACKET) as u32;
    let limit = (u64::from(burst) + queue).min(u64::from(u32::MAX)) as u32;
    // `struct tc_ratespec`: cell size, link layer, overhead, alignment, smallest packet, rate.
    let mut parameters = vec![0, LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    parameters.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes());
    // `struct tc_tbf_qopt`: the rate, no peak rate, then limit, bucket and largest packet.
    parameters.extend([0; 12]);
    parameters.extend(limit.to_ne_bytes());
    parameters.extend([0; 8]);
    request(NEW_QDISC, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, |writer| {
        write_traffic(writer, interface, 0, PARENT_ROOT, 0);
        writer.attribute(KIND, b"tbf\0");
        writer.nested(OPTIONS, |writer| {
            writer.attribute(TBF_PARMS, &parameters);
            writer.attribute(TBF_BURST, &burst.to_ne_bytes());
            writer.attribute(TBF_RATE64, &bytes.to_ne_bytes());
        });
    })
}

fn ingress(interface: u32) -> Writer {
    request(NEW_QDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |writer| {
        write_traffic(writer, interface, HANDLE_INGRESS, PARENT_INGRESS, 0);
        writer.attribute(KIND, b"ingress\0");
    })
}

/// Whatever arrives at `interface` is sent by `to`.
fn redirect(interface: u32, to: u32) -> Writer {
    // `struct tc_u32_sel`, terminal, with one key that everything matches: no bit of the first word is looked at.
    let mut selector = [0; 32];
    (selector[0], selector[2]) = (1, 1);
    let mirred: Vec<u8> = [0, 0, ACT_STOLEN, 0, 0, EGRESS_REDIR, to].into_iter().flat_map(u32::to_ne_bytes).collect();
    // Priority 1, every protocol in network order.
    let info = 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    request(NEW_FILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |writer| {
        write_traffic(writer, interface, 0, HANDLE_INGRESS, info);
        writer.attribute(KIND, b"u32\0");
        writer.nested(OPTIONS, |writer| {
            writer.attribute(U32_SEL, &selector);
            writer.nested(U32_ACT, |writer| {
                writer.nested(1, |writer| {
                    writer.attribute(KIND, b"mirred\0");
                    writer.nested(OPTIONS, |writer| writer.attribute(MIRRED_PARMS, &mirred));
                });
            });
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_padded() {
        let message = request(NEW_LINK, 0, |writer| {
            write_link(writer, 7, 1);
            writer.attribute(KIND, b"x");
        });
        assert_eq!((message.bytes().len(), message.bytes()[0]), (16 + 16 + 8, 40));
        assert_eq!(bucket(1, 50_000_000, 0).bytes().len() % 4, 0);
    }
}
