//! A view of a box's files for programs of the host.
//!
//! ```text
//! <runtime>/tree --symlink--> /proc/<window>/root     the box's merged files, as the user may read and write them
//! ```
//!
//! The box's own processes cannot serve: ours are undumpable, so that `/proc/PID/root` is closed to everybody, and its
//! programs come and go. The *window* is a fork of the supervisor in the box's user and mount namespaces that does nothing at all, started
//! when somebody asks for it. It is dumpable, because only then may the user follow its `root`. The box does not gain by
//! that: the window is not in its pid namespace, and no `/proc` of the box knows it.
//!
//! Absolute symlinks of the box lead to the host's files when they are followed from outside: the kernel resolves
//! them from the root of whoever follows.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::guard::keeper::Namespaces;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::{Context, SysError, SysResult, process};

/// The symlink's name in the runtime directory of a box.
pub const NAME: &str = "tree";

/// The supervisor's side.
#[derive(Debug)]
pub struct Window {
    namespaces: Namespaces,
    link: PathBuf,
    running: Option<(Pid, OwnedFd)>,
}

impl Window {
    /// For the box of these namespaces; nothing is started yet. The symlink will lie in `runtime`.
    #[must_use]
    pub fn new(namespaces: Namespaces, runtime: &Path) -> Self {
        Self { namespaces, link: runtime.join(NAME), running: None }
    }

    /// Returns when the symlink leads into the box. The caller has one thread.
    pub fn open(&mut self) -> SysResult<()> {
        let lives = |(_, process): &(Pid, OwnedFd)| {
            let mut set = [PollFd::new(process, PollFlags::IN)];
            poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
        };
        if self.running.as_ref().is_some_and(lives) {
            return Ok(());
        }
        self.close();
        let (pid, process) = start(&self.namespaces)?;
        self.running = Some((pid, process));
        symlink(format!("/proc/{pid}/root"), &self.link).call(|| format!("symlink `{}`", self.link.display()))
    }

    fn close(&mut self) {
        if let Some((pid, process)) = self.running.take() {
            // It may have ended; then there is nothing to kill.
            pidfd_send_signal(&process, Signal::KILL).ok();
            process::wait(pid).ok();
        }
        // One that a killed supervisor left leads nowhere.
        std::fs::remove_file(&self.link).ok();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.close();
    }
}

/// Forks the window, and waits until it is in the box.
fn start(namespaces: &Namespaces) -> SysResult<(Pid, OwnedFd)> {
    let supervisor = rustix::process::getpid();
    let (ready, ready_in_child) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call(|| "pipe2".to_owned())?;
    match fork()? {
        Forked::Child => {
            drop(ready);
            exit_now(i32::from(stand(namespaces, ready_in_child, supervisor).is_err()))
        }
        Forked::Parent { pid } => {
            drop(ready_in_child);
            let call = || format!("pidfd_open `{pid}`");
            let raw = rustix::process::Pid::from_raw(pid.as_raw()).ok_or_else(|| SysError::new(call(), Errno::SRCH))?;
            let process = pidfd_open(raw, PidfdFlags::empty()).call(call)?;
            let mut byte = [0];
            match rustix::io::read(&ready, &mut byte) {
                Ok(1) => Ok((pid, process)),
                _ => {
                    process::wait(pid)?;
                    Err(SysError::new("enter the box's namespaces", Errno::CONNRESET))
                }
            }
        }
    }
}

/// Returns only what went wrong.
fn stand(namespaces: &Namespaces, ready: OwnedFd, supervisor: rustix::process::Pid) -> SysResult<()> {
    use std::os::fd::AsRawFd;
    let kept: Vec<i32> = namespaces.descriptors().into_iter().chain([ready.as_raw_fd()]).collect();
    process::close_all_but(&kept)?;
    process::set_title("devbox: window")?;
    namespaces.enter()?;
    // Joining a user namespace has cleared both.
    process::die_with_parent()?;
    process::set_dumpable()?;
    if rustix::process::getppid() != Some(supervisor) {
        return Err(SysError::new("getppid", Errno::SRCH));
    }
    rustix::io::write(ready.as_fd(), b"r").call(|| "write `pipe`".to_owned())?;
    drop(ready);
    process::close_all_but(&[])?;
    loop {
        poll(&mut [], None).call(|| "poll".to_owned())?;
    }
}
