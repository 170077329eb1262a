//! Companions: small processes of ours that work in some of a box's namespaces, and that the box cannot see.
//!
//! ```text
//! supervisor --fork--> keeper       user, mount      covers again what the host replaced     guard/keeper
//!            --fork--> rememberer   user, mount      writes down owners                      owners/rememberer
//!            --fork--> window       user, mount      lets the user see the files              window
//!            --fork--> agent        user, network    ports, names, egress                    net/agent
//!                        --fork--> dialer            connects in the box                     net/agent/dialer
//!            --fork--> owners       user               finds the process of a connection       net/host/owners
//!            --fork--> relay        none             the way to the host's session bus       bus/relay
//! ```
//!
//! They are in the host's pid namespace, keep nothing open that they do not need, cannot be traced from the box, and die with
//! who started them. [`Parent::settle`] sees to that, before they read anything that a program of the box wrote.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::process::{self, Ended};
use crate::sys::{Context, SysResult};

/// The user and mount namespaces of a box.
#[derive(Debug)]
pub struct Namespaces {
    user: OwnedFd,
    mount: OwnedFd,
}

impl Namespaces {
    /// Those of the process `init`. Call it before that process makes itself undumpable.
    pub fn of(init: Pid) -> SysResult<Self> {
        let open = |name: &str| {
            let path = format!("/proc/{init}/ns/{name}");
            File::open(&path).map(OwnedFd::from).call(|| format!("open `{path}`"))
        };
        Ok(Self { user: open("user")?, mount: open("mnt")? })
    }

    /// The numbers of their descriptors.
    #[must_use]
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.user.as_raw_fd(), self.mount.as_raw_fd()]
    }

    /// Moves this process into them.
    pub fn enter(&self) -> SysResult<()> {
        for (namespace, kind) in [(&self.user, LinkNameSpaceType::User), (&self.mount, LinkNameSpaceType::Mount)] {
            move_into_link_name_space(namespace.as_fd(), Some(kind)).call(|| format!("setns `{kind:?}`"))?;
        }
        Ok(())
    }
}

/// A companion of this process; it ends with this value.
#[derive(Debug)]
pub struct Companion {
    /// `None`: it was waited for.
    pid: Option<Pid>,
    process: OwnedFd,
}

impl Companion {
    /// Forks it off to do `work`, which returns its exit status. The caller has one thread.
    pub fn start(work: impl FnOnce(Parent) -> i32) -> SysResult<Self> {
        let parent = Parent::this_process();
        match fork()? {
            Forked::Parent { pid } => Ok(Self { pid: Some(pid), process: process::pidfd_open(pid)? }),
            Forked::Child => exit_now(work(parent)),
        }
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Waits for its end; `None` if that was done before.
    pub fn wait(&mut self) -> SysResult<Option<Ended>> {
        self.pid.take().map(process::wait).transpose()
    }

    /// Ends it, if it has not ended, and waits for that.
    pub fn stop(&mut self) -> SysResult<()> {
        if self.pid.is_some() {
            match pidfd_send_signal(&self.process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno).call(|| "kill `companion`".to_owned()),
            }
        }
        self.wait().map(drop)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // Nobody is left to be told.
        self.stop().ok();
    }
}

/// Who forked a companion.
#[derive(Debug, Clone, Copy)]
pub struct Parent(rustix::process::Pid);

impl Parent {
    /// This process, which is about to fork.
    #[must_use]
    pub fn this_process() -> Self {
        Self(rustix::process::getpid())
    }

    /// What a companion does first: it lets go of everything but `keep`, is named `title`, joins namespaces by `join`,
    /// cannot be traced by anybody without capabilities on the host, and dies with its parent.
    pub fn settle<T>(self, title: &str, keep: &[RawFd], join: impl FnOnce() -> SysResult<T>) -> SysResult<T> {
        process::close_all_but(keep)?;
        process::set_title(title)?;
        process::set_undumpable()?;
        let joined = join()?;
        // Joining a user namespace has undone both, the first one as `/proc/sys/fs/suid_dumpable` says.
        process::set_undumpable()?;
        process::die_with(self.0)?;
        Ok(joined)
    }
}
