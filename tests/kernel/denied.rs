//! System calls that the filter refuses, and where they are written down.

use serde_json::Value;

use crate::require;
use crate::support::background::Background;
use crate::support::devbox::Devbox;

/// Calls through the C library; prints their errors.
const PRELUDE: &str = "import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result
";

fn python(test: &Devbox, script: &str) -> String {
    test.args(["run", "--", "python3", "-c", &format!("{PRELUDE}{script}")]).any_stdout().run().stdout
}

/// The lines of `devbox log denied`.
fn denied(test: &Devbox) -> Vec<Value> {
    let output = test.args(["log", "denied", "--format", "json"]).any_stdout().run().stdout;
    serde_json::from_str(&output).expect("a list")
}

#[test]
fn what_the_filter_refuses_is_written_down() {
    require!(Userns, Overlay, Program("python3"));
    let test = Devbox::host();
    let output = python(
        &test,
        "import os, socket
print(call('mount', b'/dev/sda1', b'/mnt', b'ext4', 1 | 2, None))
print(call('unshare', 0x20000), call('setns', -1, 0x40000000))
try: socket.socket(socket.AF_VSOCK)
except OSError as e: print(errno.errorcode[e.errno])
print(call('chdir', b'/nonexistent'), os.getpid())
",
    );
    let mut words = output.split_whitespace();
    let answers: Vec<&str> = words.by_ref().take(5).collect();
    assert_eq!(answers, ["EPERM", "EPERM", "EPERM", "EAFNOSUPPORT", "ENOENT"]);
    let by = format!("by python3 ({})", words.next().expect("a pid"));
    let shown = test.args(["log", "denied"]).any_stdout().run().stdout;
    let lines: Vec<&str> = shown.lines().filter_map(|line| line.split_once("  ")).map(|(_, rest)| rest).collect();
    assert_eq!(
        lines,
        [
            format!("mount(source=/dev/sda1, target=/mnt, type=ext4, flags=MS_RDONLY|MS_NOSUID)  EPERM  {by}"),
            format!("unshare(flags=CLONE_NEWNS)  EPERM  {by}"),
            format!("setns(type=CLONE_NEWNET)  EPERM  {by}"),
            format!("socket(domain=AF_VSOCK, type=0x80001, protocol=0)  EAFNOSUPPORT  {by}"),
        ]
    );
}

#[test]
fn a_flood_of_refused_calls_is_counted() {
    require!(Userns, Overlay, Program("python3"));
    let test = Devbox::host();
    let output = python(
        &test,
        "open('/proc/self/comm', 'w').write('\\x1b[2J')
print({call('setns', -1, 0) for _ in range(1000)}, {call('setns', n, 0) for n in range(1000)})
print({call('mount', 8, 8, None, n, None) for n in range(3)})
",
    );
    assert_eq!(output, "{'EPERM'} {'EPERM'}\n{'EPERM'}\n");
    // What was counted is written down at the end of the box.
    let mut log = Background::start(test.command(["logs", "-f", "--format", "json"]));
    while !log.line().contains("\"stopped\"") {}
    let lines = denied(&test);
    let calls = lines.iter().filter(|line| line["more"].is_null()).count() as u64;
    let more: u64 = lines.iter().filter_map(|line| line["more"].as_u64()).sum();
    assert_eq!(calls + more, 2003, "{lines:?}");
    assert!(lines.len() < 150, "{}", lines.len());
    let shown = test.args(["log", "denied"]).any_stdout().run().stdout;
    assert!(!shown.contains('\u{1b}') && shown.contains("[2J ("), "{shown}");
}

#[test]
fn refused_calls_are_followed() {
    require!(Userns, Overlay, Program("python3"));
    let test = Devbox::host();
    test.args(["run", "--keep", "--", "true"]).run();
    assert_eq!(denied(&test), Vec::<Value>::new());
    let mut log = Background::start(test.command(["log", "denied", "-f"]));
    test.sh("umount /proc").status(32).any_stderr().run();
    assert!(log.line().contains("umount2(target=/proc, flags=0x0)  EPERM  by umount ("));
    test.args(["rm", "--force"]).any_stderr().run();
    assert!(log.wait().success());
}
