//! Ports of boxes with a private network, reached from the host.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::require;
use crate::support::PATIENCE;
use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::processes;

/// A server in the box that says when it listens, answers each line with `box ` and the line, and ends when its client does.
const SERVER: &str = r#"
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"box " + line)
        self.wfile.write(b"end\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    address_family = 10 if ":" in sys.argv[1] else 2
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print("listening", flush=True)
server.serve_forever()
"#;

fn with_network(keys: &str) -> Devbox {
    // The base is made by the first test of all.
    Devbox::host();
    let test = Devbox::shared(&format!("base = \"host\"\n[network]\nmode = \"private\"\n{keys}"));
    test.file("server.py", SERVER);
    test
}

/// A port of the host that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn connect(address: impl Into<SocketAddr>) -> TcpStream {
    let address = address.into();
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// Says `hello` and the end, and returns everything that is answered.
fn talk(mut stream: TcpStream) -> String {
    stream.write_all(b"hello\n").expect("write to the box");
    stream.shutdown(Shutdown::Write).expect("the end of the input");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read from the box");
    answer
}

fn is_closed(address: impl Into<SocketAddr>) -> bool {
    TcpStream::connect(address.into()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The details of the first event in the box's log, as it grows, that `is_meant` holds for.
fn event(test: &Devbox, is_meant: impl Fn(&Value) -> bool) -> Value {
    let mut log = Background::start(test.command(["logs", "--follow", "--format", "json"]));
    loop {
        let event: Value = serde_json::from_str(&log.line()).expect("an event");
        if is_meant(&event) {
            return event["details"].clone();
        }
    }
}

/// Where the box's `port` appears on the host.
fn opened(test: &Devbox, port: u16) -> SocketAddr {
    let port = format!("{port}/tcp");
    let opened = event(test, |event| event["event"] == "port_opened" && event["details"]["port"] == port);
    let host = opened["host"].as_str().and_then(|host| host.split(' ').next());
    host.expect("an address").parse().expect("an address")
}

/// Waits until the box's `port` is gone from the host.
fn closed(test: &Devbox, port: u16) {
    let port = format!("{port}/tcp");
    event(test, |event| event["event"] == "port_closed" && event["details"]["port"] == port);
}

/// Waits until the box is gone.
fn assert_ends(test: &Devbox, mut session: Background) {
    session.close_stdin();
    session.wait();
    assert!(processes::wait_until_none(&test.path("")).is_empty());
}

#[test]
fn what_listens_appears_on_the_host() {
    require!(Userns, Overlay, Pasta);
    let test = with_network("");
    let (four, six, elsewhere) = (free_port(), free_port(), free_port());
    let mut session = test.background(&format!(
        "python3 server.py 127.0.0.1 {four} & four=$!; python3 server.py ::1 {six} & \
         python3 server.py 127.0.0.7 {elsewhere} & read line; kill $four; echo killed; read line"
    ));
    (0..3).for_each(|_| session.expect("listening"));
    for port in [four, six, elsewhere] {
        assert_eq!(opened(&test, port), (Ipv4Addr::LOCALHOST, port).into());
        assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, port))), "box hello\nend\n");
    }
    if TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(talk(connect(([0, 0, 0, 0, 0, 0, 0, 1], four))), "box hello\nend\n");
    }
    session.say("go");
    session.expect("killed");
    closed(&test, four);
    assert!(is_closed((Ipv4Addr::LOCALHOST, four)), "the port is still there");
    assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, six))), "box hello\nend\n");
    assert_ends(&test, session);
    assert!(is_closed((Ipv4Addr::LOCALHOST, six)), "the port outlives its box");
}

#[test]
fn a_taken_port_is_moved() {
    require!(Userns, Overlay, Pasta);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let test = with_network("");
    let mut session = test.background(&format!("python3 server.py 0.0.0.0 {port} & read line"));
    session.expect("listening");
    let moved = opened(&test, port);
    assert!(moved.port() > port, "{moved}");
    assert_eq!(talk(connect(moved)), "box hello\nend\n");
    session.close_stdin();
    session.wait();
}

#[test]
fn published_ports() {
    require!(Userns, Overlay, Pasta);
    let (first, second) = (free_port(), free_port());
    let test =
        with_network(&format!("forward = \"off\"\nports = [\"{first}:80\", \"127.0.0.1:{second}:{second}/tcp\"]\n"));
    let mut session = test.background(&format!(
        "python3 server.py 0.0.0.0 80 & python3 server.py ::1 {second} & python3 server.py 0.0.0.0 8099 & read line"
    ));
    // Bound before the box began: who connects early waits, or is turned away until the server runs.
    (0..3).for_each(|_| session.expect("listening"));
    for port in [first, second] {
        assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, port))), "box hello\nend\n", "{port}");
    }
    // Not asked for.
    assert!(TcpStream::connect("127.0.0.1:8099").is_err());
    assert_ends(&test, session);

    assert!(is_closed((Ipv4Addr::LOCALHOST, first)), "the port outlives its box");
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("the port is free again");
    let output = test.sh("true").output();
    assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("cannot publish the port `{first}:80/tcp`")), "{}", output.stderr);
    assert!(processes::wait_until_none(&test.path("")).is_empty());
}

/// A UDP server that answers each datagram with `box ` and the datagram.
const ECHO: &str = r#"
import socket, sys
server = socket.socket(10 if ":" in sys.argv[1] else 2, socket.SOCK_DGRAM)
server.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, client = server.recvfrom(65536)
    server.sendto(b"box " + data, client)
"#;

#[test]
fn published_datagrams() {
    require!(Userns, Overlay, Pasta);
    let (four, six) = (free_port(), free_port());
    let test = with_network(&format!("ports = [\"{four}:53/udp\", \"127.0.0.1:{six}:54/udp\"]\n"));
    test.file("echo.py", ECHO);
    let mut session = test.background("python3 echo.py 127.0.0.1 53 & python3 echo.py ::1 54 & read line");
    session.expect("ready");
    session.expect("ready");
    for port in [four, six] {
        let clients = [(); 3].map(|()| {
            let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            client.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
            client.connect((Ipv4Addr::LOCALHOST, port)).expect("a destination");
            client
        });
        for (number, client) in clients.iter().enumerate() {
            let said = format!("from {number}");
            let mut answer = [0; 100];
            // A datagram may be lost: the first one to a server on IPv6 alone finds that out.
            let size = (0..5).find_map(|_| {
                client.send(said.as_bytes()).expect("send to the box");
                client.recv(&mut answer).ok()
            });
            assert_eq!(&answer[..size.expect("an answer")], format!("box {said}").as_bytes());
        }
    }
    session.close_stdin();
    session.wait();
}

#[test]
fn ports_of_the_host_when_named() {
    require!(Userns, Overlay, Pasta);
    let named = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = |address: std::io::Result<SocketAddr>| address.expect("an address").port();
    let (named_port, other_port, udp_port) =
        (port(named.local_addr()), port(other.local_addr()), port(datagrams.local_addr()));
    let test = with_network("");
    // What the user's own configuration grants needs no question.
    std::fs::create_dir_all(test.home().join(".config/devbox")).expect("a directory");
    std::fs::write(
        test.home().join(".config/devbox/config.toml"),
        format!("[profile.network]\nhost_ports = [{named_port}, \"{udp_port}/udp\"]\n"),
    )
    .expect("write a file");
    let serve = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = named.accept().expect("a connection");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("read from the box");
            stream.write_all(format!("host {said}").as_bytes()).expect("write to the box");
        }
        let mut said = [0; 100];
        let (size, client) = datagrams.recv_from(&mut said).expect("a datagram");
        datagrams.send_to(&[b"host ", &said[..size]].concat(), client).expect("answer the box");
    });
    let client = format!(
        r#"
import socket
for family, host in (2, "127.0.0.1"), (10, "::1"):
    stream = socket.socket(family)
    stream.connect((host, {named_port}))
    stream.sendall(b"tcp")
    stream.shutdown(socket.SHUT_WR)
    print(stream.makefile().read())
datagram = socket.socket(2, socket.SOCK_DGRAM)
datagram.settimeout(5)
datagram.connect(("127.0.0.1", {udp_port}))
datagram.send(b"udp")
print(datagram.recv(100).decode())
for host in "127.0.0.1", "::1":
    try:
        socket.create_connection((host, {other_port}), 1)
        print("the host's loopback is open")
    except OSError:
        pass
"#
    );
    test.file("client.py", client);
    test.sh("python3 client.py").stdout("host tcp\nhost tcp\nhost udp\n").run();
    serve.join().expect("the host's servers");
}

/// `port list` as JSON.
fn ports(test: &Devbox) -> Vec<Value> {
    let output = test.args(["port", "list", "--format", "json"]).any_stdout().run();
    serde_json::from_str(&output.stdout).expect("a JSON list")
}

#[test]
fn ports_of_a_running_box() {
    require!(Userns, Overlay, Pasta);
    let (first, second) = (free_port(), free_port());
    let test = with_network("forward = \"off\"\n");
    assert!(test.args(["port", "list"]).output().stderr.contains("has no box yet"));
    let mut session = test.background("python3 server.py 127.0.0.1 80 & python3 server.py ::1 81 & read line");
    (0..2).for_each(|_| session.expect("listening"));
    assert!(ports(&test).is_empty());
    test.args(["port", "add", &format!("{first}:80"), &format!("127.0.0.1:{second}:81"), "53/udp"]).any_stdout().run();
    for port in [first, second] {
        assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, port))), "box hello\nend\n", "{port}");
    }
    let listed = ports(&test);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!((&listed[0]["box_port"], &listed[0]["origin"]), (&80.into(), &"command".into()));
    assert_eq!(listed[1]["addresses"], serde_json::json!([format!("127.0.0.1:{second}")]));

    // Nothing that is open is closed, and who has connected is served, also when the agent has not accepted it yet.
    let mut open = connect((Ipv4Addr::LOCALHOST, first));
    open.write_all(b"one\n").expect("write to the box");
    let mut answer = [0; 8];
    open.read_exact(&mut answer).expect("read from the box");
    assert_eq!(&answer, b"box one\n");
    let agent = of_box(&test, "devbox: network");
    signal(agent, Signal::STOP);
    let waiting: Vec<TcpStream> = (0..300).map(|_| connect((Ipv4Addr::LOCALHOST, first))).collect();
    test.args(["port", "remove", "80", "53/udp"]).any_stdout().run();
    signal(agent, Signal::CONT);
    for client in waiting {
        assert_eq!(talk(client), "box hello\nend\n");
    }
    assert!(is_closed((Ipv4Addr::LOCALHOST, first)));
    assert_eq!(talk(open), "box hello\nend\n");
    assert_eq!(ports(&test).len(), 1);

    let again = test.args(["port", "remove", "80"]).output();
    assert!(again.status.code() == Some(1) && again.stderr.contains("it is not reachable"), "{}", again.stderr);
    let taken = test.args(["port", "add", &format!("{second}:82")]).output();
    assert!(taken.status.code() == Some(1) && taken.stderr.contains("EADDRINUSE"), "{}", taken.stderr);
    assert_ends(&test, session);
    assert!(is_closed((Ipv4Addr::LOCALHOST, second)));
    assert!(test.args(["port", "list"]).output().stderr.contains("the box does not run"));
}

/// The process that shows `title`, and belongs to the box of `test`.
fn of_box(test: &Devbox, title: &str) -> u32 {
    let all = processes::belonging_to(&test.path(""));
    let found = all.iter().find(|process| process.command.contains(title));
    found.unwrap_or_else(|| panic!("no `{title}`: {all:?}")).pid
}

#[test]
fn a_box_outlives_its_network_agent() {
    require!(Userns, Overlay, Pasta);
    let port = free_port();
    let test = with_network("");
    let mut session =
        test.background(&format!("python3 server.py 127.0.0.1 {port} & read line; echo goes on; read line"));
    session.expect("listening");
    assert_eq!(talk(connect(opened(&test, port))), "box hello\nend\n");
    signal(of_box(&test, "devbox: network"), Signal::KILL);
    let failed = event(&test, |event| event["event"] == "failed");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("network agent is gone")), "{failed}");
    assert!(is_closed((Ipv4Addr::LOCALHOST, port)));
    session.say("go");
    session.expect("goes on");
    // Another one.
    test.args(["port", "add", &format!("{port}:{port}")]).any_stdout().run();
    assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, port))), "box hello\nend\n");
    assert_ends(&test, session);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, signal).expect("signal a process");
}

#[test]
fn a_network_agent_dies_with_its_supervisor() {
    require!(Userns, Overlay, Pasta);
    let port = free_port();
    let test = with_network("");
    let mut session = test.background(&format!("python3 server.py 127.0.0.1 {port} & read line"));
    session.expect("listening");
    assert_eq!(talk(connect(opened(&test, port))), "box hello\nend\n");
    let agent = of_box(&test, "devbox: network");
    let status = std::fs::read_to_string(format!("/proc/{agent}/status")).expect("a process");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent");
    for expected in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(expected), "{expected}: {status}");
    }
    signal(parent.parse().expect("a number"), Signal::KILL);
    assert!(processes::wait_end(agent, Instant::now() + PATIENCE), "the agent goes on");
    assert_ends(&test, session);
    assert!(is_closed((Ipv4Addr::LOCALHOST, port)));
}

#[test]
fn many_connections_at_once() {
    require!(Userns, Overlay, Pasta);
    let port = free_port();
    let test = with_network("");
    let mut session = test.background(&format!("ulimit -n 4096; python3 server.py 127.0.0.1 {port} & read line"));
    session.expect("listening");
    opened(&test, port);
    // The thread for each of them is the server's; half of them say nothing at all.
    let mut streams: Vec<TcpStream> = (0..300).map(|_| connect((Ipv4Addr::LOCALHOST, port))).collect();
    let talking = streams.split_off(150);
    for stream in talking {
        assert_eq!(talk(stream), "box hello\nend\n");
    }
    drop(streams);
    assert_eq!(talk(connect((Ipv4Addr::LOCALHOST, port))), "box hello\nend\n");
    session.close_stdin();
    session.wait();
}

#[test]
fn a_box_in_the_network_of_another() {
    require!(Userns, Overlay, Pasta);
    let one = with_network("forward = \"off\"\n");
    let name = format!("net-{}", free_port());
    one.profile(&format!("name = \"{name}\"\nbase = \"host\"\n[network]\nmode = \"private\"\nforward = \"off\"\n"));
    let join = format!("base = \"host\"\n[network]\njoin = \"{name}\"\n");
    let mut server = one.background("python3 server.py 127.0.0.1 80 & read line");
    server.expect("listening");

    let mut other = Devbox::shared("base = \"host\"\n");
    // It is not asked for what the user's own configuration says.
    std::fs::create_dir_all(other.home().join(".config/devbox")).expect("a directory");
    std::fs::write(other.home().join(".config/devbox/config.toml"), format!("[profile.network]\njoin = \"{name}\"\n"))
        .expect("write a file");
    other.profile(&join);
    other.env("XDG_RUNTIME_DIR", one.path("run"));
    other.file(
        "client.py",
        "import socket\ns = socket.create_connection((\"127.0.0.1\", 80))\ns.sendall(b\"hello\\n\")\ns.shutdown(1)\nprint(s.makefile().read(), end=\"\")\n",
    );
    other
        .sh("python3 client.py; cat /sys/class/net/eth0/mtu >/dev/null 2>&1; id -u; touch /root/mine")
        .stdout("box hello\nend\n0\n")
        .run();
    // When that box stops, the one that shares its network is left with the loopback.
    let script = "import socket\nprint('up', flush=True)\ninput()\nown = socket.create_server(('127.0.0.1', 0))\n\
        socket.create_connection(own.getsockname())\nprint('own', flush=True)\ntry:\n    \
        socket.create_connection(('192.0.2.1', 80))\nexcept OSError as error:\n    print(error.strerror, flush=True)\n";
    other.file("left.py", script);
    let mut left = other.background("python3 left.py");
    left.expect("up");
    server.close_stdin();
    server.wait();
    one.args(["stop"]).any_stdout().any_stderr().run();
    left.say("go");
    left.expect("own");
    left.expect("Network is unreachable");
    left.wait();
    // A box that still runs could be joined.
    other.args(["stop"]).any_stdout().any_stderr().run();
    let output = other.sh("true").output();
    assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
    assert!(
        output.stderr.contains(&format!("cannot share the network of the box `{name}`: it does not run")),
        "{}",
        output.stderr
    );
}

#[test]
fn a_list_that_names_the_mirror_is_enough_for_apt() {
    require!(Userns, Overlay, Pasta, Mirror, Program("/usr/sbin/nft"), Program("apt-get"));
    let sources =
        Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]).output().expect("apt's sources");
    let sources = String::from_utf8_lossy(&sources.stdout);
    let mut entries: Vec<String> = sources.lines().filter_map(entry_of).collect();
    entries.sort();
    entries.dedup();
    let test = with_network(&format!("egress = [{}]", entries.join(", ")));
    let output = test.sh("apt-get update && ! curl -sS -m 300 https://example.com").any_stdout().any_stderr().run();
    assert!(output.stdout.contains("Reading package lists"), "{}{}", output.stdout, output.stderr);
}

/// `"host:port"` of the URL of a mirror.
fn entry_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    Some(if host.contains(':') { format!("\"{host}\"") } else { format!("\"{host}:{port}\"") })
}
