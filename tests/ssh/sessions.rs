//! Commands and terminals.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::client::{Client, ended, noise, output, text};
use crate::require;
use crate::support::background::Background;
use crate::support::files::wait_for_change;
use crate::support::processes;
use crate::support::terminal::Terminal;

#[test]
fn a_command_has_its_streams_and_its_status() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    assert_eq!(client.run(&[], "echo out; echo err >&2; exit 7"), (7, "out\n".into(), "err\n".into()));
    // Programs open their output by name.
    assert_eq!(client.run(&[], "echo out >/dev/stdout; echo err >/dev/stderr"), (0, "out\n".into(), "err\n".into()));
    assert_eq!(client.run(&[], "nothing-of-this-name").0, 127);
    let signalled = client.run(&["-v"], "kill -TERM $$");
    assert!(signalled.0 == 255 && signalled.2.contains("exit-signal"), "{signalled:?}");
    assert_eq!(client.run(&[], "pwd; id -u; echo $HOME"), (0, "/root\n0\n/root\n".into(), String::new()));
    // A shell without a terminal reads a script.
    assert_eq!(ended(client.ssh(&["-T"], ""), b"echo from-a-script; exit 5\n").0, 5);
}

#[test]
fn bytes_pass_unchanged_in_both_directions_at_once() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let sent = noise(6 << 20);
    let got = output(client.ssh(&[], "cat"), &sent);
    assert!(got.status.success() && got.stdout == sent, "{}", String::from_utf8_lossy(&got.stderr));
    // What nobody reads any more keeps nobody from ending.
    assert_eq!(ended(client.ssh(&[], "head -c 3"), &[b'x'; 4 << 20]), (0, "xxx".into(), String::new()));
}

#[test]
fn the_end_of_input_and_output_are_told_apart() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    // The output ends before the command does, and its status comes back nevertheless.
    let project = client.test.project();
    let script = format!("echo first; exec >&- 2>&-; : >{}/closed; read line; exit 9", project.display());
    let mut session = Background::start(client.ssh(&[], &script));
    session.expect("first");
    wait_for_change(&project, "the output is closed", || project.join("closed").exists());
    session.say("now");
    assert_eq!(session.wait().code(), Some(9));
    // What is left behind keeps the output open, as with any ssh server; without output it keeps nobody.
    assert_eq!(
        client.run(&["-n"], "tail -f /dev/null >/dev/null 2>&1 & echo done"),
        (0, "done\n".into(), String::new())
    );
}

#[test]
fn other_keys_are_exchanged_on_the_way() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let sent = noise(3 << 20);
    for cipher in ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        let options = ["-c", cipher, "-o", "RekeyLimit=256K", "-o", "ServerAliveInterval=1"];
        let got = output(client.ssh(&options, "cat"), &sent);
        assert!(got.status.success() && got.stdout == sent, "{cipher}: {}", String::from_utf8_lossy(&got.stderr));
    }
}

#[test]
fn the_key_of_the_user_is_taken_as_well() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let (status, _, errors) = client.run(&["-v", "-o", "PreferredAuthentications=publickey"], "true");
    assert_eq!(status, 0, "{errors}");
}

#[test]
fn variables_are_passed_on_if_they_are_meant_for_others() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let options = ["-o", "SetEnv=LC_TEST=yes GIT_PROTOCOL=version=2 LD_PRELOAD=/no.so SECRET=no"];
    let (status, out, _) = client.run(&options, "echo $LC_TEST $GIT_PROTOCOL [$LD_PRELOAD] [$SECRET] [$TERM]");
    assert_eq!((status, out.as_str()), (0, "yes version=2 [] [] []\n"));
}

#[test]
fn a_terminal_has_name_and_size() {
    require!(Userns, Overlay, Program("ssh"), Program("python3"));
    let client = Client::new("");
    // The signal is blocked before the first size is shown, so that it cannot come too early to be waited for.
    let script = "import os, signal, subprocess\n\
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n\
        print(os.environ['TERM'], flush=True)\n\
        subprocess.run(['stty', 'size'])\n\
        signal.sigwait([signal.SIGWINCH])\n\
        subprocess.run(['stty', 'size'])\n\
        exit(5)\n";
    client.test.file("size.py", script);
    let script = format!("exec python3 {}/size.py", client.test.project().display());
    let mut terminal = Terminal::spawn(&client.ssh(&["-t", "-q"], &script), 30, 100);
    terminal.wait_for_text("xterm-256color");
    terminal.wait_for_text("30 100");
    terminal.resize(40, 90);
    terminal.wait_for_text("40 90");
    assert_eq!(terminal.wait_exit().code(), Some(5));
}

#[test]
fn a_terminal_has_the_modes_of_the_clients() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let (here, there) = (client.test.path("here"), client.test.project().join("there"));
    let mut ssh = client.program("sh");
    let script = "stty erase ^H intr ^T quit undef -ixon ixany -iutf8 -echoctl tostop -onlcr 9600; stty -a >\"$1\"; shift; \"$@\"";
    let inner = client.ssh(&["-t", "-q"], &format!("stty -a >{}", text(&there)));
    ssh.args(["-c", script, "sh", text(&here)]).arg(inner.get_program()).args(inner.get_args());
    let mut terminal = Terminal::spawn(&ssh, 30, 100);
    assert!(terminal.wait_exit().success());
    let [here, there] = [here, there].map(|path| fs::read_to_string(path).expect("read"));
    assert!(here.contains("quit = <undef>") && here.contains("speed 9600"), "{here}");
    assert_eq!(there, here);
}

#[test]
fn a_shell_begins_in_the_project() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("shell = \"/bin/sh\"\n");
    let mut terminal = Terminal::spawn(&client.ssh(&["-t", "-q"], ""), 30, 100);
    // What says that it has begun is what Ctrl-C is meant for: a shell that is about to start it would take it for itself.
    terminal.send("sh -c 'echo in:$PWD; exec tail -f /dev/null'\n");
    terminal.wait_for_text(&format!("in:{}", client.test.project().display()));
    terminal.send("\x03");
    terminal.send("exit 4\n");
    assert_eq!(terminal.wait_exit().code(), Some(4));
}

#[test]
fn a_shell_tells_the_terminal_of_prompts() {
    require!(Userns, Overlay, Program("ssh"));
    for (integration, is_told) in [("auto", true), ("off", false)] {
        let client = Client::new(&format!("shell = \"/bin/bash\"\nterminal_integration = \"{integration}\"\n"));
        let mut terminal = Terminal::spawn(&client.ssh(&["-t", "-q"], ""), 30, 100);
        if is_told {
            let at = terminal.wait_for_bytes(0, "\x1b]133;A\x1b\\(db-");
            terminal.wait_for_bytes(at, "\x1b]133;B\x1b\\");
        } else {
            terminal.wait_for_text("# ");
        }
        terminal.send("exit 3\r");
        assert_eq!(terminal.wait_exit().code(), Some(3));
        let written = String::from_utf8_lossy(terminal.written()).into_owned();
        assert_eq!(written.contains("\x1b]133;C"), is_told, "{written:?}");
    }
}

#[test]
fn an_agent_is_forwarded_where_the_box_has_it() {
    require!(Userns, Overlay, Program("ssh"), Program("ssh-agent"));
    for (profile, told) in [("share = { ssh_agent = true }\n", "/run/devbox/ssh-agent"), ("", "")] {
        let mut client = Client::new(profile);
        let socket = client.test.path("agent");
        let mut agent = client.program("ssh-agent");
        agent.args(["-D", "-a"]).arg(&socket);
        // It says where it is when it listens.
        let mut agent = Background::start(agent);
        agent.line();
        client.test.env("SSH_AUTH_SOCK", &socket);
        let (status, out, errors) = client.run(&["-A"], "echo $SSH_AUTH_SOCK; ssh-add -l 2>&1");
        let listed = if told.is_empty() { "Could not open" } else { "The agent has no identities." };
        assert!(out.starts_with(&format!("{told}\n{listed}")) && status > 0, "{status} {out} {errors}");
    }
}

#[test]
fn a_hundred_sessions_share_one_connection() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let master = client.master();
    let start = |number: usize| {
        let mut command = client.ssh(&["-S", text(&master.path)], &format!("read x; echo $x {number}; exit 3"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start ssh")
    };
    // All of them wait for their input, and so run at once.
    let mut sessions: Vec<_> = (0..100).map(start).collect();
    let inputs: Vec<_> = sessions.iter_mut().map(|session| session.stdin.take().expect("a pipe")).collect();
    for mut input in inputs {
        input.write_all(b"hello\n").expect("write");
    }
    for (number, mut session) in sessions.into_iter().enumerate() {
        let mut line = String::new();
        BufReader::new(session.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
        assert_eq!(line, format!("hello {number}\n"));
        assert_eq!(session.wait().expect("reap").code(), Some(3));
    }
}

/// Each of them may be the one that starts the box, and the one with which it stops.
#[test]
fn many_clients_at_once_need_no_running_box() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let start = |number: usize| {
        let mut command = client.ssh(&[], &format!("echo {number} $SHELL"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start ssh")
    };
    let sessions: Vec<_> = (0..30).map(start).collect();
    for (number, session) in sessions.into_iter().enumerate() {
        let output = session.wait_with_output().expect("reap");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number} /bin/bash\n"), "{output:?}");
    }
}

#[test]
fn nothing_is_left_of_a_client_that_was_killed() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let mut session = Background::start(client.ssh(&[], "setsid tail -f /dev/null & echo ready; cat"));
    session.expect("ready");
    session.signal(rustix::process::Signal::KILL);
    session.wait();
    let left = processes::wait_until_none(&client.test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_stopped_box_ends_its_connections() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let mut session = Background::start(client.ssh(&[], "echo ready; cat"));
    session.expect("ready");
    client.test.args(["stop", "--time", "0"]).any_stderr().run();
    assert_ne!(session.wait().code(), Some(0));
}
