//! What a box with an egress list reaches, and what is told of it.

use crate::lab::Lab;
use crate::require;
use crate::support::files::wait_for_change;
use crate::support::{Identity, identity};

const EVERYTHING: [&str; 6] = [
    "tcp:allowed.test:80",
    "tcp:forbidden.test:80",
    "tcp:203.0.113.9:80",
    "tcp:[2001:db8:2::10]:80",
    "tcp:[2001:db8:3::9]:80",
    "udp:203.0.113.9:7",
];

#[test]
fn without_a_list_everything_is_reached() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("");
    assert_eq!(lab.probe(&EVERYTHING), ["open"; 6]);
    assert!(lab.asked().contains("forbidden.test"), "the box's resolver asks that of the host's loopback");
}

#[test]
fn only_what_is_listed_is_reached() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test:80\", \"[2001:db8:2::/48]:80\", \"udp/198.51.100.11:7\"]");
    assert_eq!(lab.probe(&EVERYTHING), ["open", "no name", "refused", "open", "refused", "refused"]);
    // The port, the protocol and names beside the listed one.
    let beside = ["tcp:allowed.test:81", "tcp:198.51.100.11:7", "udp:198.51.100.11:7", "tcp:sub.allowed.test:80"];
    assert_eq!(lab.probe(&beside), ["refused", "refused", "open", "no name"]);
    let log = lab.log();
    for line in [
        "allowed  tcp  allowed.test  [2001:db8:2::10]:80",
        "denied   tcp  203.0.113.9:80",
        "denied   tcp  [2001:db8:3::9]:80",
        "denied   udp  203.0.113.9:7",
        "denied   dns  forbidden.test  not in the egress list",
        "denied   tcp  allowed.test  198.51.100.10:81",
    ] {
        assert!(log.lines().any(|own| own.split("  by ").next() == Some(line)), "{line}\n{log}");
    }
}

#[test]
fn the_process_of_a_connection_is_named() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test\"]");
    // A connection may be over before its socket can be asked about, but not each of these.
    let client = "import os, urllib.request\n\
        open('/proc/self/comm', 'w').write('\\x1b[31mhostile')\n\
        for _ in range(20):\n\
        \x20   urllib.request.urlopen('http://allowed.test/').read()\n\
        print('pid', os.getpid())\n";
    lab.test.file("client.py", client);
    let output = lab.run("python3 client.py");
    let pid = output.lines().find_map(|line| line.strip_prefix("pid ")).unwrap_or_else(|| panic!("{output}"));
    let log = lab.log();
    assert!(log.contains(&format!("hostile ({pid})")) && !log.contains('\x1b'), "{log}");
    let lines = lab.test.args(["net", "log", "--format", "json"]).any_stdout().run().stdout;
    let lines: Vec<serde_json::Value> = serde_json::from_str(&lines).expect("JSON");
    let pid: u64 = pid.parse().expect("a number");
    let named = lines.iter().find(|line| line["process"]["pid"] == pid).expect("a process");
    assert_eq!((&named["traffic"]["port"], &named["traffic"]["name"]), (&80.into(), &"allowed.test".into()));
}

/// Also those of a user of the box whose descriptors the supervisor may not see, where it has a range of ids.
#[test]
fn the_process_of_a_refused_connection_is_named() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"), Program("setpriv"));
    let lab = Lab::new("egress = []");
    let client = "import os, socket\n\
        open('/proc/self/comm', 'w').write('\\x1b[31mhostile')\n\
        for family, address in (socket.AF_INET, '203.0.113.9'), (socket.AF_INET6, '2001:db8:3::9'):\n\
        \x20   with socket.socket(family) as sock:\n\
        \x20       try: sock.connect((address, 80))\n\
        \x20       except OSError as error: print(error.strerror)\n\
        print('pid', os.getpid())\n";
    lab.test.file("client.py", client);
    let users: &[&str] = if identity() == Identity::Plain { &["0"] } else { &["0", "1000"] };
    let mut expected = String::new();
    for user in users {
        let command = format!("exec setpriv --reuid {user} python3 -c \"$(cat client.py)\"");
        let output = lab.test.sh(&command).any_stdout().run().stdout;
        let pid = output.strip_prefix("Connection refused\nConnection refused\npid ");
        let pid = pid.unwrap_or_else(|| panic!("{output}")).trim();
        for address in ["203.0.113.9", "[2001:db8:3::9]"] {
            expected += &format!("denied   tcp  {address}:80  by \\u{{1b}}[31mhostile ({pid})\n");
        }
    }
    assert_eq!(lab.log(), expected);
}

#[test]
fn the_process_of_a_refused_datagram_is_named() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test\"]");
    // The sockets stay until the log has asked about them: the box outlives the client.
    let client = "import os, socket, sys\n\
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]\n\
        for number, sock in enumerate(sockets):\n\
        \x20   sock.connect(('203.0.113.9', 7))\n\
        \x20   try: sock.send(b'x')\n\
        \x20   except OSError: pass\n\
        print('pid', os.getpid(), flush=True)\n\
        sys.stdin.read()\n";
    lab.test.file("client.py", client);
    let mut client = lab.background("python3 client.py");
    let pid: u64 = client.line().trim_start_matches("pid ").trim().parse().expect("a number");
    let denied = || {
        let lines = lab.test.args(["net", "log", "--format", "json"]).any_stdout().run().stdout;
        let lines: Vec<serde_json::Value> = serde_json::from_str(&lines).expect("JSON");
        lines.into_iter().any(|line| line["process"]["pid"] == pid && line["traffic"]["port"] == 7)
    };
    wait_for_change(&lab.test.boxes()[0].join("log"), "a refused datagram has a process", denied);
    client.close_stdin();
    client.wait();
    let log = lab.log();
    assert!(log.contains(&format!("denied   udp  203.0.113.9:7  by python3 ({pid})")), "{log}");
}

#[test]
fn aliases_are_followed_and_local_addresses_are_not_believed() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let names = "\"alias.test\", \"rebinding.test\", \"listed.test\", \"self.test\"";
    let lab = Lab::new(&format!("egress = [{names}, \"10.77.0.2:80\"]"));
    let probes =
        ["tcp:alias.test:80", "tcp:rebinding.test:80", "tcp:10.77.0.1:80", "tcp:listed.test:80", "tcp:real.test:80"];
    assert_eq!(lab.probe(&probes), ["open", "no name", "refused", "open", "open"]);
    // Everybody can reach that address, but what listens there is this machine's.
    assert_eq!(lab.probe(&["tcp:self.test:80", "tcp:198.51.100.3:80"]), ["no name", "refused"]);
    let log = lab.log();
    for name in ["rebinding.test", "self.test"] {
        assert!(log.contains(&format!("{name}  leads to a local address")), "{log}");
    }
    let lab = Lab::new("egress = [\"self.test\", \"198.51.100.3:80\"]");
    assert_eq!(lab.probe(&["tcp:self.test:80"]), ["open"]);
}

#[test]
fn the_box_follows_the_resolver_of_the_host() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"*.test\"]").with_resolv_conf("nameserver 127.0.0.1\nsearch search.test\n");
    let mut session = lab.background(
        "python3 probe.py tcp:short:80 tcp:vpn.test:80; read line; python3 probe.py tcp:vpn.test:80 tcp:short:80",
    );
    session.expect("tcp:short:80 open");
    session.expect("tcp:vpn.test:80 no name");
    // A VPN comes, whose server knows more; the search domain stays that of the start.
    std::fs::write(lab.folder.join("resolv.conf"), "nameserver 127.0.0.2\n").expect("write a file");
    session.say("go");
    session.expect("tcp:vpn.test:80 open");
    session.expect("tcp:short:80 open");
    session.wait();
}

#[test]
fn a_silent_name_server_is_passed_over_and_holds_nobody_up() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"*.test\"]").with_resolv_conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    let output = lab.run(
        "python3 probe.py tcp:silent.test:80 & \
         python3 probe.py $(for n in 1 2 3 4 5 6 7 8; do echo tcp:allowed.test:80 tcp:sub.allowed.test:80; done); wait",
    );
    for (line, times) in
        [("silent.test:80 open slowly", 1), ("tcp:allowed.test:80 open", 8), ("sub.allowed.test:80 open", 8)]
    {
        let line = |own: &&str| own.ends_with(line);
        assert_eq!(output.lines().filter(line).count(), times, "{output}");
    }
}

#[test]
fn the_bandwidth_is_what_was_set() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("bandwidth = { up = \"40mbit\", down = \"80mbit\" }");
    // A limit that is wrong is wrong each time. What a machine with other work does to a transfer of a second is not, nor are
    // the pauses of some versions of `pasta`.
    let mut measured = Vec::new();
    for _ in 0..20 {
        let rates = lab.probe(&["rate:198.51.100.10:9"]).remove(0);
        let rates: Vec<f64> = rates.split(' ').take(2).map(|rate| rate.parse().expect("a number")).collect();
        let within = |rate: f64, set: f64| (0.9 * set..=1.1 * set).contains(&rate);
        if within(rates[0], 40.0) && within(rates[1], 80.0) {
            return;
        }
        measured.push(rates);
    }
    panic!("{measured:?} Mbit/s");
}

#[test]
fn what_is_learned_is_enough() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("");
    // Two names of one address, asked for before either is used.
    let inner =
        "python3 -c 'import socket as s; [s.gethostbyname(name) for name in (\"real.test\", \"sub.allowed.test\")]
s.create_connection((\"198.51.100.10\", 80))'
        python3 probe.py udp:203.0.113.9:7";
    std::fs::write(lab.test.project().join("learn.sh"), inner).expect("a script");
    let learned = lab.devbox(["net", "learn", "--", "sh", "learn.sh"]);
    assert!(
        learned.ends_with("[network]\negress = [\n    \"real.test:80\",\n    \"sub.allowed.test:80\",\n    \"udp/203.0.113.9:7\",\n]\n"),
        "{learned}"
    );
}
