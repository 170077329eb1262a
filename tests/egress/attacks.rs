//! What root of a box can do about its egress list.

use crate::lab::Lab;
use crate::require;
use crate::support::background::Background;

/// Runs `attack` as root of the box, and then looks whether it helped.
fn attack(attack: &str) {
    let lab = Lab::new("egress = [\"allowed.test\"]");
    let output = lab.run(&format!("{{ {attack}; }} 2>&1; python3 probe.py tcp:203.0.113.9:80 tcp:allowed.test:80"));
    assert!(output.contains("tcp:203.0.113.9:80 refused\n"), "{output}");
    assert!(output.contains("tcp:allowed.test:80 open\n"), "{output}");
    assert!(!output.contains("hello") && !output.contains("SENT"), "{output}");
}

#[test]
fn an_address_that_was_not_asked_for_is_not_reached() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = [\"allowed.test\"]");
    let probes = ["tcp:198.51.100.10:80", "tcp:allowed.test:80", "tcp:198.51.100.10:80"];
    assert_eq!(lab.probe(&probes), ["refused", "open", "open"]);
}

#[test]
fn denied_names_leave_no_trace_outside() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
fn pieces_and_detours_are_no_way_around() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
fn the_filter_cannot_be_flushed() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    attack("nft flush ruleset; nft delete table inet devbox; iptables -F");
}

#[test]
fn namespaces_made_within_give_no_way_out() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let get = "curl -s -m 3 http://203.0.113.9/";
    attack(&format!(
        "unshare -Ur sh -c 'nft flush ruleset; {get}'; unshare -Urn sh -c 'ip link set lo up; {get}'; \
         unshare -Urnm nsenter --net=/proc/1/ns/net sh -c 'nft flush ruleset; {get}'; \
         nsenter --user=/proc/1/ns/user --net=/proc/1/ns/net nft flush ruleset"
    ));
}

#[test]
fn routes_and_devices_cannot_be_changed() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    attack(
        "ip address add 203.0.113.9/32 dev lo; ip route add 203.0.113.9/32 dev eth0; ip link set eth0 name lo0; \
         ip tuntap add dev t0 mode tun; ip link add v0 type veth; sysctl -w net.netfilter.nf_conntrack_max=1; \
         ip netns add n",
    );
}

#[test]
fn raw_packets_cannot_be_sent() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = []");
    let bounding = lab.run("grep CapBnd /proc/self/status");
    let bits = bounding.split_whitespace().nth(1).and_then(|bits| u64::from_str_radix(bits, 16).ok());
    let (net_admin, net_raw) = (1 << 12, 1 << 13);
    assert_eq!(bits.expect("a number") & (net_admin | net_raw), 0, "{bounding}");
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_written() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
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
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("python3"));
    let lab = Lab::new("egress = []");
    // Who is not answered tries again after a second, and after two: two minutes in all.
    let client = "import socket\n\
        refused = 0\n\
        for number in range(2000):\n\
        \x20   with socket.socket(socket.AF_INET) as sock:\n\
        \x20       try: sock.connect(('203.0.113.9', 1 + number))\n\
        \x20       except ConnectionRefusedError: refused += 1\n\
        print(refused)\n";
    lab.test.file("client.py", client);
    lab.test.sh("python3 client.py").stdout("2000\n").run();
    assert!(lab.log().contains("denied   tcp  203.0.113.9:1"));
}

#[test]
fn refusals_come_at_once_for_everybody() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("curl"));
    let lab = Lab::new("egress = []");
    let script = "curl -sS -m 300 https://example.com; curl -sS -m 300 http://203.0.113.9/; \
                  nft flush ruleset; unshare -Ur nft flush ruleset; curl -sS -m 300 http://203.0.113.9/; true";
    let output = lab.test.sh(script).any_stdout().any_stderr().run();
    assert!(!output.stderr.contains("timed out"), "{}", output.stderr);
    assert!(output.stderr.matches("connect").count() >= 2, "{}", output.stderr);
    assert!(!lab.test.args(["logs"]).any_stdout().run().stdout.contains("port opened"), "the resolver's own port");
    let log = lab.log();
    assert!(log.contains("denied   dns  example.com  not in the egress list"), "{log}");
    assert_eq!(log.matches("denied   tcp  203.0.113.9:80").count(), 2, "{log}");
}

#[test]
fn a_build_reaches_no_more_than_its_box() {
    require!(Lab, Userns, Overlay, Pasta, Program("nft"), Program("busybox"));
    let lab = Lab::new("");
    lab.test.root_with_busybox("root");
    lab.test.profile("[build]\n[network]\nmode = \"private\"\negress = [\"allowed.test:80\"]\n");
    // What is asked for by name is reached; busybox alone finds no names for its other programs.
    let tries = "for name in allowed.test forbidden.test; do busybox nslookup $name 127.0.0.11; done
        for host in 198.51.100.10 203.0.113.9; do busybox nc -w 3 $host 80 </dev/null && echo $host is open; done";
    lab.test.file("tries", tries);
    lab.test.file("Containerfile", "FROM scratch\nCOPY root tries /\nENV PATH=/bin\nRUN sh /tries >/got 2>&1; true\n");
    let got = lab.devbox(["run", "--", "cat", "/got"]);
    assert!(got.contains("198.51.100.10 is open\n") && got.contains("NXDOMAIN"), "{got}");
    assert!(!got.contains("203.0.113.9 is open"), "{got}");
}
