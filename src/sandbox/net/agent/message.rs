//! What a network agent and its host side say to each other.
//!
//! The host side decides, the agent carries out: it is told what to serve, and tells what it sees. Whatever it asks for is
//! compared with the profile, for it may have been taken over.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::profile::ports::Protocol;
use crate::sandbox::net::reached::Traffic;

/// To the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Serve the sockets that come along, bound on the host (and listening, for TCP).
    Publish {
        /// The host side's number for it.
        id: u32,
        /// Of the sockets and the targets.
        protocol: Protocol,
        /// Addresses in the box; the first that answers is taken.
        targets: Vec<SocketAddr>,
    },
    /// Serve the clients that come along, who waited for a TCP port that is about to be withdrawn.
    Serve {
        /// As published.
        targets: Vec<SocketAddr>,
    },
    /// Serve these no longer. Connections go on.
    Withdraw {
        /// As published.
        id: u32,
    },
    /// The answer to [`Report::Connect`]: the connected socket, or nothing if it was refused.
    Connected {
        /// The agent's number for it.
        ticket: u32,
        /// As it was asked for.
        protocol: Protocol,
    },
    /// The answer to [`Report::Client`]: a socket that is bound as that one is and connected to the client, or nothing.
    Client {
        /// The agent's number for it.
        ticket: u32,
        /// The client's.
        address: Option<SocketAddr>,
    },
    /// The first of the connections of [`Report::Held`] that were not refused yet is written down.
    Written,
    /// Tell what was not told yet of the box's traffic; [`Report::Flushed`] is the answer.
    Flush,
    /// The answer to [`Report::Resolve`]: a socket to a name server, or nothing if there is none.
    Resolver {
        /// The agent's number for it.
        ticket: u32,
        /// The addresses of the host, where the box may not reach everything: no answer may lead there.
        host: Vec<IpAddr>,
    },
}

/// From the agent. Untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Everything that the profile asks for is set up.
    Ready,
    /// It is not, and the agent ends.
    Failed {
        /// The error and its causes, outermost first.
        causes: Vec<String>,
    },
    /// A TCP port of the box that a program listens on.
    Listening {
        /// The port.
        port: u16,
        /// The address that it is bound to.
        address: IpAddr,
    },
    /// Nobody listens there any more.
    Silent {
        /// The port.
        port: u16,
    },
    /// The box wants to reach a port of the host's loopback.
    Connect {
        /// The agent's number for it.
        ticket: u32,
        /// Which protocol.
        protocol: Protocol,
        /// Which port.
        port: u16,
    },
    /// Somebody new has sent a datagram to a published socket, and it is the next one to be read there.
    Client {
        /// The agent's number for it.
        ticket: u32,
        /// As published.
        id: u32,
        /// Which of its sockets.
        socket: usize,
    },
    /// The resolver wants to ask a name server of the host.
    Resolve {
        /// The agent's number for it.
        ticket: u32,
        /// Which protocol.
        protocol: Protocol,
        /// The how manieth time the same question is asked, from 0.
        attempt: u32,
    },
    /// The box reached something, or did not.
    Traffic {
        /// What.
        traffic: Traffic,
    },
    /// The box wants to reach something that it may not, and waits for its refusal; [`Order::Written`] is the answer.
    Held {
        /// What.
        traffic: Traffic,
    },
    /// The answer to [`Order::Flush`].
    Flushed,
    /// There was more of it than can be told.
    MoreTraffic {
        /// So much.
        count: u64,
    },
}
