//! The host's name servers, as its `resolv.conf` names them at the moment.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::bind::connect_only_to;
use crate::profile::ports::Protocol;
use crate::sandbox::net::resolver::HostResolver;
use crate::sys::SysResult;

const PORT: u16 = 53;

/// What tells that a file is another one, or has other contents.
type Seen = (u64, u64, i64, i64, u64);

/// The servers, read again when the file has changed.
#[derive(Debug)]
pub struct Servers {
    path: PathBuf,
    seen: Option<Seen>,
    addresses: Vec<SocketAddr>,
}

impl Servers {
    /// Of the file at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None, addresses: Vec::new() }
    }

    /// A socket to the server that is to be asked the `attempt`th time; nothing if it cannot be reached. A connection may
    /// not be complete yet.
    pub fn connect(&mut self, protocol: Protocol, attempt: u32) -> SysResult<Option<OwnedFd>> {
        self.refresh();
        let Some(index) = (attempt as usize).checked_rem(self.addresses.len()) else { return Ok(None) };
        connect_only_to(protocol, self.addresses[index])
    }

    /// A file that cannot be read right now, because it is being replaced, changes nothing.
    fn refresh(&mut self) {
        let Ok(meta) = std::fs::metadata(&self.path) else { return };
        let seen = (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size());
        if self.seen == Some(seen) {
            return;
        }
        let Ok(text) = std::fs::read_to_string(&self.path) else { return };
        let resolver = HostResolver::parse(&text, |_| false);
        self.addresses = resolver.nameservers.iter().map(|server| SocketAddr::new(server.address, PORT)).collect();
        self.seen = Some(seen);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn follows_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let mut servers = Servers::new(&path);
        assert!(servers.connect(Protocol::Udp, 0).unwrap().is_none(), "no file yet");
        let peer = |servers: &mut Servers, attempt| {
            UdpSocket::from(servers.connect(Protocol::Udp, attempt).unwrap().unwrap()).peer_addr().unwrap().to_string()
        };
        std::fs::write(&path, "nameserver 127.0.0.53\nnameserver 127.0.0.54\n").unwrap();
        assert_eq!(
            [0, 1, 2].map(|attempt| peer(&mut servers, attempt)),
            ["127.0.0.53:53", "127.0.0.54:53", "127.0.0.53:53"]
        );
        std::fs::write(folder.path().join("new"), "nameserver 127.0.0.1\n").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(peer(&mut servers, 0), "127.0.0.1:53");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(peer(&mut servers, 0), "127.0.0.1:53");
    }
}
