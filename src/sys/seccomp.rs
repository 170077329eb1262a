//! Seccomp: putting a filter on the calling thread.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{SysError, SysResult};

/// Puts `filter` on the calling thread and everything it will start. There is no way back.
///
/// The caller has `CAP_SYS_ADMIN` in its user namespace or has set no-new-privileges; other threads are not touched.
pub fn install(filter: &[libc::sock_filter]) -> SysResult<()> {
    set_filter(filter, 0).map(|_| ())
}

/// As [`install`]; gives the descriptor (CLOEXEC) on which the calls answered with "notify" arrive.
pub fn install_with_listener(filter: &[libc::sock_filter]) -> SysResult<OwnedFd> {
    let fd = set_filter(filter, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
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
