//! Which process of a box has a socket.
//!
//! The kernel tells of a connection which socket it is, and `/proc` tells of a process which sockets it has. So each process in
//! the box's network is looked at until one is found that has it; who was found last is asked first. Processes whose descriptors
//! the supervisor may not see are passed over: those of a box's other users, where an ordinary user's box has a range of ids.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::sandbox::net::reached::Process;

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
    /// Processes that had a socket, the last one first.
    recent: Vec<u32>,
    searches_left: u32,
    until: Instant,
}

impl Owners {
    /// In the namespace `net`. `None`: there is no `/proc`.
    pub fn new(net: &impl AsFd) -> Option<Self> {
        let namespace = identity(&format!("self/fd/{}", net.as_fd().as_raw_fd()))?;
        Some(Self { namespace, recent: Vec::new(), searches_left: SEARCHES, until: Instant::now() + SECOND })
    }

    /// The process that has the socket with this number. `None`: it is gone, out of sight, or there was too much to look for.
    pub fn find(&mut self, socket: u64) -> Option<Process> {
        let link = format!("socket:[{socket}]");
        let recent = self.recent.iter().position(|pid| self.is_inside(*pid) && has(*pid, &link));
        let pid = match recent {
            Some(at) => self.recent.remove(at),
            None => self.search(&link)?,
        };
        self.recent.insert(0, pid);
        self.recent.truncate(RECENT);
        Process::of(pid)
    }

    fn search(&mut self, link: &str) -> Option<u32> {
        let now = Instant::now();
        if self.until <= now {
            (self.searches_left, self.until) = (SEARCHES, now + SECOND);
        }
        self.searches_left = self.searches_left.checked_sub(1)?;
        let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.into_iter().find(|pid: &u32| self.is_inside(*pid) && has(*pid, link))
    }

    fn is_inside(&self, pid: u32) -> bool {
        identity(&format!("{pid}/ns/net")) == Some(self.namespace)
    }
}

fn identity(file: &str) -> Option<(u64, u64)> {
    fs::metadata(format!("/proc/{file}")).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn has(pid: u32, link: &str) -> bool {
    let is_it = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link);
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_it)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn finds_the_process_of_a_socket() {
        let mut owners = Owners::new(&fs::File::open("/proc/self/ns/net").unwrap()).unwrap();
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
