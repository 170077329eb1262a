//! The box's resolver: it hands questions to the host's name servers, and answers back.
//!
//! ```text
//! program in the box ── 127.0.0.11:53, UDP or TCP ── Resolver ── a socket of the host for each question ── the host's server
//! ```
//!
//! The host side makes each socket, connected to the server that the host uses at that moment: so the box follows its
//! `resolv.conf`, reaches a resolver on its loopback, and with that whatever splits names between a VPN and the rest.
//! Each question goes out from a port and with an id that the kernel chose, and only an answer from there to the same
//! question is believed. With an egress list, [`Gate`] decides what is asked and believed.

pub mod message;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use self::message::{Malformed, Query, Refusal};
use super::Shared;
use super::dialer::Voice;
use super::egress::Gate;
use super::message::Report;
use super::reactor::{Key, Part};
use super::slab::Slab;
use crate::profile::ports::Protocol;
use crate::sandbox::net::reached::Reason;
use crate::sys::{Context, SysResult, net};

/// Where the box asks. Not the addresses of systemd-resolved, which may run in a box.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// At that address.
pub const PORT: u16 = 53;

/// More questions than this do not wait for answers at a time.
const MAX_QUESTIONS: usize = 1024;
/// More programs than this are not connected by TCP at a time.
const MAX_CLIENTS: usize = 64;
/// How long a server may take; programs ask again after 5 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a question is asked, of one server after the other.
const ATTEMPTS: u32 = 4;
/// A TCP client that says nothing for so long is left.
const IDLE: Duration = Duration::from_secs(10);
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 65_535;
/// So many questions of one socket are read before others get their turn.
const AT_ONCE: usize = 64;

const UDP: u32 = u32::MAX;
const TCP: u32 = u32::MAX - 1;

/// Who asked.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Udp(SocketAddr),
    /// The client's slot, and its number, since slots are used again.
    Tcp(usize, u32),
}

#[derive(Debug)]
enum Upstream {
    /// The host side was asked for a socket.
    Asked(u32),
    Udp(UdpSocket),
    /// What was read so far; the question is sent once it is connected.
    Tcp {
        stream: TcpStream,
        sent: bool,
        buffer: Vec<u8>,
    },
}

#[derive(Debug)]
struct Question {
    query: Query,
    bytes: Vec<u8>,
    asker: Asker,
    /// Which rules permit it.
    rules: Vec<usize>,
    upstream: Upstream,
    /// Ours, towards the server.
    id: u16,
    attempt: u32,
    deadline: Instant,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    number: u32,
    buffer: Vec<u8>,
    deadline: Instant,
}

#[derive(Debug)]
enum Slot {
    Question(Box<Question>),
    Client(Client),
}

/// The part of the agent.
#[derive(Debug)]
pub struct Resolver {
    udp: UdpSocket,
    voice: Voice,
    tcp: TcpListener,
    registered: bool,
    slots: Slab<Slot>,
    clients: usize,
    tickets: HashMap<u32, usize>,
    next_number: u32,
}

impl Resolver {
    /// Binds the box's address; the caller may bind low ports. `voice` is what the dialer knows the socket by.
    pub fn new(voice: Voice) -> SysResult<Self> {
        // Init does so too, but later.
        net::bring_up_loopback()?;
        let address = SocketAddrV4::new(ADDRESS, PORT);
        let call = || format!("bind `{address}` in the box");
        let udp = UdpSocket::bind(address).call(call)?;
        let tcp = TcpListener::bind(address).call(call)?;
        udp.set_nonblocking(true).call(call)?;
        tcp.set_nonblocking(true).call(call)?;
        Ok(Self {
            udp,
            voice,
            tcp,
            registered: false,
            slots: Slab::default(),
            clients: 0,
            tickets: HashMap::new(),
            next_number: 0,
        })
    }

    /// What answers over UDP.
    pub fn voice(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }

    /// When [`Self::on_time`] wants to be called.
    pub fn deadline(&mut self) -> Option<Instant> {
        if !self.registered {
            return Some(Instant::now());
        }
        self.slots.iter_mut().map(|(_, slot)| slot.deadline()).min()
    }

    /// A new round: does what is due.
    pub fn on_time(&mut self, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        self.slots.settle();
        if !self.registered {
            self.registered = true;
            shared.reactor.add(&self.udp, Key::new(Part::Resolver, UDP), EventFlags::IN)?;
            shared.reactor.add(&self.tcp, Key::new(Part::Resolver, TCP), EventFlags::IN)?;
        }
        let now = Instant::now();
        let due: Vec<usize> =
            self.slots.iter_mut().filter(|(_, slot)| slot.deadline() <= now).map(|(index, _)| index).collect();
        for index in due {
            match self.slots.get_mut(index) {
                Some(Slot::Question(_)) => self.ask_again(index, gate, shared)?,
                Some(Slot::Client(_)) => self.leave(index),
                None => {}
            }
        }
        Ok(())
    }

    /// A descriptor is ready.
    pub fn on_ready(&mut self, id: u32, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        match id {
            UDP => self.read_udp(gate, shared),
            TCP => self.accept(shared),
            slot => match self.slots.get_mut(slot as usize) {
                Some(Slot::Question(_)) => self.read_answer(slot as usize, gate, shared),
                Some(Slot::Client(_)) => self.read_client(slot as usize, gate, shared),
                // It was closed in this round.
                None => Ok(()),
            },
        }
    }

    fn read_udp(&mut self, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        let mut buffer = [0; 4096];
        for _ in 0..AT_ONCE {
            match self.udp.recv_from(&mut buffer) {
                Ok((size, from)) => self.question(&buffer[..size], Asker::Udp(from), gate, shared)?,
                // Nothing more, or an asker that is gone.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self, shared: &Shared) -> SysResult<()> {
        for _ in 0..AT_ONCE {
            let Ok((stream, _)) = self.tcp.accept() else { return Ok(()) };
            if self.clients >= MAX_CLIENTS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let slot = self.slots.next();
            shared.reactor.add(&stream, key(slot), EventFlags::IN)?;
            self.next_number = self.next_number.wrapping_add(1);
            let deadline = Instant::now() + IDLE;
            let client = Client { stream, number: self.next_number, buffer: Vec::new(), deadline };
            self.slots.insert(Slot::Client(client));
            self.clients += 1;
        }
        Ok(())
    }

    fn read_client(&mut self, slot: usize, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
        let open = read_into(&mut client.stream, &mut client.buffer);
        client.deadline = Instant::now() + IDLE;
        let asker = Asker::Tcp(slot, client.number);
        let mut messages = Vec::new();
        while let Some(message) = take_message(&mut client.buffer) {
            messages.push(message);
        }
        for message in messages {
            self.question(&message, asker, gate, shared)?;
        }
        if !open {
            self.leave(slot);
        }
        Ok(())
    }

    fn leave(&mut self, slot: usize) {
        if let Some(Slot::Client(_)) = self.slots.get_mut(slot) {
            self.slots.remove(slot);
            self.clients -= 1;
        }
    }

    /// Somebody in the box asks.
    fn question(&mut self, bytes: &[u8], asker: Asker, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        let Ok(query) = message::parse_query(bytes) else { return Ok(()) };
        let name = &query.question.name;
        let rules = match gate {
            None => Vec::new(),
            Some(gate) => match gate.rules_for(name) {
                Some(rules) => {
                    gate.learned(name, shared)?;
                    rules
                }
                None => {
                    gate.refused(name, Reason::NotListed, shared)?;
                    return self.reply(asker, &message::refuse(&query, bytes, Refusal::NameError), shared);
                }
            },
        };
        if self.slots.len() >= MAX_QUESTIONS {
            // It will be asked again.
            return Ok(());
        }
        let question = Question {
            bytes: message::forwarded(&query, bytes),
            query,
            asker,
            rules,
            upstream: Upstream::Asked(0),
            id: 0,
            attempt: 0,
            deadline: Instant::now() + PATIENCE,
        };
        let slot = self.slots.insert(Slot::Question(Box::new(question)));
        self.want_socket(slot, shared)
    }

    /// Asks the host side for a socket.
    fn want_socket(&mut self, slot: usize, shared: &mut Shared) -> SysResult<()> {
        self.next_number = self.next_number.wrapping_add(1);
        let ticket = self.next_number;
        let Some(Slot::Question(question)) = self.slots.get_mut(slot) else { return Ok(()) };
        question.upstream = Upstream::Asked(ticket);
        question.deadline = Instant::now() + PATIENCE;
        let (attempt, protocol) = (question.attempt, question.protocol());
        self.tickets.insert(ticket, slot);
        shared.link.send(&Report::Resolve { ticket, protocol, attempt }, Vec::new())
    }

    /// The host side's answer to [`Report::Resolve`].
    pub fn connected(
        &mut self,
        ticket: u32,
        socket: Option<OwnedFd>,
        gate: &mut Option<Gate>,
        shared: &mut Shared,
    ) -> SysResult<()> {
        let Some(slot) = self.tickets.remove(&ticket) else { return Ok(()) };
        let Some(Slot::Question(question)) = self.slots.get_mut(slot) else { return Ok(()) };
        if !matches!(question.upstream, Upstream::Asked(asked) if asked == ticket) {
            return Ok(());
        }
        let Some(socket) = socket else { return self.ask_again(slot, gate, shared) };
        question.id = random_id()?;
        message::set_id(&mut question.bytes, question.id);
        let reactor = &shared.reactor;
        match question.protocol() {
            Protocol::Udp => {
                let socket = UdpSocket::from(socket);
                if socket.send(&question.bytes).is_err() {
                    return self.ask_again(slot, gate, shared);
                }
                reactor.add(&socket, key(slot), EventFlags::IN)?;
                question.upstream = Upstream::Udp(socket);
            }
            Protocol::Tcp => {
                let stream = TcpStream::from(socket);
                reactor.add(&stream, key(slot), EventFlags::OUT)?;
                question.upstream = Upstream::Tcp { stream, sent: false, buffer: Vec::new() };
            }
        }
        Ok(())
    }

    /// The next server, if there was a chance left.
    fn ask_again(&mut self, slot: usize, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        let Some(Slot::Question(question)) = self.slots.get_mut(slot) else { return Ok(()) };
        if let Upstream::Asked(ticket) = question.upstream {
            self.tickets.remove(&ticket);
        }
        question.attempt += 1;
        if question.attempt < ATTEMPTS {
            return self.want_socket(slot, shared);
        }
        self.finish(slot, None, gate, shared)
    }

    /// Something came from a server, or the way to it is there.
    fn read_answer(&mut self, slot: usize, gate: &mut Option<Gate>, shared: &mut Shared) -> SysResult<()> {
        let Some(Slot::Question(question)) = self.slots.get_mut(slot) else { return Ok(()) };
        let answer = match &mut question.upstream {
            Upstream::Asked(_) => return Ok(()),
            Upstream::Udp(socket) => {
                let mut buffer = vec![0; MAX_MESSAGE];
                match socket.recv(&mut buffer) {
                    Ok(size) => {
                        buffer.truncate(size);
                        Some(buffer)
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    // Nobody listens there.
                    Err(_) => None,
                }
            }
            Upstream::Tcp { stream, sent, buffer } => {
                if !*sent {
                    let length = (question.bytes.len() as u16).to_be_bytes();
                    let whole = [&length[..], &question.bytes].concat();
                    *sent = matches!(stream.write(&whole), Ok(size) if size == whole.len());
                    if *sent {
                        return shared.reactor.change(&*stream, key(slot), EventFlags::OUT, EventFlags::IN);
                    }
                    None
                } else {
                    let open = read_into(stream, buffer);
                    match take_message(buffer) {
                        None if open => return Ok(()),
                        other => other,
                    }
                }
            }
        };
        match answer {
            None => self.ask_again(slot, gate, shared),
            Some(answer) => self.finish(slot, Some(answer), gate, shared),
        }
    }

    /// Answers the asker, if `answer` is one to the question.
    fn finish(
        &mut self,
        slot: usize,
        answer: Option<Vec<u8>>,
        gate: &mut Option<Gate>,
        shared: &mut Shared,
    ) -> SysResult<()> {
        let Some(Slot::Question(question)) = self.slots.get_mut(slot) else { return Ok(()) };
        let refused = |question: &Question, refusal| message::refuse(&question.query, &question.bytes, refusal);
        let reply = match answer {
            None => refused(question, Refusal::ServerFailure),
            Some(mut answer) => match question.judge(&answer) {
                // Somebody else's, or a forgery: the right one may still come.
                Err(Malformed) => return Ok(()),
                Ok(read) => {
                    let accepted = match gate {
                        None => Ok(()),
                        Some(gate) => match gate.accept(&read, &question.rules) {
                            Ok(Err(reason)) => {
                                gate.refused(&read.question.name, reason, shared)?;
                                Err(Refusal::NameError)
                            }
                            Ok(Ok(())) => Ok(()),
                            // Without its address in the filter an answer is of no use.
                            Err(_) => Err(Refusal::ServerFailure),
                        },
                    };
                    match accepted {
                        Err(refusal) => refused(question, refusal),
                        Ok(()) if question.fits(&answer) => {
                            message::set_id(&mut answer, question.query.id);
                            answer
                        }
                        Ok(()) => message::truncate(&question.query, &question.bytes),
                    }
                }
            },
        };
        let asker = question.asker;
        self.slots.remove(slot);
        self.reply(asker, &reply, shared)
    }

    /// An asker who does not take the answer is left alone.
    fn reply(&mut self, asker: Asker, message: &[u8], shared: &Shared) -> SysResult<()> {
        let (slot, number) = match asker {
            Asker::Udp(to) => return shared.dialer.say(self.voice, to, message),
            Asker::Tcp(slot, number) => (slot, number),
        };
        let Some(Slot::Client(client)) = self.slots.get_mut(slot) else { return Ok(()) };
        if client.number == number {
            let whole = [&(message.len() as u16).to_be_bytes()[..], message].concat();
            if !matches!(client.stream.write(&whole), Ok(size) if size == whole.len()) {
                self.leave(slot);
            }
        }
        Ok(())
    }
}

impl Question {
    fn protocol(&self) -> Protocol {
        match self.asker {
            Asker::Udp(_) => Protocol::Udp,
            Asker::Tcp(..) => Protocol::Tcp,
        }
    }

    /// Whether `answer` is one to this question.
    fn judge(&self, answer: &[u8]) -> Result<message::Answer, Malformed> {
        let read = message::parse_answer(answer)?;
        if read.id == self.id && read.question == self.query.question { Ok(read) } else { Err(Malformed) }
    }

    fn fits(&self, answer: &[u8]) -> bool {
        self.protocol() == Protocol::Tcp || answer.len() <= self.query.udp_size.into()
    }
}

impl Slot {
    fn deadline(&self) -> Instant {
        match self {
            Self::Question(question) => question.deadline,
            Self::Client(client) => client.deadline,
        }
    }
}

fn key(slot: usize) -> Key {
    // There are fewer slots than descriptors.
    Key::new(Part::Resolver, slot as u32)
}

fn random_id() -> SysResult<u16> {
    let mut bytes = [0; 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).call(|| "getrandom".to_owned())?;
    Ok(u16::from_ne_bytes(bytes))
}

/// Reads what is there; `false` when there will be no more.
fn read_into(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    while buffer.len() <= MAX_MESSAGE {
        match stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(size) => buffer.extend(&chunk[..size]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// Takes a message with its length in front out of `buffer`, if it is whole.
fn take_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
    (buffer.len() >= 2 + length).then(|| buffer.drain(..2 + length).skip(2).collect())
}
