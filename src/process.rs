//! Helper programs and processes of our own beside the caller's. Programs: their life is tied to ours, their environment is clean, and the end of what they said on standard
//! error becomes part of the error.
//!
//! A helper dies with the thread that started it (`PR_SET_PDEATHSIG`), so start it from the main thread of the process
//! that owns it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::process::{close_all_but, wait};
use crate::sys::signal::Signals;
use crate::sys::spawn::die_with_parent;
use crate::sys::terminal::silence;
use crate::sys::{Context, SysResult};

/// How much of a helper's standard error is kept, in bytes.
const TAIL_SIZE: usize = 4096;
/// How many of its last lines are shown.
const TAIL_LINES: usize = 5;
/// Where helpers look for programs of their own, when the caller does not say.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A helper program that could not be started, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It was not started.
    #[error("cannot start `{}`", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It ended with a status other than 0, or before it was ready.
    #[error("`{}` ended with {status}{}", program.display(), said(.stderr))]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error; untrusted.
        stderr: String,
    },
    /// It was not ready in time, and was killed.
    #[error("`{}` was not ready after {timeout_ms} ms{}", program.display(), said(.stderr))]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        timeout_ms: u128,
        /// The last lines of its standard error; untrusted.
        stderr: String,
    },
    /// Its output could not be read, or its end could not be waited for.
    #[error("cannot follow `{}`", program.display())]
    Follow {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// ": line / line", or nothing.
fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {}", stderr.replace('\n', " / ")) }
}

/// Who reads a helper's standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// We do, until it ends.
    Always,
    /// Nobody, once it is ready: what it writes into a full pipe is lost, it must not wait for room.
    UntilReady,
}

/// A helper program, not yet started. Standard input and output are `/dev/null` unless set.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    command: Command,
    inherit: Vec<OwnedFd>,
    reader: Reader,
}

impl Program {
    /// `path` is absolute. The environment holds `PATH` and `LC_ALL=C` only.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let mut command = Command::new(path);
        command.env_clear().env("PATH", SYSTEM_PATH).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
        Self { path: path.to_owned(), command, inherit: Vec::new(), reader: Reader::Always }
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Sets standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// The helper gets `fd` under the number that it has here.
    #[must_use]
    pub fn inherit(mut self, fd: OwnedFd) -> Self {
        self.inherit.push(fd);
        self
    }

    /// The helper lives on after it is ready, and then nobody reads its standard error.
    #[must_use]
    pub fn long_lived(mut self) -> Self {
        self.reader = Reader::UntilReady;
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Running, ProcessError> {
        let program = self.path;
        let failed = |source| ProcessError::Start { program: program.clone(), source };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        fcntl_setfl(&read, OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        if self.reader == Reader::UntilReady {
            fcntl_setfl(&write, OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        }
        self.command.stderr(Stdio::from(write));
        die_with_parent(&mut self.command, &self.inherit);
        let child = self.command.spawn().map_err(failed)?;
        Ok(Running { program, child, stderr: File::from(read), tail: Tail::default(), reaped: false })
    }

    /// Runs it to its end; a status other than 0 is an error.
    pub fn run(self) -> Result<(), ProcessError> {
        self.start()?.wait()
    }

    /// Runs it to its end and returns what it wrote on standard output.
    pub fn output(mut self) -> Result<Vec<u8>, ProcessError> {
        let program = self.path.clone();
        let failed = |source| ProcessError::Start { program: program.clone(), source };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        fcntl_setfl(&read, OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        self.command.stdout(Stdio::from(write));
        let mut running = self.start()?;
        let (mut stdout, mut output) = (File::from(read), Vec::new());
        loop {
            match running.poll(Some(stdout.as_fd()), None)? {
                Event::Stderr => _ = running.drain()?,
                Event::Other if running.io(read_some(&mut stdout, &mut output))? => break,
                Event::Other => {}
                Event::Timeout => break,
            }
        }
        running.wait()?;
        Ok(output)
    }
}

/// What [`Running::poll`] saw first.
enum Event {
    Stderr,
    Other,
    Timeout,
}

/// A helper that was started. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Running {
    program: PathBuf,
    child: Child,
    stderr: File,
    tail: Tail,
    reaped: bool,
}

impl Running {
    /// Its process id in our pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of its standard error satisfies `accept`; if it ends before that or is late, the error says
    /// so, and it is gone.
    pub fn wait_for_line(&mut self, timeout: Duration, accept: impl Fn(&str) -> bool) -> Result<(), ProcessError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.poll(None, Some(deadline))? {
                Event::Timeout => return Err(self.timed_out(timeout)),
                _ => {
                    let ended = self.drain()?;
                    if self.tail.lines().any(&accept) {
                        return Ok(());
                    }
                    if ended {
                        return Err(self.ended());
                    }
                }
            }
        }
    }

    /// Waits until something is written to the pipe that `ready` is the reading end of; if that is closed instead, or
    /// late, the error says so, and the helper is gone.
    pub fn wait_for_pipe(&mut self, timeout: Duration, ready: &mut File) -> Result<(), ProcessError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.poll(Some(ready.as_fd()), Some(deadline))? {
                Event::Timeout => return Err(self.timed_out(timeout)),
                Event::Stderr if self.drain()? => return Err(self.ended()),
                Event::Stderr => {}
                Event::Other => {
                    let mut byte = [0_u8; 1];
                    let count = self.io(ready.read(&mut byte))?;
                    return if count == 1 { Ok(()) } else { Err(self.ended()) };
                }
            }
        }
    }

    /// Waits for its end; a status other than 0 is an error.
    pub fn wait(mut self) -> Result<(), ProcessError> {
        while !self.drain()? {
            self.poll(None, None)?;
        }
        let waited = self.child.wait();
        let status = self.io(waited)?;
        self.reaped = true;
        if status.success() { Ok(()) } else { Err(self.failed(status)) }
    }

    /// Kills it and waits for its end.
    pub fn stop(mut self) -> Result<(), ProcessError> {
        self.kill()
    }

    fn kill(&mut self) -> Result<(), ProcessError> {
        if self.reaped {
            return Ok(());
        }
        let killed = self.child.kill();
        self.io(killed)?;
        let waited = self.child.wait();
        self.io(waited)?;
        self.reaped = true;
        Ok(())
    }

    /// Sleeps until standard error or `other` has something, or `deadline` is over.
    fn poll(&self, other: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> Result<Event, ProcessError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let mut fds = Vec::with_capacity(2);
            // `other` first: what tells that the helper is ready goes before what it has to say.
            fds.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            fds.push(PollFd::new(&self.stderr, PollFlags::IN));
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(Event::Timeout),
                Ok(_) if fds.len() == 2 && !fds[0].revents().is_empty() => return Ok(Event::Other),
                Ok(_) => return Ok(Event::Stderr),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return self.io(Err(errno.into())),
            }
        }
    }

    /// Takes what there is on standard error. True at its end.
    fn drain(&mut self) -> Result<bool, ProcessError> {
        let mut bytes = Vec::new();
        let ended = read_some(&mut self.stderr, &mut bytes);
        self.tail.push(&bytes);
        self.io(ended)
    }

    fn io<T>(&self, result: std::io::Result<T>) -> Result<T, ProcessError> {
        result.map_err(|source| ProcessError::Follow { program: self.program.clone(), source })
    }

    fn failed(&self, status: ExitStatus) -> ProcessError {
        ProcessError::Failed { program: self.program.clone(), status, stderr: self.tail.last_lines() }
    }

    /// It closed what it should have written to: it is ending by itself.
    fn ended(&mut self) -> ProcessError {
        if let Err(error) = self.drain() {
            return error;
        }
        match self.child.wait() {
            Ok(status) => {
                self.reaped = true;
                self.failed(status)
            }
            Err(source) => ProcessError::Follow { program: self.program.clone(), source },
        }
    }

    fn timed_out(&mut self, timeout: Duration) -> ProcessError {
        match self.kill() {
            Ok(()) => ProcessError::TimedOut {
                program: self.program.clone(),
                timeout_ms: timeout.as_millis(),
                stderr: self.tail.last_lines(),
            },
            Err(error) => error,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error here means that it is gone already; there is nobody left to tell.
        self.kill().unwrap_or_default();
    }
}

/// Appends what a non-blocking descriptor has. True at its end.
fn read_some(from: &mut File, to: &mut Vec<u8>) -> std::io::Result<bool> {
    match from.read_to_end(to) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The last [`TAIL_SIZE`] bytes of a stream.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(TAIL_SIZE);
        self.0.drain(..excess);
    }

    /// Complete lines, without their end.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let complete = self.0.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        self.0[..complete].split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
    }

    fn last_lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Detaches from the caller: a new session, no working directory, nothing open that is not `keep`.
pub fn detach(keep: &[RawFd]) -> SysResult<()> {
    rustix::process::setsid().call(|| "setsid".to_owned())?;
    rustix::process::chdir("/").call(|| "chdir `/`".to_owned())?;
    close_all_but(keep)?;
    silence(0..3)
}

/// Does `work` in a process of its own that nobody waits for, that holds nothing of ours open but `keep` (a pipe of the
/// caller's output would not end otherwise), and that is not asked to end with the user's session. The caller must be
/// single-threaded.
pub fn in_background(keep: &[RawFd], work: impl FnOnce()) -> SysResult<()> {
    match fork()? {
        Forked::Parent { pid, .. } => wait(pid).map(drop),
        Forked::Child => {
            // Forked twice: the caller must not find a child that it does not know.
            if matches!(fork(), Ok(Forked::Child)) && detach(keep).is_ok() {
                let signals = Signals::receive(&[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT]);
                work();
                drop(signals);
            }
            exit_now(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new(Path::new("/bin/sh")).arg("-c").arg(script)
    }

    #[test]
    fn a_failure_is_program_status_and_last_lines() {
        let error = shell("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3").run().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/bin/sh` ended with exit status: 3: line 3 / line 4 / line 5 / line 6 / line 7"
        );
        let error = Program::new(Path::new("/no/such/program")).run().unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/no/such/program`");
    }

    #[test]
    fn output_is_whole_whatever_standard_error_does() {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        assert_eq!(shell(script).output().unwrap().len(), 300_000);
    }

    #[test]
    fn the_environment_is_clean() {
        let output = Program::new(Path::new("/usr/bin/env")).env("A", "b").output().unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), format!("A=b\nLC_ALL=C\nPATH={SYSTEM_PATH}\n"));
    }

    #[test]
    fn readiness_by_line_end_and_time() {
        let mut running = shell("echo one >&2; echo two >&2; exec tail -f /dev/null").start().unwrap();
        running.wait_for_line(Duration::from_secs(10), |line| line == "two").unwrap();
        running.stop().unwrap();
        let mut running = shell("echo broken >&2; exit 1").start().unwrap();
        let error = running.wait_for_line(Duration::from_secs(10), |line| line == "two").unwrap_err();
        assert_eq!(error.to_string(), "`/bin/sh` ended with exit status: 1: broken");
        let mut running = shell("exec tail -f /dev/null").start().unwrap();
        let error = running.wait_for_line(Duration::from_millis(20), |line| line == "two").unwrap_err();
        assert_eq!(error.to_string(), "`/bin/sh` was not ready after 20 ms");
    }
}
