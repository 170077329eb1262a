//! Attacks by system calls that a box has no use for, or not with these arguments.
//!
//! The arguments are such that the kernel itself would have nothing against them, or would find another fault first: an answer
//! of EPERM or ENOSYS is the filter's.

use libc::{c_long as Number, *};

use crate::require;
use crate::support::devbox::Devbox;

/// Calls in one box, each with its arguments in Perl, and what each answered: 0, or the errno.
fn answers(calls: &[(&str, Number, &str)]) -> Vec<(String, i32)> {
    let mut script = String::from(
        "$| = 1; my ($buffer, $user, $name, $root, $tick) = (\"\\0\" x 256, 'user', 'devbox-test', '/', pack('I x252', 0x4000)); ",
    );
    for (name, number, arguments) in calls {
        script += &format!(
            "$! = 0; {{ my $r = syscall({number}, {arguments}); print '{name}', ' ', $r == -1 ? $! + 0 : 0, \"\\n\" }} "
        );
    }
    let test = Devbox::host();
    let output = test.args(["run", "--", "perl", "-e", &script]).any_stdout().any_stderr().run();
    let answer = |line: &str| {
        let (name, errno) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), errno.parse().expect("a number"))
    };
    output.stdout.lines().map(answer).collect()
}

#[track_caller]
fn refused(calls: &[(&str, Number, &str)]) {
    let answers = answers(calls);
    let passed: Vec<_> = answers.iter().filter(|(_, errno)| !matches!(*errno, EPERM | ENOSYS)).collect();
    assert!(passed.is_empty() && answers.len() == calls.len(), "{answers:?}");
}

#[test]
fn keyrings() {
    require!(Userns, Overlay, Program("perl"));
    // KEYCTL_GET_KEYRING_ID of the session's keyring, and a key of one's own.
    refused(&[
        ("keyctl", SYS_keyctl, "0, -3, 1"),
        ("add_key", SYS_add_key, "$user, $name, $name, 1, -2"),
        ("request_key", SYS_request_key, "$user, $name, 0, 0"),
    ]);
}

#[test]
fn io_uring() {
    require!(Userns, Overlay, Program("perl"));
    refused(&[
        ("io_uring_setup", SYS_io_uring_setup, "1, $buffer"),
        ("io_uring_enter", SYS_io_uring_enter, "-1, 0, 0, 0, 0, 0"),
        ("io_uring_register", SYS_io_uring_register, "-1, 0, 0, 0"),
    ]);
}

#[test]
fn bpf() {
    require!(Userns, Overlay, Program("perl"));
    // BPF_OBJ_GET, which needs no privilege, of no path: EFAULT.
    refused(&[("bpf", SYS_bpf, "7, $buffer, 0")]);
}

#[test]
fn userfaultfd() {
    require!(Userns, Overlay, Program("perl"));
    // UFFD_USER_MODE_ONLY is for everybody.
    refused(&[("userfaultfd", SYS_userfaultfd, "1")]);
}

#[test]
fn perf() {
    require!(Userns, Overlay, Program("perl"));
    refused(&[("perf_event_open", SYS_perf_event_open, "0, 0, -1, -1, 0")]);
}

#[test]
fn setting_the_clock() {
    require!(Userns, Overlay, Program("perl"));
    refused(&[
        ("settimeofday", SYS_settimeofday, "1, 0"),
        ("clock_settime", SYS_clock_settime, "0, 1"),
        // ADJ_TICK: reading is allowed, and only the kernel tells them apart, for it asks for a capability over the machine.
        ("adjtimex", SYS_adjtimex, "$tick"),
        ("a time namespace", SYS_unshare, "0x80"),
    ]);
    Devbox::host().sh("date -s 2001-01-01 >/dev/null 2>&1 || echo refused").stdout("refused\n").run();
}

#[test]
fn kernel_log() {
    require!(Userns, Overlay, Program("perl"));
    // SYSLOG_ACTION_SIZE_BUFFER is for everybody where `kernel.dmesg_restrict` is 0.
    refused(&[("syslog", SYS_syslog, "10, 0, 0")]);
    // In single mode `mknod` seems to succeed.
    let script = "dmesg 2>/dev/null; test -e /dev/kmsg && echo there; mknod /tmp/kmsg c 1 11 2>/dev/null; test -c /tmp/kmsg && echo made; echo end";
    Devbox::host().sh(script).stdout("end\n").run();
}

#[test]
fn modules_kexec_and_power() {
    require!(Userns, Overlay, Program("perl"));
    // The kernel, too, refuses each of these to the root of a user namespace.
    refused(&[
        ("init_module", SYS_init_module, "0, 0, 0"),
        ("finit_module", SYS_finit_module, "0, 0, 0"),
        ("delete_module", SYS_delete_module, "0, 0"),
        ("kexec_load", SYS_kexec_load, "0, 0, 0, 0"),
        ("reboot", SYS_reboot, "0xfee1dead, 672274793, 0, 0"),
        ("swapon", SYS_swapon, "0, 0"),
        ("acct", SYS_acct, "0"),
        ("quotactl", SYS_quotactl, "0, 0, 0, 0"),
    ]);
}

#[test]
fn files_by_handle() {
    require!(Userns, Overlay, Program("perl"));
    refused(&[
        ("open_by_handle_at", SYS_open_by_handle_at, "-100, 0, 0"),
        ("fanotify_init", SYS_fanotify_init, "0x200, 0"),
    ]);
}

#[test]
fn nested_user_namespaces() {
    require!(Userns, Overlay, Program("perl"));
    // By each of the calls that know CLONE_NEWUSER; the kernel does not read the high half of a word of flags.
    refused(&[
        ("unshare with a high bit", SYS_unshare, "0x100000000 | 0x10000000"),
        ("clone", SYS_clone, "0x10000000 | 17, 0, 0, 0, 0"),
        // Its flags lie behind a pointer, where no filter can read them.
        ("clone3", SYS_clone3, "0, 0"),
        ("setns", SYS_setns, "-1, 0x10000000"),
        ("unshare", SYS_unshare, "0x10000000"),
    ]);
    let script = "for flags in -U -r -Ur '-U -m'; do unshare $flags true 2>/dev/null && echo made $flags; done
        nsenter -t 1 -U true 2>/dev/null && echo entered; nsenter -t 1 -n true 2>/dev/null && echo entered; echo end";
    Devbox::host().sh(script).stdout("end\n").run();
}

#[test]
fn mounts_by_call() {
    require!(Userns, Overlay, Program("perl"));
    refused(&[
        ("mount", SYS_mount, "0, 1, 0, 0, 0"),
        ("umount2", SYS_umount2, "0, -1"),
        ("pivot_root", SYS_pivot_root, "0, 0"),
        ("fsopen", SYS_fsopen, "0, 0"),
        ("fsconfig", SYS_fsconfig, "-1, 0, 0, 0, 0"),
        ("fsmount", SYS_fsmount, "-1, 0, 0"),
        ("fspick", SYS_fspick, "-1, 0, 0"),
        ("open_tree", SYS_open_tree, "-100, $root, 0"),
        ("move_mount", SYS_move_mount, "-1, 0, -1, 0, 0"),
        ("mount_setattr", SYS_mount_setattr, "-1, 0, 0, 0, 0"),
        ("sethostname", SYS_sethostname, "0, -1"),
    ]);
}
