//! A session of a box: the leader that looks after it, and the command it runs.
//!
//! A leader is a fork of init, one per connection. It is a child subreaper: orphans of its command become its own
//! children, so that the whole session is the tree below it. When its client is gone, so is the tree.

use std::ffi::{CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::{Bytes, Channel, Command, Control, Reply, Request, Stream, WithoutDirectory};
use super::init::{EventLog, Farewell};
use super::{locks, passwd, reach};
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::pipe;
use crate::sys::process::{self, Ended};
use crate::sys::signal::{self, Signals};
use crate::sys::{Context, SysResult, terminal};

/// How long the processes of an abandoned session have to react to SIGHUP.
const HANGUP_GRACE: Duration = Duration::from_millis(500);

/// What init should do after the leader's work, told by its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// Stop the box.
    StopBox,
}

/// The leader's whole life, from the first message of its client. Runs in a fork of init.
pub fn lead(stream: UnixStream, events: &EventLog, farewell: Farewell) -> Outcome {
    let channel = Channel::new(stream);
    match channel.receive::<Request>() {
        Ok(Some((Request::Run(command), descriptors))) => {
            let title = command.title.clone();
            events.append("session_started", &[("command", &title)]);
            let status = run(&channel, command, descriptors, &farewell);
            events.append("session_ended", &[("command", &title), ("status", &status)]);
            Outcome::Done
        }
        Ok(Some((Request::Files { user }, descriptors))) => {
            events.append("session_started", &[("command", "sftp")]);
            reach::serve_files(&channel, user.as_deref(), descriptors);
            events.append("session_ended", &[("command", "sftp")]);
            Outcome::Done
        }
        Ok(Some((Request::Open { user, socket }, _))) => {
            reach::open(&channel, user.as_deref(), &socket);
            Outcome::Done
        }
        Ok(Some((Request::Hold, _))) => {
            if channel.send(&Reply::Started, &[]).is_ok() {
                while let Ok(Some(_)) = channel.receive::<Control>() {}
            }
            Outcome::Done
        }
        Ok(Some((Request::Stop { grace_ms }, _))) => {
            // The connection stays open in init, so that the client sees it close when the box is gone.
            channel.send(&Reply::Stopping, &[]).ok();
            super::init::terminate_everything(Duration::from_millis(u64::from(grace_ms)));
            Outcome::StopBox
        }
        // A client that went away before it said anything.
        Ok(None) => Outcome::Done,
        // One that speaks another version.
        Err(error) => {
            let reason = error.to_string();
            channel.send(&Reply::NotExecuted { program: String::new(), reason, status: 125 }, &[]).ok();
            Outcome::Done
        }
    }
}

/// Runs the command to its end; returns what to log.
fn run(channel: &Channel, command: Command, descriptors: Vec<OwnedFd>, farewell: &Farewell) -> String {
    let program = command.arguments.first().map(|p| p.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let refuse = |reason: String, status: i32| {
        farewell.say();
        channel.send(&Reply::NotExecuted { program: program.clone(), reason: reason.clone(), status }, &[]).ok();
        reason
    };
    let started = match start(channel, &command, descriptors) {
        Ok(started) => started,
        Err(NotStarted { reason, status }) => return refuse(reason, status),
    };
    match follow(channel, &started) {
        Ok(Some(ended)) => {
            farewell.say();
            channel.send(&Reply::Ended(ended), &[]).ok();
            ended.status().to_string()
        }
        Ok(None) => {
            end_tree(started.pid);
            "client gone".to_owned()
        }
        Err(error) => {
            end_tree(started.pid);
            error.to_string()
        }
    }
}

struct Started {
    pid: Pid,
    signals: Signals,
}

struct NotStarted {
    reason: String,
    status: i32,
}

impl From<crate::sys::SysError> for NotStarted {
    fn from(error: crate::sys::SysError) -> Self {
        Self { reason: error.to_string(), status: 126 }
    }
}

/// Forks the command and waits until it has been executed.
fn start(channel: &Channel, command: &Command, descriptors: Vec<OwnedFd>) -> Result<Started, NotStarted> {
    process::become_subreaper()?;
    let signals = Signals::receive(&[Signal::SIGCHLD])?;
    let pair = command.terminal.as_ref().map(|wanted| -> SysResult<_> {
        let (master, slave) = terminal::open_pair(Path::new("/dev/ptmx"))?;
        terminal::set_size(&master, wanted.size)?;
        if !wanted.modes.is_empty() {
            terminal::set_modes(&slave, &wanted.modes)?;
        }
        Ok((master, slave))
    });
    let (master, slave) = match pair.transpose()? {
        Some((master, slave)) => (Some(master), Some(slave)),
        None => (None, None),
    };
    let mut given = descriptors.into_iter();
    let mut streams = Vec::with_capacity(3);
    for stream in command.streams {
        let descriptor = match stream {
            Stream::Descriptor => given.next(),
            Stream::Terminal => slave.as_ref().and_then(|slave| slave.try_clone().ok()),
        };
        streams.push(descriptor.ok_or(NotStarted { reason: "a standard stream is missing".into(), status: 125 })?);
    }
    let (error_read, error_write) = pipe()?;
    // Locks of the command have low numbers.
    let error_write = locks::move_up(error_write)?;
    match fork()? {
        Forked::Child => {
            drop((error_read, master));
            let failed = execute(command, &streams, slave.as_ref().map(AsFd::as_fd));
            let text = format!("{}\n{}", failed.status, failed.reason);
            std::fs::File::from(error_write).write_all(text.as_bytes()).ok();
            exit_now(failed.status)
        }
        Forked::Parent { pid, .. } => {
            drop((error_write, slave, streams));
            let mut text = String::new();
            std::fs::File::from(error_read).read_to_string(&mut text).call(|| "read `pipe`".to_owned())?;
            if let Some((status, reason)) = text.split_once('\n') {
                process::wait(pid)?;
                return Err(NotStarted { reason: reason.to_owned(), status: status.parse().unwrap_or(126) });
            }
            let riders: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
            channel.send(&Reply::Started, &riders).call(|| "sendmsg".to_owned())?;
            Ok(Started { pid, signals })
        }
    }
}

/// Passes signals on until the command has ended (`Some`) or the client has gone (`None`).
fn follow(channel: &Channel, started: &Started) -> SysResult<Option<Ended>> {
    loop {
        let mut ended = None;
        while let Some((pid, how)) = process::reap()? {
            if pid == started.pid {
                ended = Some(how);
            }
        }
        if ended.is_some() {
            return Ok(ended);
        }
        let (client, child) = wait_for(channel.stream().as_fd(), started.signals.as_fd())?;
        if child {
            while started.signals.next()?.is_some() {}
        }
        if client {
            match channel.receive::<Control>() {
                Ok(Some((Control::Signal(number), _))) => pass_on(started.pid, number),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}

fn wait_for(client: BorrowedFd<'_>, child: BorrowedFd<'_>) -> SysResult<(bool, bool)> {
    let mut set = [PollFd::from_borrowed_fd(client, PollFlags::IN), PollFd::from_borrowed_fd(child, PollFlags::IN)];
    match poll(&mut set, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno).call(|| "poll".to_owned()),
    }
    Ok((!set[0].revents().is_empty(), !set[1].revents().is_empty()))
}

/// Keyboard signals go to the whole foreground job, as a terminal would send them; others to the command alone.
fn pass_on(pid: Pid, number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    let whole_job =
        matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP | Signal::SIGCONT | Signal::SIGHUP);
    let target = if whole_job { Pid::from_raw(-pid.as_raw()) } else { pid };
    // It may have ended in between; the next turn of the loop sees that.
    kill(target, signal).ok();
}

/// Ends every process of the session: SIGHUP first, as a closing terminal does, then SIGKILL for what is left.
fn end_tree(command: Pid) {
    let deadline = Instant::now() + HANGUP_GRACE;
    for pid in descendants() {
        kill(pid, Signal::SIGHUP).ok();
        kill(pid, Signal::SIGCONT).ok();
    }
    kill(Pid::from_raw(-command.as_raw()), Signal::SIGHUP).ok();
    let mut killing = false;
    loop {
        while let Ok(Some(_)) = process::reap() {}
        let left = descendants();
        if left.is_empty() {
            return;
        }
        if killing {
            for pid in left {
                kill(pid, Signal::SIGKILL).ok();
            }
        }
        // Woken by SIGCHLD (which is blocked, and so ends no poll): look again soon.
        let pause = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        poll(&mut [], Some(&pause)).ok();
        killing = killing || Instant::now() >= deadline;
    }
}

/// All processes below this one. The kernel lists children per thread; the box's own `/proc` is mounted.
fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut pending = vec![std::process::id()];
    while let Some(parent) = pending.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()) {
                found.push(Pid::from_raw(i32::try_from(child).unwrap_or(i32::MAX)));
                pending.push(child);
            }
        }
    }
    found
}

/// Becomes the command. Returns only if that failed.
fn execute(command: &Command, streams: &[OwnedFd], controlling: Option<BorrowedFd<'_>>) -> NotStarted {
    match prepare(command, streams, controlling) {
        Ok(programs) => {
            let mut reason = nix::errno::Errno::ENOENT;
            for Execution { program, arguments, environment } in programs {
                let Err(errno) = nix::unistd::execve(&program, &arguments, &environment);
                // The first program that exists but cannot be executed is what the user meant.
                if errno != nix::errno::Errno::ENOENT && errno != nix::errno::Errno::ENOTDIR {
                    reason = errno;
                    break;
                }
            }
            let status = if reason == nix::errno::Errno::ENOENT { 127 } else { 126 };
            NotStarted { reason: explain(reason), status }
        }
        Err(error) => error,
    }
}

fn explain(errno: nix::errno::Errno) -> String {
    match errno {
        nix::errno::Errno::ENOENT => "no such program in the box".to_owned(),
        nix::errno::Errno::EACCES => "not executable".to_owned(),
        nix::errno::Errno::ENOEXEC => "not a program of this machine, and not a script".to_owned(),
        other => other.desc().to_owned(),
    }
}

/// Goes to the first directory of the command that is there.
fn enter_directory(command: &Command) -> SysResult<()> {
    let mut entered = Ok(());
    for directory in &command.directories {
        let path = Path::new(directory.as_os_str());
        entered = rustix::process::chdir(path).call(|| format!("chdir `{}`", path.display()));
        if entered.is_ok() {
            return Ok(());
        }
    }
    match command.without_directory {
        WithoutDirectory::Root => rustix::process::chdir("/").call(|| "chdir `/`".to_owned()),
        WithoutDirectory::Make | WithoutDirectory::Refuse => entered,
    }
}

/// What `execve` takes.
struct Execution {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

fn prepare(
    command: &Command,
    streams: &[OwnedFd],
    controlling: Option<BorrowedFd<'_>>,
) -> Result<Vec<Execution>, NotStarted> {
    rustix::process::setsid().call(|| "setsid".to_owned())?;
    if let Some(slave) = controlling {
        terminal::make_controlling(slave)?;
    }
    let account = match &command.user {
        None => passwd::Account::root(),
        Some(wanted) => passwd::Account::find(Path::new("/etc"), wanted)
            .ok_or_else(|| NotStarted { reason: format!("there is no user `{wanted}` in the box"), status: 126 })?,
    };
    if command.without_directory == WithoutDirectory::Make {
        for directory in &command.directories {
            let path = Path::new(directory.as_os_str());
            std::fs::create_dir_all(path).call(|| format!("mkdir `{}`", path.display()))?;
        }
    }
    account.assume()?;
    let locks = locks::take(&command.locks)?;
    enter_directory(command)?;

    let mut environment = command.environment.clone();
    account.complete(&mut environment);
    if !environment.iter().any(|(key, _)| key.0 == b"SHELL") {
        let is_there =
            |shell: &&Bytes| rustix::fs::access(Path::new(shell.as_os_str()), rustix::fs::Access::EXEC_OK).is_ok();
        let shell = command.login_shells.iter().find(is_there);
        environment.extend(shell.map(|shell| (Bytes::from("SHELL"), shell.clone())));
    }
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| key.0 == name.as_bytes()).map(|(_, value)| value.as_os_str().to_owned())
    };
    let program = command.arguments.first().map(|first| first.as_os_str().to_owned()).unwrap_or_default();
    let mut programs = candidates(&program, variable("PATH").as_deref().unwrap_or(OsStr::new("/usr/bin:/bin")));
    programs.extend(command.alternatives.iter().cloned());
    let executions: Result<Vec<_>, _> =
        programs.into_iter().map(|program| execution(program, command, &environment)).collect();
    let executions = executions?;

    // Last, so that everything above could still speak to descriptors by number.
    let mut copies = Vec::new();
    for stream in streams {
        copies.push(rustix::io::fcntl_dupfd_cloexec(stream, 10).call(|| format!("dup `{}`", stream.as_raw_fd()))?);
    }
    for (number, copy) in (0..).zip(&copies) {
        terminal::install_as_standard(copy.as_fd(), number)?;
    }
    process::close_from_on_exec(3)?;
    locks.install()?;
    signal::restore_defaults()?;
    Ok(executions)
}

/// `program` with the command's arguments and environment, and what is added for a shell of its name.
fn execution(program: Bytes, command: &Command, environment: &[(Bytes, Bytes)]) -> Result<Execution, NotStarted> {
    let name = Path::new(program.as_os_str()).file_name().map(Bytes::from);
    let shell = command.shells.iter().find(|shell| Some(&shell.name) == name.as_ref());
    let (arguments, variables) = shell.map_or((&[][..], &[][..]), |shell| (&shell.arguments, &shell.environment));
    let kept = environment.iter().filter(|(key, _)| !variables.iter().any(|(other, _)| other == key));
    let pairs = kept.chain(variables).map(|(key, value)| Bytes([&key.0[..], b"=", &value.0[..]].concat()));
    Ok(Execution {
        program: c_string(program),
        arguments: c_strings(command.arguments.iter().chain(arguments).cloned())?,
        environment: c_strings(pairs)?,
    })
}

/// Where `program` may lie: itself if it has a slash, else in each directory of `path`.
fn candidates(program: &OsStr, path: &OsStr) -> Vec<Bytes> {
    if program.as_bytes().contains(&b'/') {
        return vec![Bytes::from(program)];
    }
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|directory| {
            let directory = if directory.is_empty() { b"." } else { directory };
            Bytes([directory, b"/", program.as_bytes()].concat())
        })
        .collect()
}

fn c_string(bytes: Bytes) -> CString {
    let end = bytes.0.iter().position(|byte| *byte == 0).unwrap_or(bytes.0.len());
    CString::new(&bytes.0[..end]).unwrap_or_default()
}

fn c_strings(texts: impl Iterator<Item = Bytes>) -> Result<Vec<CString>, NotStarted> {
    texts
        .map(|text| {
            CString::new(text.0)
                .map_err(|_| NotStarted { reason: "an argument contains a NUL byte".into(), status: 126 })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_path() {
        let all = |program: &str, path: &str| -> Vec<String> {
            candidates(OsStr::new(program), OsStr::new(path))
                .iter()
                .map(|bytes| bytes.as_os_str().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(all("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(all("./ls", "/a"), ["./ls"]);
        assert_eq!(all("ls", ":/b"), ["./ls", "/b/ls"]);
    }
}
