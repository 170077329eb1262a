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

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::companion::{Companion, Namespaces, Parent};
use crate::sys::fs::pipe;
use crate::sys::{Context, SysError, SysResult, process};

/// The symlink's name in the runtime directory of a box.
pub const NAME: &str = "tree";

/// The supervisor's side.
#[derive(Debug)]
pub struct Window {
    namespaces: Namespaces,
    link: PathBuf,
    running: Option<Companion>,
}

impl Window {
    /// For the box of these namespaces; nothing is started yet. The symlink will lie in `runtime`.
    #[must_use]
    pub fn new(namespaces: Namespaces, runtime: &Path) -> Self {
        Self { namespaces, link: runtime.join(NAME), running: None }
    }

    /// Returns when the symlink leads into the box. The caller has one thread.
    pub fn open(&mut self) -> SysResult<()> {
        let lives = |companion: &Companion| {
            let mut set = [PollFd::from_borrowed_fd(companion.process(), PollFlags::IN)];
            poll(&mut set, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
        };
        if self.running.as_ref().is_some_and(lives) {
            return Ok(());
        }
        self.close();
        let (ready, ready_in_child) = pipe()?;
        let companion =
            Companion::start(|parent| i32::from(stand(&self.namespaces, &ready_in_child, parent).is_err()))?;
        drop(ready_in_child);
        let mut pid = [0; 4];
        if rustix::io::read(&ready, &mut pid) != Ok(pid.len()) {
            return Err(SysError::new("enter the box's namespaces", Errno::CONNRESET));
        }
        self.running = Some(companion);
        let root = format!("/proc/{}/root", i32::from_ne_bytes(pid));
        symlink(root, &self.link).call(|| format!("symlink `{}`", self.link.display()))
    }

    fn close(&mut self) {
        self.running = None;
        // One that a killed supervisor left leads nowhere.
        std::fs::remove_file(&self.link).ok();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.close();
    }
}

/// Says its own number once it is in the box. Returns only what went wrong.
fn stand(namespaces: &Namespaces, ready: &OwnedFd, parent: Parent) -> SysResult<()> {
    let kept: Vec<i32> = namespaces.descriptors().into_iter().chain([ready.as_raw_fd()]).collect();
    parent.settle("devbox: window", &kept, || namespaces.enter())?;
    process::set_dumpable()?;
    let pid = rustix::process::getpid().as_raw_pid().to_ne_bytes();
    rustix::io::write(ready.as_fd(), &pid).call(|| "write `pipe`".to_owned())?;
    process::close_all_but(&[])?;
    loop {
        poll(&mut [], None).call(|| "poll".to_owned())?;
    }
}
