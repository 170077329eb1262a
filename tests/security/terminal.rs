//! Attacks on the terminal of who looks.

use crate::require;
use crate::support::devbox::Devbox;

#[test]
fn typing_into_the_terminal_tiocsti() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    // Also with bits above those that the kernel reads (CVE-2019-10063); TIOCLINUX as well.
    let ioctl = libc::SYS_ioctl;
    let script = format!(
        "for my $request (0x5412, 0x100005412, 0x541c) {{ my $c = 'x'; $! = 0;
        my $r = syscall({ioctl}, 0, $request, $c); print \"[$r \", $! + 0, \"]\"; }}"
    );
    let mut terminal = test.terminal(["run", "--", "perl", "-e", &script], 24, 80);
    terminal.wait_for_text("[-1 1][-1 1][-1 1]");
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

#[test]
fn escapes_in_what_devbox_prints() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m";
    test.args(["run", "--", "sh", "-c", &format!("true # {evil}")]).run();
    test.args(["run", "--", &format!("/nothing{evil}")]).status(127).any_stderr().run();
    for command in [&["logs"][..], &["status"], &["list"], &["run", "--", "/nothing\u{1b}[2J"]] {
        let output = test.args(command).any_stdout().any_stderr().output();
        let shown = output.stdout + &output.stderr;
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{command:?}: {shown:?}");
    }
}
