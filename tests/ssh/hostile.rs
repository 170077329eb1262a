//! Clients that are none.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::client::{Client, ended, noise};
use crate::require;
use crate::support::PATIENCE;
use crate::support::files::wait_for_change;
use crate::support::processes::{self, wait_end};

fn proxy(client: &Client) -> Command {
    client.test.command(["ssh-proxy", &client.host()])
}

/// A packet without encryption.
fn packet(message: &[u8]) -> Vec<u8> {
    let padding = 8 + 8 - (5 + message.len()) % 8;
    let length = u32::try_from(1 + message.len() + padding).expect("a small message");
    [&length.to_be_bytes()[..], &[padding as u8], message, &vec![0; padding]].concat()
}

#[test]
fn garbage_ends_the_connection() {
    require!(Userns, Overlay);
    let client = Client::new("");
    let hello = b"SSH-2.0-x\r\n".to_vec();
    let cases: [(&str, Vec<u8>); 6] = [
        ("noise", noise(300_000)),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an endless line", vec![b'S'; 100_000]),
        ("noise after the greeting", [&hello[..], &[0xff; 1000]].concat()),
        ("a request before any key", [&hello[..], &packet(&[50, 0, 0, 0, 0])].concat()),
        ("keys without an offer", [&hello[..], &packet(&[21])].concat()),
    ];
    for (what, bytes) in cases {
        let (status, _, errors) = ended(proxy(&client), &bytes);
        assert!(status == 1 && errors.contains("ssh client"), "{what}: {status} {errors}");
    }
    // One that says nothing at all, or hangs up in the middle of a word, is no failure.
    for bytes in [&b""[..], b"SSH-2", b"SSH-2.0-x\r\n\0\0"] {
        assert_eq!(ended(proxy(&client), bytes).0, 0, "{bytes:?}");
    }
    let left = processes::wait_until_none(&client.test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn channels_come_to_an_end() {
    require!(Userns, Overlay, Root, Python("asyncssh"));
    let client = Client::new("");
    let flood = client.test.path("flood.py");
    fs::write(&flood, include_str!("flood.py")).expect("write");
    let mut command = client.program("/usr/bin/python3");
    command.args(["-W", "ignore"]).arg(flood).arg(client.test.data().join("ssh/id_ed25519"));
    command.arg(client.test.path("devbox")).args(["ssh-proxy", &client.host()]);
    let (status, out, errors) = ended(command, b"");
    assert_eq!((status, out.as_str()), (0, "256 44\n{('on\\n', 3)}\n{('on\\n', 4)}\n"), "{errors}");
}

#[test]
fn a_flood_before_there_are_keys_ends_the_connection() {
    require!(Userns, Overlay);
    let client = Client::new("");
    let mut child =
        proxy(&client).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start");
    let mut input = child.stdin.take().expect("a pipe");
    // Nobody reads the answer, and the first is wrong already.
    let flood = packet(&[20; 1000]).repeat(64);
    let writer = thread::spawn(move || {
        input.write_all(b"SSH-2.0-x\r\n").expect("write");
        // Until the other side has gone, or takes no more.
        for _ in 0..1000 {
            if input.write_all(&flood).is_err() {
                break;
            }
        }
    });
    assert!(wait_end(child.id(), Instant::now() + PATIENCE), "the proxy goes on");
    child.wait().expect("reap");
    writer.join().expect("a writer");
}

#[test]
fn output_that_nobody_reads_waits_in_the_box() {
    require!(Userns, Overlay, Program("ssh"));
    let client = Client::new("");
    let mut command = client.ssh(&[], "yes & yes >&2 & echo $!; wait");
    // Both share what ssh takes: what it cannot get rid of on one of them could use up all of it.
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start ssh");
    let mut some = vec![0; 1 << 20];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut some).expect("output");
    let peaks = peaks_kib(&client);
    assert!(!peaks.is_empty() && peaks.iter().all(|kib| *kib < 100 << 10), "{peaks:?} KiB");
    child.kill().expect("kill a child");
    child.wait().expect("reap");
    let left = processes::wait_until_none(&client.test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

/// The most memory that each proxy of the test has had so far.
fn peaks_kib(client: &Client) -> Vec<u64> {
    let peak = |pid: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
    };
    let processes = processes::belonging_to(&client.test.path(""));
    processes.iter().filter(|one| one.command.contains("ssh-proxy")).filter_map(|one| peak(one.pid)).collect()
}

/// Writes until nobody has taken anything for a while, or half a GiB was taken; then says which into the file that is named.
const WRITER: &str = "import os, select, sys
os.set_blocking(1, False)
left = 1 << 29
while left > 0 and select.select([], [1], [], 3)[1]:
    left -= os.write(1, bytes(65536))
os.set_blocking(1, True)
open(sys.argv[1] + '.new', 'w').write('waits' if left > 0 else 'all was taken')
os.rename(sys.argv[1] + '.new', sys.argv[1])
while True:
    os.write(1, bytes(65536))
";

#[test]
fn a_client_that_never_reads_costs_no_memory() {
    require!(Userns, Overlay, Root, Program("python3"), Python("asyncssh"));
    let client = Client::new("");
    client.test.file("writer.py", WRITER);
    let (project, deaf) = (client.test.project(), client.test.path("deaf.py"));
    fs::write(&deaf, include_str!("deaf.py")).expect("write");
    let told = project.join("told");
    let mut command = client.program("/usr/bin/python3");
    command.args(["-W", "ignore"]).arg(deaf).arg(client.test.data().join("ssh/id_ed25519"));
    command.arg(format!("exec python3 {}/writer.py {}", project.display(), told.display()));
    command.arg(client.test.path("devbox")).args(["ssh-proxy", &client.host()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start python3");
    wait_for_change(&project, "the command waits", || told.exists());
    assert_eq!(fs::read_to_string(&told).expect("read"), "waits");
    let peaks = peaks_kib(&client);
    assert!(!peaks.is_empty() && peaks.iter().all(|kib| *kib < 100 << 10), "{peaks:?} KiB");
    child.kill().expect("kill a child");
    child.wait().expect("reap a child");
    let left = processes::wait_until_none(&client.test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn names_are_names_whatever_is_in_them() {
    require!(Userns, Overlay, Program("ssh"), Program("zsh"), Program("fish"));
    let client = Client::new("");
    let config = fs::read_to_string(client.config()).expect("read");
    let others = config.rsplit("\nHost ").next().expect("what is for other boxes");
    // What would end the quotes around a name is not for us.
    assert!(others.starts_with(r#""!*'*" "!*\\*" *.devbox"#), "{others}");
    let line = others.lines().find_map(|line| line.trim().strip_prefix("ProxyCommand ")).expect("a command");
    let own = format!("'{}' ssh-proxy -- ", client.test.path("devbox").display());
    let argument = line.strip_prefix(&own).expect("one argument");
    for name in
        ["-oFoo.devbox", "x;touch y.devbox", "$(touch y)`touch y`.devbox", "\"a b\"|&<>(){}!*?~#%.devbox", "\n.devbox"]
    {
        for shell in ["sh", "bash", "zsh", "fish"] {
            let mut command = client.program(shell);
            command.args(["-c", &format!("exec printf '[%s]' {}", argument.replace("%n", name))]);
            assert_eq!(ended(command, b""), (0, format!("[{name}]"), String::new()), "{shell}");
        }
        let mut command = client.program("ssh");
        command.arg("-F").arg(client.config()).arg("--").arg(name);
        assert_eq!(ended(command, b"").0, 255, "{name}");
        let (status, _, errors) = ended(client.test.command(["ssh-proxy", "--", name]), b"");
        assert!(status == 1 && errors.contains("there is no box `"), "{name}: {status} {errors}");
    }
    assert!(!client.test.path("y").exists() && !client.test.path("y.devbox").exists());
}

#[test]
fn a_box_that_is_not_there_is_said() {
    let test = crate::support::devbox::Devbox::new();
    let (status, _, errors) = ended(test.command(["ssh-proxy", "shop.devbox"]), b"");
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("there is no box `shop`") && errors.contains("hint: "), "{errors}");
}
