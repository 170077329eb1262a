//! Seccomp: putting a filter on the calling thread, and answering the calls that a filter passes on.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::{SysError, SysResult};

/// A call that waits for an answer. All of it is what the caller wants it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Notification {
    /// The call, among all that wait at a listener.
    pub id: u64,
    /// The calling thread, as this process's pid namespace numbers it; 0 if that does not have it.
    pub thread: u32,
    /// The number of the call.
    pub number: i32,
    /// `AUDIT_ARCH_*`: what the number means.
    pub arch: u32,
    /// The arguments; those that the call does not have are arbitrary.
    pub arguments: [u64; 6],
}

/// Puts `filter` on the calling thread and everything it will start. There is no way back.
///
/// The caller has `CAP_SYS_ADMIN` in its user namespace or has set no-new-privileges; other threads are not touched.
pub fn install(filter: &[libc::sock_filter]) -> SysResult<()> {
    set_filter(filter, 0).map(|_| ())
}

/// As [`install`]; gives the descriptor (CLOEXEC) on which the calls answered with "notify" arrive.
///
/// Signals that are not deadly wait for the answer of a call that was received (5.19), so that nothing is done twice.
pub fn install_with_listener(filter: &[libc::sock_filter]) -> SysResult<OwnedFd> {
    const LISTENER: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match set_filter(filter, LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.errno == Errno::INVAL => set_filter(filter, LISTENER)?,
        other => other?,
    };
    // SAFETY: with NEW_LISTENER the kernel answers with a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_filter(filter: &[libc::sock_filter], flags: libc::c_ulong) -> SysResult<RawFd> {
    let call = || format!("seccomp `SECCOMP_SET_MODE_FILTER` of {} instructions, flags {flags:#x}", filter.len());
    let len = u16::try_from(filter.len()).map_err(|_| SysError::new(call(), rustix::io::Errno::INVAL))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: `program` points at `len` instructions that outlive the call; the kernel copies and only reads them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(|| SysError::last(call()))
}

/// The next call that waits at `listener`; `None` if its caller has given up meanwhile.
///
/// Waits for a call if there was none since the last one: the caller has polled.
pub fn receive(listener: impl AsFd) -> SysResult<Option<Notification>> {
    // SAFETY: a structure of integers, for which zero is a value; the kernel insists on it.
    let mut received: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    match command(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut received) {
        Ok(()) => Ok(Some(Notification {
            id: received.id,
            thread: received.pid,
            number: received.data.nr,
            arch: received.data.arch,
            arguments: received.data.args,
        })),
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(errno) => Err(SysError::new("ioctl `SECCOMP_IOCTL_NOTIF_RECV`", errno)),
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It fails with this errno; with 0 it returns 0.
    Fail(u16),
    /// It returns this, and nothing is done.
    Return(i64),
    /// The kernel carries it out, with what lies behind its pointers by then.
    Continue,
}

/// Answers the call `id`. One whose caller has given up meanwhile is not an error.
pub fn answer(listener: impl AsFd, id: u64, answer: Answer) -> SysResult<()> {
    let (val, error, flags) = match answer {
        Answer::Fail(errno) => (0, -i32::from(errno), 0),
        Answer::Return(value) => (value, 0, 0),
        Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let mut answer = libc::seccomp_notif_resp { id, val, error, flags };
    match command(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(SysError::new("ioctl `SECCOMP_IOCTL_NOTIF_SEND`", errno)),
    }
}

/// Gives the caller of `id` a descriptor of `file`, which is what the call returns (5.14).
pub fn answer_with_descriptor(listener: impl AsFd, id: u64, file: impl AsFd, close_on_exec: bool) -> SysResult<()> {
    let mut added = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: file.as_fd().as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    // SAFETY: the request is made with the structure that its number names, which lives until the call returns.
    let fd = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut added) };
    if fd < 0 { Err(SysError::last("ioctl `SECCOMP_IOCTL_NOTIF_ADDFD`")) } else { Ok(()) }
}

/// Who waits at either side of `listener` is woken on the processor of the other side (6.6).
pub fn share_processor(listener: impl AsFd) -> SysResult<()> {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` of linux/seccomp.h.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument of this request is an integer.
    let result =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    if result < 0 { Err(SysError::last("ioctl `SECCOMP_IOCTL_NOTIF_SET_FLAGS`")) } else { Ok(()) }
}

/// Whether the call `id` still waits: then what was read of its thread by number was not another's.
pub fn is_waiting(listener: impl AsFd, id: u64) -> bool {
    command(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut { id }).is_ok()
}

fn command<T>(listener: impl AsFd, request: libc::Ioctl, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: each request is made with the structure that its number names, which lives until the call returns.
    let result = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result == 0 { Ok(()) } else { Err(SysError::last("").errno) }
}

/// Makes any system call, for the tests of filters: what the kernel or a filter answered.
///
/// The tests pass calls that a filter answers, or that fail whatever the filter does (null pointers, bad descriptors).
#[cfg(test)]
pub fn attempt(number: i64, args: [u64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: no test passes the address of anything, so that the kernel has nowhere to write.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 { Ok(result) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) }
}
