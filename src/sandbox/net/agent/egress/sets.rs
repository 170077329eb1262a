//! The addresses that the box's names have at the moment, in the sets of the packet filter.
//!
//! The kernel takes an address out when its time is over; we remember until when that is, so that an answer that says
//! nothing new costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::sandbox::net::filter::{TABLE, set_name};
use crate::sandbox::net::netlink::{Socket, Writer, messages};
use crate::sys::{Context, SysError, SysResult};

/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// Of linux/netfilter/nf_tables.h: `NFT_MSG_NEWSETELEM`, `NFT_MSG_DELSETELEM`.
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const DATA_VALUE: u16 = 1;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// So many are remembered; those that are over are forgotten then.
const MAX_KNOWN: usize = 16 << 10;

/// An address of a rule's name.
type Element = (usize, IpAddr);

/// The sets.
#[derive(Debug)]
pub struct Sets {
    socket: Socket,
    until: HashMap<Element, Instant>,
    sequence: u32,
}

impl Sets {
    /// In the network namespace of the caller, who needs `CAP_NET_ADMIN` over it, now and later.
    pub fn new() -> SysResult<Self> {
        Ok(Self { socket: Socket::new(Some(NETFILTER))?, until: HashMap::new(), sequence: 0 })
    }

    /// Makes `addresses` reachable for each of `rules`, for at least the time that goes with each. All of them are when
    /// this returns, or none.
    pub fn allow(&mut self, rules: &[usize], addresses: &[(IpAddr, Duration)]) -> SysResult<()> {
        let now = Instant::now();
        let lasts =
            |until: &HashMap<Element, Instant>, element| until.get(&element).copied().filter(|until| *until > now);
        let mut renewed = Vec::new();
        let mut new = Vec::new();
        for &(address, time) in addresses {
            for &rule in rules {
                let element = (rule, address);
                match lasts(&self.until, element) {
                    Some(until) if until >= now + time => continue,
                    Some(_) => renewed.push(element),
                    None => {}
                }
                if !new.iter().any(|(other, _)| *other == element) {
                    new.push((element, time));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        match self.change(&renewed, &new) {
            // The kernel's clock was ahead of ours: one has gone by itself.
            Err(error) if error.errno == Errno::NOENT && !renewed.is_empty() => self.change(&[], &new)?,
            other => other?,
        }
        if self.until.len() > MAX_KNOWN {
            self.until.retain(|_, until| *until > now);
        }
        self.until.extend(new.into_iter().map(|(element, time)| (element, now + time)));
        Ok(())
    }

    /// One transaction.
    fn change(&mut self, gone: &[Element], new: &[(Element, Duration)]) -> SysResult<()> {
        let mut writer = Writer::default();
        let first = self.sequence.wrapping_add(1);
        let mut sequence = first;
        let request = libc::NLM_F_REQUEST as u16;
        let change = request | libc::NLM_F_ACK as u16;
        writer.message(BATCH_BEGIN, request, sequence, |writer| writer.netfilter_header(0, SUBSYSTEM));
        for (kind, flags, element, time) in gone.iter().map(|element| (DELETE_ELEMENT, change, *element, None)).chain(
            new.iter().map(|(element, time)| (NEW_ELEMENT, change | libc::NLM_F_CREATE as u16, *element, Some(*time))),
        ) {
            sequence = sequence.wrapping_add(1);
            writer.message(kind, flags, sequence, |writer| {
                writer.netfilter_header(INET, 0);
                write_element(writer, element, time);
            });
        }
        let expected = sequence.wrapping_sub(first);
        sequence = sequence.wrapping_add(1);
        writer.message(BATCH_END, request, sequence, |writer| writer.netfilter_header(0, SUBSYSTEM));
        self.sequence = sequence;
        let call = || "change the sets of the packet filter".to_owned();
        self.socket.send(writer).call(call)?;
        let (mut answered, mut buffer) = (0, vec![0; 64 << 10]);
        let mut failed = None;
        while answered < expected {
            let size = self.socket.receive(&mut buffer).call(call)?;
            for message in messages(&buffer[..size]) {
                let Some(errno) = message.errno() else { continue };
                if errno != 0 {
                    failed.get_or_insert(Errno::from_raw_os_error(errno));
                }
                answered += 1;
                if message.sequence == first {
                    // The transaction as a whole: nothing else comes.
                    answered = expected;
                }
            }
        }
        failed.map_or(Ok(()), |errno| Err(SysError::new(call(), errno)))
    }
}

fn write_element(writer: &mut Writer, (rule, address): Element, time: Option<Duration>) {
    let text = |text: &str| [text.as_bytes(), &[0]].concat();
    writer.attribute(LIST_TABLE, &text(TABLE));
    writer.attribute(LIST_SET, &text(&set_name(rule, address.is_ipv6())));
    writer.nested(LIST_ELEMENTS, |writer| {
        writer.nested(LIST_ELEMENT, |writer| {
            writer.nested(ELEMENT_KEY, |writer| match address {
                IpAddr::V4(address) => writer.attribute(DATA_VALUE, &address.octets()),
                IpAddr::V6(address) => writer.attribute(DATA_VALUE, &address.octets()),
            });
            if let Some(time) = time {
                let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                writer.attribute(ELEMENT_TIMEOUT, &milliseconds.to_be_bytes());
            }
        });
    });
}
