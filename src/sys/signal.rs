//! Signals as descriptors.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Context, SysResult};

/// Signals that arrive as readable data instead of interrupting. They stay blocked until [`restore_defaults`].
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks `signals` and returns the descriptor on which they arrive. Non-blocking, CLOEXEC.
    pub fn receive(signals: &[Signal]) -> SysResult<Self> {
        let mut set = SigSet::empty();
        for signal in signals {
            set.add(*signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).call(|| "sigprocmask".to_owned())?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .call(|| "signalfd".to_owned())
    }

    /// The next signal that has arrived: its number and the sender's pid (0: outside this pid namespace, or the kernel).
    pub fn next(&self) -> SysResult<Option<(i32, u32)>> {
        let info = self.0.read_signal().call(|| "read `signalfd`".to_owned())?;
        Ok(info.map(|info| (i32::try_from(info.ssi_signo).unwrap_or(0), info.ssi_pid)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets all signals through again; dispositions stay as they are.
pub fn unblock_all() -> SysResult<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).call(|| "sigprocmask".to_owned())
}

/// Default dispositions for all signals and an empty mask: what a program expects when it is executed. The Rust
/// runtime ignores SIGPIPE, and a disposition of "ignore" survives `execve`.
pub fn restore_defaults() -> SysResult<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { sigaction(signal, &default) }.call(|| format!("sigaction `{signal}`"))?;
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).call(|| "sigprocmask".to_owned())
}
