//! What the filter of a box refuses: answered here, and written down.
//!
//! ```text
//! a program of the box -- mount(..) --> filter: "ask" --> listener --> Denials: what, who  --> denied.jsonl
//!                      <-- EPERM ------------------------ Policy::decide
//! ```
//!
//! The filter passes calls that it refuses on to the supervisor, which answers with what the filter would have answered;
//! calls that it allows never come here. A program cannot tell the difference, but for the time it takes. Nothing is carried out, so that
//! it does not matter what the caller writes into its memory meanwhile: a log can be lied to, the filter cannot.
//!
//! A hostile program makes as many such calls as it likes. So they are answered at a limited pace, which costs only those
//! who make them, and no more than so many different ones are written down at a time; the rest is counted ([`limits`]).
//! Without a supervisor there is no listener, and the kernel answers ENOSYS.

pub mod call;
pub mod limits;
pub mod line;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::limits::{Counted, PASSED_ON, Pace, REFUSED, Window};
use self::line::{Denied, Line};
use super::journal::Journal;
use super::net::reached::Process;
use super::owners::Owners;
use super::seccomp::{Action, Policy};
use crate::sys::seccomp::{self, Answer, Notification};

/// How many calls are answered before others of the supervisor's duties get their turn.
const TURN: usize = 64;
/// So much of a text is read, in bytes.
const MAX_TEXT: usize = 256;

/// The listener of a box, and what came to it.
#[derive(Debug)]
pub struct Denials {
    /// Gone when no process is left that could make a call.
    listener: Option<OwnedFd>,
    policy: Policy,
    journal: Option<Journal>,
    /// Where changes of owner are remembered, in boxes that have one owner only.
    owners: Option<Owners>,
    window: Window,
    pace: Pace,
}

impl Denials {
    /// Answers at `listener` as `policy` says, writes into the file `journal`, and lets `owners` remember.
    #[must_use]
    pub fn new(listener: OwnedFd, policy: &Policy, journal: Option<&Path>, owners: Option<Owners>) -> Self {
        // Without them the box shows the kernel's.
        let owners = owners.and_then(|mut owners| owners.begin(&listener).is_ok().then_some(owners));
        let (window, pace) = (Window::default(), Pace::new(Instant::now()));
        let (policy, journal) = (policy.clone(), journal.map(Journal::new));
        Self { listener: Some(listener), policy, journal, owners, window, pace }
    }

    /// What to wait for; nothing new while there is a pause.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let (is_open, elsewhere) = (self.pace.pause(Instant::now()).is_none(), self.calls_come_from_owners());
        let listener = self.listener.as_ref().filter(|_| is_open && !elsewhere);
        let listener = listener.map(|listener| PollFd::new(listener, PollFlags::IN));
        let owners = self.owners.as_ref().filter(|_| is_open || !elsewhere);
        listener.into_iter().chain(owners.and_then(Owners::poll_fd))
    }

    /// When to call [`Self::serve`] although no call waits.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        let now = Instant::now();
        let window = self.window.ends().map(|end| end.saturating_duration_since(now));
        self.pace.pause(now).into_iter().chain(window).min()
    }

    /// Answers the calls that wait. Waits for nobody.
    pub fn serve(&mut self) {
        let now = Instant::now();
        if self.window.ends().is_some_and(|end| now >= end) {
            self.finish();
        }
        if !self.calls_come_from_owners() {
            self.serve_owners();
        }
        for _ in 0..TURN {
            if self.pace.pause(now).is_some() {
                return;
            }
            match self.next() {
                Some(call) => self.answer(&call, now),
                None => return,
            }
        }
    }

    /// Writes down what was only counted.
    pub fn finish(&mut self) {
        for line in self.window.end() {
            let line = Line { time: jiff::Timestamp::now().to_string(), ..line };
            self.journal.iter_mut().for_each(|journal| journal.append(&line));
        }
    }

    fn calls_come_from_owners(&self) -> bool {
        self.owners.as_ref().is_some_and(Owners::receives)
    }

    /// A call that was not theirs, if there is one.
    fn serve_owners(&mut self) -> Option<Notification> {
        let served = self.owners.as_mut()?.serve();
        if served.is_err() {
            // What it has not answered waits; without a listener the kernel answers.
            (self.listener, self.owners) = (None, None);
        }
        served.ok().flatten()
    }

    /// A call that waits.
    fn next(&mut self) -> Option<Notification> {
        if self.calls_come_from_owners() {
            return self.serve_owners();
        }
        let listener = self.listener.as_ref()?;
        let mut set = [PollFd::new(listener, PollFlags::IN)];
        poll(&mut set, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
        let ready = set[0].revents();
        if ready.is_empty() {
            return None;
        }
        let received = if ready.contains(PollFlags::IN) { seccomp::receive(listener).ok() } else { None };
        if received.is_none() {
            // Nobody is left who could call; or the kernel does not speak as it should, and answers them by itself.
            self.listener = None;
        }
        received.flatten()
    }

    fn answer(&mut self, call: &Notification, now: Instant) {
        let Some(listener) = &self.listener else { return };
        let number = i64::from(call.number);
        let errno = match (self.policy.decide(number, &call.arguments), &mut self.owners) {
            (Action::Remember, Some(owners)) => {
                self.pace.count(PASSED_ON, now);
                if owners.take(listener, call).is_err() {
                    (self.listener, self.owners) = (None, None);
                }
                return;
            }
            (Action::Remember, None) => 0,
            (Action::Errno(errno), _) => errno,
            (Action::Pretend, _) => {
                if seccomp::answer(listener, call.id, Answer::Continue).is_err() {
                    self.listener = None;
                }
                return;
            }
            // Not refused, so not asked for.
            _ => libc::ENOSYS as u16,
        };
        self.pace.count(REFUSED, now);
        let key = (call.thread, number, call.arguments);
        if self.window.count(&key, now) == Counted::First {
            let mut line = describe(call, errno);
            // What was read is the caller's only if the caller is still there.
            if !seccomp::is_waiting(listener, call.id) {
                line.process = None;
                line.denied.iter_mut().for_each(|denied| denied.arguments.clear());
            }
            self.journal.iter_mut().for_each(|journal| journal.append(&line));
            self.window.remember(key, line);
        }
        if seccomp::answer(listener, call.id, Answer::Fail(errno)).is_err() {
            self.listener = None;
        }
    }
}

fn describe(call: &Notification, errno: u16) -> Line {
    let thread = call.thread;
    let memory = File::open(format!("/proc/{thread}/mem")).ok();
    let read = |address| text_at(memory.as_ref()?, address);
    let (call, arguments) = call::describe(i64::from(call.number), &call.arguments, read);
    let errno = format!("{:?}", nix::errno::Errno::from_raw(i32::from(errno)));
    Line {
        time: jiff::Timestamp::now().to_string(),
        denied: Some(Denied { call, arguments, errno }),
        process: Process::of(thread),
        more: None,
    }
}

/// The text at `address`, which is whatever the program put there.
fn text_at(memory: &File, address: u64) -> Option<String> {
    let mut buffer = [0; MAX_TEXT];
    let size = memory.read_at(&mut buffer, address).ok().filter(|size| *size > 0)?;
    let end = buffer[..size].iter().position(|byte| *byte == 0).unwrap_or(size);
    Some(String::from_utf8_lossy(&buffer[..end]).into_owned())
}
