//! Whom the files of a box with one id should belong to.
//!
//! ```text
//! chown(..) --> filter --> supervisor --Link--> rememberer: finds the file, sets the attribute --answer--> chown = 0
//!
//! with `security.emulate_ids`:
//! stat(..)  --> filter --> rememberer: finds the file, reads the attribute --answer--> stat = 0, or the kernel's
//! setuid(..) -> filter --> rememberer: writes the process's mark           --answer--> setuid = 0, or EPERM
//! mount(..) --> filter --> rememberer --Link--> supervisor --answer--> EPERM
//! ```
//!
//! `chown` cannot give files to ids that are not there, but what it asked for is written into an extended attribute of
//! the file ([`crate::image::layer::owner`]). It lies in the box's writable layer, so that it goes where the file goes: into snapshots and
//! clones, and as the owner into images.
//!
//! Finding a file as the caller means it takes the box's mounts, and writing the attribute the capabilities of its root;
//! and it may take time. So that is the work of a process of its own, the *rememberer* ([`rememberer`]): a fork of the supervisor in the box's
//! user and mount namespaces, which the box cannot see. It is started by the first `chown`. In boxes whose profile wants the owners shown
//! it is there from the beginning and holds the listener, because it answers nearly all that arrives there.
//!
//! What it leaves out: links, devices and sockets cannot have such attributes, they are root's. What is not of the box's own file
//! systems (the project, `/dev`, mounted directories) is left alone.

mod caller;
mod change;
mod create;
mod credentials;
mod execute;
mod identity;
mod peer;
mod rememberer;
mod shown;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::companion::{Companion, Namespaces};
use super::net::agent::link::{self, Link, Received};
use super::seccomp::Policy;
use super::spec::{MountOp, SandboxSpec};
use crate::sys::seccomp::Notification;
use crate::sys::{SysError, SysResult};

/// What the rememberer needs to know to show owners and ids, and not only to write them down.
#[derive(Debug, Clone)]
pub struct Emulation {
    /// Which calls arrive for which reason.
    policy: Policy,
    /// Where the box has file systems of its own besides its root.
    directories: Vec<PathBuf>,
    /// The box's one id.
    id: u32,
}

impl Emulation {
    /// For a box of this plan and policy; `None` if it is not wanted, or there are ids enough.
    #[must_use]
    pub fn of(spec: &SandboxSpec, policy: &Policy) -> Option<Self> {
        spec.emulates_ids().then(|| Self {
            policy: policy.clone(),
            directories: own_directories(&spec.mounts),
            id: spec.id_map.user,
        })
    }
}

/// Where a tmpfs of the box's is not covered by what is somebody else's.
fn own_directories(mounts: &[MountOp]) -> Vec<PathBuf> {
    let mut own = Vec::new();
    for mount in mounts {
        match mount {
            MountOp::Tmpfs { target, .. } => own.push(target.clone()),
            MountOp::Bind { target, .. } | MountOp::Layers { target, .. } => own.retain(|own| own != target),
            _ => {}
        }
    }
    own
}

/// The supervisor's side.
#[derive(Debug)]
pub struct Owners {
    namespaces: Namespaces,
    emulation: Option<Emulation>,
    rememberer: Option<(Companion, Link)>,
}

impl Owners {
    /// For the box of these namespaces.
    #[must_use]
    pub fn new(namespaces: Namespaces, emulation: Option<Emulation>) -> Self {
        Self { namespaces, emulation, rememberer: None }
    }

    /// Gives `listener` to the rememberer, if that is to answer there. The caller has one thread.
    pub fn begin(&mut self, listener: &OwnedFd) -> SysResult<()> {
        if self.emulation.is_some() {
            self.link(listener)?;
        }
        Ok(())
    }

    /// Whether calls arrive at the rememberer, which passes on what is refused.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.emulation.is_some() && self.rememberer.is_some()
    }

    /// Passes a change of owner on, which is answered at `listener` later. The caller has one thread.
    pub fn take(&mut self, listener: &OwnedFd, call: &Notification) -> SysResult<()> {
        self.link(listener)?.send(call, Vec::new())
    }

    fn link(&mut self, listener: &OwnedFd) -> SysResult<&mut Link> {
        let (_, link) = match &mut self.rememberer {
            Some(running) => running,
            none => none.insert(start(&self.namespaces, listener, self.emulation.as_ref())?),
        };
        Ok(link)
    }

    /// What to wait for.
    #[must_use]
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        let (_, link) = self.rememberer.as_ref()?;
        let flags = if link.is_waiting() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        Some(PollFd::new(link, flags))
    }

    /// Passes on what waits, and gives a call that the rememberer passed on. An error when that is gone, and answers nothing any more.
    pub fn serve(&mut self) -> SysResult<Option<Notification>> {
        let Some((_, link)) = &mut self.rememberer else { return Ok(None) };
        link.flush()?;
        match link.receive()? {
            Received::Nothing => Ok(None),
            Received::Message(call, _) if self.emulation.is_some() => Ok(Some(call)),
            Received::Message(..) | Received::Closed => Err(SysError::new("receive a message", Errno::CONNRESET)),
        }
    }
}

fn start(namespaces: &Namespaces, listener: &OwnedFd, emulation: Option<&Emulation>) -> SysResult<(Companion, Link)> {
    let (supervisor, mut rememberer) = link::pair()?;
    let listener = listener.as_fd();
    let companion = Companion::start(move |parent| {
        let ended = match emulation {
            None => rememberer::remember(namespaces, listener, &rememberer, parent),
            Some(emulation) => rememberer::emulate(namespaces, listener, &mut rememberer, parent, emulation),
        };
        i32::from(ended.is_err())
    });
    Ok((companion?, supervisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_directory_is_not_the_boxs_own() {
        let tmpfs = |target: &str| MountOp::Tmpfs { target: target.into(), mode: 0o755, size_bytes: None };
        let bind = |target: &str| MountOp::Bind {
            source: "/host".into(),
            target: target.into(),
            read_only: false,
            optional: false,
        };
        let found = own_directories(&[tmpfs("/tmp"), tmpfs("/run"), bind("/tmp"), bind("/run/user")]);
        assert_eq!(found, [PathBuf::from("/run")]);
    }
}
