//! Egress lists: what a box reaches, what it does not, and what root in it can do about that.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::require;
use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::files::wait_for_change;
use crate::support::{Identity, fixture, identity};

/// A host of its own for one test: see `tests/fixtures/egress/lab.sh`.
struct Lab {
    test: Devbox,
    folder: PathBuf,
}

impl Lab {
    fn new(egress: &str) -> Self {
        Devbox::host();
        let test = with_list(egress);
        let folder = test.path("lab");
        std::fs::create_dir(&folder).expect("a folder");
        Self { test, folder }
    }

    /// On a host with this `resolv.conf`.
    fn with_resolv_conf(self, content: &str) -> Self {
        std::fs::write(self.folder.join("resolv.conf"), content).expect("write a file");
        self
    }

    /// What the box prints; both streams.
    fn run(&self, script: &str) -> String {
        self.devbox(["run", "--", "sh", "-c", script])
    }

    /// What `devbox` prints on this host.
    fn devbox<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("run the lab");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A script that goes on in the box while the host changes.
    fn background(&self, script: &str) -> Background {
        Background::start(self.command(["run", "--", "sh", "-c", script]))
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        std::fs::remove_file(self.folder.join("ready")).unwrap_or_default();
        let inner = self.test.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh"]).arg(fixture("egress/lab.sh"));
        command.arg(&self.folder).arg(fixture("egress/lab.py")).arg(inner.get_program()).args(inner.get_args());
        command.env_clear();
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.test.project());
        command
    }

    /// Tries each from the box; what came of it, in the same order.
    fn probe(&self, probes: &[&str]) -> Vec<String> {
        let output = self.run(&format!("python3 probe.py {}", probes.join(" ")));
        let results = output.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        let results: Vec<String> = results.collect();
        assert_eq!(results.len(), probes.len(), "{output}");
        results
    }

    /// Which names the host's name server was asked.
    fn asked(&self) -> String {
        std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default()
    }
}

fn with_list(egress: &str) -> Devbox {
    let test = Devbox::shared(&format!("base = \"host\"\n[network]\nmode = \"private\"\n{egress}"));
    test.file("probe.py", std::fs::read(fixture("egress/probe.py")).expect("a fixture"));
    test
}

/// The lines of `devbox net log`, without their times.
fn log(test: &Devbox) -> String {
    let output = test.args(["net", "log"]).any_stdout().run().stdout;
    output.lines().filter_map(|line| Some(line.split_once("  ")?.1.to_owned() + "\n")).collect()
}

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
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("");
    assert_eq!(lab.probe(&EVERYTHING), ["open"; 6]);
    assert!(lab.asked().contains("forbidden.test"), "the box's resolver asks that of the host's loopback");
}

#[test]
fn only_what_is_listed_is_reached() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test:80\", \"[2001:db8:2::/48]:80\", \"udp/198.51.100.11:7\"]");
    assert_eq!(lab.probe(&EVERYTHING), ["open", "no name", "refused", "open", "refused", "refused"]);
    // The port, the protocol and names beside the listed one.
    let beside = ["tcp:allowed.test:81", "tcp:198.51.100.11:7", "udp:198.51.100.11:7", "tcp:sub.allowed.test:80"];
    assert_eq!(lab.probe(&beside), ["refused", "refused", "open", "no name"]);
    let log = log(&lab.test);
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
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
    let log = log(&lab.test);
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
    require!(Userns, Overlay, Pasta, Program("/usr/sbin/nft"), Program("python3"), Program("setpriv"));
    Devbox::host();
    let test = with_list("egress = []");
    let client = "import os, socket\n\
        open('/proc/self/comm', 'w').write('\\x1b[31mhostile')\n\
        for family, address in (socket.AF_INET, '203.0.113.9'), (socket.AF_INET6, '2001:db8:3::9'):\n\
        \x20   with socket.socket(family) as sock:\n\
        \x20       try: sock.connect((address, 80))\n\
        \x20       except OSError as error: print(error.strerror)\n\
        print('pid', os.getpid())\n";
    test.file("client.py", client);
    let users: &[&str] = if identity() == Identity::Plain { &["0"] } else { &["0", "1000"] };
    let mut expected = String::new();
    for user in users {
        let command = format!("exec setpriv --reuid {user} python3 -c \"$(cat client.py)\"");
        let output = test.sh(&command).any_stdout().run().stdout;
        let pid = output.strip_prefix("Connection refused\nConnection refused\npid ");
        let pid = pid.unwrap_or_else(|| panic!("{output}")).trim();
        for address in ["203.0.113.9", "[2001:db8:3::9]"] {
            expected += &format!("denied   tcp  {address}:80  by \\u{{1b}}[31mhostile ({pid})\n");
        }
    }
    assert_eq!(log(&test), expected);
}

#[test]
fn the_process_of_a_refused_datagram_is_named() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
    let log = log(&lab.test);
    assert!(log.contains(&format!("denied   udp  203.0.113.9:7  by python3 ({pid})")), "{log}");
}

#[test]
fn an_address_that_was_not_asked_for_is_not_reached() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test\"]");
    let probes = ["tcp:198.51.100.10:80", "tcp:allowed.test:80", "tcp:198.51.100.10:80"];
    assert_eq!(lab.probe(&probes), ["refused", "open", "open"]);
}

#[test]
fn denied_names_leave_no_trace_outside() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"*.allowed.test\", \"large.test\"]");
    let probes = ["txt:secret.forbidden.test:0", "txt:allowed.test:0", "txt:1.113.0.203.in-addr.arpa:0"];
    assert_eq!(lab.probe(&probes), ["no name", "no name", "no name"]);
    assert_eq!(lab.asked(), "");
    // Other servers are no way around.
    assert_eq!(lab.probe(&["udp:203.0.113.9:53", "tcp:203.0.113.9:53"]), ["refused", "refused"]);
    // What is permitted is asked, and what does not fit comes over TCP.
    assert_eq!(lab.probe(&["tcp:sub.allowed.test:80", "txt:large.test:0"]), ["open", "2440 bytes"]);
    assert!(lab.asked().contains("sub.allowed.test 1\n"), "{}", lab.asked());
}

#[test]
fn aliases_are_followed_and_local_addresses_are_not_believed() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"alias.test\", \"rebinding.test\", \"listed.test\", \"10.77.0.2:80\"]");
    let probes =
        ["tcp:alias.test:80", "tcp:rebinding.test:80", "tcp:10.77.0.1:80", "tcp:listed.test:80", "tcp:real.test:80"];
    assert_eq!(lab.probe(&probes), ["open", "no name", "refused", "open", "open"]);
    assert!(log(&lab.test).contains("rebinding.test  leads to a local address"));
}

#[test]
fn the_box_follows_the_resolver_of_the_host() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"*.test\"]").with_resolv_conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    let output = lab.run(
        "python3 probe.py tcp:silent.test:80 & \
         for n in 1 2 3 4 5 6 7 8; do python3 probe.py tcp:allowed.test:80 tcp:sub.allowed.test:80 & done; wait",
    );
    for (line, times) in
        [("silent.test:80 open slowly", 1), ("tcp:allowed.test:80 open", 8), ("sub.allowed.test:80 open", 8)]
    {
        let line = |own: &&str| own.ends_with(line);
        assert_eq!(output.lines().filter(line).count(), times, "{output}");
    }
}

#[test]
fn pieces_and_detours_are_no_way_around() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"udp/[2001:db8:2::/48]:7\", \"udp/198.51.100.0/24:7\"]");
    let probes = [
        "big:198.51.100.10:7",
        "big:203.0.113.9:7",
        "big:[2001:db8:2::10]:7",
        "big:[2001:db8:3::9]:7",
        "hop:[2001:db8:3::9]:7",
        "big:[2001:db8:2::10]:8",
    ];
    assert_eq!(lab.probe(&probes), ["open", "refused", "open", "refused", "refused", "refused"]);
}

#[test]
fn the_bandwidth_is_what_was_set() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("bandwidth = { up = \"40mbit\", down = \"80mbit\" }");
    let rates = lab.probe(&["rate:198.51.100.10:9"]).remove(0);
    let rates: Vec<f64> = rates.split(' ').take(2).map(|rate| rate.parse().expect("a number")).collect();
    assert!((36.0..=44.0).contains(&rates[0]) && (72.0..=88.0).contains(&rates[1]), "{rates:?} Mbit/s");
}

/// Runs `attack` as root of the box, and then looks whether it helped.
fn attack(attack: &str) {
    let lab = Lab::new("egress = [\"allowed.test\"]");
    let output = lab.run(&format!("{{ {attack}; }} 2>&1; python3 probe.py tcp:203.0.113.9:80 tcp:allowed.test:80"));
    assert!(output.contains("tcp:203.0.113.9:80 refused\n"), "{output}");
    assert!(output.contains("tcp:allowed.test:80 open\n"), "{output}");
    assert!(!output.contains("hello") && !output.contains("SENT"), "{output}");
}

#[test]
fn the_filter_cannot_be_flushed() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    attack("nft flush ruleset; nft delete table inet devbox; iptables -F");
}

#[test]
fn namespaces_made_within_give_no_way_out() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let get = "curl -s -m 3 http://203.0.113.9/";
    attack(&format!(
        "unshare -Ur sh -c 'nft flush ruleset; {get}'; unshare -Urn sh -c 'ip link set lo up; {get}'; \
         unshare -Urnm nsenter --net=/proc/1/ns/net sh -c 'nft flush ruleset; {get}'; \
         nsenter --user=/proc/1/ns/user --net=/proc/1/ns/net nft flush ruleset"
    ));
}

#[test]
fn routes_and_devices_cannot_be_changed() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    attack(
        "ip address add 203.0.113.9/32 dev lo; ip route add 203.0.113.9/32 dev eth0; ip link set eth0 name lo0; \
         ip tuntap add dev t0 mode tun; ip link add v0 type veth; sysctl -w net.netfilter.nf_conntrack_max=1; \
         ip netns add n",
    );
}

#[test]
fn raw_packets_cannot_be_sent() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let sender = "import socket\n\
        for family, kind, protocol in [(17, 3, 0x300), (17, 2, 0x800), (2, 3, 255), (2, 3, 1), (10, 3, 58)]:\n\
        \x20   try:\n\
        \x20       socket.socket(family, kind, protocol)\n\
        \x20       print('SENT', family, kind)\n\
        \x20   except OSError:\n\
        \x20       pass\n";
    attack(&format!("cat > raw.py <<'END'\n{sender}END\npython3 raw.py; unshare -Ur python3 raw.py"));
}

#[test]
fn the_permission_cannot_be_had_again() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = []");
    let bounding = lab.run("grep CapBnd /proc/self/status");
    let bits = bounding.split_whitespace().nth(1).and_then(|bits| u64::from_str_radix(bits, 16).ok());
    let (net_admin, net_raw) = (1 << 12, 1 << 13);
    assert_eq!(bits.expect("a number") & (net_admin | net_raw), 0, "{bounding}");
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_written() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test:80\"]");
    let flood = "import socket\n\
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        for _ in range(20000):\n\
        \x20   try:\n\
        \x20       sock.sendto(b'x', ('203.0.113.9', 9))\n\
        \x20   except OSError:\n\
        \x20       pass\n";
    lab.test.file("flood.py", flood);
    let output =
        lab.run("python3 flood.py & python3 probe.py tcp:allowed.test:80; wait; python3 probe.py udp:203.0.113.9:9");
    assert!(output.contains("tcp:allowed.test:80 open\n"), "{output}");
    // The number comes when a second is over, or the box, which its last session does not wait for.
    let mut log = Background::start(lab.test.command(["net", "log", "-f"]));
    let (mut written, mut more) = (0, 0);
    while written + more < 20_000 {
        let line = log.line();
        if let Some((_, rest)) = line.split_once("... and ") {
            more += rest.strip_suffix(" more").and_then(|count| count.parse::<u64>().ok()).expect("a number");
        } else if line.contains("203.0.113.9:9") {
            written += 1;
        }
    }
    assert!(written < 2000, "{written} lines, and {more} more");
}

/// More of them than wait for their process to be found.
#[test]
fn many_connections_are_refused_at_once() {
    require!(Userns, Overlay, Pasta, Program("/usr/sbin/nft"), Program("python3"));
    Devbox::host();
    let test = with_list("egress = []");
    // Who is not answered tries again after a second, and after two: two minutes in all.
    let client = "import socket\n\
        refused = 0\n\
        for number in range(2000):\n\
        \x20   with socket.socket(socket.AF_INET) as sock:\n\
        \x20       try: sock.connect(('203.0.113.9', 1 + number))\n\
        \x20       except ConnectionRefusedError: refused += 1\n\
        print(refused)\n";
    test.file("client.py", client);
    test.sh("python3 client.py").stdout("2000\n").run();
    assert!(log(&test).contains("denied   tcp  203.0.113.9:1"));
}

#[test]
fn what_is_learned_is_enough() {
    require!(Root, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("");
    let inner = "python3 probe.py tcp:allowed.test:80 udp:203.0.113.9:7";
    std::fs::write(lab.test.project().join("learn.sh"), inner).expect("a script");
    let learned = lab.devbox(["net", "learn", "--", "sh", "learn.sh"]);
    assert!(
        learned.ends_with("[network]\negress = [\n    \"allowed.test:80\",\n    \"udp/203.0.113.9:7\",\n]\n"),
        "{learned}"
    );
}

#[test]
fn refusals_come_at_once_for_everybody() {
    require!(Userns, Overlay, Pasta, Program("/usr/sbin/nft"), Program("curl"));
    Devbox::host();
    let test = with_list("egress = []");
    let script = "curl -sS -m 300 https://example.com; curl -sS -m 300 http://203.0.113.9/; \
                  nft flush ruleset; unshare -Ur nft flush ruleset; curl -sS -m 300 http://203.0.113.9/; true";
    let output = test.sh(script).any_stdout().any_stderr().run();
    assert!(!output.stderr.contains("timed out"), "{}", output.stderr);
    assert!(output.stderr.matches("connect").count() >= 2, "{}", output.stderr);
    assert!(!test.args(["logs"]).any_stdout().run().stdout.contains("port opened"), "the resolver's own port");
    let log = log(&test);
    assert!(log.contains("denied   dns  example.com  not in the egress list"), "{log}");
    assert_eq!(log.matches("denied   tcp  203.0.113.9:80").count(), 2, "{log}");
}

#[test]
fn a_list_that_names_the_mirror_is_enough_for_apt() {
    require!(Userns, Overlay, Pasta, Mirror, Program("/usr/sbin/nft"), Program("apt-get"));
    Devbox::host();
    let sources =
        Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]).output().expect("apt's sources");
    let sources = String::from_utf8_lossy(&sources.stdout);
    let mut entries: Vec<String> = sources.lines().filter_map(entry_of).collect();
    entries.sort();
    entries.dedup();
    let test = with_list(&format!("egress = [{}]", entries.join(", ")));
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
