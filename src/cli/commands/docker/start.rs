//! Starting a container, and being shown what it writes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::signal::Signal;

use crate::cli::args::docker::Start;
use crate::cli::{Outcome, print};
use crate::docker::logs::{From, Tail};
use crate::docker::monitor::{self, Message};
use crate::docker::{Container, DockerError, container};
use crate::error::Error;
use crate::paths::Paths;
use crate::process::in_background;
use crate::progress::Progress;
use crate::sys::fs::pipe;
use crate::sys::signal::Signals;
use crate::text::sanitize;
use crate::ui;

/// How whoever starts a container stays with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// Not at all.
    No,
    /// Its output is shown until it ends.
    Logs {
        /// Signals are passed on.
        sig_proxy: bool,
        /// Which are shown.
        shown: Shown,
    },
    /// Its streams are the caller's.
    Streams,
}

/// Which of the streams of a container are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Standard output.
    pub output: bool,
    /// Standard error.
    pub error: bool,
}

impl Shown {
    /// Both.
    pub const ALL: Self = Self { output: true, error: true };
}

/// `docker start`.
pub fn run(paths: &Paths, args: &Start) -> Outcome {
    let mut status = 0;
    for name in &args.names {
        let container = container::find(paths, name)?;
        let attach = if args.attach { Attach::Logs { sig_proxy: true, shown: Shown::ALL } } else { Attach::No };
        // What runs has been started.
        if !monitor::is_busy(paths, &container)? {
            status = start(paths, &container, attach)?;
        }
        if !args.attach {
            print(&format!("{name}\n"))?;
        }
    }
    Ok(status)
}

/// Starts the container; returns its exit status, or 0 when nobody waits for it.
pub fn start(paths: &Paths, container: &Container, attach: Attach) -> Outcome {
    if attach == Attach::Streams {
        let status = monitor::watch(paths, container, true, &|| (), &ui::Terminal::default())?;
        if container.remove {
            super::lifecycle::empty_trash(paths);
        }
        return Ok(status);
    }
    let mut tail = match attach {
        Attach::Logs { .. } => Some(Tail::open(paths, container, From::End)?),
        _ => None,
    };
    let mut messages = launch(paths, container)?;
    let mut ended = loop {
        match next(&mut messages)? {
            Message::Note(note) => ui::say(&format!("devbox: {}", sanitize(&note))),
            Message::Started => break None,
            Message::Ended(status) => break Some(status),
            Message::Failed(failed) => return Err(failed.into()),
        }
    };
    let (Some(tail), Attach::Logs { sig_proxy, shown }) = (&mut tail, attach) else { return Ok(0) };
    let passed: &[Signal] =
        if sig_proxy { &[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] } else { &[] };
    let signals = Signals::receive(passed).map_err(DockerError::from)?;
    let (mut output, mut error) = (std::io::stdout(), std::io::stderr());
    let mut targets: [Option<&mut dyn Write>; 2] =
        [shown.output.then_some(&mut output as _), shown.error.then_some(&mut error as _)];
    while ended.is_none() {
        tail.pump(&mut targets);
        // What was read together with an earlier message would wake nobody.
        let woken = match messages.buffer().is_empty() {
            true => tail.wait(&[messages.get_ref().as_fd(), signals.as_fd()])?,
            false => Some(0),
        };
        match woken {
            Some(0) => {
                if let Message::Ended(status) = next(&mut messages)? {
                    ended = Some(status);
                }
            }
            Some(_) => {
                while let Some((number, _)) = signals.next().map_err(DockerError::from)? {
                    if let Ok(signal) = Signal::try_from(number) {
                        // It may have ended just now.
                        monitor::kill(paths, container, signal).ok();
                    }
                }
            }
            None => {}
        }
    }
    tail.pump(&mut targets);
    if container.remove {
        super::lifecycle::empty_trash(paths);
    }
    Ok(ended.unwrap_or(0))
}

fn next(messages: &mut BufReader<File>) -> Result<Message, Error> {
    let mut line = String::new();
    messages.read_line(&mut line).map_err(|error| Error::new(format!("cannot read from the monitor: {error}")))?;
    Ok(serde_json::from_str(&line).map_err(|_| DockerError::MonitorLost)?)
}

/// Forks the monitor; returns what it says.
fn launch(paths: &Paths, container: &Container) -> Result<BufReader<File>, Error> {
    let (read, write) = pipe().map_err(DockerError::from)?;
    let write = File::from(write);
    let number = write.as_raw_fd();
    in_background(&[number], || {
        let teller = Teller(RefCell::new(&write));
        let watched = monitor::watch(paths, container, false, &|| teller.tell(&Message::Started), &teller);
        teller.tell(&match watched {
            Ok(status) => Message::Ended(status),
            Err(error) => Message::Failed((&Error::from(error)).into()),
        });
    })
    .map_err(DockerError::from)?;
    Ok(BufReader::new(File::from(read)))
}

/// The monitor's side of the pipe.
struct Teller<'a>(RefCell<&'a File>);

impl Teller<'_> {
    /// Whoever listened may have gone.
    fn tell(&self, message: &Message) {
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            self.0.borrow_mut().write_all(&line).ok();
        }
    }
}

impl Progress for Teller<'_> {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn end(&self) {}
    fn note(&self, text: &str) {
        self.tell(&Message::Note(text.to_owned()));
    }
}
