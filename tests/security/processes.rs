//! Attacks on processes: those of devbox in the box, and those of the host.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use crate::require;
use crate::support::devbox::Devbox;

#[test]
fn overwriting_the_running_binary_cve_2019_5736() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "
        for name in exe cwd root ns/mnt; do readlink /proc/1/$name && echo readable $name; done
        for name in exe environ mem auxv maps; do head -c 1 /proc/1/$name >/dev/null && echo readable $name; done
        for fd in 0 1 2 3 4 5 6 7 8 9; do
            readlink /proc/1/fd/$fd && echo readable fd; (head -c 1 <>/proc/1/fd/$fd) && echo opened fd; done
        ls /proc/1/root/ && echo readable root
        for name in exe mem; do (: >> /proc/1/$name) && echo writable $name; done
        kill -STOP 1; kill -KILL 1
        echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    test.sh("tr '\\0' '\\n' < /proc/1/cmdline | head -1").stdout("devbox: init\n").run();
}

/// A process of the host, of the same user.
fn bystander() -> std::process::Child {
    Command::new("tail").args(["-f", "/dev/null"]).stdin(Stdio::null()).spawn().expect("start a program")
}

#[test]
fn signals_across() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut bystander = bystander();
    let script = format!("kill -KILL {0} 2>/dev/null && echo sent; kill -KILL -1; echo end", bystander.id());
    let output = test.sh(&script).any_stdout().any_stderr().output();
    assert!(!output.stdout.contains("sent"), "{output:?}");
    assert!(bystander.try_wait().expect("ask for a child").is_none(), "a process of the host was killed");
    bystander.kill().expect("kill a child");
    bystander.wait().expect("reap a child");
}

#[test]
fn tracing_host_processes() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    let mut bystander = bystander();
    let pid = bystander.id();
    let (ptrace, vm, open) = (libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_pidfd_open);
    // PTRACE_SEIZE, process_vm_readv, pidfd_open: no such process; and nothing of it in /proc.
    let script = format!(
        "for my $call ([{ptrace}, 0x4206, {pid}, 0, 0], [{vm}, {pid}, 0, 0, 0, 0, 0], [{open}, {pid}, 0]) {{
             $! = 0; my $r = syscall($call->[0], @$call[1..$#$call]); print \"$r \", $! + 0, \"\\n\"; }}
         print -e '/proc/{pid}' ? 'shown' : 'hidden';"
    );
    let output = test.args(["run", "--", "perl", "-e", &script]).any_stdout().run();
    bystander.kill().expect("kill a child");
    bystander.wait().expect("reap a child");
    let lines: Vec<&str> = output.stdout.lines().collect();
    // process_vm_readv of nothing succeeds where the process exists.
    assert_eq!((lines[0], lines[2], lines[3]), ("-1 3", "-1 3", "hidden"), "{}", output.stdout);
    assert!(matches!(lines[1], "-1 3" | "0 0"), "{}", output.stdout);
}

#[test]
fn abstract_sockets() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    let name = format!("devbox-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("bind a socket");
    let connect = format!(
        "socket(my $s, 1, 1, 0) or die; print connect($s, pack('S a*', 1, \"\\0{name}\")) ? 'connected' : 'refused'"
    );
    test.args(["run", "--", "perl", "-e", &connect]).stdout("refused").run();
    // It is there: the host reaches it. What the host's network shows of it is `kernel/hardening`'s.
    UnixStream::connect_addr(&address).expect("connect to a socket");
}

#[test]
fn sockets_of_agents_and_buses() {
    require!(Userns, Overlay);
    let mut test = Devbox::host();
    let names = ["agent", "run/bus", "run/wayland-0", "run/pipewire-0"];
    let listeners = names.map(|name| UnixListener::bind(test.path(name)).expect("bind a socket"));
    let at = |name: &str| test.path(name);
    let (agent, bus) = (at("agent"), format!("unix:path={}", at("run/bus").display()));
    test.env("SSH_AUTH_SOCK", agent).env("DBUS_SESSION_BUS_ADDRESS", bus).env("WAYLAND_DISPLAY", "wayland-0");
    let places = names.map(|name| test.path(name).display().to_string()).join(" ");
    let script = format!(
        "env | grep -E 'SOCK|DBUS|DISPLAY|XDG_RUNTIME'; find / -xdev -type s 2>/dev/null; ls -A /run /run/devbox
        for place in {places}; do test -S $place && echo $place; done"
    );
    let output = test.sh(&script).any_stdout().any_stderr().output();
    for word in ["agent", "bus", "wayland", "pipewire", "DISPLAY", "SOCK"] {
        assert!(!output.stdout.contains(word), "{word}: {}", output.stdout);
    }
    drop(listeners);
}
