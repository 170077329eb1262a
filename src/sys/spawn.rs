//! What a helper program is given between fork and exec.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Arranges that `command` is killed when the *thread* that spawns it ends, and that it inherits `inherit` under the
/// numbers that they have here.
pub fn die_with_parent(command: &mut Command, inherit: &[OwnedFd]) {
    let parent = getpid();
    let inherit: Vec<RawFd> = inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            // The parent died before the line above, so its death will not be signalled.
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        for &number in &inherit {
            // SAFETY: `F_SETFD` takes an integer and touches no memory; a closed number gives `EBADF`.
            if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes only system calls: no allocation, no lock, nothing that a fork could have left broken.
    unsafe { command.pre_exec(before_exec) };
}
