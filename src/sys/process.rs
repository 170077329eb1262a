//! Properties of the calling process, and waiting for others.

use std::os::fd::{OwnedFd, RawFd};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Context, SysError, SysResult};

fn prctl(name: &str, option: libc::c_int, value: libc::c_ulong) -> SysResult<()> {
    // SAFETY: the options passed by this module take one integer and no pointer.
    if unsafe { libc::prctl(option, value, 0, 0, 0) } == -1 {
        return Err(SysError::last(format!("prctl `{name}` `{value}`")));
    }
    Ok(())
}

/// Makes `/proc/PID` of this process unreadable to everybody without `CAP_SYS_PTRACE` over the user namespace in which
/// its program was executed.
pub fn set_undumpable() -> SysResult<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, 0)
}

/// Undoes the undumpable state that a change of ids brings.
pub fn set_dumpable() -> SysResult<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, 1)
}

/// Orphans below this process become its children instead of pid 1's.
pub fn become_subreaper() -> SysResult<()> {
    prctl("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// The kernel kills this process when its parent dies.
pub fn die_with_parent() -> SysResult<()> {
    prctl("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
}

/// As [`die_with_parent`], where that must still be `parent`. A change of ids or capabilities clears it.
pub fn die_with(parent: rustix::process::Pid) -> SysResult<()> {
    die_with_parent()?;
    // It may have died before.
    if rustix::process::getppid() != Some(parent) {
        return Err(SysError::new("getppid", rustix::io::Errno::SRCH));
    }
    Ok(())
}

/// Programs executed from here on gain nothing from setuid bits and file capabilities. Cannot be undone.
pub fn set_no_new_privileges() -> SysResult<()> {
    prctl("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Shows `title` (cut to what fits) instead of the command line in `ps` and `/proc/PID/cmdline`.
///
/// The argument strings of the program that was executed are overwritten: a fork must not show a box what was typed on
/// the host.
pub fn set_title(title: &str) -> SysResult<()> {
    let stat = std::fs::read_to_string("/proc/self/stat").call(|| "read `/proc/self/stat`".to_owned())?;
    // Fields are counted from behind the command name, which may contain blanks: arg_start and arg_end are 48 and 49.
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(45);
    let mut next = || fields.next().and_then(|field| field.parse::<usize>().ok());
    let (Some(start), Some(end)) = (next(), next()) else {
        return Err(SysError::new("parse `/proc/self/stat`", rustix::io::Errno::INVAL));
    };
    let size = end.saturating_sub(start);
    if start == 0 || size < 2 {
        return Ok(());
    }
    let shown = &title.as_bytes()[..title.len().min(size - 1)];
    // SAFETY: the kernel says that the argument strings of this program lie in [start, end) on its initial stack, which
    // is mapped writable for the life of the process. `std::env::args` copies from there; the process is
    // single-threaded, so that nobody reads while this writes.
    unsafe {
        std::ptr::write_bytes(start as *mut u8, 0, size);
        std::ptr::copy_nonoverlapping(shown.as_ptr(), start as *mut u8, shown.len());
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: RawFd) -> SysResult<()> {
    close_range(first, RawFd::MAX, 0)
}

/// Marks every descriptor from `first` on to be closed by `execve`.
pub fn close_from_on_exec(first: RawFd) -> SysResult<()> {
    close_range(first, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int)
}

/// Closes all descriptors from 3 on but those in `keep`.
pub fn close_all_but(keep: &[RawFd]) -> SysResult<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= 3).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_from(first)
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_int) -> SysResult<()> {
    // SAFETY: closing descriptors is sound for memory; the callers are about to execute or have listed what they keep,
    // and no owner of a closed descriptor is used afterwards.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == -1 {
        return Err(SysError::last(format!("close_range `{first}` `{last}`")));
    }
    Ok(())
}

/// A descriptor of a process, readable when that has ended.
pub fn pidfd_open(pid: Pid) -> SysResult<OwnedFd> {
    let call = || format!("pidfd_open `{pid}`");
    let raw = rustix::process::Pid::from_raw(pid.as_raw());
    let raw = raw.ok_or_else(|| SysError::new(call(), rustix::io::Errno::SRCH))?;
    rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).call(call)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It returned this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl Ended {
    /// The status a shell would show: 128+n for a signal.
    #[must_use]
    pub const fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Waits for one child to end.
pub fn wait(pid: Pid) -> SysResult<Ended> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ended::Signaled(signal as i32)),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).call(|| format!("waitpid `{pid}`")),
        }
    }
}

/// Collects one child that has ended, if there is one. `None` while all live or none are left.
pub fn reap() -> SysResult<Option<(Pid, Ended)>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, status)) => return Ok(Some((pid, Ended::Exited(status)))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Ok(Some((pid, Ended::Signaled(signal as i32)))),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).call(|| "waitpid `-1`".to_owned()),
        }
    }
}

/// Lets the process, and what it will fork, have `most` open files; never more than its hard limit, which goes down with it.
pub fn limit_files(pid: i32, most: u64) -> SysResult<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let call = || format!("prlimit `{pid}` `{most}`");
    let target = Pid::from_raw(pid);
    prlimit(target, Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).map(drop).call(call)
}

/// A resource limit of a process, which may be named by any thread of it.
pub fn limit_of(pid: rustix::process::Pid, resource: rustix::process::Resource) -> SysResult<rustix::process::Rlimit> {
    let mut found = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing is set, and `found` is the structure that the kernel writes.
    let result =
        unsafe { libc::prlimit64(pid.as_raw_nonzero().get(), resource as _, std::ptr::null(), &raw mut found) };
    if result != 0 {
        return Err(SysError::last(format!("prlimit `{pid:?}`")));
    }
    let finite = |limit| (limit != libc::RLIM64_INFINITY).then_some(limit);
    Ok(rustix::process::Rlimit { current: finite(found.rlim_cur), maximum: finite(found.rlim_max) })
}

/// Becomes uid and gid 0 of the user namespace, with no supplementary groups where groups can be set at all.
pub fn become_namespace_root(groups_can_be_set: bool) -> SysResult<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    if groups_can_be_set {
        setgroups(&[]).call(|| "setgroups".to_owned())?;
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).call(|| "setresgid `0`".to_owned())?;
    setresuid(uid, uid, uid).call(|| "setresuid `0`".to_owned())
}
