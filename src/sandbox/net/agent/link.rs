//! The connection between a network agent and its host side: packets of JSON, with descriptors riding along.
//!
//! The agent's end blocks: the host side is trusted to answer. The host's end never does, whatever the agent does or
//! leaves undone: what cannot be sent at once waits in a queue, and who lets that grow is cut off.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::{Context, SysError, SysResult, socket};

/// No message is longer, in bytes.
const MAX_MESSAGE_BYTES: usize = 32 << 10;
/// More messages than this do not wait to be sent: every port of a profile, several times over.
const MAX_QUEUED: usize = 8192;

/// One end.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    queue: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// What was received.
#[derive(Debug)]
pub enum Received<T> {
    /// A message and its descriptors.
    Message(T, Vec<OwnedFd>),
    /// Nothing now.
    Nothing,
    /// The other side is gone.
    Closed,
}

/// The host's end, which never blocks, and the agent's, which does.
pub fn pair() -> SysResult<(Link, Link)> {
    let (host, agent) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair".to_owned())?;
    rustix::io::ioctl_fionbio(&host, true).call(|| "ioctl `FIONBIO`".to_owned())?;
    let link = |socket| Link { socket, queue: VecDeque::new() };
    Ok((link(host), link(agent)))
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Link {
    /// Sends a message, or puts it behind those that wait.
    pub fn send<T: Serialize>(&mut self, message: &T, descriptors: Vec<OwnedFd>) -> SysResult<()> {
        let text = serde_json::to_vec(message).map_err(|_| SysError::new("encode a message", Errno::INVAL))?;
        if text.len() > MAX_MESSAGE_BYTES || self.queue.len() >= MAX_QUEUED {
            return Err(SysError::new("send a message", Errno::MSGSIZE));
        }
        self.queue.push_back((text, descriptors));
        self.flush()
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) -> SysResult<()> {
        while let Some((text, descriptors)) = self.queue.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match socket::send_with_descriptors(&self.socket, text, &borrowed) {
                Ok(_) => drop(self.queue.pop_front()),
                Err(error) if error.errno == Errno::AGAIN => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next message. One that cannot be understood is an error: the other side is not what it should be.
    pub fn receive<T: DeserializeOwned>(&self) -> SysResult<Received<T>> {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let mut descriptors = Vec::new();
        match socket::receive_with_descriptors(&self.socket, &mut buffer, &mut descriptors) {
            Ok(0) => Ok(Received::Closed),
            Ok(size) => serde_json::from_slice(&buffer[..size])
                .map(|message| Received::Message(message, descriptors))
                .map_err(|_| SysError::new("decode a message", Errno::BADMSG)),
            Err(error) if error.errno == Errno::AGAIN => Ok(Received::Nothing),
            Err(error) if error.errno == Errno::CONNRESET => Ok(Received::Closed),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_arrives_in_order_with_its_descriptors() {
        let (mut host, agent) = pair().unwrap();
        for number in 0..600_u32 {
            let file = tempfile::tempfile().unwrap();
            host.send(&number, vec![file.into()]).unwrap();
        }
        assert!(host.is_waiting());
        for expected in 0..600_u32 {
            let Received::Message(number, descriptors) = agent.receive::<u32>().unwrap() else { panic!("{expected}") };
            assert_eq!((number, descriptors.len()), (expected, 1));
            host.flush().unwrap();
        }
        assert!(!host.is_waiting());
        assert!(matches!(host.receive::<u32>().unwrap(), Received::Nothing));
        drop(agent);
        assert!(matches!(host.receive::<u32>().unwrap(), Received::Closed));
    }

    #[test]
    fn nonsense_is_an_error() {
        let (host, mut agent) = pair().unwrap();
        agent.send(&"text", Vec::new()).unwrap();
        assert_eq!(host.receive::<u32>().unwrap_err().errno, Errno::BADMSG);
    }
}
