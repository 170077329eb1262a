//! What the compiled programs decide, seen through the interpreter.

use proptest::prelude::*;

use super::compiler::{NATIVE_ARCH, encode};
use super::interpreter::{Call, run};
use super::*;

const OK: Action = Action::Allow;
const PRETEND: Action = Action::Errno(0);
const REMEMBER: Action = Action::Remember;
const REFUSED: Action = Action::Errno(libc::EPERM as u16);
const ABSENT: Action = Action::Errno(libc::ENOSYS as u16);
const NO_FAMILY: Action = Action::Errno(libc::EAFNOSUPPORT as u16);
const NO_PROTOCOL: Action = Action::Errno(libc::EPROTONOSUPPORT as u16);
/// Bits that the kernel does not read of an `int`.
const JUNK: u64 = 0xdead_beef_0000_0000;

fn decide(program: &Program, number: i64, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(program.instructions(), &Call { number: number as u32, arch: NATIVE_ARCH, args: all }).0
}

fn check(mode: IdMode, table: &[(i64, &[u64], Action)]) {
    let program = program_for(mode);
    for (number, args, action) in table {
        let found = decide(&program, *number, args);
        assert_eq!(found, encode(*action), "call {number} {args:#x?}: {found:#x}, not {action:?}");
    }
}

#[test]
fn default_decisions() {
    use libc::*;
    check(
        IdMode::Range,
        &[
            (SYS_read, &[], OK),
            (SYS_write, &[], OK),
            (SYS_ptrace, &[], OK),
            (SYS_process_vm_readv, &[], OK),
            (SYS_chroot, &[], OK),
            (SYS_mbind, &[], OK),
            (SYS_name_to_handle_at, &[], OK),
            (SYS_fchown, &[3, 5, 5], OK),
            (SYS_setuid, &[5], OK),
            (SYS_mknodat, &[0, 0, S_IFCHR as u64, 5], OK),
            (469, &[], OK),
            (470, &[], ABSENT),
            (1_000_000, &[], ABSENT),
            (0x3fff_ffff, &[], ABSENT),
            (0x4000_0000, &[], ABSENT),
            (0x4000_0000 | SYS_read, &[], ABSENT),
            (0xffff_ffff, &[], ABSENT),
            (SYS_io_uring_setup, &[], ABSENT),
            (SYS_clone3, &[], ABSENT),
            (SYS_mount, &[], REFUSED),
            (SYS_umount2, &[], REFUSED),
            (SYS_pivot_root, &[], REFUSED),
            (SYS_open_tree, &[], REFUSED),
            (467, &[], REFUSED),
            (SYS_mount_setattr, &[], REFUSED),
            (SYS_setns, &[], REFUSED),
            (SYS_bpf, &[], REFUSED),
            (SYS_keyctl, &[], REFUSED),
            (SYS_syslog, &[], REFUSED),
            (SYS_open_by_handle_at, &[], REFUSED),
            (SYS_clock_settime, &[], REFUSED),
        ],
    );
}

#[test]
fn arguments_decide() {
    use libc::*;
    let thread = (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS) as u64;
    check(
        IdMode::Root,
        &[
            (SYS_clone, &[SIGCHLD as u64], OK),
            (SYS_clone, &[thread], OK),
            (SYS_clone, &[CLONE_NEWUSER as u64 | SIGCHLD as u64], REFUSED),
            (SYS_clone, &[thread | CLONE_NEWNET as u64], REFUSED),
            (SYS_unshare, &[(CLONE_FS | CLONE_FILES) as u64], OK),
            (SYS_unshare, &[CLONE_NEWNS as u64], REFUSED),
            (SYS_unshare, &[JUNK | CLONE_NEWNS as u64], REFUSED),
            (SYS_unshare, &[0x80], REFUSED),
            (SYS_personality, &[0], OK),
            (SYS_personality, &[8], OK),
            (SYS_personality, &[0x0004_0000], OK),
            (SYS_personality, &[0x0002_0008], OK),
            (SYS_personality, &[0xffff_ffff], OK),
            (SYS_personality, &[u64::MAX], OK),
            (SYS_personality, &[0x0040_0000], REFUSED),
            (SYS_personality, &[6], REFUSED),
            (SYS_personality, &[0xffff_fffe], REFUSED),
            (SYS_socket, &[AF_UNIX as u64, 1], OK),
            (SYS_socket, &[AF_INET6 as u64, 2], OK),
            (SYS_socket, &[JUNK | AF_INET as u64, 2], OK),
            (SYS_socket, &[AF_NETLINK as u64, 3, NETLINK_ROUTE as u64], OK),
            (SYS_socket, &[AF_NETLINK as u64, 3, NETLINK_GENERIC as u64], OK),
            (SYS_socket, &[AF_NETLINK as u64, 3, NETLINK_AUDIT as u64], NO_PROTOCOL),
            (SYS_socket, &[AF_NETLINK as u64, 3, NETLINK_NETFILTER as u64], NO_PROTOCOL),
            (SYS_socket, &[AF_ALG as u64], NO_FAMILY),
            (SYS_socket, &[JUNK | AF_VSOCK as u64], NO_FAMILY),
            (SYS_socketpair, &[AF_UNIX as u64], OK),
            (SYS_socketpair, &[30], NO_FAMILY),
            (SYS_ioctl, &[0, 0x5401], OK),
            (SYS_ioctl, &[0, 0x5413], OK),
            (SYS_ioctl, &[0, 0x5412], REFUSED),
            (SYS_ioctl, &[0, JUNK | 0x5412], REFUSED),
            (SYS_ioctl, &[0, JUNK | 0x541c], REFUSED),
            (SYS_ioctl, &[0, 0x5423], REFUSED),
        ],
    );
}

#[test]
fn emulation_decisions() {
    use libc::*;
    check(
        IdMode::Single,
        &[
            (SYS_fchown, &[3, 5, 5], REMEMBER),
            (SYS_fchownat, &[], REMEMBER),
            (SYS_setuid, &[5], PRETEND),
            (SYS_setresgid, &[5, 5, 5], PRETEND),
            (SYS_setgroups, &[0, 0], PRETEND),
            (SYS_setfsuid, &[5], OK),
            (SYS_capset, &[], OK),
            (SYS_mknodat, &[0, 0, (S_IFCHR | 0o666) as u64, 0x103], PRETEND),
            (SYS_mknodat, &[0, 0, JUNK | S_IFCHR as u64, 0x103], PRETEND),
            (SYS_mknodat, &[0, 0, (S_IFBLK | 0o666) as u64, 0], PRETEND),
            (SYS_mknodat, &[0, 0, S_IFCHR as u64, 0], OK),
            (SYS_mknodat, &[0, 0, (S_IFIFO | 0o666) as u64], OK),
            (SYS_mknodat, &[0, 0, (S_IFREG | 0o666) as u64], OK),
            (SYS_mknodat, &[0, 0, 0o666], OK),
            (SYS_mknodat, &[0, 0, S_IFSOCK as u64], OK),
            (SYS_read, &[], OK),
            (SYS_mount, &[], REFUSED),
            (SYS_clone3, &[], ABSENT),
        ],
    );
    #[cfg(target_arch = "x86_64")]
    check(
        IdMode::Single,
        &[
            (SYS_chown, &[], REMEMBER),
            (SYS_lchown, &[], REMEMBER),
            (SYS_mknod, &[0, S_IFCHR as u64, 0x103], PRETEND),
            (SYS_mknod, &[0, S_IFCHR as u64, 0], OK),
            (SYS_mknod, &[0, S_IFIFO as u64, 0x103], OK),
        ],
    );
}

#[test]
fn another_architecture_gets_enosys() {
    for arch in [0x4000_0003, 0x4000_0028, 0, NATIVE_ARCH ^ 1] {
        for mode in [IdMode::Range, IdMode::Single] {
            let call = Call { number: libc::SYS_getpid as u32, arch, args: [0; 6] };
            assert_eq!(run(program_for(mode).instructions(), &call).0, encode(ABSENT));
        }
    }
}

/// The numbers without a call of x86-64 are those from 337 to 423; elsewhere there are more holes.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_call_is_in_exactly_one_table() {
    let policy = default_policy();
    for number in (0..=336).chain(424..=469) {
        let rules: Vec<_> = policy.rules.iter().filter(|rule| rule.syscall == number).collect();
        assert!(!rules.is_empty(), "call {number} is in no table");
        let always = rules.iter().filter(|rule| rule.when.is_empty()).count();
        assert_eq!(always, 1, "call {number} is decided {always} times");
        assert!(rules.last().unwrap().when.is_empty(), "call {number}: a rule after the last word");
    }
}

#[test]
fn programs_are_small_and_common_calls_cheap() {
    for mode in [IdMode::Range, IdMode::Single] {
        let program = program_for(mode);
        assert!(program.instructions().len() < 256, "{} instructions", program.instructions().len());
        for number in [libc::SYS_read, libc::SYS_write, libc::SYS_futex, libc::SYS_openat, libc::SYS_mmap] {
            let call = Call { number: number as u32, arch: NATIVE_ARCH, args: [0; 6] };
            let (_, steps) = run(program.instructions(), &call);
            assert!(steps <= 12, "call {number} takes {steps} instructions");
        }
    }
}

#[test]
fn uniform_policies() {
    for action in [OK, ABSENT, Action::KillProcess, Action::Trap, Action::Notify] {
        let program = Program::compile(&Policy { default: action, rules: Vec::new() });
        assert_eq!(decide(&program, 0, &[]), encode(action));
        assert_eq!(decide(&program, 0x3fff_ffff, &[]), encode(action));
        assert_eq!(decide(&program, 0x4000_0000, &[]), encode(ABSENT));
    }
}

#[test]
fn impossible_numbers_never_match() {
    let rules = [-1, i64::MIN, i64::MAX, 0x4000_0000, 0xffff_ffff, 0x1_0000_0000].map(|n| Rule::always(n, OK));
    let program = Program::compile(&Policy { default: REFUSED, rules: rules.to_vec() });
    for (number, action) in [(0, REFUSED), (0x3fff_ffff, REFUSED), (0x4000_0000, ABSENT), (0xffff_ffff, ABSENT)] {
        assert_eq!(decide(&program, number, &[]), encode(action), "{number:#x}");
    }
}

/// Few different words, so that masks, values and arguments meet often.
fn word() -> impl Strategy<Value = u64> {
    let half = || prop_oneof![Just(0_u64), Just(1), Just(2), Just(3), Just(0xffff_ffff), Just(0x8000_0000)];
    (half(), half()).prop_map(|(high, low)| high << 32 | low)
}

fn action() -> impl Strategy<Value = Action> {
    let errno = (0..200_u16).prop_map(Action::Errno);
    prop_oneof![Just(OK), errno, Just(Action::Trap), Just(Action::Notify), Just(Action::KillProcess)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let comparison = prop_oneof![Just(Comparison::Equal), Just(Comparison::NotEqual)];
    let test = (0..6_u8, word(), comparison, word(), any::<bool>()).prop_map(
        |(argument, mask, comparison, value, possible)| {
            let value = if possible { value & mask } else { value };
            ArgTest { argument, mask, comparison, value }
        },
    );
    (0..40_i64, proptest::collection::vec(test, 0..4), action()).prop_map(|(syscall, when, action)| Rule {
        syscall,
        when,
        action,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Up to 150 rules, so that jumps longer than 255 instructions occur.
    #[test]
    fn program_means_what_the_policy_says(
        default in action(),
        rules in proptest::collection::vec(rule(), 0..150),
        calls in proptest::collection::vec((0..45_u32, [word(), word(), word(), word(), word(), word()]), 100),
    ) {
        let policy = Policy { default, rules };
        let program = Program::compile(&policy);
        for (number, args) in calls {
            let (found, _) = run(program.instructions(), &Call { number, arch: NATIVE_ARCH, args });
            let expected = policy.decide(i64::from(number), &args);
            prop_assert_eq!(found, encode(expected), "call {} {:x?} of {:?}", number, args, policy);
        }
    }
}

#[test]
fn ids_are_emulated_where_the_profile_wants_it() {
    let (plain, wanted) = (Security::default(), Security { emulate_ids: true, ..Security::default() });
    for mode in [IdMode::Range, IdMode::Root] {
        assert_eq!(policy_for(mode, &wanted), policy_for(mode, &plain), "{mode}");
    }
    let policy = policy_for(IdMode::Single, &wanted);
    let (silent, reporting) = (Program::compile(&policy), Program::compile(&policy.reporting()));
    let (makes, peer) = ((libc::O_CREAT | libc::O_WRONLY) as u64, libc::SO_PEERCRED as u64);
    for (number, args, without, with) in [
        (libc::SYS_newfstatat, &[][..], OK, Action::Notify),
        (libc::SYS_statx, &[], OK, Action::Notify),
        (libc::SYS_fchown, &[], PRETEND, Action::Notify),
        (libc::SYS_getuid, &[], OK, Action::Notify),
        (libc::SYS_setuid, &[5], PRETEND, Action::Notify),
        (libc::SYS_openat, &[0, 0, JUNK | makes], OK, Action::Notify),
        (libc::SYS_openat, &[0, 0, JUNK], OK, OK),
        (libc::SYS_getsockopt, &[3, libc::SOL_SOCKET as u64, JUNK | peer], OK, Action::Notify),
        (libc::SYS_getsockopt, &[3, libc::SOL_SOCKET as u64, peer + 1], OK, OK),
        (libc::SYS_prctl, &[libc::PR_SET_KEEPCAPS as u64], OK, Action::Notify),
        (libc::SYS_prctl, &[libc::PR_SET_NAME as u64], OK, OK),
        (libc::SYS_read, &[], OK, OK),
        (libc::SYS_mount, &[], REFUSED, Action::Notify),
    ] {
        assert_eq!(decide(&silent, number, args), encode(without), "call {number} {args:#x?}");
        assert_eq!(decide(&reporting, number, args), encode(with), "call {number} {args:#x?} with a listener");
    }
}
