//! Root in a box where only one id exists. Pure.
//!
//! Package managers give files to other owners and drop to other users. With one id in the map the kernel must refuse
//! both, so here these calls succeed and do nothing: what should belong to `_apt` belongs to root, and what should run
//! as `_apt` runs as root. The owner is written down beside the file ([`crate::sandbox::owners`]), for images that are made of
//! it. Programs that look afterwards see that nothing happened; those that insist fail, for example
//! `initdb`, which refuses to run as root. apt looks, too, so it needs `APT::Sandbox::User "root";`.
//!
//! Where the profile wants it ([`emulate_ids`]), everything that shows owners of files and ids of processes, or makes them, is passed on as
//! well, to be answered with what was asked for. Only then: it makes each of these calls slower.
//!
//! What it leaves out: `setfsuid` and `setfsgid` never fail, and `capset` works with one id as with many, so the
//! kernel answers these. The flags of `openat2` lie behind a pointer.

use super::{Action, ArgTest, INT, Policy, Rule};

/// Does nothing, succeeds.
const PRETEND: Action = Action::Errno(0);

/// Changes of owner.
const OWNERS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
];

/// Changes of identity.
const IDS: &[i64] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
];

/// Calls that make special files, and which argument is the mode; the device follows it.
const NODES: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
    (libc::SYS_mknodat, 2),
];

/// What shows the owner of a file or the ids of a process, and what is done by them.
const SHOWN: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_execve,
    libc::SYS_execveat,
];

/// Calls that may make a file, and which argument holds the flags.
const OPENS: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
    (libc::SYS_openat, 2),
];

/// Puts the emulation before the rules of `policy`.
#[must_use]
pub fn emulate_root(policy: Policy) -> Policy {
    let mut rules: Vec<Rule> = OWNERS.iter().map(|call| Rule::always(*call, Action::Remember)).collect();
    rules.extend(IDS.iter().map(|call| Rule::always(*call, PRETEND)));
    for (call, mode) in NODES {
        // The kernel reads the mode as 16 bits wide.
        let is = |kind: libc::mode_t| ArgTest::is(*mode, u64::from(libc::S_IFMT), u64::from(kind));
        // Character device 0/0 is an overlay whiteout; anyone may make these.
        let whiteout = ArgTest::is(mode + 1, INT, 0);
        rules.push(Rule::when(*call, [is(libc::S_IFCHR), whiteout], Action::Allow));
        rules.push(Rule::when(*call, [is(libc::S_IFCHR)], PRETEND));
        rules.push(Rule::when(*call, [is(libc::S_IFBLK)], PRETEND));
    }
    rules.extend(policy.rules);
    Policy { default: policy.default, rules }
}

/// Puts what shows owners and ids before the rules of a `policy` that emulates root.
#[must_use]
pub fn emulate_ids(policy: Policy) -> Policy {
    let mut rules: Vec<Rule> = SHOWN.iter().map(|call| Rule::always(*call, Action::Pretend)).collect();
    rules.extend(IDS.iter().map(|call| Rule::always(*call, Action::Remember)));
    for (call, flags) in OPENS {
        let makes = ArgTest::any(*flags, libc::O_CREAT as u64);
        rules.push(Rule::when(*call, [makes], Action::Pretend));
    }
    let [level, name] = [(1, libc::SOL_SOCKET), (2, libc::SO_PEERCRED)]
        .map(|(argument, value)| ArgTest::is(argument, INT, value as u64));
    rules.push(Rule::when(libc::SYS_getsockopt, [level, name], Action::Pretend));
    let keep = ArgTest::is(0, INT, libc::PR_SET_KEEPCAPS as u64);
    rules.push(Rule::when(libc::SYS_prctl, [keep], Action::Pretend));
    rules.extend(policy.rules);
    Policy { default: policy.default, rules }
}
