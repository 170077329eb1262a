//! Commands in a box: streams, status, signals, and several sessions at once.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::require;
use crate::support::PATIENCE;
use crate::support::devbox::Devbox;
use crate::support::processes::{self, wait_end};

/// Runs `command` with `input`, and returns every byte it printed.
fn bytes(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("write to the command"));
        child.wait_with_output().expect("read the command's output")
    })
}

/// Bytes that are no text.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    File::open("/dev/urandom").expect("open a device").read_exact(&mut bytes).expect("read a device");
    bytes
}

/// The process ids on the host of a command that only this test has.
fn running(command: &str) -> Vec<u32> {
    let all = processes::list().expect("read /proc");
    all.iter().filter(|process| process.command == command).map(|process| process.pid).collect()
}

#[test]
fn the_status_comes_back() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
        ("kill -USR1 $$", 138),
    ] {
        let output = test.sh(script).output();
        assert_eq!((output.status.code(), output.stdout.as_str()), (Some(status), ""), "{script}: {}", output.stderr);
    }
}

#[test]
fn what_cannot_be_executed_has_its_own_status() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.file("data", "no program\n");
    for (program, status) in [("no-such-program", 127), ("/no/such/program", 127), ("./data", 126), ("/usr", 126)] {
        let output = test.args(["run", "--", program]).output();
        assert_eq!(output.status.code(), Some(status), "{program}: {}", output.stderr);
        assert!(output.stderr.contains(program) && output.stdout.is_empty(), "{output:?}");
    }
    test.args(["run", "--", "true"]).run();
}

#[test]
fn output_and_error_stay_apart() {
    require!(Userns, Overlay);
    Devbox::host().sh("echo out; echo err >&2; exit 3").stdout("out\n").stderr("err\n").status(3).run();
}

#[test]
fn every_byte_arrives() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let input = noise(5 << 20);
    let output = bytes(test.command(["run", "--", "sh", "-c", "tee /dev/fd/2"]), &input);
    assert!(output.status.success(), "{}", output.status);
    assert!(output.stdout == input, "{} of {} bytes on stdout", output.stdout.len(), input.len());
    assert!(output.stderr == input, "{} of {} bytes on stderr", output.stderr.len(), input.len());
}

#[test]
fn regular_files_are_relayed() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let input = noise(1 << 20);
    std::fs::write(test.path("in"), &input).expect("write a file");
    let mut command = test.command(["run", "--", "cat"]);
    command.stdin(File::open(test.path("in")).expect("open a file"));
    command.stdout(File::create(test.path("out")).expect("create a file"));
    assert!(command.status().expect("start the binary").success());
    assert!(std::fs::read(test.path("out")).expect("read a file") == input);
}

#[test]
fn the_end_of_the_input_is_passed_on() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let gate = test.project().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("make a fifo");
    let mut session = test.background("cat; echo end; read line <gate; exit 4");
    session.say("one");
    session.expect("one");
    session.close_stdin();
    session.expect("end");
    // Open for both: nobody waits for the other side.
    let mut gate = File::options().read(true).write(true).open(gate).expect("open a fifo");
    gate.write_all(b"go\n").expect("write to a fifo");
    assert_eq!(session.wait().code(), Some(4));
}

#[test]
fn a_command_may_close_its_input_early() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let output = test.args(["run", "--", "head", "-c", "3"]).stdin(noise(1 << 20)).output();
    assert_eq!((output.status.code(), output.stdout_bytes.len()), (Some(0), 3));
}

#[test]
fn nobody_reads_the_output() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut command = test.command(["run", "--", "yes"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start the binary");
    drop(child.stdout.take());
    assert!(wait_end(child.id(), Instant::now() + PATIENCE), "`yes` goes on");
    // 128 + SIGPIPE
    assert_eq!(child.wait().expect("reap a child").code(), Some(141));
}

#[test]
fn signals_reach_the_command() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ] {
        // `wait` is what a trap interrupts at once.
        let script = format!("trap 'kill $!; echo got {name}; exit 9' {name}; tail -f /dev/null & echo ready; wait");
        let mut session = test.background(&script);
        session.expect("ready");
        session.signal(signal);
        session.expect(&format!("got {name}"));
        assert_eq!(session.wait().code(), Some(9), "{name}");
    }
}

#[test]
fn a_signal_without_a_trap_ends_the_command() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut session = test.background("echo ready; exec tail -f /dev/null");
    session.expect("ready");
    session.signal(Signal::TERM);
    assert_eq!(session.wait().code(), Some(143));
}

#[test]
fn a_second_session_joins() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut first = test.background("echo mine > /tmp/note; exec 3</dev/null; echo $$; read line; cat /tmp/answer");
    let pid = first.line();
    test.sh(&format!(
        "cat /tmp/note; test -d /proc/{pid} && tr '\\0' ' ' < /proc/{pid}/cmdline | cut -c1-6; echo yes > /tmp/answer"
    ))
    .stdout("mine\nsh -c \n")
    .run();
    first.say("go on");
    first.expect("yes");
    assert!(first.wait().success());
    // The box stops, and with it goes its /tmp.
    assert!(processes::wait_until_none(&test.path("")).is_empty());
    test.sh("test ! -e /tmp/note").run();
}

#[test]
fn fifty_join_at_once() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut first = test.background("echo ready; read line");
    first.expect("ready");
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let mut command = test.command(["run", "--", "sh", "-c", &format!("echo {number}; exit {number}")]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("start the binary")
        })
        .collect();
    for (number, client) in (0..).zip(clients) {
        let output = client.wait_with_output().expect("read a command's output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text, error), (Some(number), format!("{number}\n"), String::new()));
    }
    first.close_stdin();
    first.wait();
}

#[test]
fn ten_start_the_box_at_once() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.args(["run", "--", "true"]).any_stderr().run();
    let clients: Vec<_> = (0..10)
        .map(|number| {
            let mut command = test.command(["run", "--", "sh", "-c", &format!("exit {number}")]);
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start the binary")
        })
        .collect();
    for (number, client) in (0..).zip(clients) {
        let output = client.wait_with_output().expect("read a command's output");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(number), "{error}");
    }
}

#[test]
fn a_killed_client_takes_its_session_along() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let idle = format!("tail -f /dev/null -s 86400.{}", std::process::id());
    let mut other = test.background("echo ready; read line; echo $line");
    other.expect("ready");
    // Children that left the process group, the session and their parent.
    let script = format!(
        "{idle} & setsid {idle} & (setsid sh -c 'trap \"\" HUP TERM; {idle}' &) ; \
         while [ $(pgrep -c -x tail) -lt 3 ]; do :; done; echo ready; {idle}"
    );
    let mut killed = test.background(&script);
    killed.expect("ready");
    let pids = running(&idle);
    assert!(pids.len() >= 3, "{pids:?}");
    killed.signal(Signal::KILL);
    killed.wait();
    let deadline = Instant::now() + PATIENCE;
    assert!(pids.iter().all(|pid| wait_end(*pid, deadline)), "left: {:?}", running(&idle));
    assert!(running(&idle).is_empty());
    other.say("still here");
    other.expect("still here");
    assert!(other.wait().success());
}

#[test]
fn nothing_runs_after_the_last_session() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("setsid tail -f /dev/null >/dev/null 2>&1 </dev/null & exit 0").any_stderr().run();
    let left = processes::wait_until_none(&test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn enter_runs_a_script_without_a_terminal() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.args(["enter"]).stdin("pwd; id -u; exit 7\n").stdout("[TEST]/project\n0\n").status(7).run();
    test.args(["enter"]).stdin("false\n").status(1).run();
    test.args(["enter"]).run();
}

#[test]
fn the_next_command_may_come_at_once() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for round in 0..10 {
        test.sh("true").run();
        test.args(["snapshot", "create", &format!("s{round}")]).any_stdout().any_stderr().run();
        test.sh("true").run();
        test.args(["run", "--rm", "--", "true"]).run();
        test.args(["stop"]).run();
        test.sh("true").run();
        test.args(["reset"]).any_stdout().any_stderr().run();
    }
}

#[test]
fn a_session_with_rm_is_seen_and_stopped() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("true").run();
    let mut session = test.background_with(&["--rm"], "echo ready; cat");
    session.expect("ready");
    let listed = test.args(["status"]).any_stdout().run();
    assert!(listed.stdout.contains("running"), "{}", listed.stdout);
    let refused = test.args(["reset"]).status(1).any_stderr().run();
    assert!(refused.stderr.contains("is running"), "{}", refused.stderr);
    test.args(["stop", "--time", "0"]).run();
    session.wait();
    test.args(["reset"]).any_stdout().any_stderr().run();
}

#[test]
fn kept_until_stopped() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.args(["run", "--keep", "--", "touch", "/tmp/kept"]).any_stderr().run();
    test.args(["run", "--", "ls", "/tmp/kept"]).stdout("/tmp/kept\n").run();
    let listed = test.args(["status"]).any_stdout().run();
    assert!(listed.stdout.contains("running"), "{}", listed.stdout);
    test.args(["stop"]).run();
    let left = processes::wait_until_none(&test.path(""));
    assert!(left.is_empty(), "{left:?}");
    let listed = test.args(["status"]).any_stdout().run();
    assert!(listed.stdout.contains("stopped"), "{}", listed.stdout);
    test.sh("test ! -e /tmp/kept").run();
}

#[test]
fn stop_ends_sessions() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut session = test.background("trap 'echo asked; exit 5' TERM; tail -f /dev/null & echo ready; wait");
    session.expect("ready");
    test.args(["stop"]).run();
    session.expect("asked");
    session.wait();
    // What does not react is killed.
    let mut deaf = test.background("trap '' TERM HUP INT; echo ready; while :; do tail -f /dev/null; done");
    deaf.expect("ready");
    test.args(["stop", "--time", "0"]).run();
    deaf.wait();
}

#[test]
fn the_working_directory_and_the_variables() {
    require!(Userns, Overlay);
    let mut test = Devbox::host();
    test.env("SECRET_TOKEN", "x").file("sub/file", "");
    test.sh("pwd; ls; echo $HOME ${SECRET_TOKEN-unset}")
        .current_dir(test.project().join("sub"))
        .stdout("[TEST]/project/sub\nfile\n/root unset\n")
        .run();
}

#[test]
fn a_running_box_keeps_its_network() {
    require!(Userns);
    let test = Devbox::host();
    test.args(["run", "--network", "none", "--keep", "--", "true"]).any_stderr().run();
    test.args(["run", "--network", "none", "--", "true"]).run();
    test.args(["run", "--network", "host", "--", "true"])
        .status(125)
        .stderr(
            "error: the box runs with the network `none`, not `host`\n\
             hint: `devbox stop` ends it; the next start has the network that is asked for\n",
        )
        .run();
    test.args(["stop"]).run();
}
