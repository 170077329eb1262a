//! The agent's event loop: descriptors, each with the part of the agent that it belongs to.
//!
//! There are no callbacks: [`Reactor::wait`] tells which descriptors are ready, and the agent hands each to its part.
//! Level-triggered, so that a part may leave work for the next round.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::sys::{Context, SysResult};

/// How many descriptors are looked at in one round.
const ROUND: usize = 64;

/// A part of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The connection to the host side.
    Link,
    /// TCP ports; the id is the part's own, here and below.
    Ports,
    /// UDP ports.
    Datagrams,
    /// The resolver; the id is the part's own.
    Resolver,
    /// The packet filter's log.
    Egress,
}

const PARTS: [Part; 5] = [Part::Link, Part::Ports, Part::Datagrams, Part::Resolver, Part::Egress];

/// Names a descriptor: its part, and that part's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Whose it is.
    pub part: Part,
    /// Which one.
    pub id: u32,
}

impl Key {
    /// The number `id` of `part`.
    #[must_use]
    pub const fn new(part: Part, id: u32) -> Self {
        Self { part, id }
    }

    fn encode(self) -> EventData {
        EventData::new_u64((self.part as u64) << 32 | u64::from(self.id))
    }

    fn decode(data: EventData) -> Option<Self> {
        let part = *PARTS.get(usize::try_from(data.u64() >> 32).ok()?)?;
        Some(Self { part, id: data.u64() as u32 })
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Reactor(OwnedFd);

impl Reactor {
    /// An empty one.
    pub fn new() -> SysResult<Self> {
        epoll::create(CreateFlags::CLOEXEC).map(Self).call(|| "epoll_create1".to_owned())
    }

    /// Watches `fd` for `interest`; the kernel tells of errors and hang-ups whatever that is.
    pub fn add(&self, fd: impl AsFd, key: Key, interest: EventFlags) -> SysResult<()> {
        epoll::add(&self.0, fd, key.encode(), interest).call(|| format!("epoll_ctl `add` {key:?}"))
    }

    /// From `old` interest to `new`. Without any interest a descriptor is not watched at all: a connection that is
    /// waiting for its other half must not be told of its own end over and over.
    pub fn change(&self, fd: impl AsFd, key: Key, old: EventFlags, new: EventFlags) -> SysResult<()> {
        match (old.is_empty(), new.is_empty()) {
            _ if old == new => Ok(()),
            (true, _) => self.add(fd, key, new),
            (_, true) => self.remove(fd),
            _ => epoll::modify(&self.0, fd, key.encode(), new).call(|| format!("epoll_ctl `mod` {key:?}")),
        }
    }

    /// Watches `fd` no longer.
    pub fn remove(&self, fd: impl AsFd) -> SysResult<()> {
        match epoll::delete(&self.0, fd) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).call(|| "epoll_ctl `del`".to_owned()),
        }
    }

    /// Sleeps until a descriptor is ready or `deadline` has come; appends what is ready.
    pub fn wait(&self, deadline: Option<Instant>, ready: &mut Vec<(Key, EventFlags)>) -> SysResult<()> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; ROUND];
        match epoll::wait(&self.0, &mut events[..], left.as_ref()) {
            Ok(count) => {
                // `Event` is packed: its fields are copied.
                let known = events[..count].iter().filter_map(|event| Some((Key::decode(event.data)?, event.flags)));
                ready.extend(known);
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).call(|| "epoll_wait".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn tells_who_is_ready_until_nobody_cares() {
        let reactor = Reactor::new().unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        let key = Key::new(Part::Ports, u32::MAX);
        reactor.add(&other, key, EventFlags::IN).unwrap();
        let mut ready = Vec::new();
        let soon = || Some(Instant::now() + Duration::from_millis(1));
        reactor.wait(soon(), &mut ready).unwrap();
        assert!(ready.is_empty());
        one.write_all(b"x").unwrap();
        reactor.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [(key, EventFlags::IN)]);
        ready.clear();
        reactor.change(&other, key, EventFlags::IN, EventFlags::empty()).unwrap();
        drop(one);
        reactor.wait(soon(), &mut ready).unwrap();
        assert!(ready.is_empty(), "{ready:?}");
        reactor.remove(&other).unwrap();
    }
}
