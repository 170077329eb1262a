//! Whom the files of a box with one id should belong to.
//!
//! ```text
//! chown(..) --> filter --> supervisor --Link--> rememberer: finds the file, sets the attribute --answer--> chown = 0
//! ```
//!
//! `chown` cannot give files to ids that are not there, but what it asked for is written into an extended attribute of
//! the file ([`crate::image::layer::owner`]). It lies in the box's writable layer, so that it goes where the file goes: into snapshots and
//! clones, and as the owner into images.
//!
//! Finding a file as the caller means it takes the box's mounts, and writing the attribute the capabilities of its root;
//! and it may take time. So that is the work of a process of its own, the *rememberer* ([`files`]): a fork of the supervisor in the box's
//! user and mount namespaces, which the box cannot see. It is started by the first `chown`.
//!
//! What it leaves out: `stat` shows the kernel's owner, see `docs/architecture.md`. Links, devices and sockets cannot
//! have such attributes. What is not of the box's own root file system (the project, `/dev`, mounted directories) is left alone.

pub mod files;

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::companion::{Companion, Namespaces};
use super::net::agent::link::{self, Link, Received};
use crate::sys::seccomp::Notification;
use crate::sys::{SysError, SysResult};

/// The supervisor's side.
#[derive(Debug)]
pub struct Owners {
    namespaces: Namespaces,
    rememberer: Option<(Companion, Link)>,
}

impl Owners {
    /// For the box of these namespaces.
    #[must_use]
    pub fn new(namespaces: Namespaces) -> Self {
        Self { namespaces, rememberer: None }
    }

    /// Passes a change of owner on, which is answered at `listener` later. The caller has one thread.
    pub fn take(&mut self, listener: &OwnedFd, call: &Notification) -> SysResult<()> {
        let (_, link) = match &mut self.rememberer {
            Some(running) => running,
            none => none.insert(start(&self.namespaces, listener)?),
        };
        link.send(call, Vec::new())
    }

    /// What to wait for.
    #[must_use]
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        let (_, link) = self.rememberer.as_ref()?;
        let flags = if link.is_waiting() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        Some(PollFd::new(link, flags))
    }

    /// Passes on what waits. An error when the other side is gone, and answers nothing any more.
    pub fn serve(&mut self) -> SysResult<()> {
        let Some((_, link)) = &mut self.rememberer else { return Ok(()) };
        link.flush()?;
        match link.receive::<()>()? {
            Received::Nothing => Ok(()),
            Received::Message(..) | Received::Closed => Err(SysError::new("receive a message", Errno::CONNRESET)),
        }
    }
}

fn start(namespaces: &Namespaces, listener: &OwnedFd) -> SysResult<(Companion, Link)> {
    let (supervisor, rememberer) = link::pair()?;
    let companion = Companion::start(move |parent| {
        i32::from(files::remember(namespaces, listener.as_fd(), &rememberer, parent).is_err())
    });
    Ok((companion?, supervisor))
}
