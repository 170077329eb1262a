//! The helpers on the real kernel, on a host of the test's own: a network namespace with a default route, a resolver on
//! loopback, a server on another address. The test starts itself again inside it.

#![expect(clippy::print_stdout, reason = "a skipped test says why, and how long a helper took is worth seeing")]

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::paths;

const STAGE: &str = "DEVBOX_TEST_NET_STAGE";
const TIMEOUT: Duration = Duration::from_secs(400);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `test` again inside a fake host, or skips it. True if this is the run inside.
fn inside_a_host(test: &str, helper: &str, set_up: &str) -> bool {
    if paths::variable(STAGE).is_some() {
        return true;
    }
    let found = probe(PATH);
    let usable = found.tun == Tun::Usable
        && which::which_in(helper, Some(PATH), "/").is_ok()
        && ["unshare", "ip", "nsenter", "bash"].iter().all(|name| which::which_in(name, Some(PATH), "/").is_ok());
    if !usable {
        assert!(paths::variable("DEVBOX_TEST_REQUIRE").is_none(), "`{helper}` or `/dev/net/tun` is missing");
        println!("skipped: `{helper}` or `/dev/net/tun` is missing");
        return false;
    }
    let script = format!(
        "set -e; mount -t tmpfs none /mnt; echo nameserver 127.0.0.1 > /mnt/resolv.conf
         mount --bind /mnt/resolv.conf /etc/resolv.conf
         ip link set lo up; ip addr add 203.0.113.1/32 dev lo; {set_up}
         exec \"$0\" --exact sandbox::net::tests::{test} --nocapture"
    );
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(STAGE, "1")
        .env("PATH", PATH)
        .status()
        .unwrap();
    assert!(status.success(), "inside: {status}");
    false
}

/// A process in a user and network namespace of its own, as init is.
struct Init(Child);

impl Init {
    fn new() -> Self {
        Self::with_map(&["--map-root-user"]).unwrap()
    }

    /// `None` if the map cannot be made here.
    fn with_map(map: &[&str]) -> Option<Self> {
        let mut child = Command::new("unshare")
            .arg("--user")
            .args(map)
            .args(["--net", "sh", "-c", "echo; exec tail -f /dev/null"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if child.stdout.as_mut().unwrap().read_exact(&mut [0]).is_err() {
            child.wait().unwrap();
            return None;
        }
        Some(Self(child))
    }

    /// What a shell script in the namespaces prints.
    fn run(&self, script: &str) -> String {
        let output = Command::new("nsenter")
            .args(["--target", &self.0.id().to_string(), "--user", "--net", "--preserve-credentials"])
            .args(["timeout", "5", "bash", "-c", script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const UPLINK: &str = "ip link add up0 type veth peer name up1; ip addr add 198.51.100.2/24 dev up0
    ip link set up0 up; ip link set up1 up; ip route add default via 198.51.100.1";

/// Resolver, server and closed door of the host; what the box sees of them.
fn check_box(found: &Found, gateway: &str, resolver: &str) {
    let resolver = UdpSocket::bind((resolver, 53)).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((_, from)) = resolver.recv_from(&mut query) {
            resolver.send_to(b"answered", from).unwrap();
        }
    });
    let server = TcpListener::bind("203.0.113.1:8080").unwrap();
    std::thread::spawn(move || server.incoming().for_each(|client| client.unwrap().write_all(b"served").unwrap()));
    let closed = TcpListener::bind("127.0.0.1:8081").unwrap();
    closed.set_nonblocking(true).unwrap();

    let init = Init::new();
    let plan = plan(Mode::Private, found).unwrap();
    let started = Instant::now();
    let mut helper = start(&plan, NetTarget::of(init.0.id().cast_signed()).unwrap()).unwrap();
    helper.ready(TIMEOUT).unwrap();
    println!("{:?} ready after {:?}", plan.driver, started.elapsed());

    assert!(init.run("ip -4 -o addr show dev eth0").contains("inet "), "no address");
    assert!(init.run("ip -o link show dev lo").contains(",UP"), "no loopback");
    let server = plan.nameservers[0];
    // A query without questions: the responder does not read it, but a helper may look at its header.
    let query = format!(
        "exec 3<>/dev/udp/{server}/53; printf '\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\0\\0\\1\\0\\1' >&3; head -c 8 <&3"
    );
    assert_eq!(init.run(&query), "answered");
    assert_eq!(init.run("exec 3<>/dev/tcp/203.0.113.1/8080; cat <&3"), "served");
    for address in [gateway, "127.0.0.1"] {
        assert_eq!(init.run(&format!("timeout 1 bash -c 'exec 3<>/dev/tcp/{address}/8081' && echo open")), "");
    }
    assert!(closed.accept().is_err(), "the host's loopback was reached");

    let pid = helper.pid().unwrap();
    helper.stop().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn pasta_connects_a_box() {
    if inside_a_host("pasta_connects_a_box", "pasta", UPLINK) {
        let found = probe(PATH);
        assert!(found.default_route && found.resolver.nameservers[0].local);
        check_box(&Found { slirp: None, ..found }, "198.51.100.1", "127.0.0.1");
    }
}

#[test]
fn pasta_leaves_a_remote_resolver_alone() {
    let set_up = format!("{UPLINK}; echo nameserver 203.0.113.1 > /mnt/resolv.conf");
    if inside_a_host("pasta_leaves_a_remote_resolver_alone", "pasta", &set_up) {
        let mut found = Found { slirp: None, ..probe(PATH) };
        // Only this test's host has no other machine to put a resolver on.
        found.resolver.nameservers[0].local = false;
        check_box(&found, "198.51.100.1", "203.0.113.1");
    }
}

#[test]
fn slirp_connects_a_box() {
    if inside_a_host("slirp_connects_a_box", "slirp4netns", UPLINK) {
        check_box(&Found { pasta: None, ..probe(PATH) }, "10.0.2.2", "127.0.0.1");
    }
}

#[test]
fn pasta_without_a_route_says_why() {
    if inside_a_host("pasta_without_a_route_says_why", "pasta", ":") {
        let found = probe(PATH);
        assert!(matches!(plan(Mode::Private, &Found { slirp: None, ..found.clone() }), Err(NetError::NoRoute)));
        let plan = plan(Mode::Private, &Found { slirp: None, default_route: true, ..found }).unwrap();
        let init = Init::new();
        let mut helper = start(&plan, NetTarget::of(init.0.id().cast_signed()).unwrap()).unwrap();
        let error = helper.ready(TIMEOUT).unwrap_err();
        let NetError::Helper(cause) = error else { panic!("{error}") };
        println!("{cause}");
        assert!(cause.to_string().contains("interface"), "{cause}");
    }
}

#[test]
fn loopback_comes_up() {
    if inside_a_host("loopback_comes_up", "pasta", "ip link set lo down") {
        crate::sys::net::bring_up_loopback().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }
}

/// The maps that boxes have, on the real host: made by ourselves, and from a range by `newuidmap`.
#[test]
fn helpers_enter_every_kind_of_map() {
    let found = probe(PATH);
    if found.tun != Tun::Usable || !found.default_route {
        println!("skipped: no `/dev/net/tun` or no default route");
        return;
    }
    let alone = |pasta: bool| Found {
        pasta: found.pasta.clone().filter(|_| pasta),
        slirp: found.slirp.clone().filter(|_| !pasta),
        ..found.clone()
    };
    for map in [&["--map-root-user"][..], &["--map-root-user", "--map-auto"]] {
        for plan in [true, false].into_iter().filter_map(|pasta| plan(Mode::Private, &alone(pasta)).ok()) {
            let Some(init) = Init::with_map(map) else {
                println!("skipped: {map:?}");
                continue;
            };
            let started = Instant::now();
            let mut helper = start(&plan, NetTarget::of(init.0.id().cast_signed()).unwrap()).unwrap();
            helper.ready(TIMEOUT).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
            println!("{map:?} {:?} ready after {:?}", plan.driver, started.elapsed());
            assert!(init.run("ip -4 -o addr show dev eth0").contains("inet "), "no address");
            helper.stop().unwrap();
        }
    }
}

#[test]
fn helpers_die_with_the_thread_that_started_them() {
    if !inside_a_host("helpers_die_with_the_thread_that_started_them", "pasta", UPLINK) {
        return;
    }
    let found = probe(PATH);
    for found in [Found { slirp: None, ..found.clone() }, Found { pasta: None, ..found }] {
        let Ok(plan) = plan(Mode::Private, &found) else { continue };
        let init = Init::new();
        let target = NetTarget::of(init.0.id().cast_signed()).unwrap();
        let starter = std::thread::spawn(move || {
            let mut helper = start(&plan, target).unwrap();
            helper.ready(TIMEOUT).unwrap();
            let pid = helper.pid().unwrap();
            // Nothing but the end of the thread may end the helper.
            std::mem::forget(helper);
            pid
        });
        let pid = nix::unistd::Pid::from_raw(starter.join().unwrap().cast_signed());
        let status = nix::sys::wait::waitpid(pid, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Signaled(pid, nix::sys::signal::Signal::SIGKILL, false));
    }
}

#[test]
fn an_address_is_reachable_for_its_time() {
    let link = "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; ip addr add 198.51.100.2/24 dev d0";
    if !inside_a_host("an_address_is_reachable_for_its_time", "nft", link) {
        return;
    }
    let rules = filter::Egress::Only(vec![crate::profile::egress::parse("udp/a.test:9").unwrap()]);
    let file = Path::new("/mnt/rules");
    std::fs::write(file, filter::ruleset(&rules)).unwrap();
    assert!(Command::new("nft").arg("-f").arg(file).status().unwrap().success());
    let socket = UdpSocket::bind("198.51.100.2:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let is_reachable = |address: &str| socket.send_to(b"x", (address, 9)).is_ok();
    assert!(!is_reachable("198.51.100.7"));
    let mut sets = agent::egress::sets::Sets::new().unwrap();
    let allow = |sets: &mut agent::egress::sets::Sets, address: &str, milliseconds| {
        sets.allow(&[0], &[(address.parse().unwrap(), Duration::from_millis(milliseconds))]).unwrap();
    };
    let begun = Instant::now();
    allow(&mut sets, "198.51.100.7", 400);
    allow(&mut sets, "198.51.100.8", 100);
    // Another answer makes it last longer, never shorter.
    allow(&mut sets, "198.51.100.8", 60_000);
    allow(&mut sets, "198.51.100.8", 100);
    assert!(is_reachable("198.51.100.7"));
    while is_reachable("198.51.100.7") {
        assert!(begun.elapsed() < TIMEOUT);
        assert!(socket.recv(&mut [0]).is_err(), "there is nobody");
    }
    // The kernel counts in ticks, of 10 ms at most.
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    assert!(is_reachable("198.51.100.8"));
    allow(&mut sets, "198.51.100.7", 60_000);
    assert!(is_reachable("198.51.100.7"), "a new answer");
}
