//! What a box may reach, as `egress` of a profile lists it. Pure.
//!
//! ```text
//! [PROTOCOL/]TARGET[:PORTS]     packages.example:443   *.github.com   udp/192.0.2.53:53   10.0.0.0/8:22   [2001:db8::/32]:80,8000-8010
//! ```
//!
//! TCP without a protocol, every port without ports. `*.x` stands for what is below `x`, at any depth, but not for `x`
//! itself. Addresses of IPv6 are in brackets, so that their colons and that of the ports cannot be mistaken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use serde::{Serialize, Serializer};

use super::ports::Protocol;

/// The longest name of the domain name system, in bytes, as it is written.
const MAX_NAME: usize = 253;
/// The longest part of a name between two dots.
const MAX_LABEL: usize = 63;

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Which protocol.
    pub protocol: Protocol,
    /// Who is reached.
    pub target: Target,
    /// First and last port of each range, in the order of the entry; never empty.
    pub ports: Vec<(u16, u16)>,
}

/// Who is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// This name: lower case, without a dot at its end.
    Name(String),
    /// The names below this one.
    Below(String),
    /// The addresses that begin with these bits; the others are zero.
    Network(IpAddr, u8),
}

impl Target {
    /// Whether the name `name` (lower case, without a dot at its end) is meant.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Below(parent) => is_below(name, parent),
            Self::Network(..) => false,
        }
    }

    /// Whether the address is meant.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network, bits) => {
                network.is_ipv4() == address.is_ipv4() && masked(address, *bits) == *network
            }
            Self::Name(_) | Self::Below(_) => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Name(name)) => self.names(name),
            (Self::Below(parent), Self::Below(other)) => other == parent || is_below(other, parent),
            (Self::Network(_, bits), Self::Network(other, other_bits)) => bits <= other_bits && self.contains(*other),
            _ => false,
        }
    }
}

impl Rule {
    /// Whether everything that `other` allows is allowed by this rule alone.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let port = |(first, last): &(u16, u16)| self.ports.iter().any(|(from, to)| from <= first && last <= to);
        self.protocol == other.protocol && self.target.covers(&other.target) && other.ports.iter().all(port)
    }
}

/// The rules of `wanted` that no rule of `allowed` covers.
pub fn beyond<'a>(wanted: &'a [Rule], allowed: &'a [Rule]) -> impl Iterator<Item = &'a Rule> {
    wanted.iter().filter(|rule| !allowed.iter().any(|own| own.covers(rule)))
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Network(IpAddr::V4(address), 32) => write!(f, "{address}"),
            Self::Network(IpAddr::V6(address), 128) => write!(f, "[{address}]"),
            Self::Network(IpAddr::V4(address), bits) => write!(f, "{address}/{bits}"),
            Self::Network(IpAddr::V6(address), bits) => write!(f, "[{address}/{bits}]"),
        }
    }
}

impl std::fmt::Display for Rule {
    /// In the form that [`parse`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.protocol != Protocol::Tcp {
            write!(f, "{}/", self.protocol)?;
        }
        write!(f, "{}", self.target)?;
        if self.ports == [(1, u16::MAX)] {
            return Ok(());
        }
        for (index, (first, last)) in self.ports.iter().enumerate() {
            f.write_str(if index == 0 { ":" } else { "," })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}-{last}")? }
        }
        Ok(())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is wrong with an entry: the bytes of it that are, and a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Within the entry.
    pub bytes: RangeInclusive<usize>,
    /// What is wrong there.
    pub label: &'static str,
}

/// Reads one entry.
pub fn parse(text: &str) -> Result<Rule, Fault> {
    let fault = |part: &str, label| {
        // `part` is a part of `text`.
        let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
        Fault { bytes: start..=(start + part.len().max(1) - 1), label }
    };
    let (protocol, rest) = match text.split_once('/') {
        Some(("tcp", rest)) => (Protocol::Tcp, rest),
        Some(("udp", rest)) => (Protocol::Udp, rest),
        Some((word, _)) if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            return Err(fault(word, "the protocols are `tcp` and `udp`"));
        }
        Some((scheme, _)) if scheme.ends_with(':') && !scheme.starts_with('[') => {
            return Err(fault(scheme, "this is no address of a page: write the name and the port, `example.org:443`"));
        }
        _ => (Protocol::Tcp, text),
    };
    let (target, ports) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (address, ports) = inside.split_once(']').ok_or_else(|| fault(rest, "the `]` is missing"))?;
            let behind = ports;
            let ports = behind.strip_prefix(':');
            if ports.is_none() && !behind.is_empty() {
                return Err(fault(behind, "after the `]` a `:` and ports are expected"));
            }
            (network(address, true).map_err(|label| fault(address, label))?, ports)
        }
        None => {
            let (target, ports) = match rest.split_once(':') {
                Some((target, ports)) => (target, Some(ports)),
                None => (rest, None),
            };
            if ports.is_some_and(|ports| ports.contains(':')) {
                return Err(fault(rest, "an IPv6 address is written in brackets: `[2001:db8::1]:443`"));
            }
            (target_of(target).map_err(|label| fault(target, label))?, ports)
        }
    };
    let ports = match ports {
        None => vec![(1, u16::MAX)],
        Some(ports) => {
            ports.split(',').map(|part| range(part).map_err(|label| fault(part, label))).collect::<Result<_, _>>()?
        }
    };
    Ok(Rule { protocol, target, ports })
}

fn target_of(text: &str) -> Result<Target, &'static str> {
    let last = text.rsplit('.').next().unwrap_or_default();
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) && text.contains('/') {
        return Err("a name has no path: leave out what follows the `/`");
    }
    if text.contains('/') || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())) {
        return network(text, false);
    }
    match text.strip_prefix("*.") {
        Some(parent) => name(parent).map(Target::Below),
        None => name(text).map(Target::Name),
    }
}

fn network(text: &str, v6: bool) -> Result<Target, &'static str> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let (address, most) = if v6 {
        (address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| "this is no IPv6 address")?, 128)
    } else {
        (address.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| "this is no IPv4 address")?, 32)
    };
    if address.to_canonical() != address {
        return Err("this is an IPv4 address: write it as one");
    }
    let bits = match bits {
        None => most,
        Some(bits) => number(bits)
            .and_then(|bits| u8::try_from(bits).ok())
            .filter(|bits| *bits <= most)
            .ok_or("the length of the prefix is too long or no number")?,
    };
    if masked(address, bits) != address {
        return Err("bits behind the prefix are set: is the prefix longer?");
    }
    Ok(Target::Network(address, bits))
}

/// `address` with all but its first `bits` bits cleared.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err("a name or an address is missing");
    }
    if !text.is_ascii() {
        return Err("write the name as it is asked for: `xn--...`");
    }
    if text.contains('*') {
        return Err("a `*` stands for what is before a name: `*.example.org`");
    }
    let fits = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > MAX_NAME || !text.split('.').all(fits) {
        return Err("this is no name of a host");
    }
    Ok(text.to_ascii_lowercase())
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn range(text: &str) -> Result<(u16, u16), &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text| {
        number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).ok_or("ports are 1 to 65535")
    };
    match (port(first)?, port(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        _ => Err("the range ends before it begins"),
    }
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
