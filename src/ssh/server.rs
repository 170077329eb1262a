//! The server: one loop over the client, the box, and what is between them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::auth;
use super::channel::{Channel, Kind, MAX_DATA_BYTES, Purpose};
use super::connection::MAX_CHANNELS;
use super::forward::Listener;
use super::keys::Key;
use super::transport::Transport;
use super::{SshError, message};
use crate::boxes::hold::Held;
use crate::wire::Writer;

/// Nothing is read, neither from the client nor from the box, while this much waits for the client to take it.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Read from the client at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A connection of a client with a box.
pub struct Server<'a> {
    pub(super) held: &'a Held,
    pub(super) transport: Transport,
    client_key: Key,
    /// Who the client is; `None` before it has said so.
    pub(super) user: Option<String>,
    pub(super) channels: BTreeMap<u32, Channel>,
    /// The client has promised to open no more sessions.
    pub(super) no_more_sessions: bool,
    /// What listens in the box for the client.
    pub(super) listeners: Vec<Listener>,
    box_stopped: bool,
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

/// Something that can go on.
#[derive(Debug, Clone, Copy)]
enum Event {
    Client,
    Output,
    Box,
    Leader(u32),
    Sink(u32),
    Source(u32, Kind),
    Listener(usize),
}

/// Serves the client that writes to `input` and reads from `output`, until one of the two sides ends.
pub fn serve(held: &Held, keys: (Key, Key), input: &OwnedFd, output: &OwnedFd) -> Result<(), SshError> {
    raise_descriptor_limit()?;
    for descriptor in [input, output] {
        rustix::fs::fcntl_setfl(descriptor, OFlags::NONBLOCK).map_err(io("prepare the ssh client's streams"))?;
    }
    let (host_key, client_key) = keys;
    let mut server = Server {
        held,
        transport: Transport::new(host_key)?,
        client_key,
        user: None,
        channels: BTreeMap::new(),
        no_more_sessions: false,
        listeners: Vec::new(),
        box_stopped: false,
    };
    match server.run(input, output) {
        // The usual end: the client's last message, if it sends one.
        Err(SshError::Disconnected) => Ok(()),
        other => other,
    }
}

pub(super) fn io(operation: &'static str) -> impl Fn(Errno) -> SshError {
    move |errno| SshError::Io { operation, source: errno.into() }
}

/// Each session takes some descriptors, and clients open many.
fn raise_descriptor_limit() -> Result<(), SshError> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(io("raise the limit of descriptors"))
}

impl Server<'_> {
    fn run(&mut self, input: &OwnedFd, output: &OwnedFd) -> Result<(), SshError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let events = self.wait(input.as_fd(), output.as_fd())?;
            for event in events {
                match event {
                    Event::Client => {
                        if !self.read_client(input, &mut buffer)? {
                            return Ok(());
                        }
                    }
                    // Written below, whoever made room.
                    Event::Output => {}
                    Event::Box => self.box_stopped = true,
                    Event::Leader(number) => self.hear_leader(number)?,
                    Event::Sink(number) => self.write_box(number)?,
                    Event::Listener(index) => self.accept(index)?,
                    Event::Source(number, kind) => self.read_box(number, kind, &mut buffer)?,
                }
            }
            self.on_time()?;
            if !self.write_client(output)? {
                return Ok(());
            }
            let busy = self.channels.values().any(|channel| !channel.close_sent);
            if self.box_stopped && !busy && self.transport.output().is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits until something can go on.
    fn wait(&self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Vec<Event>, SshError> {
        let mut watch = Watch::default();
        let waiting = self.transport.output().len();
        if waiting <= MAX_OUTPUT_BYTES {
            watch.add(input, PollFlags::IN, Event::Client);
        }
        // Without data to write it still tells when the client has gone.
        watch.add(output, if waiting > 0 { PollFlags::OUT } else { PollFlags::empty() }, Event::Output);
        if !self.box_stopped {
            watch.add(self.held.stream().as_fd(), PollFlags::IN, Event::Box);
        }
        let may_send = waiting <= MAX_OUTPUT_BYTES && !self.transport.is_exchanging();
        for (number, channel) in &self.channels {
            if let Purpose::Leader(leader) = &channel.purpose
                && leader.ended.is_none()
            {
                watch.add(leader.conversation.stream().as_fd(), PollFlags::IN, Event::Leader(*number));
            }
            if let Purpose::Opening(conversation) = &channel.purpose {
                watch.add(conversation.stream().as_fd(), PollFlags::IN, Event::Leader(*number));
            }
            if let Some(sink) = channel.sink.as_ref().filter(|_| channel.has_waiting()) {
                watch.add(sink.as_fd(), PollFlags::OUT, Event::Sink(*number));
            }
            if may_send && channel.readable_size() > 0 {
                for source in &channel.sources {
                    watch.add(source.descriptor.as_fd(), PollFlags::IN, Event::Source(*number, source.kind));
                }
            }
        }
        if self.channels.len() < MAX_CHANNELS && may_send {
            for (index, listener) in self.listeners.iter().enumerate() {
                watch.add(listener.descriptor.as_fd(), PollFlags::IN, Event::Listener(index));
            }
        }
        let timeout = self.next_time().map(|time| {
            let left = time.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut watch.set, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io("poll")(errno)),
        }
        let happened = watch.set.iter().zip(&watch.events).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(happened.map(|(_, event)| *event).collect())
    }

    /// Handles what the client says. `false`: it is gone.
    fn read_client(&mut self, input: &OwnedFd, buffer: &mut [u8]) -> Result<bool, SshError> {
        match rustix::io::read(input, &mut *buffer) {
            Ok(0) => return Ok(false),
            Ok(size) => self.transport.feed(&buffer[..size]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(Errno::CONNRESET) => return Ok(false),
            Err(errno) => return Err(io("read from the ssh client")(errno)),
        }
        while let Some(message) = self.transport.next_message()? {
            self.receive(&message)?;
        }
        Ok(true)
    }

    /// Writes what the client takes. `false`: it is gone.
    fn write_client(&mut self, output: &OwnedFd) -> Result<bool, SshError> {
        while !self.transport.output().is_empty() {
            match rustix::io::write(output, self.transport.output()) {
                Ok(size) => self.transport.written(size),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
                Err(errno) => return Err(io("write to the ssh client")(errno)),
            }
        }
        Ok(true)
    }

    fn receive(&mut self, untrusted: &[u8]) -> Result<(), SshError> {
        match (untrusted[0], &self.user) {
            (message::SERVICE_REQUEST, _) => {
                let mut reader = crate::wire::Reader::new(&untrusted[1..]);
                let service = reader.string()?;
                self.send(Writer::message(message::SERVICE_ACCEPT).string(service))
            }
            (message::USERAUTH_REQUEST, None) => {
                let verdict = auth::judge(untrusted, self.transport.session(), &self.client_key)?;
                self.user = verdict.user;
                self.transport.send(&verdict.answer)
            }
            // After the first success they are to be ignored.
            (message::USERAUTH_REQUEST, Some(_)) => Ok(()),
            (message::GLOBAL_REQUEST.., None) => Err(SshError::OutOfOrder { number: untrusted[0] }),
            (message::GLOBAL_REQUEST.., Some(_)) => self.receive_connection(untrusted),
            _ => self.transport.send_unimplemented(),
        }
    }

    pub(super) fn send(&mut self, message: Writer) -> Result<(), SshError> {
        self.transport.send(&message.into_bytes())
    }

    /// Sends data of a channel, within what the client takes.
    pub(super) fn send_data(&mut self, number: u32, kind: Kind, data: &[u8]) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        channel.allowance = channel.allowance.saturating_sub(u32::try_from(data.len()).unwrap_or(u32::MAX));
        let header = match kind {
            Kind::Output => Writer::message(message::CHANNEL_DATA).u32(channel.peer),
            // The one type of extended data that there is.
            Kind::Error => Writer::message(message::CHANNEL_EXTENDED_DATA).u32(channel.peer).u32(1),
        };
        self.send(header.string(data))
    }

    fn write_box(&mut self, number: u32) -> Result<(), SshError> {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.write();
        }
        self.settle(number)
    }

    fn read_box(&mut self, number: u32, kind: Kind, buffer: &mut [u8]) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        // Both streams of a command were ready, and the first may have used up what the client takes.
        let size = channel.readable_size().min(MAX_DATA_BYTES as usize);
        let source = channel.sources.iter().position(|source| source.kind == kind).filter(|_| size > 0);
        let Some(source) = source else { return Ok(()) };
        match rustix::io::read(&channel.sources[source].descriptor, &mut buffer[..size]) {
            Ok(size @ 1..) => {
                if let Purpose::Leader(leader) = &mut channel.purpose {
                    leader.quiet_at = leader.quiet_at.map(|_| Instant::now() + super::session::QUIET);
                }
                return self.send_data(number, kind, &buffer[..size]);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // The end; that of a terminal is EIO, that of a connection may be a reset.
            Ok(0) | Err(_) => drop(channel.sources.remove(source)),
        }
        self.settle(number)
    }
}

/// What is waited for.
#[derive(Default)]
struct Watch<'a> {
    set: Vec<PollFd<'a>>,
    events: Vec<Event>,
}

impl<'a> Watch<'a> {
    fn add(&mut self, descriptor: BorrowedFd<'a>, flags: PollFlags, event: Event) {
        self.set.push(PollFd::from_borrowed_fd(descriptor, flags));
        self.events.push(event);
    }
}
