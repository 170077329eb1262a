//! Addresses of registries, and where their `Location` headers lead.

use std::fmt;
use std::net::IpAddr;

/// An absolute `http` or `https` address without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub is_encrypted: bool,
    /// `host` or `host:port`, in lower case.
    pub authority: String,
    /// Begins with a slash; has the query.
    pub path: String,
}

impl Url {
    /// `path` begins with a slash.
    pub fn new(is_encrypted: bool, authority: &str, path: &str) -> Self {
        Self { is_encrypted, authority: authority.to_ascii_lowercase(), path: path.to_owned() }
    }

    /// Reads an absolute address; says why it is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let scheme_end = text.find(':').ok_or("it is no address")?;
        let is_encrypted = match text[..scheme_end].to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("only `http` and `https` addresses are followed"),
        };
        let rest = text[scheme_end + 1..].strip_prefix("//").ok_or("it has no host")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        check_authority(authority)?;
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        check_path(&path)?;
        Ok(Self::new(is_encrypted, authority, &path))
    }

    /// Where a `Location` of this address leads.
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        let location = location.trim();
        let colon = location.find([':', '/', '?', '#']).filter(|at| location[*at..].starts_with(':'));
        if colon.is_some() {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme()));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let path = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{own}{location}"),
            _ => format!("{}{location}", &own[..=own.rfind('/').unwrap_or(0)]),
        };
        let path = path.split('#').next().unwrap_or_default().to_owned();
        check_path(&path)?;
        Ok(Self { path, ..self.clone() })
    }

    /// The same with one more parameter, whose value is encoded.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        Self { path: format!("{}{separator}{name}={}", self.path, encode(value)), ..self.clone() }
    }

    pub fn scheme(&self) -> &'static str {
        if self.is_encrypted { "https" } else { "http" }
    }

    /// Without path and query, which may hold secrets; for people.
    pub fn server(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    /// Without the port, and an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        host(&self.authority)
    }

    /// As it is written.
    pub fn port(&self) -> Option<u16> {
        let after_host = self.authority.rsplit(']').next().unwrap_or_default();
        after_host.split_once(':').and_then(|(_, port)| port.parse().ok())
    }

    /// Whether `other` may be shown what this one was: same scheme, host and port.
    pub fn is_same_server(&self, other: &Self) -> bool {
        let port = |url: &Self| url.port().unwrap_or(if url.is_encrypted { 443 } else { 80 });
        self.is_encrypted == other.is_encrypted && self.host() == other.host() && port(self) == port(other)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

/// The host of `host:port`, an IPv6 address without its brackets.
pub(super) fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Whether `authority` names this machine by its spelling.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = host(authority);
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// For queries and forms: everything but letters, digits and `-._~` as `%XX`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    if authority.contains('@') {
        return Err("it has a user in it");
    }
    let name = host(authority);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let port = match authority.strip_prefix('[') {
        Some(_) if name.parse::<std::net::Ipv6Addr>().is_err() => return Err("its host is no address"),
        Some(rest) => rest.get(name.len() + 1..).unwrap_or_default(),
        None if name.is_empty() || !name.bytes().all(is_name) => return Err("its host is no name"),
        None => &authority[name.len()..],
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err("its port is no number"),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'<' && byte != b'>') {
        Ok(())
    } else {
        Err("it has characters that an address cannot have")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_followed() {
        let from = Url::parse("https://r.io:5000/v2/a/blobs/x?y=z").unwrap();
        for (location, expected) in [
            ("/v2/b", Ok("https://r.io:5000/v2/b")),
            ("c?d=e:f", Ok("https://r.io:5000/v2/a/blobs/c?d=e:f")),
            ("?q", Ok("https://r.io:5000/v2/a/blobs/x?q")),
            ("//CDN.io/x", Ok("https://cdn.io/x")),
            ("http://cdn.io:80", Ok("http://cdn.io:80/")),
            ("HTTPS://[::1]:5/x#y", Ok("https://[::1]:5/x")),
            ("https://cdn.io?sig=a%2Fb", Ok("https://cdn.io/?sig=a%2Fb")),
            ("file:///etc/passwd", Err("only `http` and `https` addresses are followed")),
            ("gopher://x/", Err("only `http` and `https` addresses are followed")),
            ("https:/x", Err("it has no host")),
            ("https://user:secret@x/", Err("it has a user in it")),
            ("https:///x", Err("its host is no name")),
            ("https://a b/", Err("its host is no name")),
            ("https://[::g]/", Err("its host is no address")),
            ("https://x:/", Err("its port is no number")),
            ("https://x:99999/", Err("its port is no number")),
            ("/a\r\nHost: x", Err("it has characters that an address cannot have")),
        ] {
            assert_eq!(from.join(location).map(|url| url.to_string()), expected.map(str::to_owned), "{location}");
        }
    }

    #[test]
    fn servers_are_compared() {
        for (a, b, same) in [
            ("https://r.io/x", "https://R.io:443/y", true),
            ("http://r.io/x", "http://r.io:80/y", true),
            ("https://r.io/", "http://r.io/", false),
            ("https://r.io/", "https://r.io:444/", false),
            ("https://r.io/", "https://x.r.io/", false),
            ("http://[::1]:5/", "http://[::1]:5/", true),
            ("http://[::1]/", "http://[::1]:80/", true),
        ] {
            assert_eq!(Url::parse(a).unwrap().is_same_server(&Url::parse(b).unwrap()), same, "{a} {b}");
        }
        for (authority, is) in [("localhost:5000", true), ("127.1.2.3", true), ("[::1]:5", true), ("r.io", false)] {
            assert_eq!(is_loopback(authority), is, "{authority}");
        }
        let query = Url::parse("http://a/?x").unwrap().with_query("scope", "repository:a/b:pull,push");
        assert_eq!(query.path, "/?x&scope=repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
