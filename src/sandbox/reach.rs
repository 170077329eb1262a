//! What a client reaches in the box besides commands: its files, and its sockets. Done by session leaders, which are forks
//! of init: what a path or an address means is found out with the box's own rights, in its own namespaces, and what the
//! client gets is a descriptor of a connection, never of a file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::channel::{Bytes, Channel, Control, Reply};
use super::passwd::Account;
use crate::sftp;
use crate::sys::process::Ended;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a socket leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// A name or number, and a port.
    Tcp(String, u16),
    /// A path.
    Unix(Bytes),
}

/// A socket to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Socket {
    /// Connected to this address.
    Connected(Address),
    /// Listening at this address, as long as the conversation goes on.
    Listening(Address),
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => path.as_os_str().to_string_lossy().fmt(formatter),
        }
    }
}

/// Becomes the user who asks.
fn assume(user: Option<&str>) -> io::Result<Account> {
    let account = match user {
        None => Account::root(),
        Some(wanted) => Account::find(Path::new("/etc"), wanted)
            .ok_or_else(|| io::Error::other(format!("there is no user `{wanted}` in the box")))?,
    };
    account.assume()?;
    Ok(account)
}

fn refuse(channel: &Channel, what: String, error: &io::Error) {
    channel.send(&Reply::NotExecuted { program: what, reason: error.to_string(), status: 126 }, &[]).ok();
}

/// Serves files over the socket that came along, until that is closed.
pub fn serve_files(channel: &Channel, user: Option<&str>, descriptors: Vec<OwnedFd>) {
    let account = match assume(user) {
        Ok(account) => account,
        Err(error) => return refuse(channel, "sftp".to_owned(), &error),
    };
    // Where there is no home, paths begin at the root, where init is.
    rustix::process::chdir(Path::new(&account.home)).ok();
    let Some(socket) = descriptors.into_iter().next() else { return };
    if channel.send(&Reply::Started, &[]).is_err() {
        return;
    }
    let status = if sftp::serve(UnixStream::from(socket)).is_ok() { 0 } else { 1 };
    channel.send(&Reply::Ended(Ended::Exited(status)), &[]).ok();
}

/// Makes a socket for the client. One that listens at a path is removed when the client is gone.
pub fn open(channel: &Channel, user: Option<&str>, socket: &Socket) {
    let made = assume(user).and_then(|_| match socket {
        Socket::Connected(address) => connect(address).map(|socket| (socket, 0)),
        Socket::Listening(address) => listen(address),
    });
    let (Socket::Connected(address) | Socket::Listening(address)) = socket;
    let (made, port) = match made {
        Ok(made) => made,
        Err(error) => return refuse(channel, address.to_string(), &error),
    };
    let sent = channel.send(&Reply::Opened { port }, &[made.as_fd()]);
    drop(made);
    if let Socket::Listening(Address::Unix(path)) = socket {
        let path = PathBuf::from(path.as_os_str());
        let identity = |path: &Path| std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let ours = identity(&path);
        if sent.is_ok() {
            while let Ok(Some(_)) = channel.receive::<Control>() {}
        }
        if ours.is_some() && identity(&path) == ours {
            // Somebody may have been quicker.
            std::fs::remove_file(&path).ok();
        }
    }
}

fn connect(address: &Address) -> io::Result<OwnedFd> {
    let (host, port) = match address {
        Address::Unix(path) => return UnixStream::connect(path.as_os_str()).map(OwnedFd::from),
        Address::Tcp(host, port) => (host, *port),
    };
    let mut last = io::Error::other("its name has no address in the box");
    for address in addresses(host) {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
            Ok(stream) => return Ok(stream.into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: &Address) -> io::Result<(OwnedFd, u16)> {
    let (host, port) = match address {
        Address::Unix(path) => return UnixListener::bind(path.as_os_str()).map(|listener| (listener.into(), 0)),
        Address::Tcp(host, port) => (host, *port),
    };
    let mut last = io::Error::other("its name has no address in the box");
    for address in addresses(host) {
        match TcpListener::bind(SocketAddr::new(address, port)) {
            Ok(listener) => {
                let port = listener.local_addr()?.port();
                return Ok((listener.into(), port));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of a name in the box: numbers, and what its `/etc/hosts` says. The C library is not asked, for it would
/// load the box's libraries into a process of ours.
fn addresses(host: &str) -> Vec<IpAddr> {
    let hosts = std::fs::read("/etc/hosts").map(|text| String::from_utf8_lossy(&text).into_owned());
    parse_addresses(&hosts.unwrap_or_default(), host)
}

fn parse_addresses(untrusted_hosts: &str, host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return vec![address];
    }
    match host {
        "" | "*" => return vec![Ipv4Addr::UNSPECIFIED.into()],
        "localhost" => return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        _ => {}
    }
    let lines = untrusted_hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_addresses() {
        let hosts = "127.0.0.1 localhost box\n# 9.9.9.9 no\n::1 Box # comment\nnonsense box\n";
        for (host, expected) in [
            ("127.0.0.2", &["127.0.0.2"][..]),
            ("[::1]", &["::1"]),
            ("localhost", &["127.0.0.1", "::1"]),
            ("", &["0.0.0.0"]),
            ("box", &["127.0.0.1", "::1"]),
            ("comment", &[]),
        ] {
            let found: Vec<String> = parse_addresses(hosts, host).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{host}");
        }
    }
}
