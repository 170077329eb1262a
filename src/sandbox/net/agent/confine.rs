//! What a network agent and its dialer give up once they are set up; the relay to the host's bus gives up system calls alone.
//!
//! They read what comes from the box and from the network, beside the box and with the invoking user's id. So they see an
//! empty directory in place of the file system, have no capability that their tasks do not need, and can make only the
//! system calls of a program that serves sockets: none that opens, executes, forks, signals or looks at others.
//!
//! The agent holds sockets of the host's network. It can read, write and end those, and nothing else: no call makes a socket,
//! gives one an address, connects it (`MSG_FASTOPEN` is a connection, too), or sends to an address that goes with the message.
//! `fcntl` has no command that signals a process. The dialer may connect, and has sockets of the box alone.

use std::path::Path;

use caps::Capability;

use crate::sandbox::caps as capabilities;
use crate::sandbox::seccomp::{Action, ArgTest, INT, Policy, Program, Rule};
use crate::sys::{Context, SysError, SysResult, process};

/// Who is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves sockets of both networks.
    Agent,
    /// Connects in the box's.
    Dialer,
    /// Connects to unix sockets of the host.
    Relay,
}

/// Puts the calling process behind bars: it keeps `kept` of its capabilities over the box's namespaces. `empty` is a directory without
/// entries.
pub fn confine(empty: &Path, kept: &[Capability], role: Role) -> SysResult<()> {
    rustix::process::chroot(empty).call(|| format!("chroot `{}`", empty.display()))?;
    rustix::process::chdir("/").call(|| "chdir `/`".to_owned())?;
    capabilities::reduce_to(kept).map_err(|error| SysError::new(error.to_string(), rustix::io::Errno::PERM))?;
    restrict_calls(role)
}

/// Leaves the calling process the system calls of its role.
pub fn restrict_calls(role: Role) -> SysResult<()> {
    process::set_no_new_privileges()?;
    Program::compile(&policy(role)).install()
}

/// Calls of both.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
];

/// Calls of who serves sockets that are there.
const SERVE: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_pipe2,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_shutdown,
    libc::SYS_splice,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls of who connects.
const DIAL: &[i64] = &[libc::SYS_connect, libc::SYS_sendmsg, libc::SYS_sendto];

/// Calls of who stands between unix sockets.
const RELAY: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_connect,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
];

/// What may be asked of a descriptor.
const DESCRIPTOR_COMMANDS: [i32; 3] = [libc::F_GETFL, libc::F_SETFL, libc::F_SETPIPE_SZ];

fn policy(role: Role) -> Policy {
    let int = |argument: u8, value: i32| ArgTest::is(argument, INT, value.cast_unsigned().into());
    let when = |call: i64, tests: &[ArgTest]| Rule::when(call, tests, Action::Allow);
    // Memory, never code.
    let no_code = [ArgTest::is(2, libc::PROT_EXEC.cast_unsigned().into(), 0)];
    let mut rules = vec![when(libc::SYS_mmap, &no_code), when(libc::SYS_mprotect, &no_code)];
    let calls = match role {
        Role::Agent => {
            let nobody = ArgTest::is(4, u64::MAX, 0);
            let no_connection = ArgTest::is(3, libc::MSG_FASTOPEN.cast_unsigned().into(), 0);
            rules.extend([
                when(libc::SYS_ioctl, &[ArgTest::is(1, INT, libc::FIONBIO)]),
                when(libc::SYS_sendto, &[nobody, no_connection]),
                when(libc::SYS_setsockopt, &[int(1, libc::SOL_SOCKET), int(2, libc::SO_LINGER)]),
                when(libc::SYS_setsockopt, &[int(1, libc::IPPROTO_TCP), int(2, libc::TCP_NODELAY)]),
            ]);
            rules.extend(DESCRIPTOR_COMMANDS.map(|command| when(libc::SYS_fcntl, &[int(1, command)])));
            SERVE
        }
        Role::Dialer => {
            rules.extend([libc::AF_INET, libc::AF_INET6].map(|family| when(libc::SYS_socket, &[int(0, family)])));
            DIAL
        }
        Role::Relay => {
            rules.push(when(libc::SYS_socket, &[int(0, libc::AF_UNIX)]));
            rules.push(when(libc::SYS_fcntl, &[int(1, libc::F_SETFL)]));
            RELAY
        }
    };
    rules.extend(COMMON.iter().chain(calls).map(|call| Rule::always(*call, Action::Allow)));
    Policy { default: Action::Errno(libc::EPERM as u16), rules }
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
