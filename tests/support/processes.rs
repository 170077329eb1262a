//! Processes that a test started: waiting without sleeping, and finding what was left behind.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::PATIENCE;

/// What is left until `deadline`, for `poll`.
pub fn remaining(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec::try_from(left).expect("a deadline of a test")
}

/// Waits until `fd` has one of `events`; false at the deadline.
pub fn wait_fd(fd: &impl std::os::fd::AsFd, events: PollFlags, deadline: Instant) -> bool {
    loop {
        match poll(&mut [PollFd::new(fd, events)], Some(&remaining(deadline))) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Waits for the end of process `pid`, which need not be a child; false at the deadline.
pub fn wait_end(pid: u32, deadline: Instant) -> bool {
    open(pid).is_none_or(|pidfd| wait_fd(&pidfd, PollFlags::IN, deadline))
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process id in our pid namespace.
    pub pid: u32,
    /// Parent's process id.
    pub parent: u32,
    /// The arguments, separated by spaces.
    pub command: String,
}

/// Every process that is not a zombie.
pub fn list() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the two reads.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Ok(command) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        // The name in parentheses may itself hold spaces and parentheses.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let (Some(state), Some(parent)) = (fields.next(), fields.next()) else { continue };
        if matches!(state, "Z" | "X") {
            continue;
        }
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
        found.push(Process { pid, parent: parent.parse().unwrap_or(0), command });
    }
    Ok(found)
}

/// The processes that name `marker` in an argument or in their environment, and their descendants.
///
/// [`super::devbox::Devbox`] starts the binary through a link below its own directory, so that `argv[0]` names it, also of
/// forks, whose environment is not readable because they are undumpable.
pub fn belonging_to(marker: &Path) -> Vec<Process> {
    let marker = marker.to_str().expect("a test's directory has a plain name");
    let all = list().expect("read /proc");
    let named = |process: &Process| {
        process.command.contains(marker)
            || std::fs::read(format!("/proc/{}/environ", process.pid))
                .is_ok_and(|environment| String::from_utf8_lossy(&environment).contains(marker))
    };
    let mut ours: HashSet<u32> = all.iter().filter(|process| named(process)).map(|process| process.pid).collect();
    loop {
        let is_child = |process: &&Process| ours.contains(&process.parent) && !ours.contains(&process.pid);
        let children: Vec<u32> = all.iter().filter(is_child).map(|process| process.pid).collect();
        if children.is_empty() {
            break;
        }
        ours.extend(children);
    }
    all.into_iter().filter(|process| ours.contains(&process.pid)).collect()
}

/// Waits until no process belongs to `marker`. What is still there after [`PATIENCE`] is killed and returned.
pub fn wait_until_none(marker: &Path) -> Vec<Process> {
    end_by(marker, Instant::now() + PATIENCE)
}

/// The same for another time.
pub fn end_by(marker: &Path, deadline: Instant) -> Vec<Process> {
    loop {
        let left = belonging_to(marker);
        if left.iter().all(|process| wait_end(process.pid, deadline)) {
            if left.is_empty() {
                return left;
            }
            continue;
        }
        for process in &left {
            // One that ended meanwhile needs no signal.
            open(process.pid).map(|pidfd| pidfd_send_signal(&pidfd, Signal::KILL));
        }
        return left;
    }
}
