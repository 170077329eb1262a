//! What `/etc/resolv.conf` of the host says. Pure.

use std::net::{IpAddr, Ipv4Addr};

/// One name server of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub address: IpAddr,
    /// The address is the host's own (a loopback address, a bridge): out of reach from another network namespace.
    pub local: bool,
}

/// How the host resolves names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostResolver {
    /// In the order of the file.
    pub nameservers: Vec<Nameserver>,
    /// Domains to complete short names with.
    pub search: Vec<String>,
    /// Options as written (`ndots:2`).
    pub options: Vec<String>,
}

impl HostResolver {
    /// Reads a `resolv.conf`. `is_local` tells whether an address is one of the host's own.
    ///
    /// As in glibc: a file without a name server means 127.0.0.1, the last `search` or `domain` line counts, options add
    /// up. Addresses with a scope (`fe80::1%eth0`) are left out: the interface is another one in the box.
    pub fn parse(text: &str, is_local: impl Fn(IpAddr) -> bool) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    if let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) {
                        let local = address.is_loopback() || address.is_unspecified() || is_local(address);
                        resolver.nameservers.push(Nameserver { address, local });
                    }
                }
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => resolver.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        if resolver.nameservers.is_empty() {
            resolver.nameservers.push(Nameserver { address: IpAddr::V4(Ipv4Addr::LOCALHOST), local: true });
        }
        resolver
    }
}

/// Whether `/proc/net/route` or `/proc/net/ipv6_route` has a default route through a real interface.
#[must_use]
pub fn has_default_route(ipv4_table: &str, ipv6_table: &str) -> bool {
    let ipv4 = ipv4_table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("00000000") && words.nth(5) == Some("00000000")
    });
    // Each table ends with an unreachable default on `lo`.
    let ipv6 = ipv6_table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 10 && words[0].bytes().all(|byte| byte == b'0') && words[1] == "00" && words[9] != "lo"
    });
    ipv4 || ipv6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_like_libc() {
        let text = "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.9\nnameserver fe80::1%eth0\nnameserver bad\n\
                    domain a.example\nsearch b.example c.example\noptions edns0 ndots:2\noptions rotate\n";
        let own: IpAddr = "192.0.2.9".parse().unwrap();
        let resolver = HostResolver::parse(text, |address| address == own);
        let servers: Vec<_> = resolver.nameservers.iter().map(|s| (s.address.to_string(), s.local)).collect();
        assert_eq!(servers, [("127.0.0.53".to_owned(), true), ("192.0.2.9".to_owned(), true)]);
        assert_eq!(resolver.search, ["b.example", "c.example"]);
        assert_eq!(resolver.options, ["edns0", "ndots:2", "rotate"]);
        let empty = HostResolver::parse("", |_| false);
        assert_eq!(empty.nameservers[0].address, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn default_routes() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let v4 = format!("{head}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        let lan = format!("{head}eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
        let zero = "0".repeat(32);
        let v6 = format!("{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 1 0 00000003 eth0\n");
        let lo = format!("{zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n");
        assert!(has_default_route(&v4, &lo));
        assert!(has_default_route(head, &v6));
        assert!(!has_default_route(&lan, &lo));
        assert!(!has_default_route("", ""));
    }
}
