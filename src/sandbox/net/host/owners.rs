//! Which process of a box has a socket.
//!
//! The kernel tells of a connection which socket it is, and `/proc` tells of a process which sockets it has. So each process in
//! the box's network is looked at until one is found that has it; who was found last is asked first.
//!
//! Where an ordinary user's box has a range of ids, the supervisor may not see the descriptors of the box's other users. The root of
//! the box's user namespace may: a companion looks as that.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sandbox::companion::Companion;
use crate::sandbox::net::NetTarget;
use crate::sandbox::net::reached::Process;
use crate::sys::{Context, SysResult, process};

/// How many times in a second all processes are looked at: that takes some milliseconds where there are thousands.
const SEARCHES: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// So many of those that were found are asked first.
const RECENT: usize = 8;

/// The processes in a network namespace.
#[derive(Debug)]
pub struct Owners {
    /// Device and inode of the namespace.
    namespace: (u64, u64),
    /// The user namespace that it belongs to, unless that is ours.
    user: Option<OwnedFd>,
    /// Processes that had a socket, the last one first.
    recent: Vec<u32>,
    searches_left: u32,
    until: Instant,
}

impl Owners {
    /// In the network namespace of `target`. `None`: there is no `/proc`.
    pub fn of(target: &NetTarget) -> Option<Self> {
        let namespace = identity(&format!("self/fd/{}", target.net.as_fd().as_raw_fd()))?;
        let user = target.user.as_ref().and_then(|user| user.try_clone().ok());
        Some(Self { namespace, user, recent: Vec::new(), searches_left: SEARCHES, until: Instant::now() + SECOND })
    }

    /// The process that has the socket with this number. `None`: it is gone, or there was too much to look for.
    pub fn find(&mut self, socket: u64) -> Option<Process> {
        let link = format!("socket:[{socket}]");
        let recent = self.recent.iter().position(|pid| self.is_inside(*pid) && has(*pid, &link).unwrap_or(false));
        let pid = match recent {
            Some(at) => self.recent.remove(at),
            None => self.search_sometimes(&link)?,
        };
        self.recent.insert(0, pid);
        self.recent.truncate(RECENT);
        Process::of(pid)
    }

    fn search_sometimes(&mut self, link: &str) -> Option<u32> {
        let now = Instant::now();
        if self.until <= now {
            (self.searches_left, self.until) = (SEARCHES, now + SECOND);
        }
        self.searches_left = self.searches_left.checked_sub(1)?;
        match (self.search(link), &self.user) {
            (Err(error), Some(user)) if error.kind() == ErrorKind::PermissionDenied => {
                self.search_as_root_of(user, link).ok().flatten()
            }
            (found, _) => found.ok().flatten(),
        }
    }

    /// `PermissionDenied`: it is none of those whose descriptors may be seen.
    fn search(&self, link: &str) -> io::Result<Option<u32>> {
        let mut found = Ok(None);
        for pid in fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
            match if self.is_inside(pid) { has(pid, link) } else { Ok(false) } {
                Ok(true) => return Ok(Some(pid)),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => found = Err(error),
                // It is another's, or its process has ended.
                Ok(false) | Err(_) => {}
            }
        }
        found
    }

    /// The same, by a process that enters the user namespace `user`, and says what it found.
    fn search_as_root_of(&self, user: &OwnedFd, link: &str) -> SysResult<Option<u32>> {
        let (answer, say) = pipe_with(PipeFlags::CLOEXEC).call(|| "pipe".to_owned())?;
        let descriptors = [user.as_raw_fd(), say.as_raw_fd()];
        let mut companion = Companion::start(|supervisor| {
            let joined = supervisor.settle("devbox: owners", &descriptors, || {
                let kind = LinkNameSpaceType::User;
                move_into_link_name_space(user.as_fd(), Some(kind)).call(|| format!("setns `{kind:?}`"))?;
                process::become_namespace_root(false)
            });
            let found = joined.ok().and_then(|()| self.search(link).ok().flatten());
            let said = found.map(|pid| File::from(say).write_all(&pid.to_ne_bytes()));
            i32::from(!matches!(said, Some(Ok(()))))
        })?;
        // Both sides have that end: this one's goes with the closure.
        let mut pid = [0; 4];
        let read = File::from(answer).read_exact(&mut pid);
        companion.wait()?;
        Ok(read.is_ok().then(|| u32::from_ne_bytes(pid)))
    }

    fn is_inside(&self, pid: u32) -> bool {
        identity(&format!("{pid}/ns/net")) == Some(self.namespace)
    }
}

fn identity(file: &str) -> Option<(u64, u64)> {
    fs::metadata(format!("/proc/{file}")).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn has(pid: u32, link: &str) -> io::Result<bool> {
    let is_it = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link);
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.any(|entry| entry.is_ok_and(is_it)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn finds_the_process_of_a_socket() {
        let net = File::open("/proc/self/ns/net").unwrap().into();
        let mut owners = Owners::of(&NetTarget { net, user: None }).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = identity(&format!("self/fd/{}", socket.as_raw_fd())).unwrap().1;
        let own = std::process::id();
        assert!(owners.find(number).is_some());
        assert_eq!(owners.recent, [own]);
        owners.searches_left = 0;
        assert!(owners.find(number).is_some(), "known");
        assert!(owners.find(0).is_none(), "too many searches");
        owners.namespace = (0, 0);
        owners.searches_left = 1;
        assert!(owners.find(number).is_none(), "in another network");
    }
}
