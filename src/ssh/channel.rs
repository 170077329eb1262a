//! One channel (RFC 4254, section 5): what flows between the client and descriptors of the box, and how much of it.
//!
//! ```text
//! client --data, within `window`--> waiting --> sink       standard input, terminal, socket
//!        <--data, within `allowance`---------- sources     standard output and error, terminal, socket
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;

use super::SshError;
use crate::sandbox::channel::{Bytes, Channel as BoxChannel, Terminal};
use crate::sys::process::Ended;
use crate::sys::terminal::Size;

/// How much a client may send before the box has taken it.
pub const WINDOW_BYTES: u32 = 512 << 10;
/// The most that goes into one message.
pub const MAX_DATA_BYTES: u32 = 32 << 10;

/// Where what the box writes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ordinary data.
    Output,
    /// Standard error.
    Error,
}

/// Something of the box that is read from.
#[derive(Debug)]
pub struct Source {
    /// The descriptor, non-blocking.
    pub descriptor: OwnedFd,
    /// What it carries.
    pub kind: Kind,
}

/// A terminal that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTerminal {
    /// `TERM`.
    pub name: String,
    /// Everything else of it.
    pub terminal: Terminal,
}

/// What a session is to have, while it has not been said what it runs.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Variables of the client.
    pub variables: Vec<(String, Bytes)>,
    /// A terminal.
    pub terminal: Option<WantedTerminal>,
}

/// What a channel is for.
#[derive(Debug)]
pub enum Purpose {
    /// A session that runs nothing yet.
    Prepared(Prepared),
    /// A command, or another request that a leader in the box works for.
    Leader(Leader),
    /// A connection that the box has been asked for.
    Opening(BoxChannel),
    /// A connection that the client has been offered.
    Offered,
    /// A connection.
    Stream,
}

/// The conversation with the leader of a session.
#[derive(Debug)]
pub struct Leader {
    /// The conversation; the leader ends its session when this is closed.
    pub conversation: BoxChannel,
    /// What the leader was asked for has begun.
    pub started: bool,
    /// The session's terminal.
    pub terminal: Option<OwnedFd>,
    /// A size that it is to have when it is there.
    pub resized: Option<Size>,
    /// How the command ended.
    pub ended: Option<Ended>,
    /// A terminal has nothing more to show at this moment, though somebody still has it open.
    pub quiet_at: Option<Instant>,
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    /// Its number at the client.
    pub peer: u32,
    /// How much the client takes.
    pub allowance: u32,
    /// The most that the client takes in one message.
    pub max_data: u32,
    /// How much the client may send.
    pub window: u32,
    /// What the client sent, and the box has not taken yet.
    waiting: Vec<u8>,
    /// Where that goes; `None`: nowhere.
    pub sink: Option<OwnedFd>,
    /// Where the client's data comes from.
    pub sources: Vec<Source>,
    /// Nothing more will come from the client.
    pub client_ended: bool,
    /// We have said that nothing more will come from us.
    pub eof_sent: bool,
    /// We have closed it.
    pub close_sent: bool,
    /// What it is for.
    pub purpose: Purpose,
}

impl Channel {
    /// A channel without descriptors.
    #[must_use]
    pub fn new(peer: u32, allowance: u32, max_data: u32, purpose: Purpose) -> Self {
        Self {
            peer,
            allowance,
            max_data: max_data.min(MAX_DATA_BYTES),
            window: WINDOW_BYTES,
            waiting: Vec::new(),
            sink: None,
            sources: Vec::new(),
            client_ended: false,
            eof_sent: false,
            close_sent: false,
            purpose,
        }
    }

    /// Reads from and writes to `socket`, non-blocking.
    pub fn attach(&mut self, socket: OwnedFd) -> std::io::Result<()> {
        self.sources.push(Source { descriptor: socket.try_clone()?, kind: Kind::Output });
        self.sink = Some(socket);
        Ok(())
    }

    /// Takes data of the client.
    pub fn receive(&mut self, untrusted_data: &[u8]) -> Result<(), SshError> {
        let size = u32::try_from(untrusted_data.len()).map_err(|_| SshError::WindowExceeded)?;
        self.window = self.window.checked_sub(size).ok_or(SshError::WindowExceeded)?;
        if !self.close_sent {
            self.waiting.extend_from_slice(untrusted_data);
        }
        Ok(())
    }

    /// Whether something could be written to the box.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() && self.sink.is_some()
    }

    /// Writes what the box takes. What nobody reads any more is dropped.
    pub fn write(&mut self) {
        if let Some(sink) = self.sink.as_ref().filter(|_| !self.waiting.is_empty()) {
            match rustix::io::write(sink, &self.waiting) {
                Ok(size) => drop(self.waiting.drain(..size)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.sink = None,
            }
        }
        if self.sink.is_none() && !self.is_preparing() {
            self.waiting = Vec::new();
        }
        self.end_input();
    }

    /// Tells the box that the client will send nothing more, once it has everything.
    pub fn end_input(&mut self) {
        if !self.client_ended || !self.waiting.is_empty() || self.is_preparing() {
            return;
        }
        if let Some(sink) = self.sink.take() {
            // A socket is also a source, so that dropping this descriptor alone would end nothing.
            rustix::net::shutdown(sink.as_fd(), rustix::net::Shutdown::Write).ok();
        }
    }

    /// How far the client's window can be opened again: by what the box has taken, if that is worth a message.
    pub fn take_credit(&mut self) -> Option<u32> {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let credit = WINDOW_BYTES.saturating_sub(self.window).saturating_sub(waiting);
        if credit < WINDOW_BYTES / 4 || self.client_ended || self.close_sent {
            return None;
        }
        self.window += credit;
        Some(credit)
    }

    /// How much may be read from the box now.
    #[must_use]
    pub fn readable_size(&self) -> usize {
        if self.close_sent { 0 } else { self.allowance.min(self.max_data) as usize }
    }

    /// What the channel is for is not known, or has not begun.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        match &self.purpose {
            Purpose::Prepared(_) | Purpose::Opening(_) | Purpose::Offered => true,
            Purpose::Leader(leader) => !leader.started,
            Purpose::Stream => false,
        }
    }

    /// Lets go of everything in the box. The leader of a session that still runs ends it.
    pub fn release(&mut self) {
        self.sink = None;
        self.sources = Vec::new();
        self.waiting = Vec::new();
        self.purpose = Purpose::Stream;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn channel() -> Channel {
        Channel::new(0, 0, u32::MAX, Purpose::Stream)
    }

    #[test]
    fn a_client_cannot_send_more_than_it_may() {
        let mut channel = channel();
        channel.receive(&vec![0; WINDOW_BYTES as usize]).unwrap();
        assert!(matches!(channel.receive(&[0]), Err(SshError::WindowExceeded)));
        assert_eq!(channel.take_credit(), None, "nobody has taken anything");
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_credited() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut channel = channel();
        channel.sink = Some(write);
        drop(read);
        channel.receive(&vec![0; WINDOW_BYTES as usize]).unwrap();
        channel.write();
        assert!(!channel.has_waiting());
        assert_eq!(channel.take_credit(), Some(WINDOW_BYTES));
    }

    #[test]
    fn the_end_comes_after_the_data() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut channel = channel();
        channel.sink = Some(write);
        channel.receive(b"all of it").unwrap();
        channel.client_ended = true;
        channel.end_input();
        assert!(channel.has_waiting());
        channel.write();
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "all of it");
    }
}
