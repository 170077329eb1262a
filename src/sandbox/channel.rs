//! The conversation between a client and a session of a box: length-prefixed JSON over a unix stream socket, with
//! descriptors riding along.
//!
//! ```text
//! client                         session leader (or supervisor, while the box starts)
//!   Request + descriptors  ---->
//!                          <----  Started (+ the terminal's master)  | Failed | NotExecuted
//!   Signal                 ---->
//!                          <----  Ended
//! ```
//!
//! The leader treats a broken connection as the death of its client.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reach::Socket;
use crate::sys::process::Ended;
use crate::sys::socket;
use crate::sys::terminal::Size;
use crate::sys::terminal::modes::Mode;

/// No message is longer: an environment and a command line together are bounded by the kernel's 2 MiB.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Where one of the command's standard streams leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The next descriptor sent with the request.
    Descriptor,
    /// The session's terminal.
    Terminal,
}

/// What a client asks of a running box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run a command as a new session.
    Run(Command),
    /// Keep the box running as long as the connection is open.
    Hold,
    /// Serve the box's files by SFTP, over the socket that comes along.
    Files {
        /// Whose rights count; absent: those of the box's root.
        user: Option<String>,
    },
    /// Make a socket in the box.
    Open {
        /// Whose rights count; absent: those of the box's root.
        user: Option<String>,
        /// Which.
        socket: Socket,
    },
    /// End every session and the box; kill what is left after this many milliseconds.
    Stop {
        /// How long the processes have to end by themselves.
        grace_ms: u32,
    },
}

/// A command to run in a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments. The program is looked up in the environment's `PATH`, inside the box.
    pub arguments: Vec<Bytes>,
    /// Programs (absolute) to execute instead when the first argument's does not exist, in order.
    pub alternatives: Vec<Bytes>,
    /// What is added for a program of one of these names.
    #[serde(default)]
    pub shells: Vec<Shell>,
    /// Which program `SHELL` names where the environment has none: the first that is there.
    #[serde(default)]
    pub login_shells: Vec<Bytes>,
    /// The whole environment.
    pub environment: Vec<(Bytes, Bytes)>,
    /// The working directory; the first that exists is taken.
    pub directories: Vec<Bytes>,
    /// What becomes of it when none of them exists.
    #[serde(default)]
    pub without_directory: WithoutDirectory,
    /// A name or number in the box's `/etc/passwd`; absent: the box's root.
    pub user: Option<String>,
    /// Standard input, output and error.
    pub streams: [Stream; 3],
    /// The terminal to make, if any stream leads to it.
    pub terminal: Option<Terminal>,
    /// What a listing shows.
    pub title: String,
    /// Locks that it has from its beginning, see [`super::locks`]. They are waited for in this order.
    #[serde(default)]
    pub locks: Vec<Lock>,
}

/// What becomes of a command whose working directory is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithoutDirectory {
    /// It runs in `/`: the caller's folder need not be one of the box's.
    #[default]
    Root,
    /// The directory is made by the box's root.
    Make,
    /// It does not run.
    Refuse,
}

/// A lock of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The directory that is locked; one that is not there is no lock.
    pub directory: Bytes,
    /// The descriptor that holds it.
    pub number: i32,
    /// It is not waited for: the command goes without it.
    pub optional: bool,
}

impl Command {
    /// A program as the box's root at `/`, that has the streams of who asks for it. A listing shows `title`.
    #[must_use]
    pub fn new(arguments: Vec<Bytes>, environment: Vec<(Bytes, Bytes)>, title: &str) -> Self {
        Self {
            arguments,
            alternatives: Vec::new(),
            shells: Vec::new(),
            login_shells: Vec::new(),
            environment,
            directories: vec![Bytes::from("/")],
            without_directory: WithoutDirectory::default(),
            user: None,
            streams: [Stream::Descriptor; 3],
            terminal: None,
            title: title.to_owned(),
            locks: Vec::new(),
        }
    }
}

/// A terminal of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its size.
    pub size: Size,
    /// In what it differs from a new one.
    #[serde(default)]
    pub modes: Vec<Mode>,
}

/// What a shell needs besides, so that it speaks with the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// The program's name without its directory.
    pub name: Bytes,
    /// Further arguments.
    pub arguments: Vec<Bytes>,
    /// Further variables, or other values.
    pub environment: Vec<(Bytes, Bytes)>,
}

/// Bytes of the host (paths, arguments, environment): not necessarily UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl<T: AsRef<std::ffi::OsStr>> From<T> for Bytes {
    fn from(text: T) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self(text.as_ref().as_bytes().to_vec())
    }
}

impl Bytes {
    /// The bytes as the system's own string type.
    #[must_use]
    pub fn as_os_str(&self) -> &std::ffi::OsStr {
        std::os::unix::ffi::OsStrExt::from_bytes(&self.0)
    }
}

/// UTF-8 goes as a string, anything else as an array of numbers.
impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Raw(Vec<u8>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Raw(bytes) => bytes,
        }))
    }
}

/// What a client may say while its command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Send this signal to the command.
    Signal(i32),
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The box is there and the command has been executed. The terminal's master comes along if one was asked for.
    Started,
    /// The box could not be started.
    Failed(Failure),
    /// The command could not be executed: 127 when there is no such program, 126 otherwise.
    NotExecuted {
        /// What was tried.
        program: String,
        /// What the kernel said.
        reason: String,
        /// 126 or 127.
        status: i32,
    },
    /// The command has ended.
    Ended(Ended),
    /// The socket, which comes along.
    Opened {
        /// Where it listens, if that is a port.
        port: u16,
    },
    /// The box is about to stop; the connection closes when it has.
    Stopping,
}

/// Why a box did not start, as it crosses the process boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which phase of the start.
    pub phase: Phase,
    /// The error and its causes, outermost first.
    pub causes: Vec<String>,
}

/// The phases of a start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// New namespaces.
    Namespaces,
    /// The id map.
    IdMap,
    /// The limits.
    Limits,
    /// The private network.
    Network,
    /// The root file system's layers.
    Overlay,
    /// What is mounted on the root file system.
    Mounts,
    /// Capabilities and system-call filter.
    Restrictions,
}

impl Failure {
    /// `error` with its chain of sources.
    pub fn new(phase: Phase, error: &dyn std::error::Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { phase, causes }
    }
}

/// One end of the conversation.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Speaks over `stream`.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// The socket, for polling.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.0
    }

    /// Sends one message.
    pub fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut frame = Vec::with_capacity(4 + text.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&text);
        let mut sent = 0;
        while sent < frame.len() {
            let riders = if sent == 0 { descriptors } else { &[] };
            sent += socket::send_with_descriptors(&self.0, &frame[sent..], riders)?;
        }
        Ok(())
    }

    /// Receives one message, with the descriptors that came along. `None`: the other side is gone.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        if !self.fill(&mut length, &mut descriptors)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
        }
        let mut text = vec![0; length];
        if !self.fill(&mut text, &mut descriptors)? {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&text)?, descriptors)))
    }

    fn fill(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match socket::receive_with_descriptors(&self.0, &mut buffer[filled..], descriptors) {
                Ok(0) => return Ok(false),
                Ok(size) => filled += size,
                Err(error) if error.errno == rustix::io::Errno::CONNRESET => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_request_arrives_with_its_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let request = Request::Run(Command {
            arguments: vec![Bytes(vec![0xff, b'a']), Bytes::from("b")],
            alternatives: vec![],
            shells: vec![],
            login_shells: vec![Bytes::from("/bin/sh")],
            environment: vec![(Bytes::from("A"), Bytes::from("x".repeat(300_000)))],
            directories: vec![],
            without_directory: WithoutDirectory::Make,
            user: None,
            streams: [Stream::Descriptor, Stream::Terminal, Stream::Descriptor],
            terminal: None,
            title: "a".into(),
            locks: vec![Lock { directory: Bytes::from("/run"), number: 9, optional: true }],
        });
        let file = tempfile::tempfile().unwrap();
        let sent = request.clone();
        let sender = std::thread::spawn(move || {
            Channel::new(left).send(&sent, &[file.as_fd(), file.as_fd()]).unwrap();
        });
        let channel = Channel::new(right);
        let (received, descriptors) = channel.receive::<Request>().unwrap().unwrap();
        sender.join().unwrap();
        assert_eq!(received, request);
        assert_eq!(descriptors.len(), 2);
        assert!(channel.receive::<Request>().unwrap().is_none());
    }

    #[test]
    fn an_absurd_length_is_refused() {
        let (left, right) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &left, &[0xff; 4]).unwrap();
        assert!(Channel::new(right).receive::<Request>().is_err());
    }
}
