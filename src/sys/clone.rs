//! New processes: `fork`, and `clone3` into new namespaces.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::{Context, SysError, SysResult};

/// How long a thread that has ended may take to go.
const ENDING: Duration = Duration::from_millis(200);

/// Which namespaces a child gets of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u64);

impl Namespaces {
    /// A user namespace.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// A mount namespace.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// A pid namespace; the child is its pid 1.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// A network namespace.
    pub const NET: Self = Self(libc::CLONE_NEWNET as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// The cgroup root.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
}

impl std::ops::BitOr for Namespaces {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child, as the parent's pid namespace numbers it.
        pid: Pid,
    },
}

/// `CLONE_INTO_CGROUP`, Linux 5.7; in the `libc` crate its type is too narrow for it.
const INTO_CGROUP: u64 = 1 << 33;

/// Forks into new namespaces. The process must have one thread only.
pub fn clone(namespaces: Namespaces) -> SysResult<Forked> {
    clone_into(namespaces, None)
}

/// As [`clone`]; the child begins its life in the cgroup whose directory `group` is.
pub fn clone_into(namespaces: Namespaces, group: Option<BorrowedFd<'_>>) -> SysResult<Forked> {
    let call = || format!("clone3 `{:#x}`", namespaces.0);
    require_single_thread(call)?;
    // SAFETY: all fields of `clone_args` are integers, for which zero is the documented default.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces.0;
    if let Some(group) = group {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    }
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of memory, on the same stack address. The
    // process is single-threaded (checked above), so that no lock of the allocator is held by a thread that is gone.
    let result = unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut arguments), std::mem::size_of::<libc::clone_args>())
    };
    match result {
        -1 => Err(SysError::last(call())),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent { pid: Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)) }),
    }
}

/// Forks, also where a box's filter refuses `clone3`. The process must have one thread only.
pub fn fork() -> SysResult<Forked> {
    require_single_thread(|| "fork".to_owned())?;
    // SAFETY: the process is single-threaded (checked above): no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }.call(|| "fork".to_owned())? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent { pid: child }),
    }
}

/// The child of a fork would inherit locks held by threads that do not exist in it. A thread that has ended, also one that
/// was joined, is counted until the kernel has removed it.
fn require_single_thread(call: impl Fn() -> String) -> SysResult<()> {
    let deadline = Instant::now() + ENDING;
    while !is_single_threaded() {
        if Instant::now() > deadline {
            return Err(SysError::new(call(), rustix::io::Errno::BUSY));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// `/proc/self/task` has one sub-directory per thread, and a directory's link count counts them.
fn is_single_threaded() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Without /proc nothing is known; the programs that call this start no thread on these paths.
    std::fs::metadata("/proc/self/task").map_or(true, |meta| meta.nlink() <= 3)
}

/// Ends this process at once: no destructors, no buffers, no exit handlers of the parent's copy.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(status) }
}
