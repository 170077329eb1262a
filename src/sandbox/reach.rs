//! What a client reaches in the box besides commands: its files, and its sockets. Done by session leaders, which are forks
//! of init: what a path or an address means is found out with the box's own rights, in its own namespaces, and what the
//! client gets is a descriptor of a connection, never of a file.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
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

mod names;

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
    for address in names::addresses(host) {
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
    for address in names::addresses(host) {
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
