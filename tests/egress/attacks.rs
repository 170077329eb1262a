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
    // What is asked for by name is reached; busybox alone finds no names for its other programs.
    let tries = "for name in allowed.test forbidden.test; do busybox nslookup $name 127.0.0.11; done
        for host in 198.51.100.10 203.0.113.9; do busybox nc -w 3 $host 80 </dev/null && echo $host is open; done";
    lab.test.file("tries", tries);
    lab.test.file("Containerfile", "FROM scratch\nCOPY root tries /\nENV PATH=/bin\nRUN sh /tries >/got 2>&1; true\n");
    let got = lab.devbox(["run", "--", "cat", "/got"]);
    assert!(got.contains("198.51.100.10 is open\n") && got.contains("NXDOMAIN"), "{got}");
    assert!(!got.contains("203.0.113.9 is open"), "{got}");
}
