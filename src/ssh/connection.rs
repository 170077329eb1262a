//! The connection layer's messages (RFC 4254): channels are opened, fed, and closed.

use super::channel::{Channel, Prepared, Purpose, WINDOW_BYTES};
use super::request::Request;
use super::server::Server;
use super::{SshError, message};
use crate::wire::{Reader, Writer};

/// As many channels may be open at once.
pub(super) const MAX_CHANNELS: usize = 256;

/// Reasons not to open a channel (RFC 4254, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not allowed.
    Prohibited = 1,
    /// What it leads to cannot be reached.
    Unreachable = 2,
    /// There is no such kind of channel.
    UnknownType = 3,
    /// There are too many.
    Shortage = 4,
}

impl Server<'_> {
    /// Handles a message of the connection layer.
    pub(super) fn receive_connection(&mut self, untrusted: &[u8]) -> Result<(), SshError> {
        let mut reader = Reader::new(&untrusted[1..]);
        match untrusted[0] {
            message::GLOBAL_REQUEST => self.on_global_request(reader),
            message::CHANNEL_OPEN => self.on_open(reader),
            message::CHANNEL_WINDOW_ADJUST => {
                let (number, more) = (reader.u32()?, reader.u32()?);
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.allowance = channel.allowance.saturating_add(more);
                }
                Ok(())
            }
            message::CHANNEL_DATA => {
                let number = reader.u32()?;
                let data = reader.string()?;
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.receive(data)?;
                    channel.write();
                }
                self.settle(number)
            }
            // Nothing in the box reads a second stream of input.
            message::CHANNEL_EXTENDED_DATA => Ok(()),
            message::CHANNEL_EOF => {
                let number = reader.u32()?;
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.client_ended = true;
                    channel.end_input();
                }
                self.settle(number)
            }
            message::CHANNEL_CLOSE => {
                let number = reader.u32()?;
                self.close(number)?;
                self.channels.remove(&number);
                Ok(())
            }
            message::CHANNEL_REQUEST => {
                let number = reader.u32()?;
                let name = reader.string()?;
                let wants_reply = reader.boolean()?;
                let Some(peer) = self.channels.get(&number).map(|channel| channel.peer) else { return Ok(()) };
                let done = match Request::parse(name, reader)? {
                    Request::Unknown => false,
                    request => self.on_request(number, request)?,
                };
                if !wants_reply {
                    return Ok(());
                }
                let answer = if done { message::CHANNEL_SUCCESS } else { message::CHANNEL_FAILURE };
                self.send(Writer::message(answer).u32(peer))
            }
            message::CHANNEL_OPEN_CONFIRMATION => {
                let number = reader.u32()?;
                self.on_offer_taken(number, [reader.u32()?, reader.u32()?, reader.u32()?]);
                self.settle(number)
            }
            message::CHANNEL_OPEN_FAILURE => {
                let number = reader.u32()?;
                self.channels.retain(|known, channel| *known != number || !matches!(channel.purpose, Purpose::Offered));
                Ok(())
            }
            // Answers to what we never ask.
            message::REQUEST_SUCCESS
            | message::REQUEST_FAILURE
            | message::CHANNEL_SUCCESS
            | message::CHANNEL_FAILURE => Ok(()),
            _ => self.transport.send_unimplemented(),
        }
    }

    fn on_global_request(&mut self, mut reader: Reader<'_>) -> Result<(), SshError> {
        let name = reader.string()?;
        let wants_reply = reader.boolean()?;
        let answer = match name {
            b"no-more-sessions@openssh.com" => {
                self.no_more_sessions = true;
                Some(Writer::message(message::REQUEST_SUCCESS))
            }
            b"tcpip-forward" | b"streamlocal-forward@openssh.com" => self.on_forward(name, reader)?,
            b"cancel-tcpip-forward" | b"cancel-streamlocal-forward@openssh.com" => self.on_cancel(name, reader)?,
            // Among them the question whether we are alive, to which this is an answer as well.
            _ => None,
        };
        if !wants_reply {
            return Ok(());
        }
        self.send(answer.unwrap_or_else(|| Writer::message(message::REQUEST_FAILURE)))
    }

    fn on_open(&mut self, mut reader: Reader<'_>) -> Result<(), SshError> {
        let kind = reader.string()?;
        let (peer, allowance, max_data) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if self.channels.len() >= MAX_CHANNELS {
            return self.refuse(peer, Refusal::Shortage, "too many channels are open");
        }
        match kind {
            b"session" if self.no_more_sessions => {
                self.refuse(peer, Refusal::Prohibited, "no more sessions were to be opened")
            }
            b"session" => {
                let channel = Channel::new(peer, allowance, max_data, Purpose::Prepared(Prepared::default()));
                let number = self.insert(channel);
                self.confirm(number)
            }
            b"direct-tcpip" | b"direct-streamlocal@openssh.com" => {
                let channel = Channel::new(peer, allowance, max_data, Purpose::Offered);
                self.on_direct(kind, reader, channel)
            }
            _ => self.refuse(peer, Refusal::UnknownType, "there is no such kind of channel"),
        }
    }

    /// Adds a channel under the lowest free number.
    pub(super) fn insert(&mut self, channel: Channel) -> u32 {
        let number = (0..).find(|number| !self.channels.contains_key(number)).unwrap_or(u32::MAX);
        self.channels.insert(number, channel);
        number
    }

    /// Tells the client that its channel is open.
    pub(super) fn confirm(&mut self, number: u32) -> Result<(), SshError> {
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let answer = Writer::message(message::CHANNEL_OPEN_CONFIRMATION).u32(channel.peer).u32(number);
        self.send(answer.u32(WINDOW_BYTES).u32(super::channel::MAX_DATA_BYTES))
    }

    /// Tells the client that its channel cannot be opened.
    pub(super) fn refuse(&mut self, peer: u32, refusal: Refusal, reason: &str) -> Result<(), SshError> {
        let answer = Writer::message(message::CHANNEL_OPEN_FAILURE).u32(peer).u32(refusal as u32);
        self.send(answer.string(reason).string(""))
    }

    /// Says what is to be said of a channel after something happened to it: that the client may send more, that nothing
    /// more will come, that it is closed.
    pub(super) fn settle(&mut self, number: u32) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let peer = channel.peer;
        if let Some(credit) = channel.take_credit() {
            self.send(Writer::message(message::CHANNEL_WINDOW_ADJUST).u32(peer).u32(credit))?;
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if channel.close_sent || channel.is_preparing() || !channel.sources.is_empty() {
            return Ok(());
        }
        let ended = match &channel.purpose {
            Purpose::Leader(leader) => leader.ended.map(Some),
            Purpose::Stream => Some(None),
            Purpose::Prepared(_) | Purpose::Opening(_) | Purpose::Offered => None,
        };
        // A client that has heard the end of a command's output closes the channel, and never learns its status.
        let Some(ended) = ended else { return Ok(()) };
        let is_over = ended.is_some() || channel.sink.is_none();
        if !std::mem::replace(&mut channel.eof_sent, true) {
            self.send(Writer::message(message::CHANNEL_EOF).u32(peer))?;
        }
        if let Some(ended) = ended {
            self.send_end(number, ended)?;
        }
        if is_over { self.close(number) } else { Ok(()) }
    }

    /// Closes our side of a channel, and lets go of what it led to.
    pub(super) fn close(&mut self, number: u32) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        channel.release();
        let peer = channel.peer;
        if std::mem::replace(&mut channel.close_sent, true) {
            return Ok(());
        }
        self.send(Writer::message(message::CHANNEL_CLOSE).u32(peer))
    }
}
