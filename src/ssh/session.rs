//! Sessions: what a client prepares, what it then runs, and how that ends.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::channel::{Channel, Kind, Leader, Prepared, Purpose, Source, WantedTerminal};
use super::request::{self, Request};
use super::server::{Server, io};
use super::{SshError, message};
use crate::boxes::session::What;
use crate::paths;
use crate::sandbox::channel::{self as conversation, Bytes, Control, Reply, Stream, Terminal};
use crate::sys::process::Ended;
use crate::sys::terminal;
use crate::wire::Writer;

/// Who holds a terminal open after its command has ended is listened to until there is silence for so long: the kernel
/// hands a terminal's output over a moment later.
pub(super) const QUIET: Duration = Duration::from_millis(30);
/// Variables of a client, and the length of one.
const MAX_VARIABLES: usize = 64;
const MAX_VARIABLE_BYTES: usize = 8 << 10;
/// The status when devbox itself failed.
const COULD_NOT_RUN: i32 = 125;

/// Our ends of a command's streams, and its own.
struct Streams {
    input: OwnedFd,
    sources: Vec<Source>,
    theirs: Vec<OwnedFd>,
}

impl Server<'_> {
    /// Does what a client asks of a session; returns whether that was possible.
    pub(super) fn on_request(&mut self, number: u32, request: Request) -> Result<bool, SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(false) };
        match (&mut channel.purpose, request) {
            (Purpose::Prepared(prepared), Request::Terminal { name, size, modes }) => {
                prepared.terminal = Some(WantedTerminal { name, terminal: Terminal { size, modes } });
                Ok(true)
            }
            (Purpose::Prepared(prepared), Request::Variable(name, value)) => {
                let accepted = request::accepts_variable(&name)
                    && prepared.variables.len() < MAX_VARIABLES
                    && name.len() + value.0.len() <= MAX_VARIABLE_BYTES
                    && !value.0.contains(&0);
                if accepted {
                    prepared.variables.push((name, value));
                }
                Ok(accepted)
            }
            (Purpose::Prepared(prepared), Request::Shell) => {
                let prepared = std::mem::take(prepared);
                self.start(number, &What::Shell, &prepared)
            }
            (Purpose::Prepared(_), Request::Subsystem(name)) if name == "sftp" => self.serve_files(number),
            (Purpose::Prepared(prepared), Request::Command(line)) => {
                let prepared = std::mem::take(prepared);
                let line = OsString::from_vec(line.0);
                let words = vec![self.held.shell().into_os_string(), "-c".into(), line];
                self.start(number, &What::Command(words), &prepared)
            }
            // The box has the user's own agent then, which is the one that a client here would hand over.
            (Purpose::Prepared(_), Request::Agent) => Ok(self.held.shares_agent()),
            (Purpose::Leader(leader), Request::Resized(size)) => {
                match &leader.terminal {
                    Some(terminal) => terminal::set_size(terminal, size).is_ok(),
                    None => leader.resized.replace(size).is_none(),
                };
                Ok(true)
            }
            (Purpose::Leader(leader), Request::Signal(signal)) => {
                Ok(leader.conversation.send(&Control::Signal(signal), &[]).is_ok())
            }
            _ => Ok(false),
        }
    }

    /// Asks the box to run `what`.
    fn start(&mut self, number: u32, what: &What, prepared: &Prepared) -> Result<bool, SshError> {
        let user = self.user.clone().unwrap_or_default();
        let of_client = |name: &str| {
            let given = prepared.variables.iter().find(|(known, _)| known == name);
            given.map(|(_, value)| value.as_os_str().to_owned())
        };
        let get = |name: &str| match name {
            "TERM" => prepared.terminal.as_ref().map(|terminal| OsString::from(&terminal.name)),
            // The client was started by whoever started this process, or is at least of the same user.
            _ => of_client(name).or_else(|| paths::variable(name)),
        };
        let mut command = self.held.command(what, &user, &get);
        for (name, value) in &prepared.variables {
            let name = Bytes::from(name);
            if name.0 != b"TERM" && !command.environment.iter().any(|(known, _)| *known == name) {
                command.environment.push((name, value.clone()));
            }
        }
        if *what != What::Shell || prepared.terminal.is_none() {
            // Programs expect what sshd does; only people want to be in the project.
            command.directories.insert(0, self.held.home(&user));
        }
        let mut streams = None;
        match &prepared.terminal {
            Some(wanted) => {
                command.streams = [Stream::Terminal; 3];
                command.terminal = Some(wanted.terminal.clone());
            }
            None => streams = Some(pipes().map_err(io("make a pipe"))?),
        }
        let theirs: Vec<BorrowedFd<'_>> = streams.iter().flat_map(|streams| &streams.theirs).map(AsFd::as_fd).collect();
        let asked = self.ask(&conversation::Request::Run(command), &theirs);
        let (Some(leader), Some(channel)) = (asked, self.channels.get_mut(&number)) else { return Ok(false) };
        channel.purpose = Purpose::Leader(leader);
        if let Some(Streams { input, sources, .. }) = streams {
            channel.sink = Some(input);
            channel.sources = sources;
        }
        channel.write();
        Ok(true)
    }

    /// Asks the box for its files. They are looked up in the box; here are bytes only.
    fn serve_files(&mut self, number: u32) -> Result<bool, SshError> {
        let failed = |source| SshError::Io { operation: "make a socket pair", source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let asked = self.ask(&conversation::Request::Files { user: self.user_in_box() }, &[theirs.as_fd()]);
        let (Some(leader), Some(channel)) = (asked, self.channels.get_mut(&number)) else { return Ok(false) };
        channel.purpose = Purpose::Leader(leader);
        channel.attach(ours.into()).map_err(failed)?;
        Ok(true)
    }

    /// Who the client is in the box; `None`: its root, whatever the files of the box say of that name.
    pub(super) fn user_in_box(&self) -> Option<String> {
        self.user.clone().filter(|user| user != "root")
    }

    /// Begins a conversation with the box. `None` when it has stopped, or does not listen.
    pub(super) fn ask(&self, request: &conversation::Request, descriptors: &[BorrowedFd<'_>]) -> Option<Leader> {
        let conversation = self.held.connect()?;
        conversation.send(request, descriptors).ok()?;
        Some(Leader { conversation, started: false, terminal: None, resized: None, ended: None, quiet_at: None })
    }

    /// The leader of a session has something to say.
    pub(super) fn hear_leader(&mut self, number: u32) -> Result<(), SshError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let leader = match &mut channel.purpose {
            Purpose::Leader(leader) => leader,
            Purpose::Opening(_) => return self.hear_opener(number),
            _ => return Ok(()),
        };
        let fault = match leader.conversation.receive::<Reply>() {
            Ok(Some((Reply::Started, descriptors))) => {
                leader.started = true;
                let master = descriptors.into_iter().next();
                if let Some(master) = master {
                    show(channel, master)?;
                }
                // What the client has sent meanwhile, its end among it.
                channel.write();
                return self.settle(number);
            }
            Ok(Some((Reply::Ended(ended), _))) => {
                leader.started = true;
                leader.ended = Some(ended);
                leader.quiet_at = leader.terminal.as_ref().map(|_| Instant::now() + QUIET);
                return self.settle(number);
            }
            Ok(Some((Reply::NotExecuted { program, reason, status }, _))) => {
                (format!("cannot run `{program}`: {reason}"), status)
            }
            _ => ("the box has stopped".to_owned(), COULD_NOT_RUN),
        };
        leader.started = true;
        leader.ended = Some(Ended::Exited(fault.1));
        channel.sources.clear();
        let end = if leader.terminal.is_some() { "\r\n" } else { "\n" };
        let text = format!("devbox: {}{end}", crate::text::sanitize(&fault.0));
        let size = channel.readable_size().min(text.len());
        self.send_data(number, Kind::Error, &text.as_bytes()[..size])?;
        self.settle(number)
    }

    /// When somebody who holds a terminal open will have been listened to for long enough.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let times = self.channels.values().filter_map(|channel| match &channel.purpose {
            // A client that takes nothing decides itself how long it wants to wait.
            Purpose::Leader(leader) if channel.readable_size() > 0 => leader.quiet_at,
            _ => None,
        });
        times.min()
    }

    /// Ends what has been quiet.
    pub(super) fn on_time(&mut self) -> Result<(), SshError> {
        let now = Instant::now();
        let is_quiet = |channel: &Channel| {
            matches!(&channel.purpose, Purpose::Leader(leader) if leader.quiet_at.is_some_and(|time| time <= now))
                && channel.readable_size() > 0
        };
        let quiet: Vec<u32> = self.channels.iter().filter(|(_, c)| is_quiet(c)).map(|(number, _)| *number).collect();
        for number in quiet {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.sources.clear();
            }
            self.settle(number)?;
        }
        Ok(())
    }

    /// Tells the client how its command ended.
    pub(super) fn send_end(&mut self, number: u32, ended: Ended) -> Result<(), SshError> {
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let start = Writer::message(message::CHANNEL_REQUEST).u32(channel.peer);
        self.send(match ended {
            Ended::Exited(status) => start.string("exit-status").boolean(false).u32(status.cast_unsigned()),
            Ended::Signaled(signal) => {
                let named = start.string("exit-signal").boolean(false).string(request::signal_name(signal));
                named.boolean(false).string("").string("")
            }
        })
    }
}

/// Puts the terminal of a session behind its channel.
fn show(channel: &mut Channel, master: OwnedFd) -> Result<(), SshError> {
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).map_err(io("prepare the terminal"))?;
    let copy = |master: &OwnedFd| {
        master.try_clone().map_err(|source| SshError::Io { operation: "copy the terminal's descriptor", source })
    };
    let input = copy(&master)?;
    channel.sources = vec![Source { descriptor: copy(&master)?, kind: Kind::Output }];
    channel.sink = Some(input);
    if let Purpose::Leader(leader) = &mut channel.purpose {
        if let Some(size) = leader.resized.take() {
            // It is open, and so has a size.
            terminal::set_size(&master, size).ok();
        }
        leader.terminal = Some(master);
    }
    Ok(())
}

/// Pipes for a command's streams: programs in the box open `/dev/stdout` by name, which no socket allows.
fn pipes() -> rustix::io::Result<Streams> {
    let (stdin, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    for ours in [&input, &output, &errors] {
        rustix::fs::fcntl_setfl(ours, OFlags::NONBLOCK)?;
    }
    let sources = [(output, Kind::Output), (errors, Kind::Error)];
    let sources = sources.into_iter().map(|(descriptor, kind)| Source { descriptor, kind }).collect();
    Ok(Streams { input, sources, theirs: vec![stdin, stdout, stderr] })
}
