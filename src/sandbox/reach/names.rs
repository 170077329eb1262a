//! The addresses of a name in the box: numbers, what its `/etc/hosts` says, and what the name servers of its `resolv.conf`
//! answer. The C library is not asked, for it would load the box's libraries into a process of ours.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::sandbox::net::agent::dns::message::{self, Answer, TYPE_A, TYPE_AAAA, parse_answer};
use crate::sandbox::net::resolver::HostResolver;

/// How long one server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// As many servers are asked, and as many domains tried, as a C library does.
const MAX_SERVERS: usize = 3;
const MAX_DOMAINS: usize = 6;
/// Where name servers listen.
const PORT: u16 = 53;

/// The addresses of `host`, those to be tried first in front; none if there is no such name.
pub fn addresses(host: &str) -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    if let Some(known) = known(&read("/etc/hosts").unwrap_or_default(), host) {
        return known;
    }
    let resolver = HostResolver::parse(&read("/etc/resolv.conf").unwrap_or_default(), |_| false);
    for name in candidates(host, &resolver.search) {
        for server in resolver.nameservers.iter().take(MAX_SERVERS) {
            let server = SocketAddr::new(server.address, PORT);
            let answers = [TYPE_A, TYPE_AAAA].map(|kind| ask(server, &name, kind));
            // A server that cannot be asked says nothing about the name.
            if answers.iter().all(Result::is_err) {
                continue;
            }
            let found: Vec<IpAddr> = answers
                .into_iter()
                .flatten()
                .flat_map(|answer| answer.addresses())
                .map(|(address, _)| address)
                .collect();
            if !found.is_empty() {
                return found;
            }
            break;
        }
    }
    Vec::new()
}

/// What is known without asking; `None`: somebody has to be asked.
fn known(untrusted_hosts: &str, host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Some(vec![address]);
    }
    match host {
        "" | "*" => return Some(vec![Ipv4Addr::UNSPECIFIED.into()]),
        "localhost" => return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        _ => {}
    }
    let lines = untrusted_hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found: Vec<IpAddr> = lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

/// The full names that a name may stand for: one without a dot is completed first.
fn candidates(host: &str, search: &[String]) -> Vec<String> {
    let completed = search.iter().take(MAX_DOMAINS).map(|domain| format!("{host}.{domain}"));
    let completed = completed.filter(|_| !host.contains('.'));
    completed.chain([host.to_owned()]).collect()
}

/// Asks one server for one kind of address.
fn ask(server: SocketAddr, name: &str, kind: u16) -> io::Result<Answer> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::empty())?;
    let query = message::query(u16::from_be_bytes(id), name, kind).ok_or(io::ErrorKind::InvalidInput)?;
    let is_answer = |bytes: &[u8]| {
        let asked = message::parse_query(&query).ok()?;
        parse_answer(bytes).ok().filter(|answer| answer.id == asked.id && answer.question == asked.question)
    };
    let local = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(server)?;
    socket.send(&query)?;
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let size = socket.recv(&mut bytes)?;
        // What is none may be somebody else's who guesses.
        match is_answer(&bytes[..size]) {
            Some(answer) if answer.truncated => break,
            Some(answer) => return Ok(answer),
            None if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            None => {}
        }
    }
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    is_answer(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_addresses() {
        let hosts = "127.0.0.1 localhost box\n# 9.9.9.9 no\n::1 Box # comment\nnonsense box\n";
        for (host, expected) in [
            ("127.0.0.2", Some(&["127.0.0.2"][..])),
            ("[::1]", Some(&["::1"])),
            ("localhost", Some(&["127.0.0.1", "::1"])),
            ("", Some(&["0.0.0.0"])),
            ("box", Some(&["127.0.0.1", "::1"])),
            ("comment", None),
        ] {
            let found = known(hosts, host).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(
                found,
                expected.map(|expected| expected.iter().map(|&text| text.to_owned()).collect()),
                "{host}"
            );
        }
    }

    #[test]
    fn short_names_are_completed() {
        let search = ["a.example".to_owned(), "b.example".to_owned()];
        assert_eq!(candidates("shop", &search), ["shop.a.example", "shop.b.example", "shop"]);
        assert_eq!(candidates("shop.example", &search), ["shop.example"]);
    }
}
