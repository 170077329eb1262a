//! `getsockopt(SO_PEERCRED)`: who is at the other end of a socket, if that process was given ids.
//!
//! The kernel knows who connected; what that process was given is looked up when somebody asks.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::caller::{Caller, status_of};
use super::identity::Identities;
use crate::sys::seccomp::Notification;
use crate::sys::socket;

/// A question for the peer of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    descriptor: i32,
    /// Where the answer and its size are to be written.
    address: u64,
    size: u64,
}

impl Question {
    /// What `call` asks for, if that is the peer's ids.
    #[must_use]
    pub fn of(call: &Notification) -> Option<Self> {
        let [a, b, c, d, e, _] = call.arguments;
        let is_peer = (b as i32, c as i32) == (libc::SOL_SOCKET, libc::SO_PEERCRED);
        (i64::from(call.number) == libc::SYS_getsockopt && is_peer).then_some(Self {
            descriptor: a as i32,
            address: d,
            size: e,
        })
    }

    /// Writes the answer to the caller. An error leaves the call to the kernel, which knows of nothing else to tell, or says
    /// what is wrong.
    pub fn carry_out(&self, caller: &Caller<'_>, identities: &Identities) -> Result<(), Errno> {
        let process = caller.status("Tgid").and_then(|pid| Pid::from_raw(pid.parse().ok()?)).ok_or(Errno::SRCH)?;
        let process = pidfd_open(process, PidfdFlags::empty())?;
        let socket = pidfd_getfd(process, self.descriptor, PidfdGetfdFlags::empty())?;
        let peer = socket::peer_pid(&socket).map_err(|error| error.errno)?;
        let peer = u32::try_from(peer).map_err(|_| Errno::SRCH)?;
        let credentials = identities.of(peer).ok_or(Errno::NODATA)?;
        let pid = status_of(peer, "NSpid").ok_or(Errno::SRCH)?;
        // The last one is that of the box, where nobody can nest them.
        let pid = pid.split_whitespace().last().and_then(|pid| pid.parse().ok()).ok_or(Errno::SRCH)?;
        let words: [u32; 3] = [pid, credentials.uid.effective, credentials.gid.effective];
        let answer: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut room = [0; size_of::<u32>()];
        caller.read(self.size, &mut room)?;
        if (u32::from_ne_bytes(room) as usize) < answer.len() {
            return Err(Errno::INVAL);
        }
        caller.write(self.address, &answer)?;
        caller.write(self.size, &(answer.len() as u32).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let question = |number, arguments| {
            Question::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments })
        };
        let (level, name) = (libc::SOL_SOCKET as u64, libc::SO_PEERCRED as u64);
        let expected = Some(Question { descriptor: 3, address: 16, size: 32 });
        assert_eq!(question(libc::SYS_getsockopt, [3, level, name, 16, 32, 9]), expected);
        assert_eq!(question(libc::SYS_getsockopt, [3, level, name + 1, 16, 32, 9]), None);
        assert_eq!(question(libc::SYS_setsockopt, [3, level, name, 16, 32, 9]), None);
    }
}
