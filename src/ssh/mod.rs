//! SSH without a port and without a daemon: a server on standard input and output, started by `ProxyCommand`.
//!
//! ```text
//! ssh NAME.devbox --pipe--> devbox ssh-proxy NAME --unix socket--> init of the box --fork--> one leader for each request
//!   client                   transport, channels                    runs the command | opens the socket | serves files
//!                                   |<------- pipes, terminals, sockets --------------------------|
//! ```
//!
//! The proxy is one process with one loop ([`server`]) and no threads. It looks at nothing of the box: a command's
//! streams, a terminal or a connection come to it as descriptors, and all that it does with them is to read and write bytes.
//! What a path or an address means is found out by a fork of the box's init, with the box's rights ([`crate::sandbox::reach`]).
//!
//! - [`transport`], [`kex`], [`cipher`], [`auth`]: RFC 4253 and 4252; the cryptography is `ring`'s
//! - [`connection`], [`channel`], [`request`], [`session`], [`forward`]: RFC 4254; [`server`] is the loop
//! - [`keys`], [`config`]: what clients are told
//!
//! Memory is bounded: of each channel at most a window waits for the box, and nothing is read from the box or asked by the
//! client while it does not take what it has been sent.

use std::path::PathBuf;

use crate::boxes::BoxesError;
use crate::paths::PathsError;
use crate::wire::Truncated;

mod auth;
mod channel;
mod cipher;
pub mod config;
mod connection;
mod forward;
mod kex;
pub mod keys;
mod message;
pub mod request;
pub mod server;
mod session;
pub mod transport;

/// A connection, or what it needs, failed.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// A file of ours.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Not a key that we wrote.
    #[error("`{}` is no key of devbox", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The directory of the keys.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The boxes.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// The kernel gave no random numbers.
    #[error("there are no random numbers to be had")]
    Random,
    /// The client is none.
    #[error("what came is not from an ssh client")]
    NotSsh,
    /// A packet that cannot be.
    #[error("a packet of the ssh client has an impossible length")]
    PacketLength,
    /// A packet with a wrong tag.
    #[error("a packet of the ssh client was changed on its way")]
    Tampered,
    /// A message that ends too early.
    #[error("a message of the ssh client ends too early")]
    Malformed,
    /// A message that may not come now.
    #[error("message {number} of the ssh client does not belong there")]
    OutOfOrder {
        /// Its number.
        number: u8,
    },
    /// More data on a channel than was allowed.
    #[error("the ssh client sent more than it was allowed to")]
    WindowExceeded,
    /// The client asked for no new keys.
    #[error("the ssh client has used its keys too often")]
    KeysWornOut,
    /// The exchange failed.
    #[error("no keys could be agreed on with the ssh client")]
    KeyExchange,
    /// No algorithm that both know.
    #[error("the ssh client and devbox have no {what} in common; the client offers `{theirs}`")]
    NothingInCommon {
        /// Of which kind.
        what: &'static str,
        /// Those of the client.
        theirs: String,
    },
    /// The client said good-bye.
    #[error("the ssh client has disconnected")]
    Disconnected,
    /// Reading or writing.
    #[error("cannot {operation}")]
    Io {
        /// The operation.
        operation: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl From<Truncated> for SshError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}
