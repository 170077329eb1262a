//! Ports as they are written in a profile and on the command line, in docker's manner. Pure.
//!
//! ```text
//! [ADDRESS:][HOST-PORT:]BOX-PORT[/PROTOCOL]     8080:80   127.0.0.1:5432:5432/tcp   [::1]:53:53/udp   8000-8010:9000-9010
//! ```
//!
//! Unlike docker's, a port without an address is bound on the host's loopback alone.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The longest range that one entry can name.
const MAX_RANGE: u16 = 1024;

/// What runs over a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the box, and where it is to be reached on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Published {
    /// An address of the host; `None`: its loopback, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The host's port; `None`: one that is free.
    pub host_port: Option<u16>,
    /// The box's port.
    pub box_port: u16,
    /// Of both.
    pub protocol: Protocol,
}

impl Published {
    /// Whether other machines may reach it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.address.is_some_and(|address| !address.to_canonical().is_loopback())
    }
}

/// What is said of ports of the box beside whether they are published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The first of them.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// What they are for.
    pub label: Option<String>,
    /// They are not forwarded by themselves.
    pub is_ignored: bool,
}

impl Attributes {
    /// What `all` say of `port`: what names it alone goes before a range.
    #[must_use]
    pub fn of(all: &[Self], port: u16) -> Option<&Self> {
        let fitting = all.iter().filter(|said| (said.first..=said.last).contains(&port));
        fitting.min_by_key(|said| said.last - said.first)
    }
}

impl std::fmt::Display for Published {
    /// In the form that [`parse_published`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        match self.host_port {
            Some(port) => write!(f, "{port}:")?,
            None if self.address.is_some() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}/{}", self.box_port, self.protocol)
    }
}

/// A port of the host's loopback that the box reaches at its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// The port, on both sides.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Reads an entry of `ports`; a range gives one [`Published`] for each port. The error says what is wrong, as a label.
pub fn parse_published(text: &str) -> Result<Vec<Published>, &'static str> {
    let (rest, protocol) = split_protocol(text)?;
    let (address, rest) = split_address(rest)?;
    let (host, inside) = match rest.rsplit_once(':') {
        Some((host, inside)) => (host, inside),
        None => ("", rest),
    };
    let (first, count) = range(inside)?;
    let hosts = match host {
        "" => None,
        host => match range(host)? {
            (first_host, host_count) if host_count == count => Some(first_host),
            _ => return Err("the two ranges differ in length"),
        },
    };
    Ok((0..count)
        .map(|offset| Published {
            address,
            host_port: hosts.map(|first| first + offset),
            box_port: first + offset,
            protocol,
        })
        .collect())
}

/// Reads a port of the host's, as `5432` or `53/udp`.
pub fn parse_host_port(text: &str) -> Result<HostPort, &'static str> {
    let (rest, protocol) = split_protocol(text)?;
    Ok(HostPort { port: port(rest)?, protocol })
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), &'static str> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((rest, "tcp")) => Ok((rest, Protocol::Tcp)),
        Some((rest, "udp")) => Ok((rest, Protocol::Udp)),
        Some(_) => Err("the protocols are `tcp` and `udp`"),
    }
}

/// The address, if there is one, and what follows its colon.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:").ok_or("an IPv6 address ends with `]:`")?;
        let address: Ipv6Addr = address.parse().map_err(|_| "this is no IPv6 address")?;
        return Ok((Some(address.into()), rest));
    }
    match text.split_once(':') {
        Some((address, rest)) if rest.contains(':') => {
            if rest.matches(':').count() > 1 {
                return Err("an IPv6 address stands in brackets");
            }
            let address: IpAddr = address.parse().map_err(|_| "this is no address; names are not looked up")?;
            Ok((Some(address), rest))
        }
        _ => Ok((None, text)),
    }
}

/// `80` or `8000-8010`: the first port and how many.
fn range(text: &str) -> Result<(u16, u16), &'static str> {
    let Some((first, last)) = text.split_once('-') else { return Ok((port(text)?, 1)) };
    let (first, last) = (port(first)?, port(last)?);
    match last.checked_sub(first) {
        None => Err("the range ends before it begins"),
        Some(more) if more >= MAX_RANGE => Err("a range has 1024 ports at most"),
        Some(more) => Ok((first, more + 1)),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err("a port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports() {
        for (text, expected) in [
            ("80", &["80/tcp"][..]),
            ("8080:80", &["8080:80/tcp"]),
            (":80", &["80/tcp"]),
            ("127.0.0.1:5432:5432/tcp", &["127.0.0.1:5432:5432/tcp"]),
            ("0.0.0.0::80", &["0.0.0.0::80/tcp"]),
            ("[::1]:53:53/udp", &["[::1]:53:53/udp"]),
            ("[::]::53/udp", &["[::]::53/udp"]),
            ("8000-8002:9000-9002", &["8000:9000/tcp", "8001:9001/tcp", "8002:9002/tcp"]),
            ("9000-9001/udp", &["9000/udp", "9001/udp"]),
        ] {
            let parsed = parse_published(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            let shown: Vec<String> = parsed.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{text}");
            for (one, shown) in parsed.iter().zip(&shown) {
                assert_eq!(parse_published(shown).unwrap(), [*one], "{shown}");
            }
        }
    }

    #[test]
    fn what_is_no_port() {
        for (text, fault) in [
            ("", "a port is a number"),
            ("0", "a port is a number"),
            ("+80", "a port is a number"),
            ("65536", "a port is a number"),
            ("http", "a port is a number"),
            ("80:", "a port is a number"),
            ("80/sctp", "the protocols"),
            ("host:80:80", "no address"),
            ("::1:80:80", "in brackets"),
            ("[::1]80", "ends with `]:`"),
            ("[1.2.3.4]:1:1", "no IPv6 address"),
            ("10-5", "ends before"),
            ("1-1025", "1024 ports at most"),
            ("1-3:1-2", "differ in length"),
            ("1:1-2", "differ in length"),
        ] {
            let got = parse_published(text).unwrap_err();
            assert!(got.contains(fault), "{text}: {got}");
        }
    }

    #[test]
    fn who_is_public() {
        for (text, public) in [
            ("80", false),
            ("127.0.0.2:1:1", false),
            ("[::1]:1:1", false),
            ("0.0.0.0:1:1", true),
            ("[::]:1:1", true),
            ("192.0.2.1:1:1", true),
            ("[::ffff:127.0.0.1]:1:1", false),
        ] {
            assert_eq!(parse_published(text).unwrap()[0].is_public(), public, "{text}");
        }
    }

    #[test]
    fn host_ports() {
        assert_eq!(parse_host_port("53/udp").unwrap(), HostPort { port: 53, protocol: Protocol::Udp });
        assert_eq!(parse_host_port("5432").unwrap().to_string(), "5432/tcp");
        assert!(parse_host_port("1:2").is_err());
    }
}
