//! Attacks that use up what the machine has. Each is small and ends by itself, so that a missing defence does no harm.
//!
//! What only a cgroup of version 2 can hold (memory of processes, processes of the host's root) is attacked in `tests/vm`.

use std::fs;

use crate::require;
use crate::support::devbox::Devbox;

/// A project on the host base with these `[limits]`.
fn limited(limits: &str) -> Devbox {
    let test = Devbox::host();
    test.profile(&format!("base = \"host\"\n[network]\nmode = \"none\"\n[limits]\n{limits}\n"));
    test
}

#[test]
fn fork_bomb() {
    // The host's root is not counted by the kernel outside a cgroup.
    require!(Userns, Overlay, Ordinary);
    let test = limited("pids = 40");
    // Every child waits for the end of its input, which comes with the shell's.
    let script = "mkfifo hold; for i in $(seq 80); do cat hold & done; echo unreached";
    let output = test.sh(script).any_stdout().any_stderr().output();
    assert_eq!(output.stdout, "", "{}", output.stderr);
    assert!(output.stderr.contains("annot fork") || output.stderr.contains("can't fork"), "{}", output.stderr);
}

#[test]
fn memory_bomb() {
    require!(Userns, Overlay);
    // Files in memory, which are nobody's once they are written.
    let test = limited("memory = \"16MiB\"\nshm = \"1MiB\"");
    let script =
        "for place in /tmp /run /dev/shm /dev; do dd if=/dev/zero of=$place/bomb bs=64k count=300 2>/dev/null; done
        du -m /tmp/bomb /run/bomb /dev/shm/bomb /dev/bomb";
    test.sh(script).stdout("16\t/tmp/bomb\n16\t/run/bomb\n1\t/dev/shm/bomb\n1\t/dev/bomb\n").any_stderr().run();
}

#[test]
fn fd_bomb() {
    require!(Userns, Overlay, Program("perl"));
    let test = limited("files = 64");
    let script = "my @open; for (1..200) { last unless open(my $f, '<', '/dev/null'); push @open, $f } print 3 + @open, ' ', $! + 0";
    test.args(["run", "--", "perl", "-e", script]).stdout(format!("64 {}", libc::EMFILE)).run();
    test.sh("ulimit -n 65 2>/dev/null || echo refused").stdout("refused\n").run();
}

#[test]
fn inode_bomb() {
    require!(Userns, Overlay, Program("perl"));
    // Empty files, which count as no bytes and yet take a kilobyte of the kernel's memory each.
    let test = limited("memory = \"16MiB\"\nshm = \"16MiB\"");
    let script = "for my $place ('/tmp', '/run', '/dev/shm', '/dev') { mkdir \"$place/bomb\"; my $made = 0;
        for (1..6000) { last unless mkdir \"$place/bomb/$_\"; $made++ } print \"$place \" if $made == 6000 } print 'end'";
    test.args(["run", "--", "perl", "-e", script]).stdout("end").any_stderr().run();
}

#[test]
fn inode_bomb_on_the_disk() {
    require!(Userns, Overlay, Program("perl"));
    let test = limited("disk = \"4MiB\"");
    let script = "mkdir '/bomb'; for (1..20000) { mkdir \"/bomb/$_\" or last } select undef, undef, undef, undef; print 'unreached'";
    let output = test.args(["run", "--", "perl", "-e", script]).any_stdout().any_stderr();
    let output = output.output();
    assert!(output.stderr.contains("ended by its disk limit"), "{output:?}");
    assert_eq!(output.stdout, "");
}

#[test]
fn log_flood() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    // Of what a program does in the box nothing is written down but for what is refused, and of that a part.
    test.sh("head -c 4000000 /dev/zero | tr '\\0' x; head -c 4000000 /dev/zero | tr '\\0' x >&2; for n in $(seq 2000); do (:) & done")
        .any_stdout()
        .any_stderr()
        .run();
    let refused = format!("for my $n (1..2000) {{ syscall({}, $n, 0) }} print 'end'", libc::SYS_setns);
    test.args(["run", "--", "perl", "-e", &refused]).stdout("end").run();
    let logs = test.boxes()[0].join("log");
    let read = |name: &str| fs::read_to_string(logs.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (events, denied) = (read("events.jsonl"), read("denied.jsonl"));
    assert!(events.len() < 8192, "{} bytes", events.len());
    // 64 of each five seconds, however long it takes here.
    assert!(denied.lines().count() < 1000, "{} lines", denied.lines().count());
}

#[test]
fn pty_flood() {
    require!(Userns, Overlay);
    // Nothing is kept for a terminal that is slower than the program, and keys get through.
    let test = Devbox::host();
    let mut terminal = test.terminal(["run", "--", "yes"], 24, 80);
    terminal.wait_for(|screen| screen.cursor_position().0 == 23);
    terminal.send([3]);
    assert_eq!(terminal.wait_exit().code(), Some(130));
}

#[test]
fn terminals_without_end() {
    require!(Userns, Overlay, Program("perl"));
    // The kernel has 4096 for the host and all boxes.
    let script =
        "my @open; for (1..1100) { last unless open(my $f, '+<', '/dev/ptmx'); push @open, $f } print scalar @open";
    Devbox::host().args(["run", "--", "sh", "-c", "ulimit -n 1200; exec perl -e \"$0\"", script]).stdout("1024").run();
}
