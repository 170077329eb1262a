//! `pasta`: the box gets a copy of the host's address and routes.
//!
//! The namespaces are handed over as standard input and output. A path below `/proc/PID` would not do: init makes itself
//! undumpable, and then nobody may open its namespaces. Other numbers would not do either: newer versions close all
//! descriptors above 2 as they start. Its process id, written when everything is set up, goes to the same pipe as its
//! messages: one descriptor tells both success and failure.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::plan::{DNS_FORWARD_V4, DNS_FORWARD_V6};
use super::{INTERFACE, NetTarget};
use crate::process::{ProcessError, Program, Running};

/// The options, without the program. Pure.
///
/// `nameservers` are the box's; `own_userns` tells whether the box has a user namespace of its own; `root` whether we are the host's root.
#[must_use]
pub fn arguments(nameservers: &[IpAddr], own_userns: bool, root: bool) -> Vec<OsString> {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
    // In the foreground it stays our child, and its messages come to us.
    add(&["--foreground", "--quiet", "--config-net", "--ns-ifname", INTERFACE]);
    add(&["--netns", "/proc/self/fd/0", "--no-netns-quit"]);
    if own_userns {
        add(&["--userns", "/proc/self/fd/1"]);
    } else {
        add(&["--netns-only"]);
    }
    if root {
        // It would become `nobody`, who may not enter a namespace that root made. It gives up its capabilities anyway.
        add(&["--runas", "0"]);
    }
    // Nothing of the box is reachable from outside, and the host's loopback not from the box.
    add(&["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", "--no-map-gw"]);
    // Only where the box uses it: in Debian 12's version answers of the host's first resolver would come from the forward
    // address even when they were asked for at its own.
    for forward in [IpAddr::V4(DNS_FORWARD_V4), IpAddr::V6(DNS_FORWARD_V6)] {
        if nameservers.contains(&forward) {
            add(&["--dns-forward", &forward.to_string()]);
        }
    }
    add(&["--pid", "/proc/self/fd/2"]);
    arguments.into_iter().map(OsString::from).collect()
}

/// Starts `program` for `target`, whose `resolv.conf` names `nameservers`.
pub fn start(program: &Path, nameservers: &[IpAddr], target: NetTarget) -> Result<Running, ProcessError> {
    let root = rustix::process::geteuid().is_root();
    let mut command =
        Program::new(program).args(arguments(nameservers, target.user.is_some(), root)).stdin(target.net).long_lived();
    if let Some(user) = target.user {
        command = command.stdout(user);
    }
    command.start()
}

/// Waits until addresses and routes are there.
pub fn wait_until_ready(running: &mut Running, timeout: Duration) -> Result<(), ProcessError> {
    let pid = running.pid().to_string();
    running.wait_for_line(timeout, |line| line == pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_by_who_runs_it() {
        let has =
            |own_userns, root, word: &str| arguments(&[], own_userns, root).iter().any(|argument| argument == word);
        for (own_userns, root) in [(true, false), (true, true), (false, true)] {
            assert!(has(own_userns, root, "--no-map-gw") && !has(own_userns, root, "--dns-forward"));
            assert_eq!(has(own_userns, root, "--userns"), own_userns);
            assert_eq!(has(own_userns, root, "--netns-only"), !own_userns);
            assert_eq!(has(own_userns, root, "--runas"), root);
        }
    }

    #[test]
    fn forwards_only_what_the_box_uses() {
        let arguments = arguments(&["192.0.2.1".parse().unwrap(), IpAddr::V4(DNS_FORWARD_V4)], true, false);
        let forwards = arguments.windows(2).filter(|pair| pair[0] == "--dns-forward");
        assert_eq!(forwards.map(|pair| pair[1].to_str().unwrap()).collect::<Vec<_>>(), ["169.254.1.1"]);
    }
}
