//! The client's side of a session: hands over the standard streams, relays a terminal, passes signals on, and returns
//! how the command ended.
//!
//! Pipes and sockets go to the command as they are. A terminal is replaced by one of the box's own if standard input
//! and output are both terminals; whatever remains (files, devices, a lone terminal) is relayed through a pipe.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::channel::{Channel, Command, Control, Failure, Reply, Request, Stream, Terminal};
use crate::sys::process::Ended;
use crate::sys::signal::Signals;
use crate::sys::terminal::{self, RawMode};
use crate::sys::{Context, SysError};

/// Bytes moved at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// How an attached session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The command ended.
    Ended(Ended),
    /// The box is held.
    Held,
    /// The box could not be started.
    Failed(Failure),
    /// The command could not be executed.
    NotExecuted {
        /// What was tried.
        program: String,
        /// Why not.
        reason: String,
        /// 126 or 127.
        status: i32,
    },
    /// The box stopped before the command was started: it may be started again.
    Refused,
    /// The box stopped while the command ran.
    Lost,
    /// The command had so much time and no more. It ends with the connection.
    Late(Duration),
}

/// What a client wants of a box.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub enum Purpose<'a> {
    /// A command, until its end; its streams and terminal are filled in here.
    Run(Box<Command>),
    /// A command that nobody sits at.
    Service {
        /// The command.
        command: Box<Command>,
        /// Input, output and error, none of them a terminal; `None`: ours.
        streams: Option<[OwnedFd; 3]>,
        /// How long it may take, with the start of the box; `None`: as long as it wants.
        patience: Option<Duration>,
        /// Is told as soon as it runs.
        started: Option<&'a dyn Fn()>,
    },
    /// That it runs as long as the conversation, which is left here, goes on.
    Hold(&'a OnceCell<Channel>),
}

/// Does what `purpose` says over `channel`; calls `started` once that has begun.
pub fn serve(channel: Channel, purpose: Purpose<'_>, started: impl Fn()) -> io::Result<Outcome> {
    match purpose {
        Purpose::Run(command) => attach(&channel, *command, own_streams(), None, started),
        Purpose::Service { command, streams, patience, started: tell } => {
            let streams = match &streams {
                Some(streams) => streams.each_ref().map(AsFd::as_fd),
                None => own_streams(),
            };
            attach(&channel, *command, streams, patience, || {
                started();
                if let Some(tell) = tell {
                    tell();
                }
            })
        }
        Purpose::Hold(kept) => {
            if let Err(refused) = request(&channel, &Request::Hold, &[])? {
                return Ok(refused);
            }
            let outcome = loop {
                match channel.receive()? {
                    Some((Reply::Started, _)) => break Outcome::Held,
                    Some((Reply::Failed(failure), _)) => break Outcome::Failed(failure),
                    Some(_) => {}
                    None => break Outcome::Refused,
                }
            };
            if outcome == Outcome::Held {
                started();
                // The one that is there already holds the box as well.
                kept.set(channel).ok();
            }
            Ok(outcome)
        }
    }
}

/// Sends `request`, unless nobody is there any more.
fn request(channel: &Channel, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<Result<(), Outcome>> {
    match channel.send(request, descriptors) {
        Ok(()) => Ok(Ok(())),
        // Whoever was there has gone, and may have said why before.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Err(match channel.receive() {
            Ok(Some((Reply::Failed(failure), _))) => Outcome::Failed(failure),
            _ => Outcome::Refused,
        })),
        Err(error) => Err(error),
    }
}

fn own_streams() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

fn attach(
    channel: &Channel,
    mut command: Command,
    standard: [BorrowedFd<'_>; 3],
    patience: Option<Duration>,
    started: impl Fn(),
) -> io::Result<Outcome> {
    let own_terminal = terminal::is_terminal(standard[0]) && terminal::is_terminal(standard[1]);
    let mut relays = Vec::new();
    let mut handed: Vec<OwnedFd> = Vec::new();
    for (number, fd) in standard.iter().enumerate() {
        command.streams[number] = if own_terminal && terminal::is_terminal(fd) {
            Stream::Terminal
        } else {
            handed.push(if may_be_handed_over(*fd)? {
                fd.try_clone_to_owned()?
            } else {
                let (relay, theirs) = Relay::new(fd.try_clone_to_owned()?, number == 0)?;
                relays.push(relay);
                theirs
            });
            Stream::Descriptor
        };
    }
    command.terminal = match own_terminal {
        true => Some(Terminal { size: terminal::size(standard[0])?, modes: Vec::new() }),
        false => None,
    };
    let signals = Signals::receive(&[
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGTSTP,
        Signal::SIGCONT,
    ])?;
    let borrowed: Vec<BorrowedFd<'_>> = handed.iter().map(AsFd::as_fd).collect();
    if let Err(refused) = request(channel, &Request::Run(command), &borrowed)? {
        return Ok(refused);
    }
    drop(borrowed);
    drop(handed);
    let mut client = Client {
        channel,
        signals,
        relays,
        screen: None,
        started: false,
        early: Vec::new(),
        patience: patience.map(|patience| (Instant::now() + patience, patience)),
        on_start: &started,
    };
    let outcome = client.run();
    if matches!(outcome, Ok(Outcome::Ended(_))) {
        client.drain();
    }
    outcome
}

/// Descriptors through which nothing of the host can be reached that was not already readable or writable.
fn may_be_handed_over(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        // /dev/null, and nothing else.
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        _ => false,
    })
}

/// One direction of one stream, through a pipe.
struct Relay {
    from: OwnedFd,
    to: Option<OwnedFd>,
    /// Towards the command: then the end of `from` closes the pipe.
    input: bool,
    pending: Vec<u8>,
}

impl Relay {
    /// A relay between our `stream` and the pipe end that is returned.
    fn new(stream: OwnedFd, input: bool) -> io::Result<(Self, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (ours, theirs) = if input { (write, read) } else { (read, write) };
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        let (from, to) = if input { (stream, ours) } else { (ours, stream) };
        Ok((Self { from, to: Some(to), input, pending: Vec::new() }, theirs))
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        let to = self.to.as_ref()?;
        Some(if self.pending.is_empty() {
            PollFd::new(&self.from, PollFlags::IN)
        } else {
            PollFd::new(to, PollFlags::OUT)
        })
    }

    /// Moves what can be moved now. `false` when nothing more will come.
    fn step(&mut self) -> bool {
        let Some(to) = &self.to else { return false };
        if self.pending.is_empty() {
            let mut buffer = vec![0; CHUNK_BYTES];
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => {
                    self.to = None;
                    return false;
                }
                Ok(size) => {
                    buffer.truncate(size);
                    self.pending = buffer;
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                // A directory, a terminal that hung up: the end.
                Err(_) => {
                    self.to = None;
                    return false;
                }
            }
        }
        match rustix::io::write(to, &self.pending) {
            Ok(size) => {
                self.pending.drain(..size);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => {
                // Nobody reads any more.
                self.to = None;
                false
            }
        }
    }
}

/// The terminal of the box, shown on ours.
struct Screen {
    master: OwnedFd,
    mode: RawMode,
    /// Typed, but not yet taken by the box's terminal.
    typed: Vec<u8>,
}

struct Client<'a> {
    channel: &'a Channel,
    signals: Signals,
    relays: Vec<Relay>,
    screen: Option<Screen>,
    started: bool,
    /// Signals that came before we were told that the command runs, which may be after it printed something.
    early: Vec<i32>,
    /// When the command must have ended, and how long that is.
    patience: Option<(Instant, Duration)>,
    on_start: &'a dyn Fn(),
}

impl Client<'_> {
    fn run(&mut self) -> io::Result<Outcome> {
        loop {
            let ready = self.wait()?;
            if let Some((_, patience)) = self.patience.filter(|(end, _)| !ready.socket && *end <= Instant::now()) {
                return Ok(Outcome::Late(patience));
            }
            if ready.signals {
                while let Some((signal, _)) = self.signals.next()? {
                    if let Some(outcome) = self.on_signal(signal)? {
                        return Ok(outcome);
                    }
                }
            }
            if ready.output {
                self.show()?;
            }
            if ready.typed && !self.read_keys()? {
                // Our terminal was closed: the connection breaks when we return, and the session ends with it.
                return Ok(Outcome::Ended(Ended::Signaled(Signal::SIGHUP as i32)));
            }
            if ready.input {
                self.write_keys();
            }
            for (relay, ready) in self.relays.iter_mut().zip(ready.relays) {
                if ready {
                    relay.step();
                }
            }
            // A command whose output is not taken any more is told by a broken pipe.
            self.relays.retain(|relay| relay.to.is_some());
            if ready.socket {
                match self.channel.receive::<Reply>()? {
                    Some((Reply::Started, descriptors)) => self.start(descriptors)?,
                    Some((Reply::Ended(ended), _)) => return Ok(Outcome::Ended(ended)),
                    Some((Reply::Failed(failure), _)) => return Ok(Outcome::Failed(failure)),
                    Some((Reply::NotExecuted { program, reason, status }, _)) => {
                        return Ok(Outcome::NotExecuted { program, reason, status });
                    }
                    Some((Reply::Stopping | Reply::Opened { .. }, _)) => {}
                    None => return Ok(if self.started { Outcome::Lost } else { Outcome::Refused }),
                }
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut set = vec![
            PollFd::new(self.channel.stream(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        if let Some(screen) = &self.screen {
            let wanted = if screen.typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            set.push(PollFd::new(&screen.master, wanted));
            // Keys wait in our terminal while the box's does not take them.
            let keys = if screen.typed.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            set.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), keys));
        }
        let fixed = set.len();
        // Before the command runs nothing may be taken from our input: the start may yet fail.
        let active: Vec<Option<PollFd<'_>>> =
            self.relays.iter().map(|relay| if self.started { relay.poll_fd() } else { None }).collect();
        let mut positions = Vec::new();
        for fd in active {
            positions.push(fd.map(|fd| {
                set.push(fd);
                set.len() - 1
            }));
        }
        let pause = self.patience.map(|(end, _)| end.saturating_duration_since(Instant::now()));
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        match poll(&mut set, pause.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("poll", errno).into()),
        }
        let happened = |index: usize| set.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let screen = fixed == 4;
        Ok(Ready {
            socket: happened(0),
            signals: happened(1),
            output: screen && set[2].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            input: screen && set[2].revents().contains(PollFlags::OUT),
            typed: screen && happened(3),
            relays: positions.into_iter().map(|position| position.is_some_and(happened)).collect(),
        })
    }

    fn start(&mut self, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.started = true;
        (self.on_start)();
        for number in std::mem::take(&mut self.early) {
            self.tell(number)?;
        }
        if let Some(master) = descriptors.into_iter().next() {
            rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
            let mode = RawMode::enter(rustix::stdio::stdin())?;
            // The window may have changed since the request was sent.
            terminal::set_size(&master, terminal::size(rustix::stdio::stdin())?)?;
            self.screen = Some(Screen { master, mode, typed: Vec::new() });
        }
        Ok(())
    }

    fn on_signal(&mut self, number: i32) -> io::Result<Option<Outcome>> {
        let Ok(signal) = Signal::try_from(number) else { return Ok(None) };
        match signal {
            Signal::SIGWINCH => {
                if let Some(screen) = &self.screen {
                    terminal::set_size(&screen.master, terminal::size(rustix::stdio::stdin())?)?;
                }
            }
            Signal::SIGTSTP => self.stop_here()?,
            Signal::SIGCONT => {
                if let Some(screen) = &self.screen {
                    screen.mode.resume()?;
                } else if self.started {
                    self.tell(number)?;
                }
            }
            // Somebody ends the client itself, not what runs in its terminal; before the start there is nothing to tell.
            Signal::SIGHUP | Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT
                if self.screen.is_some() || self.early.contains(&number) =>
            {
                return Ok(Some(Outcome::Ended(Ended::Signaled(number))));
            }
            _ if self.started => self.tell(number)?,
            _ => self.early.push(number),
        }
        Ok(None)
    }

    fn tell(&self, number: i32) -> io::Result<()> {
        match self.channel.send(&Control::Signal(number), &[]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Stops this process as SIGTSTP would have, with the terminal as it was.
    fn stop_here(&mut self) -> io::Result<()> {
        if let Some(screen) = &self.screen {
            screen.mode.suspend()?;
        } else if self.started {
            self.tell(Signal::SIGTSTP as i32)?;
        }
        nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGSTOP).call(|| "kill `self`".to_owned())?;
        Ok(())
    }

    /// Copies the box's output to our terminal. `false`: nothing more will come.
    fn show(&mut self) -> io::Result<bool> {
        let Some(screen) = &self.screen else { return Ok(false) };
        let mut buffer = vec![0; CHUNK_BYTES];
        match rustix::io::read(&screen.master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => Ok(false),
            Ok(size) => {
                write_all(rustix::stdio::stdout(), &buffer[..size])?;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(errno) => Err(SysError::new("read `terminal`", errno).into()),
        }
    }

    fn read_keys(&mut self) -> io::Result<bool> {
        let Some(screen) = &mut self.screen else { return Ok(true) };
        let mut buffer = vec![0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => return Ok(false),
            Ok(size) => screen.typed.extend_from_slice(&buffer[..size]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("read `standard input`", errno).into()),
        }
        self.write_keys();
        Ok(true)
    }

    fn write_keys(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        match rustix::io::write(&screen.master, &screen.typed) {
            Ok(size) => {
                screen.typed.drain(..size);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The session's terminal is gone; its end is on the way.
            Err(_) => screen.typed.clear(),
        }
    }

    /// What the command wrote before it ended and has not been shown yet. Processes it left behind may hold the streams
    /// open for ever, so that waiting for their end is not an option.
    fn drain(&mut self) {
        while let Some(screen) = &self.screen {
            // The kernel hands a terminal's output over a moment later.
            let pause = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };
            let mut set = [PollFd::new(&screen.master, PollFlags::IN)];
            if !matches!(poll(&mut set, Some(&pause)), Ok(1..)) || !matches!(self.show(), Ok(true)) {
                break;
            }
        }
        for relay in self.relays.iter_mut().filter(|relay| !relay.input) {
            loop {
                if relay.pending.is_empty() {
                    let mut set = [PollFd::new(&relay.from, PollFlags::IN)];
                    if !matches!(poll(&mut set, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..)) {
                        break;
                    }
                }
                if !relay.step() {
                    break;
                }
            }
        }
    }
}

struct Ready {
    socket: bool,
    signals: bool,
    output: bool,
    input: bool,
    typed: bool,
    relays: Vec<bool>,
}

fn write_all(fd: BorrowedFd<'_>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(size) => data = &data[size..],
            Err(Errno::INTR) => {}
            // Our terminal was set non-blocking by somebody who shares it.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sandbox::channel::Bytes;

    #[test]
    fn patience_has_an_end() {
        // Whoever is at the other end never answers.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let null = || std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
        let command = Box::new(Command::new(vec![Bytes::from("rpm")], Vec::new(), "rpm"));
        let streams = Some([null(), null(), null()]);
        let purpose = Purpose::Service { command, streams, patience: Some(Duration::ZERO), started: None };
        assert_eq!(serve(Channel::new(ours), purpose, || ()).unwrap(), Outcome::Late(Duration::ZERO));
    }
}
