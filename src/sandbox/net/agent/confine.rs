//! What a network agent gives up once it is set up.
//!
//! It reads what comes from the box and from the network, beside the box and with the invoking user's id. So it sees an
//! empty directory in place of the file system, has no capability that its tasks do not need, and can make only the
//! system calls of a program that serves sockets: none that opens, executes, forks, signals or looks at others. Sockets
//! that it makes are those of the internet and of netlink: a unix socket would lead to the host's services.

use std::path::Path;

use caps::Capability;

use crate::sandbox::caps as capabilities;
use crate::sandbox::seccomp::{Action, ArgTest, INT, Policy, Program, Rule};
use crate::sys::{Context, SysError, SysResult, process};

/// Puts the calling process behind bars: it keeps `kept` of its capabilities over the box's namespaces. `empty` is a directory without
/// entries.
pub fn confine(empty: &Path, kept: &[Capability]) -> SysResult<()> {
    rustix::process::chroot(empty).call(|| format!("chroot `{}`", empty.display()))?;
    rustix::process::chdir("/").call(|| "chdir `/`".to_owned())?;
    capabilities::reduce_to(kept).map_err(|error| SysError::new(error.to_string(), rustix::io::Errno::PERM))?;
    process::set_no_new_privileges()?;
    Program::compile(&policy()).install()
}

/// Calls that every program makes that serves sockets.
const ALLOWED: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpeername,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_splice,
    libc::SYS_write,
    libc::SYS_writev,
];

fn policy() -> Policy {
    let family =
        |family: i32| Rule::when(libc::SYS_socket, [ArgTest::is(0, INT, family.cast_unsigned().into())], Action::Allow);
    let mut rules: Vec<Rule> = ALLOWED.iter().map(|call| Rule::always(*call, Action::Allow)).collect();
    rules.extend([libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(family));
    rules.push(Rule::when(libc::SYS_ioctl, [ArgTest::is(1, INT, libc::FIONBIO)], Action::Allow));
    // Memory, never code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.push(Rule::when(call, [ArgTest::is(2, libc::PROT_EXEC.cast_unsigned().into(), 0)], Action::Allow));
    }
    Policy { default: Action::Errno(libc::EPERM as u16), rules }
}
