//! Netlink: messages, written and read, and the sockets that carry them.
//!
//! ```text
//! length u32 | kind u16 | flags u16 | sequence u32 | port u32 | body: a header of the subsystem, then attributes
//! attribute: length u16 | kind u16 | value, padded to 4 bytes
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::sys::{Context, SysError, SysResult};

/// Of the header, in bytes.
const HEADER: usize = 16;
/// Of an attribute's header, in bytes.
const ATTRIBUTE: usize = 4;
/// `NLA_F_NESTED`: the value is attributes.
const NESTED: u16 = 1 << 15;
/// The bits of an attribute's kind that are its kind.
const KIND_MASK: u16 = 0x3fff;

/// A socket, in the network namespace of who made it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// For the subsystem `protocol`; none is the first of all, routing.
    pub fn new(protocol: Option<Protocol>) -> SysResult<Self> {
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map(Self)
            .call(|| format!("socket `AF_NETLINK` {protocol:?}"))
    }

    /// Sends messages. The kernel has answered all of them when this returns.
    pub fn send(&self, messages: Writer) -> Result<(), Errno> {
        send(&self.0, &messages.bytes, SendFlags::empty()).map(drop)
    }

    /// What there is, if there is something: how many bytes of `buffer` it takes.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(&self.0, buffer, RecvFlags::DONTWAIT).map(|(size, _)| size)
    }

    /// Sends one message that asks for an acknowledgement, and reads that. `what` is what the message is for.
    pub fn request(&self, message: Writer, what: &str) -> SysResult<()> {
        let call = || what.to_owned();
        let mut buffer = [0; 4096];
        self.send(message).call(call)?;
        let size = self.receive(&mut buffer).call(call)?;
        match messages(&buffer[..size]).find_map(|message| message.errno()) {
            Some(0) => Ok(()),
            errno => Err(SysError::new(what, Errno::from_raw_os_error(errno.unwrap_or(libc::EBADMSG)))),
        }
    }
}

/// Messages, one behind the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds a message; `body` writes it.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        self.raw(&[0; 4]);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Adds numbers of 32 bits as they are.
    pub fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.raw(&word.to_ne_bytes()));
    }

    /// Adds the header of a message for netfilter: the protocol family, version 0, and a number whose meaning depends on the message.
    pub fn netfilter_header(&mut self, family: u8, resource: u16) {
        self.raw(&[family, 0]);
        self.raw(&resource.to_be_bytes());
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.with_length(kind, |writer| writer.raw(value));
    }

    /// Adds an attribute of attributes.
    pub fn nested(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        self.with_length(kind | NESTED, inside);
    }

    fn with_length(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        value(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// Of the message that it answers.
    pub sequence: u32,
    /// All behind the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The error of a message of the kind `NLMSG_ERROR`, as a positive number; 0 for none.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        let bytes = self.body.get(..4)?;
        (i32::from(self.kind) == libc::NLMSG_ERROR)
            .then(|| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).wrapping_neg())
    }
}

/// Reads messages, as far as they are whole.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: u16_at(message, 4)?, sequence: u32_at(message, 8)?, body: &message[HEADER..] })
    })
}

/// Reads attributes, as far as they are whole.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = bytes.get(..length).filter(|attribute| attribute.len() >= ATTRIBUTE)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16_at(attribute, 2)? & KIND_MASK, &attribute[ATTRIBUTE..]))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_ne_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.message(20, 5, 9, |writer| {
            writer.attribute(1, b"abc\0\0");
            writer.nested(2, |writer| writer.attribute(3, &[7]));
        });
        writer.message(libc::NLMSG_ERROR as u16, 0, 10, |writer| writer.raw(&(-2_i32).to_ne_bytes()));
        let bytes = writer.bytes();
        let read: Vec<_> = messages(bytes).collect();
        assert_eq!(read.iter().map(|message| (message.kind, message.sequence)).collect::<Vec<_>>(), [(20, 9), (2, 10)]);
        assert_eq!((read[0].errno(), read[1].errno()), (None, Some(2)));
        let attributes: Vec<_> = attributes(read[0].body).collect();
        assert_eq!(attributes[0], (1, &b"abc\0\0"[..]));
        assert_eq!(super::attributes(attributes[1].1).collect::<Vec<_>>(), [(3, &[7][..])]);
        for cut in 0..bytes.len() {
            assert!(messages(&bytes[..cut]).count() < 2);
        }
        assert_eq!(super::attributes(&[3, 0, 1, 0, 9]).count(), 0);
    }
}
