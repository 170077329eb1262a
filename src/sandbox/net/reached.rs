//! What a box tried to reach, and whether it could: the lines of `net.jsonl`, which `devbox net log` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::profile::egress::{Rule, Target};
use crate::profile::ports::Protocol;

/// One connection, datagram or question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Whether it was let through.
    pub verdict: Verdict,
    /// What it was.
    pub protocol: TrafficProtocol,
    /// The name that the box asked for last before it used the address, or that it asked for now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Where it went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
    /// To which port; none for protocols without.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// The user of the box who sent it, as an id of the box's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// The kernel's number of the socket, by which the process is found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub socket: Option<u64>,
    /// Why a name was not asked, or an answer not believed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}

/// Whether something was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Allowed,
    /// It was not.
    Denied,
}

/// What something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficProtocol {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
    /// A message of the network's own.
    Icmp,
    /// A question for a name.
    Dns,
    /// Something else over IP.
    Other,
}

/// Why the resolver said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The list does not name it.
    NotListed,
    /// The name leads to an address of this machine or of a local network, which the list does not name.
    LocalAddress,
}

/// A line of `net.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was seen, as RFC 3339 writes it.
    pub time: String,
    /// What.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traffic: Option<Traffic>,
    /// Who, if that could still be told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<Process>,
    /// So many more were seen at that time, and not written down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub more: Option<u64>,
}

/// A process of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the box.
    pub pid: i32,
    /// Its name, as `ps` shows it. Untrusted.
    pub command: String,
}

impl Process {
    /// That of a thread of a box, by the thread's number here.
    #[must_use]
    pub fn of(thread: u32) -> Option<Self> {
        let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
        Self::parse_status(&String::from_utf8_lossy(&status))
    }

    fn parse_status(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        // One number for each pid namespace, the innermost last.
        let pid = field("NStgid")?.split_whitespace().last()?.parse().ok()?;
        Some(Self { pid, command: field("Name")?.to_owned() })
    }
}

impl std::fmt::Display for TrafficProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Dns => "dns",
            Self::Other => "other",
        })
    }
}

/// The list that allows what `traffic` reached: names where one was asked for, else addresses.
pub fn needed<'a>(traffic: impl IntoIterator<Item = &'a Traffic>) -> Vec<Rule> {
    let mut ports: BTreeMap<(Target, Protocol), BTreeSet<u16>> = BTreeMap::new();
    for seen in traffic {
        let protocol = match seen.protocol {
            TrafficProtocol::Tcp => Protocol::Tcp,
            TrafficProtocol::Udp => Protocol::Udp,
            TrafficProtocol::Icmp | TrafficProtocol::Dns | TrafficProtocol::Other => continue,
        };
        let (Verdict::Allowed, Some(address), Some(port)) = (seen.verdict, seen.address, seen.port) else { continue };
        let target = match &seen.name {
            // One that no list can have was refused by whoever was asked for it.
            Some(name) if name.contains('\\') => continue,
            Some(name) => Target::Name(name.clone()),
            None => Target::Network(address, if address.is_ipv4() { 32 } else { 128 }),
        };
        ports.entry((target, protocol)).or_default().insert(port);
    }
    ports
        .into_iter()
        .map(|((target, protocol), ports)| Rule {
            protocol,
            target,
            ports: ports.into_iter().map(|port| (port, port)).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_numbered_by_the_box() {
        let status = "Name:\tsh\\n\nUmask:\t0022\nNgid:\t0\nNStgid:\t4711\t12\nNSpid:\t4712\t13\n";
        assert_eq!(Process::parse_status(status), Some(Process { pid: 12, command: "sh\\n".to_owned() }));
        assert_eq!(Process::parse_status("Name:\tsh\n"), None);
    }

    #[test]
    fn what_was_reached_is_what_is_needed() {
        let seen = |protocol, name: Option<&str>, address: &str, port| Traffic {
            verdict: Verdict::Allowed,
            protocol,
            name: name.map(str::to_owned),
            address: address.parse().ok(),
            port,
            uid: None,
            socket: None,
            reason: None,
        };
        let traffic = [
            seen(TrafficProtocol::Tcp, Some("a.example"), "192.0.2.1", Some(443)),
            seen(TrafficProtocol::Tcp, Some("a.example"), "192.0.2.2", Some(80)),
            seen(TrafficProtocol::Tcp, Some("a.example"), "192.0.2.2", Some(80)),
            seen(TrafficProtocol::Dns, Some("unused.example"), "", None),
            seen(TrafficProtocol::Udp, None, "192.0.2.3", Some(123)),
            seen(TrafficProtocol::Tcp, None, "2001:db8::1", Some(22)),
            seen(TrafficProtocol::Icmp, None, "192.0.2.3", None),
        ];
        let rules: Vec<String> = needed(&traffic).iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["a.example:80,443", "udp/192.0.2.3:123", "[2001:db8::1]:22"]);
    }
}
