//! Between the box and the proxy: tells the bus the user's name where a program of the box says its own.
//!
//! ```text
//! program --NUL, lines .. BEGIN--> relay --the same, but for the uid--> xdg-dbus-proxy --> the host's bus
//!         <---- lines, messages --       <---- lines, messages --------
//! ```
//!
//! Programs of libdbus begin with `AUTH EXTERNAL` and the uid that they have *in the box*. The bus compares it with that of its
//! peer, which is the proxy's, and refuses. So the uid of such a line becomes that of the invoking user: it is the one
//! that the bus sees anyway. What the box may talk to is the proxy's to decide.
//!
//! Programs of systemd say everything up to `BEGIN` at once, which old proxies take for the end of the bus's lines, too. So a line
//! waits until the one before was answered.
//!
//! Descriptors belong to the message that they came with. So never more is read than the rest of a line or of a message, and what
//! came along is sent along. Of messages the length is read and nothing else. A program that says what is no line and no
//! message loses its connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, connect, socket_with};

use crate::sys::{Context, SysError, SysResult, socket};

/// Of more programs at once the others wait.
const MAX_CONNECTIONS: usize = 64;
/// The longest line, in bytes, as libdbus has it.
const MAX_LINE: usize = 16 << 10;
/// The longest message, in bytes, as the specification has it.
const MAX_MESSAGE: u64 = 128 << 20;
/// What every message begins with, in bytes: enough to know its length.
const HEADER: usize = 16;
/// How much of a message is held at once, in bytes.
const CHUNK: usize = 16 << 10;
/// How often a direction reads before others get their turn.
const TURN: usize = 64;

/// Serves whoever connects to `listener`, until the supervisor is gone. `uid` is whom the bus sees.
pub fn serve(listener: &OwnedFd, proxy: &Path, uid: u32) -> SysResult<()> {
    let proxy = SocketAddrUnix::new(proxy).call(|| format!("name `{}`", proxy.display()))?;
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let mut set: Vec<PollFd<'_>> = connections.iter().flat_map(Connection::poll_fds).collect();
        if connections.len() < MAX_CONNECTIONS {
            set.push(PollFd::new(listener, PollFlags::IN));
        }
        match poll(&mut set, None) {
            Err(Errno::INTR) => continue,
            other => other.call(|| "poll".to_owned())?,
        };
        let ready: Vec<bool> = set.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(set);
        let somebody_comes = ready.get(connections.len() * 2).is_some_and(|ready| *ready);
        let mut ready = ready.chunks(2).map(|pair| pair.contains(&true));
        connections.retain_mut(|connection| ready.next() != Some(true) || connection.relay().is_ok());
        if somebody_comes {
            // Who went away again, or comes when there are no descriptors, is not served.
            connections.extend(Connection::accept(listener, &proxy, uid).ok());
        }
    }
}

/// A program of the box and what it says to the proxy.
struct Connection {
    program: OwnedFd,
    proxy: OwnedFd,
    to_proxy: Direction,
    to_program: Direction,
}

impl Connection {
    fn accept(listener: &OwnedFd, proxy: &SocketAddrUnix, uid: u32) -> SysResult<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let program = accept_with(listener, flags).call(|| "accept4".to_owned())?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let proxy_side = socket.call(|| "socket".to_owned())?;
        connect(&proxy_side, proxy).call(|| "connect `xdg-dbus-proxy`".to_owned())?;
        rustix::fs::fcntl_setfl(&proxy_side, OFlags::NONBLOCK).call(|| "fcntl `O_NONBLOCK`".to_owned())?;
        let (to_proxy, to_program) = (Direction::new(Speaker::Program { uid }), Direction::new(Speaker::Bus));
        Ok(Self { program, proxy: proxy_side, to_proxy, to_program })
    }

    /// What each direction waits for.
    fn poll_fds(&self) -> [PollFd<'_>; 2] {
        let answers = self.to_program.poll_fd(self.proxy.as_fd(), self.program.as_fd());
        let to_proxy = match self.to_proxy.must_wait() {
            true => answers.clone(),
            false => self.to_proxy.poll_fd(self.program.as_fd(), self.proxy.as_fd()),
        };
        [to_proxy, answers]
    }

    /// Carries on what there is. An error when one side is gone, or makes no sense.
    fn relay(&mut self) -> SysResult<()> {
        self.to_proxy.carry(self.program.as_fd(), self.proxy.as_fd())?;
        self.to_program.carry(self.proxy.as_fd(), self.program.as_fd())?;
        if std::mem::take(&mut self.to_program.said_line) {
            self.to_proxy.said_line = false;
        }
        Ok(())
    }
}

/// Whose words a direction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// The bus sees `uid` in its place.
    Program {
        uid: u32,
    },
    Bus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Lines, until the program says `BEGIN` and the bus sends a message.
    Lines,
    /// At the beginning of a message.
    Header,
    /// In a message of which so many bytes are left.
    Body { left: u64 },
}

/// One direction of a connection. It reads nothing new before it has sent what it read.
#[derive(Debug)]
struct Direction {
    speaker: Speaker,
    phase: Phase,
    /// A line or a header that is not complete.
    held: Vec<u8>,
    /// What is to be sent, and what goes with its first byte.
    ready: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// A line that the program wants an answer to, or that the bus answered with.
    said_line: bool,
}

impl Direction {
    fn new(speaker: Speaker) -> Self {
        let (held, ready, descriptors) = (Vec::new(), Vec::new(), Vec::new());
        Self { speaker, phase: Phase::Lines, held, ready, descriptors, said_line: false }
    }

    /// Whether nothing more is read before the other side has answered.
    fn must_wait(&self) -> bool {
        self.ready.is_empty() && self.said_line && matches!(self.speaker, Speaker::Program { .. })
    }

    fn poll_fd<'a>(&self, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> PollFd<'a> {
        let (fd, flags) = if self.ready.is_empty() { (from, PollFlags::IN) } else { (to, PollFlags::OUT) };
        PollFd::from_borrowed_fd(fd, flags)
    }

    fn carry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> SysResult<()> {
        for _ in 0..TURN {
            if self.must_wait() {
                return Ok(());
            }
            let carried = if self.ready.is_empty() { self.receive(from) } else { self.send(to) };
            match carried {
                Err(error) if error.errno == Errno::AGAIN => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, from: BorrowedFd<'_>) -> SysResult<()> {
        let mut buffer = [0; CHUNK];
        let most = match self.phase {
            Phase::Lines => 1,
            Phase::Header => HEADER - self.held.len(),
            Phase::Body { left } => usize::try_from(left).unwrap_or(CHUNK).min(CHUNK),
        };
        match socket::receive_with_descriptors(&from, &mut buffer[..most], &mut self.descriptors)? {
            0 => Err(SysError::new("recvmsg", Errno::PIPE)),
            size => self.take(&buffer[..size]).ok_or_else(|| SysError::new("recvmsg", Errno::BADMSG)),
        }
    }

    fn send(&mut self, to: BorrowedFd<'_>) -> SysResult<()> {
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        let sent = socket::send_with_descriptors(&to, &self.ready, &descriptors)?;
        self.ready.drain(..sent);
        self.descriptors.clear();
        Ok(())
    }

    /// Takes what was read, no more than the phase asks for. `None`: it is no line and no message.
    fn take(&mut self, bytes: &[u8]) -> Option<()> {
        match self.phase {
            Phase::Lines => {
                // There are none among the lines.
                self.descriptors.clear();
                self.held.extend_from_slice(bytes);
                match (self.speaker, self.held.as_slice()) {
                    // The byte before the first line, which credentials may come with.
                    (Speaker::Program { .. }, [0]) => self.ready = std::mem::take(&mut self.held),
                    // The byte order of a message; no line begins like this.
                    (Speaker::Bus, [b'l' | b'B']) => self.phase = Phase::Header,
                    (speaker, line) if line.ends_with(b"\r\n") => {
                        self.ready = match speaker {
                            Speaker::Program { uid } => named(line, uid),
                            Speaker::Bus => line.to_vec(),
                        };
                        if matches!(speaker, Speaker::Program { .. }) && line == b"BEGIN\r\n" {
                            self.phase = Phase::Header;
                        } else {
                            self.said_line = true;
                        }
                        self.held.clear();
                    }
                    (_, line) if line.len() >= MAX_LINE => return None,
                    _ => {}
                }
            }
            Phase::Header => {
                self.held.extend_from_slice(bytes);
                if let Some(header) = self.held.first_chunk() {
                    self.phase = rest(length(header)? - HEADER as u64);
                    self.ready = std::mem::take(&mut self.held);
                }
            }
            Phase::Body { left } => {
                self.phase = rest(left.checked_sub(bytes.len() as u64)?);
                self.ready = bytes.to_vec();
            }
        }
        Some(())
    }
}

fn rest(left: u64) -> Phase {
    if left == 0 { Phase::Header } else { Phase::Body { left } }
}

/// A line of a program, that says `uid` where it said its own.
fn named(line: &[u8], uid: u32) -> Vec<u8> {
    if !line.starts_with(b"AUTH EXTERNAL ") {
        return line.to_vec();
    }
    let hex: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    format!("AUTH EXTERNAL {hex}\r\n").into_bytes()
}

/// The length in bytes of the message that begins with this header.
fn length(header: &[u8; HEADER]) -> Option<u64> {
    let number = |at: usize| {
        let bytes = *header.get(at..)?.first_chunk()?;
        match header[0] {
            b'l' => Some(u64::from(u32::from_le_bytes(bytes))),
            b'B' => Some(u64::from(u32::from_be_bytes(bytes))),
            _ => None,
        }
    };
    // The fields are padded to 8 bytes, the body follows.
    let (body, fields) = (number(4)?, number(12)?);
    Some(HEADER as u64 + fields.next_multiple_of(8) + body).filter(|length| *length <= MAX_MESSAGE)
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
