//! Connections into the box and out of it (RFC 4254, section 7, and the same for unix sockets). The sockets are made in
//! the box; here bytes go from one descriptor to the other.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::channel::{Channel, MAX_DATA_BYTES, Purpose, WINDOW_BYTES};
use super::connection::{MAX_CHANNELS, Refusal};
use super::server::{Server, io};
use super::{SshError, message};
use crate::sandbox::channel::{Bytes, Channel as BoxChannel, Reply, Request};
use crate::sandbox::reach::{Address, Socket};
use crate::wire::{Reader, Writer};

/// As many may listen at once.
const MAX_LISTENERS: usize = 64;

/// A socket of the box that the client gets the connections of.
#[derive(Debug)]
pub struct Listener {
    /// It, non-blocking.
    pub descriptor: OwnedFd,
    /// What the client asked for, with the port that it has.
    address: Address,
    /// When this is closed, what stands in the file system is removed.
    _conversation: BoxChannel,
}

/// An address as the client writes it. Ports beyond 65535 lead nowhere.
fn address(of_path: bool, reader: &mut Reader<'_>) -> Result<Address, SshError> {
    if of_path {
        return Ok(Address::Unix(Bytes(reader.string()?.to_vec())));
    }
    let host = reader.text()?;
    Ok(Address::Tcp(host, u16::try_from(reader.u32()?).map_err(|_| SshError::Malformed)?))
}

impl Server<'_> {
    /// The client wants to be connected with an address of the box.
    pub(super) fn on_direct(
        &mut self,
        kind: &[u8],
        mut reader: Reader<'_>,
        mut channel: Channel,
    ) -> Result<(), SshError> {
        let address = address(kind.starts_with(b"direct-streamlocal"), &mut reader)?;
        let request = Request::Open { user: self.user_in_box(), socket: Socket::Connected(address) };
        match self.ask(&request, &[]) {
            Some(leader) => {
                channel.purpose = Purpose::Opening(leader.conversation);
                self.insert(channel);
                Ok(())
            }
            None => self.refuse(channel.peer, Refusal::Unreachable, "the box has stopped"),
        }
    }

    /// The box has connected, or not.
    pub(super) fn hear_opener(&mut self, number: u32) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let Purpose::Opening(conversation) = &channel.purpose else { return Ok(()) };
        let reason = match conversation.receive::<Reply>() {
            Ok(Some((Reply::Opened { .. }, descriptors))) => match descriptors.into_iter().next() {
                Some(socket) => {
                    rustix::fs::fcntl_setfl(&socket, OFlags::NONBLOCK).map_err(io("prepare a socket"))?;
                    let failed = |source| SshError::Io { operation: "copy a socket's descriptor", source };
                    channel.attach(socket).map_err(failed)?;
                    channel.purpose = Purpose::Stream;
                    return self.confirm(number);
                }
                None => "there is no socket".to_owned(),
            },
            Ok(Some((Reply::NotExecuted { reason, .. }, _))) => reason,
            _ => "the box has stopped".to_owned(),
        };
        let peer = channel.peer;
        self.channels.remove(&number);
        self.refuse(peer, Refusal::Unreachable, &crate::text::sanitize(&reason))
    }

    /// The client wants what listens in the box. The answer to give, if it can be had.
    pub(super) fn on_forward(&mut self, name: &[u8], mut reader: Reader<'_>) -> Result<Option<Writer>, SshError> {
        let mut address = address(name.starts_with(b"streamlocal"), &mut reader)?;
        if self.listeners.len() >= MAX_LISTENERS {
            return Ok(None);
        }
        let request = Request::Open { user: self.user_in_box(), socket: Socket::Listening(address.clone()) };
        let Some(leader) = self.ask(&request, &[]) else { return Ok(None) };
        // Answers to requests like this one have to come in their order, so it is waited for. It takes no time.
        let Ok(Some((Reply::Opened { port }, descriptors))) = leader.conversation.receive::<Reply>() else {
            return Ok(None);
        };
        let Some(descriptor) = descriptors.into_iter().next() else { return Ok(None) };
        rustix::fs::fcntl_setfl(&descriptor, OFlags::NONBLOCK).map_err(io("prepare a socket"))?;
        let answer = Writer::message(message::REQUEST_SUCCESS);
        let answer = match &mut address {
            // The port was left to us, and has to be said.
            Address::Tcp(_, wanted @ 0) => {
                *wanted = port;
                answer.u32(port.into())
            }
            _ => answer,
        };
        self.listeners.push(Listener { descriptor, address, _conversation: leader.conversation });
        Ok(Some(answer))
    }

    /// The client does not want it any more.
    pub(super) fn on_cancel(&mut self, name: &[u8], mut reader: Reader<'_>) -> Result<Option<Writer>, SshError> {
        let address = address(name.starts_with(b"cancel-streamlocal"), &mut reader)?;
        let before = self.listeners.len();
        self.listeners.retain(|listener| listener.address != address);
        Ok((self.listeners.len() < before).then(|| Writer::message(message::REQUEST_SUCCESS)))
    }

    /// Somebody in the box connects: the client is offered a channel.
    pub(super) fn accept(&mut self, index: usize) -> Result<(), SshError> {
        let Some(listener) = self.listeners.get(index).filter(|_| self.channels.len() < MAX_CHANNELS) else {
            return Ok(());
        };
        let address = listener.address.clone();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match rustix::net::accept_with(&listener.descriptor, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            // A listener that cannot accept would be ready for ever.
            Err(_) => {
                self.listeners.remove(index);
                return Ok(());
            }
        };
        let mut channel = Channel::new(0, 0, MAX_DATA_BYTES, Purpose::Offered);
        let failed = |source| SshError::Io { operation: "copy a socket's descriptor", source };
        channel.attach(socket).map_err(failed)?;
        let number = self.insert(channel);
        let offer = |kind: &str| {
            let start = Writer::message(message::CHANNEL_OPEN).string(kind);
            start.u32(number).u32(WINDOW_BYTES).u32(MAX_DATA_BYTES)
        };
        self.send(match address {
            Address::Tcp(host, port) => {
                // Who connects is a process of the box; its port says nothing to anybody.
                offer("forwarded-tcpip").string(host).u32(port.into()).string("127.0.0.1").u32(0)
            }
            Address::Unix(path) => offer("forwarded-streamlocal@openssh.com").string(path.0).string(""),
        })
    }

    /// The client takes a channel that it was offered; `[number, allowance, most data]` are its.
    pub(super) fn on_offer_taken(&mut self, number: u32, [peer, allowance, max_data]: [u32; 3]) {
        if let Some(channel) = self.channels.get_mut(&number)
            && matches!(channel.purpose, Purpose::Offered)
        {
            channel.peer = peer;
            channel.allowance = allowance;
            channel.max_data = max_data.min(MAX_DATA_BYTES);
            channel.purpose = Purpose::Stream;
        }
    }
}
