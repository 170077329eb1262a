//! Which system calls a box may make. Pure.
//!
//! Every call that Linux 6.18 knows is in one of the tables; one that it does not know gets ENOSYS, as it would on an
//! older kernel, so that libraries take their other way. A call that is known and refused gets EPERM, except where
//! programs are known to cope better with another answer.
//!
//! What is refused: calls that act on the machine and not on the box (clock, swap, modules, kernel log, reboot), that
//! change the box's own walls (mounts, namespaces), and those that ordinary programs do without and whose bugs have
//! often been ways into the kernel (bpf, io_uring, userfaultfd, keyrings, rare socket families and line disciplines).
//! The kernel refuses most of them to the root of a user namespace anyway; the filter is the second wall.

use libc::*;

use super::{Action, ArgTest, INT, Policy, Rule};

const EPERM_: Action = Action::Errno(EPERM as u16);
const ENOSYS_: Action = Action::Errno(ENOSYS as u16);

/// Calls that every architecture has, by topic.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // files by descriptor
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_flock, SYS_lseek, SYS_fsync,
    SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_fallocate, SYS_ftruncate, SYS_fadvise64,
    SYS_readahead, SYS_sendfile, SYS_copy_file_range, SYS_splice, SYS_tee, SYS_vmsplice, SYS_pipe2,
    // files by name
    SYS_openat, SYS_openat2, SYS_mkdirat, SYS_mknodat, SYS_unlinkat, SYS_symlinkat, SYS_linkat, SYS_renameat,
    SYS_renameat2, SYS_readlinkat, SYS_faccessat, SYS_faccessat2, SYS_truncate, SYS_getdents64, SYS_getcwd, SYS_chdir,
    SYS_fchdir, SYS_chroot, SYS_umask, SYS_name_to_handle_at,
    // metadata
    SYS_newfstatat, SYS_fstat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat,
    SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr,
    SYS_listxattr, SYS_llistxattr, SYS_flistxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    // waiting
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_ppoll, SYS_pselect6, SYS_eventfd2,
    SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_inotify_init1,
    SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_fanotify_mark, SYS_io_setup, SYS_io_destroy, SYS_io_submit,
    SYS_io_cancel, SYS_io_getevents, IO_PGETEVENTS,
    // sockets; `socket` and `socketpair` have rules of their own
    SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect, SYS_getsockname, SYS_getpeername, SYS_sendto,
    SYS_recvfrom, SYS_setsockopt, SYS_getsockopt, SYS_shutdown, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
    // memory
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_msync, SYS_mincore, SYS_madvise, SYS_mlock,
    SYS_mlock2, SYS_munlock, SYS_mlockall, SYS_munlockall, SYS_remap_file_pages, SYS_memfd_create, SYS_memfd_secret,
    SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_membarrier, SYS_process_madvise, SYS_process_mrelease,
    SYS_mbind, SYS_get_mempolicy, SYS_set_mempolicy, SYS_migrate_pages, SYS_move_pages,
    // processes; `clone` and `unshare` have rules of their own
    SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_set_tid_address, SYS_gettid,
    SYS_getpid, SYS_getppid, SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid, SYS_prctl, SYS_seccomp, SYS_rseq,
    SYS_set_robust_list, SYS_get_robust_list, SYS_futex, SYS_futex_waitv, SYS_restart_syscall, SYS_pidfd_open,
    SYS_pidfd_getfd, SYS_pidfd_send_signal,
    // debuggers: the kernel asks for the same ids and for capabilities in the target's namespace
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    // signals
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack,
    // ids and capabilities
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_setuid,
    SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups,
    SYS_capget, SYS_capset,
    // time; the kernel lets nobody in a user namespace set the clock through the two adjtimex, and they are read
    SYS_gettimeofday, SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_getitimer,
    SYS_setitimer, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
    SYS_times, SYS_adjtimex, SYS_clock_adjtime,
    // scheduling and limits
    SYS_sched_yield, SYS_sched_setaffinity, SYS_sched_getaffinity, SYS_sched_setscheduler, SYS_sched_getscheduler,
    SYS_sched_setparam, SYS_sched_getparam, SYS_sched_setattr, SYS_sched_getattr, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_sched_rr_get_interval, SYS_getpriority, SYS_setpriority, SYS_ioprio_get,
    SYS_ioprio_set, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage, SYS_getcpu,
    // System V and POSIX queues, semaphores, shared memory
    SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_shmget,
    SYS_shmat, SYS_shmdt, SYS_shmctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive,
    SYS_mq_notify, SYS_mq_getsetattr,
    // the rest
    SYS_uname, SYS_sysinfo, SYS_getrandom, SYS_landlock_create_ruleset, SYS_landlock_add_rule,
    SYS_landlock_restrict_self,
];

/// The forms that newer architectures left out.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = &[
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_mkdir, SYS_rmdir, SYS_rename, SYS_link, SYS_unlink,
    SYS_symlink, SYS_readlink, SYS_chmod, SYS_chown, SYS_lchown, SYS_mknod, SYS_utime, SYS_utimes, SYS_futimesat,
    SYS_getdents, SYS_dup2, SYS_pipe, SYS_poll, SYS_select, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd,
    SYS_signalfd, SYS_inotify_init, SYS_fork, SYS_vfork, SYS_getpgrp, SYS_alarm, SYS_pause, SYS_time, SYS_arch_prctl,
    SYS_get_thread_area, SYS_set_thread_area,
    335, // uretprobe, put into a traced process by the kernel
    336, // uprobe
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// `io_pgetevents`, which not every C library names.
#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: i64 = 333;
#[cfg(not(target_arch = "x86_64"))]
const IO_PGETEVENTS: i64 = 292;

/// Numbers above 449 are the same everywhere, and not every C library names them.
const ALLOWED_NEW: &[i64] = &[
    450, // set_mempolicy_home_node
    451, // cachestat
    452, // fchmodat2
    453, // map_shadow_stack
    454, // futex_wake
    455, // futex_wait
    456, // futex_requeue
    457, // statmount
    458, // listmount
    459, // lsm_get_self_attr
    460, // lsm_set_self_attr
    461, // lsm_list_modules
    462, // mseal
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
    468, // file_getattr
    469, // file_setattr
];

/// `open_tree_attr` of Linux 6.15.
const OPEN_TREE_ATTR: i64 = 467;

/// Known and refused with EPERM.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    // the walls of the box
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_open_tree,
    OPEN_TREE_ATTR, SYS_move_mount, SYS_mount_setattr, SYS_setns, SYS_sethostname, SYS_setdomainname,
    // the machine
    SYS_reboot, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_swapon,
    SYS_swapoff, SYS_settimeofday, SYS_clock_settime, SYS_acct, SYS_quotactl, SYS_quotactl_fd, SYS_vhangup,
    // what the host keeps to itself: its log, files by handle whatever directory they are in
    SYS_syslog, SYS_open_by_handle_at, SYS_fanotify_init,
    // keys are not namespaced by mount or pid, so a box could find the user's
    SYS_add_key, SYS_request_key, SYS_keyctl,
    // kernel attack surface
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
];
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[SYS_iopl, SYS_ioperm];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Answered as if the kernel had been built without them: programs then take their other way, and complain after EPERM.
const ABSENT: &[i64] = &[
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    // its flags lie behind a pointer; C libraries fall back to `clone`, whose flags can be seen
    SYS_clone3,
    SYS_lookup_dcookie,
    SYS_nfsservctl,
];
/// Gone from the kernel, or never there; `modify_ldt` serves 16 and 32-bit programs only, which the filter stops anyway.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ABSENT_HERE: &[i64] = &[
    SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl, SYS_getpmsg, SYS_putpmsg, SYS_afs_syscall,
    SYS_tuxcall, SYS_security, SYS_vserver, SYS_epoll_ctl_old, SYS_epoll_wait_old,
    174, // create_module
    177, // get_kernel_syms
    178, // query_module
];
#[cfg(not(target_arch = "x86_64"))]
const ABSENT_HERE: &[i64] = &[];

/// Flags of `clone` and `unshare` that make a namespace.
const NAMESPACES: u64 =
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) as u64;
/// `CLONE_NEWTIME`: of `unshare` only, in `clone` the bit is part of a signal number.
const NEW_TIME: u64 = 0x80;

/// What `personality` may be asked for: 32-bit `uname`, 2.6 `uname`, and no address randomisation (gdb needs that).
const PERSONALITIES: u64 = 0x8 | 0x0002_0000 | 0x0004_0000;

/// Socket families; another one gets EAFNOSUPPORT, as if its module was not there.
const FAMILIES: &[i32] = &[AF_UNIX, AF_INET, AF_INET6, AF_PACKET];

/// Netlink protocols: addresses and routes, `ss`, device events for libudev, and generic (taskstats, ethtool).
///
/// The others get EPROTONOSUPPORT. PAM and shadow need that answer for the audit protocol: they take any other failure
/// for a broken audit system, and refuse the login.
const NETLINK: &[i32] = &[NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC];

/// What to do to a terminal is refused: typing into it (TIOCSTI, and TIOCLINUX through a selection), and giving it a
/// line discipline, whose modules the kernel loads on demand.
const TERMINAL_REQUESTS: &[u64] = &[
    0x5412, // TIOCSTI
    0x541c, // TIOCLINUX
    0x5423, // TIOCSETD
];

/// The policy of every box.
#[must_use]
pub fn default_policy() -> Policy {
    let always = |numbers: &'static [i64], action| numbers.iter().map(move |number| Rule::always(*number, action));
    let mut rules: Vec<Rule> = always(ALLOWED, Action::Allow)
        .chain(always(ALLOWED_HERE, Action::Allow))
        .chain(always(ALLOWED_NEW, Action::Allow))
        .chain(always(REFUSED, EPERM_))
        .chain(always(REFUSED_HERE, EPERM_))
        .chain(always(ABSENT, ENOSYS_))
        .chain(always(ABSENT_HERE, ENOSYS_))
        .collect();
    rules.extend(namespaces());
    rules.extend(personality());
    rules.extend(sockets());
    rules.extend(terminals());
    Policy { default: ENOSYS_, rules }
}

fn namespaces() -> Vec<Rule> {
    vec![
        Rule::when(SYS_clone, [ArgTest::any(0, NAMESPACES)], EPERM_),
        Rule::always(SYS_clone, Action::Allow),
        Rule::when(SYS_unshare, [ArgTest::any(0, NAMESPACES | NEW_TIME)], EPERM_),
        Rule::always(SYS_unshare, Action::Allow),
    ]
}

fn personality() -> Vec<Rule> {
    vec![
        Rule::when(SYS_personality, [ArgTest::is(0, INT & !PERSONALITIES, 0)], Action::Allow),
        // only asks
        Rule::when(SYS_personality, [ArgTest::is(0, INT, INT)], Action::Allow),
        Rule::always(SYS_personality, EPERM_),
    ]
}

fn sockets() -> Vec<Rule> {
    let netlink = ArgTest::is(0, INT, AF_NETLINK as u64);
    let mut rules = Vec::new();
    for call in [SYS_socket, SYS_socketpair] {
        rules.extend(
            FAMILIES.iter().map(|family| Rule::when(call, [ArgTest::is(0, INT, *family as u64)], Action::Allow)),
        );
        rules.extend(
            NETLINK
                .iter()
                .map(|protocol| Rule::when(call, [netlink, ArgTest::is(2, INT, *protocol as u64)], Action::Allow)),
        );
        rules.push(Rule::when(call, [netlink], Action::Errno(EPROTONOSUPPORT as u16)));
        rules.push(Rule::always(call, Action::Errno(EAFNOSUPPORT as u16)));
    }
    rules
}

fn terminals() -> Vec<Rule> {
    TERMINAL_REQUESTS
        .iter()
        .map(|request| Rule::when(SYS_ioctl, [ArgTest::is(1, INT, *request)], EPERM_))
        .chain([Rule::always(SYS_ioctl, Action::Allow)])
        .collect()
}
