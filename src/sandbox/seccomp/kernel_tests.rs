//! The filter in the kernel. A filter holds for one thread, so each test puts it on a thread of its own.
//!
//! Each refused call is one that the kernel answers otherwise without the filter, for root and for ordinary users
//! alike; the tests check that too, on a thread without a filter, so that they cannot pass for another reason.

use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::FdFlags;

use super::*;
use crate::sys::process::set_no_new_privileges;
use crate::sys::seccomp::attempt;

/// Does `work` on a new thread, below the filter of `mode` if there is one.
fn below<T: Send + 'static>(mode: Option<IdMode>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        if let Some(mode) = mode {
            set_no_new_privileges().unwrap();
            program_for(mode).install().unwrap();
        }
        work()
    });
    thread.join().unwrap()
}

const JUNK: u64 = 0xdead_beef_0000_0000;
const NO_FD: u64 = u64::MAX;

type Case = (&'static str, i64, [u64; 6], Result<i64, i32>);

/// Every call is answered as the table says below the filter, and otherwise without it.
fn check(mode: IdMode, cases: &'static [Case]) {
    for (name, number, args, expected) in cases {
        let found = below(Some(mode), || attempt(*number, *args));
        assert_eq!(found, *expected, "{name} below the filter");
        let without = below(None, || attempt(*number, *args));
        assert_ne!(without, *expected, "{name} without a filter: the test could not fail");
    }
}

#[test]
fn default_filter_refuses() {
    use libc::*;
    check(
        IdMode::Range,
        &[
            ("clone3", SYS_clone3, [0; 6], Err(ENOSYS)),
            ("mount", SYS_mount, [0; 6], Err(EPERM)),
            ("setns", SYS_setns, [NO_FD, 0, 0, 0, 0, 0], Err(EPERM)),
            ("keyctl", SYS_keyctl, [9999, 0, 0, 0, 0, 0], Err(EPERM)),
            ("userns", SYS_unshare, [CLONE_NEWUSER as u64 | 1, 0, 0, 0, 0, 0], Err(EPERM)),
            ("TIOCSTI", SYS_ioctl, [NO_FD, 0x5412, 0, 0, 0, 0], Err(EPERM)),
            ("TIOCSTI, high bits", SYS_ioctl, [NO_FD, JUNK | 0x5412, 0, 0, 0, 0], Err(EPERM)),
            ("TIOCLINUX", SYS_ioctl, [NO_FD, 0x541c, 0, 0, 0, 0], Err(EPERM)),
            ("vsock", SYS_socket, [AF_VSOCK as u64, 0xff, 0, 0, 0, 0], Err(EAFNOSUPPORT)),
            ("audit", SYS_socket, [AF_NETLINK as u64, 0xff, NETLINK_AUDIT as u64, 0, 0, 0], Err(EPROTONOSUPPORT)),
            ("personality", SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0], Err(EPERM)),
        ],
    );
}

#[test]
fn emulation_pretends() {
    use libc::*;
    check(
        IdMode::Single,
        &[
            ("fchown", SYS_fchown, [NO_FD, 5, 5, 0, 0, 0], Ok(0)),
            ("fchownat", SYS_fchownat, [NO_FD, 0, 5, 5, 0, 0], Ok(0)),
            ("setgroups", SYS_setgroups, [1 << 20, 0, 0, 0, 0, 0], Ok(0)),
            ("setuid", SYS_setuid, [NO_FD, 0, 0, 0, 0, 0], Ok(0)),
            ("mknodat of a device", SYS_mknodat, [NO_FD, 0, S_IFCHR as u64, 0x103, 0, 0], Ok(0)),
            ("mount", SYS_mount, [0; 6], Err(EPERM)),
        ],
    );
    let fifo = below(Some(IdMode::Single), || attempt(SYS_mknodat, [NO_FD, 0, S_IFIFO as u64, 0, 0, 0]));
    assert_eq!(fifo, Err(EFAULT), "a FIFO is made by the kernel");
}

#[test]
fn default_filter_pretends_nothing() {
    let chown = below(Some(IdMode::Range), || attempt(libc::SYS_fchown, [NO_FD, 5, 5, 0, 0, 0]));
    assert_eq!(chown, Err(libc::EBADF));
}

#[test]
fn ordinary_programs_run() {
    for mode in [IdMode::Range, IdMode::Root, IdMode::Single] {
        let (status, output) = below(Some(mode), || {
            let script =
                "set -e; d=$(mktemp -d); cd $d; mkfifo f; (echo through > f &); cat f; ls -l | wc -l; cd /; rm -r $d";
            let output = Command::new("sh").args(["-c", script]).output().unwrap();
            (output.status, String::from_utf8(output.stdout).unwrap())
        });
        assert!(status.success(), "{mode}: {status}");
        assert_eq!(output, "through\n2\n", "{mode}");
    }
}

#[test]
fn children_inherit_the_filter() {
    let script = "unshare -r true 2>&1 || echo refused";
    let run = move || Command::new("sh").args(["-c", script]).output().unwrap().stdout;
    let output = String::from_utf8(below(Some(IdMode::Range), run)).unwrap();
    assert!(output.contains("Operation not permitted") && output.ends_with("refused\n"), "{output}");
    assert_eq!(below(None, run), b"", "without a filter");
}

#[test]
fn threads_start_without_clone3() {
    let sum = below(Some(IdMode::Range), || {
        let workers: Vec<_> = (1..=4).map(|n| std::thread::spawn(move || n)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u32>()
    });
    assert_eq!(sum, 10);
}

#[test]
fn the_listener_is_told_of_notified_calls() {
    let policy = Policy { default: Action::Allow, rules: vec![Rule::always(libc::SYS_getppid, Action::Notify)] };
    let (sender, receiver) = std::sync::mpsc::channel();
    let caller = std::thread::spawn(move || {
        set_no_new_privileges().unwrap();
        sender.send(Program::compile(&policy).install_with_listener().unwrap()).unwrap();
        attempt(libc::SYS_getppid, [0; 6])
    });
    let listener = receiver.recv().unwrap();
    assert!(rustix::io::fcntl_getfd(&listener).unwrap().contains(FdFlags::CLOEXEC));
    let mut waiting = [PollFd::new(&listener, PollFlags::IN)];
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut waiting, Some(&timeout)), Ok(1), "no call arrived");
    assert!(waiting[0].revents().contains(PollFlags::IN));
    drop(listener);
    assert_eq!(caller.join().unwrap(), Err(libc::ENOSYS), "nobody can answer any more");
}

#[test]
fn too_long_a_program_is_an_error() {
    let nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let error = std::thread::spawn(move || {
        set_no_new_privileges().unwrap();
        crate::sys::seccomp::install(&vec![nothing; 5000])
    })
    .join()
    .unwrap()
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "seccomp `SECCOMP_SET_MODE_FILTER` of 5000 instructions, flags 0x0: invalid argument (EINVAL)"
    );
}
