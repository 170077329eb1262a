//! The packet filter of a box with an egress list, as text for `nft`. Pure.
//!
//! ```text
//! output of the box's network namespace
//!   known connection, loopback ───────────────────────────── pass
//!   neighbour discovery of IPv6 ──────────────────────────── pass
//!   rule 0: address in the network, or in the sets n0v4, n0v6 ─ log "a", pass
//!   rule 1: ...
//!   connections, so many in a second ─ held: the agent refuses them
//!   everything else ─ log "d", TCP reset or ICMP "prohibited"
//! ```
//!
//! The sets are filled by the agent's resolver with the addresses of the rule's names, each for as long as the answer is
//! valid. A connection that is known goes on when its address is valid no longer. What other namespaces
//! would send through the box's is dropped.

use std::fmt::Write;
use std::net::IpAddr;

use crate::profile::egress::{Rule, Target};

/// The table's name.
pub const TABLE: &str = "devbox";
/// The group of `NFLOG` that packets are told to.
pub const LOG_GROUP: u16 = 1;
/// What is told of a packet that passes.
pub const ALLOWED: &str = "a";
/// What is told of a packet that does not.
pub const DENIED: &str = "d";
/// The group that connections are told to that the agent refuses.
pub const HELD_GROUP: u16 = 2;
/// So many connections of each family are left to the agent in a second.
pub const HELD_PER_SECOND: u32 = 50;
/// So many addresses of one rule are valid at a time.
pub const SET_SIZE: usize = 4096;

/// What a box may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// What the rules name, and nothing else.
    Only(Vec<Rule>),
    /// Everything; it is logged.
    Learn,
}

impl Egress {
    /// The rules; when everything is allowed, there are none.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Only(rules) => rules,
            Self::Learn => &[],
        }
    }
}

/// The set of a rule's addresses of one family.
#[must_use]
pub fn set_name(rule: usize, ipv6: bool) -> String {
    format!("n{rule}{}", if ipv6 { "v6" } else { "v4" })
}

/// The whole table.
#[must_use]
pub fn ruleset(egress: &Egress) -> String {
    let mut text = format!("table inet {TABLE} {{\n");
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for (index, rule) in egress.rules().iter().enumerate() {
        if !matches!(rule.target, Target::Network(..)) {
            for (ipv6, kind) in [(false, "ipv4_addr"), (true, "ipv6_addr")] {
                let name = set_name(index, ipv6);
                add(&format!("set {name} {{ type {kind}; flags timeout; size {SET_SIZE}; }}"));
            }
        }
    }
    add("chain output {\ntype filter hook output priority 0; policy drop;");
    add("ct state established accept\noif 1 accept");
    add("ct state related meta l4proto { icmp, icmpv6 } accept");
    add("icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept");
    // Who is in which multicast group, of interest to the cable alone.
    add("ip6 daddr ff02::/16 drop\nip daddr 224.0.0.0/24 drop");
    match egress {
        Egress::Learn => add(&format!("{} accept", log(LOG_GROUP, ALLOWED))),
        Egress::Only(rules) => {
            let allow = format!("{} accept", log(LOG_GROUP, ALLOWED));
            for (index, rule) in rules.iter().enumerate() {
                for address in addresses(index, &rule.target) {
                    add(&format!("{address} {} dport {{ {} }} {allow}", rule.protocol, ports(rule)));
                }
            }
            // Who answers knows no link, and reads no headers that may stand before that of TCP.
            for packet in ["ip hdrlength 5", "ip6 nexthdr tcp ip6 saddr != fe80::/10"] {
                let first = format!("{packet} tcp flags & (fin | syn | rst | ack) == syn");
                let limit = format!("limit rate {HELD_PER_SECOND}/second burst {HELD_PER_SECOND} packets");
                add(&format!("{first} {limit} {} drop", log(HELD_GROUP, DENIED)));
            }
            add(&log(LOG_GROUP, DENIED));
            add("meta l4proto tcp reject with tcp reset\nreject with icmpx admin-prohibited");
        }
    }
    add("}\nchain forward { type filter hook forward priority 0; policy drop; }\n}");
    text
}

fn log(group: u16, prefix: &str) -> String {
    format!("log group {group} prefix \"{prefix}\" snaplen 64")
}

fn addresses(index: usize, target: &Target) -> Vec<String> {
    match target {
        Target::Network(address @ IpAddr::V4(_), bits) => vec![format!("ip daddr {address}/{bits}")],
        Target::Network(address @ IpAddr::V6(_), bits) => vec![format!("ip6 daddr {address}/{bits}")],
        Target::Name(_) | Target::Below(_) => {
            vec![format!("ip daddr @{}", set_name(index, false)), format!("ip6 daddr @{}", set_name(index, true))]
        }
    }
}

/// Ranges that overlap or touch as one: `nft` refuses those that overlap.
fn ports(rule: &Rule) -> String {
    let mut sorted = rule.ports.clone();
    sorted.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    let mut text = String::new();
    for (first, last) in merged {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a `String` cannot fail.
        match first == last {
            true => write!(text, "{comma}{first}").unwrap_or_default(),
            false => write!(text, "{comma}{first}-{last}").unwrap_or_default(),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::egress::parse;

    fn only(rules: &[&str]) -> Egress {
        Egress::Only(rules.iter().map(|text| parse(text).unwrap()).collect())
    }

    #[test]
    fn rules_become_lines() {
        let text = ruleset(&only(&["a.example:443,80-90,85,91", "udp/10.0.0.0/8:53", "[2001:db8::/32]"]));
        for line in [
            "set n0v6 { type ipv6_addr; flags timeout; size 4096; }",
            "ip daddr @n0v4 tcp dport { 80-91, 443 } log group 1 prefix \"a\" snaplen 64 accept",
            "ip daddr 10.0.0.0/8 udp dport { 53 } log group 1 prefix \"a\" snaplen 64 accept",
            "ip6 daddr 2001:db8::/32 tcp dport { 1-65535 } log group 1 prefix \"a\" snaplen 64 accept",
            "reject with icmpx admin-prohibited",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
        assert!(!text.contains("n1v4"));
    }

    #[test]
    fn without_rules() {
        let nothing = ruleset(&only(&[]));
        assert!(nothing.contains("policy drop") && !nothing.contains("prefix \"a\""));
        let learn = ruleset(&Egress::Learn);
        assert!(!learn.contains("reject") && !learn.contains("prefix \"d\""));
    }
}
