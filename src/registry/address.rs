//! Which hosts a redirect may lead to: never nearer to us than the server that sends us there.
//!
//! A public registry could otherwise make us ask the services of this machine, of the local network or of the cloud that
//! we run in, and tell from errors what is there. Names are resolved first, and the connection goes to the address that
//! was looked at.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// From where an address can be reached; nearer ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// From everywhere.
    Public,
    /// From a site's own network.
    Private,
    /// From this machine.
    Loopback,
    /// From the same cable, where clouds have their metadata; and what is no address of one host.
    Link,
}

impl Reach {
    /// Of one address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        if address.is_loopback() {
            Self::Loopback
        } else if a == 0 || a >= 224 || address.is_link_local() {
            Self::Link
        } else if address.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        // Addresses that stand for IPv4 ones: mapped, compatible, NAT64, 6to4.
        let segments = address.segments();
        let embedded = match segments {
            [0, 0, 0, 0, 0, 0xffff | 0, a, b] if (a, b) != (0, 0) && (a, b) != (0, 1) => Some((a, b)),
            [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => Some((a, b)),
            _ => None,
        };
        if let Some((a, b)) = embedded {
            return Self::of_v4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)));
        }
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
            Self::Link
        } else if address.is_unique_local() || segments[0] & 0xffc0 == 0xfec0 {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The reach of each host that was resolved, for what it may redirect to.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, Reach>>);

impl Seen {
    /// The reach of a server that was connected to; an unknown one (a proxy resolved it) counts as public unless it is
    /// written as an address.
    pub fn reach(&self, host: &str) -> Reach {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        known.unwrap_or_else(|| literal(host).unwrap_or(Reach::Public))
    }

    pub fn note(&self, host: &str, reach: Reach) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), reach);
    }
}

/// The reach of a host that is written as an address, or is this machine by name.
pub(super) fn literal(host: &str) -> Option<Reach> {
    match host.parse() {
        Ok(address) => Some(Reach::of(address)),
        Err(_) => super::url::is_loopback(host).then_some(Reach::Loopback),
    }
}

/// A host has addresses, but none that we go to.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` is an address of this machine or of a network that the registry is not in")]
pub(super) struct Forbidden {
    pub address: IpAddr,
}

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Unresolved {
    /// In the resolver's words.
    reason: String,
}

/// Resolves names to addresses within a limit.
#[derive(Debug)]
pub(super) struct Guard {
    pub inner: DefaultResolver,
    /// The nearest that may be connected to.
    pub limit: Reach,
    pub seen: Arc<Seen>,
    /// A proxy is where the user says.
    pub proxy: Option<String>,
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.inner.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(_) | ureq::Error::HostNotFound => {
                ureq::Error::Other(Box::new(Unresolved { reason: error.to_string() }))
            }
            other => other,
        })?;
        let host = uri.host().unwrap_or_default();
        if self.proxy.as_deref() == Some(host) {
            return Ok(addresses);
        }
        let mut allowed = self.empty();
        let mut nearest = Reach::Public;
        let reaches = |address: &&SocketAddr| Reach::of(address.ip()) <= self.limit;
        for address in addresses.iter().filter(reaches) {
            nearest = nearest.max(Reach::of(address.ip()));
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let address = addresses[0].ip();
            return Err(ureq::Error::Other(Box::new(Forbidden { address })));
        }
        self.seen.note(super::url::host(host), nearest);
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use ureq::unversioned::transport::time::Duration;

    use super::*;

    fn resolve(address: &str, limit: Reach, proxy: Option<&str>) -> Result<usize, String> {
        let guard =
            Guard { inner: DefaultResolver::default(), limit, seen: Arc::default(), proxy: proxy.map(str::to_owned) };
        let timeout = NextTimeout { after: Duration::NotHappening, ..NextTimeout::default() };
        let found = guard.resolve(&address.parse().unwrap(), &Config::default(), timeout);
        found.map(|found| found.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_of_near_addresses_are_not_resolved() {
        for (address, limit, is_allowed) in [
            ("http://localhost/", Reach::Loopback, true),
            ("http://localhost/", Reach::Private, false),
            ("http://127.0.0.1:5/", Reach::Public, false),
            ("http://[::1]:5/", Reach::Public, false),
            ("http://10.0.0.1/", Reach::Public, false),
            ("http://10.0.0.1/", Reach::Private, true),
            ("http://169.254.169.254/", Reach::Loopback, false),
            ("http://192.0.2.1/", Reach::Public, true),
        ] {
            assert_eq!(resolve(address, limit, None).is_ok(), is_allowed, "{address} {limit:?}");
        }
        assert!(resolve("http://127.0.0.1/", Reach::Public, Some("127.0.0.1")).is_ok(), "a proxy may be near");
    }

    #[test]
    fn reaches() {
        use Reach::*;
        for (address, reach) in [
            ("8.8.8.8", Public),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("192.168.0.1", Private),
            ("100.64.0.1", Private),
            ("127.0.0.1", Loopback),
            ("127.255.0.1", Loopback),
            ("169.254.169.254", Link),
            ("0.0.0.0", Link),
            ("255.255.255.255", Link),
            ("224.0.0.1", Link),
            ("2606:4700::1", Public),
            ("::1", Loopback),
            ("::", Link),
            ("fe80::1", Link),
            ("fd00:ec2::254", Private),
            ("ff02::1", Link),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Link),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::a9fe:a9fe", Link),
            ("2002:7f00:1::", Loopback),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
        assert_eq!((literal("localhost"), literal("r.io"), literal("10.0.0.1")), (Some(Loopback), None, Some(Private)));
    }
}
