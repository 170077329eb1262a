//! The network of a box: a plan ([`plan::plan`]), and the helper program that carries it out.
//!
//! The supervisor calls [`start`] as soon as init's namespaces exist and [`Helper::ready`] when the mounts are done, so
//! that the two overlap. The helper is the supervisor's child and dies with the thread that started it.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod agent;
pub mod filter;
pub mod host;
pub mod netlink;
pub mod pasta;
pub mod plan;
pub mod reached;
pub mod resolver;
pub mod slirp;
pub mod traffic;

#[cfg(test)]
mod tests;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use plan::{Driver, Found, Mode, NetPlan, Tasks, Tun, plan};
pub use resolver::{HostResolver, Nameserver};

use crate::process::{ProcessError, Running};
use crate::profile::ports::Published;
use crate::sys::{Context, SysError};

/// The name of the interface in the box.
pub const INTERFACE: &str = "eth0";

/// Why a box cannot have the network it should.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No helper program.
    #[error("neither `pasta` nor `slirp4netns` is installed")]
    NoHelper,
    /// No tun device.
    #[error("`/dev/net/tun` does not exist")]
    NoTun,
    /// A tun device that is closed to us.
    #[error("`/dev/net/tun` may not be opened for reading and writing")]
    TunDenied,
    /// `pasta` alone, and nothing for it to copy.
    #[error("this machine has no default route, and `pasta` needs one")]
    NoRoute,
    /// A namespace could not be opened.
    #[error("cannot open `{}`", path.display())]
    Namespace {
        /// The namespace's file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The helper failed.
    #[error("cannot connect the box to the network")]
    Helper(#[from] ProcessError),
    /// A port of the profile cannot be had.
    #[error("cannot publish the port `{port}`")]
    Publish {
        /// As the profile names it.
        port: Published,
        /// What the kernel said.
        source: SysError,
    },
    /// The box whose network is to be shared.
    #[error("cannot share the network of the box `{name}`: {reason}")]
    Join {
        /// As the profile names it.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The bandwidth cannot be limited.
    #[error("cannot limit the bandwidth of the box")]
    Bandwidth(#[source] SysError),
    /// The network agent could not be started.
    #[error("cannot start the box's network agent")]
    AgentStart(#[from] SysError),
    /// The network agent could not do what the profile asks for.
    #[error("the box's network agent failed: {}", causes.join(": "))]
    Agent {
        /// What it said, outermost first.
        causes: Vec<String>,
    },
    /// An egress list, and the host's network.
    #[error("the box may reach only what `egress` lists, and needs a network of its own for that")]
    EgressInHostNetwork,
    /// An egress list, and no program that sets up packet filters.
    #[error(
        "the box may reach only what `egress` lists, and `nft`, which sets up the packet filter for that, is not installed"
    )]
    NoNft,
    /// The network agent ended before it said that it is ready.
    #[error("the box's network agent ended unexpectedly")]
    AgentEnded,
}

impl NetError {
    /// The action that helps, as half a sentence: "install the package `passt` for a private one".
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoHelper => "install the package `passt` for a private one",
            Self::NoTun => "`modprobe tun` (as root) allows a private one",
            Self::TunDenied => "`chmod 0666 /dev/net/tun` (as root) allows a private one",
            Self::NoRoute => "connect it, or install the package `slirp4netns`, for a private one",
            Self::Join { .. } => "start that box first, with a network of its own; `devbox list` shows all",
            Self::Bandwidth(_) => "the kernel needs `sch_tbf`, `sch_ingress`, `cls_u32`, `act_mirred` and `ifb`",
            Self::Publish { .. } => "choose another host port for it, or none (`\"80\"`) for one that is free",
            Self::EgressInHostNetwork => "set `mode = \"private\"` in `[network]`",
            Self::NoNft => "install the package `nftables`",
            _ => "`devbox doctor` looks for the cause",
        }
    }
}

/// Looks at the host. `path` is the `PATH` to search for helpers.
#[must_use]
pub fn probe(path: &str) -> Found {
    // Both names are absolute after this: a relative `PATH` entry would depend on the folder we are in.
    let find = |name| which::which_in(name, Some(path), "/").ok().filter(|found| found.is_absolute());
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    Found {
        pasta: find("pasta"),
        slirp: find("slirp4netns"),
        // It lies where the `PATH` of ordinary users does not lead.
        nft: find("nft").or_else(|| which::which_in("nft", Some("/usr/sbin:/sbin"), "/").ok()),
        tun: probe_tun(),
        default_route: resolver::has_default_route(&read("/proc/net/route"), &read("/proc/net/ipv6_route")),
        // An address that can be bound is one of ours.
        resolver: HostResolver::parse(&read("/etc/resolv.conf"), |address| UdpSocket::bind((address, 0)).is_ok()),
    }
}

/// Opens `/dev/net/tun` as the helpers do.
#[must_use]
pub fn probe_tun() -> Tun {
    match File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Tun::Usable,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Tun::Denied,
        // ENODEV or ENXIO: the node is there, the driver is not.
        Err(_) => Tun::Missing,
    }
}

/// The namespaces to connect.
#[derive(Debug)]
pub struct NetTarget {
    /// The network namespace.
    pub net: OwnedFd,
    /// The user namespace that owns it, unless that is ours.
    pub user: Option<OwnedFd>,
}

impl NetTarget {
    /// Those of the process `init_pid` (in our pid namespace). Call it before that process makes itself undumpable.
    pub fn of(init_pid: i32) -> Result<Self, NetError> {
        let open = |name: &str| {
            let path = Path::new("/proc").join(init_pid.to_string()).join("ns").join(name);
            let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
            File::open(&path)
                .and_then(|file| Ok((identity(&file)?, file)))
                .map_err(|source| NetError::Namespace { path, source })
        };
        let (_, net) = open("net")?;
        let (theirs, user) = open("user")?;
        let path = PathBuf::from("/proc/self/ns/user");
        let ours = std::fs::metadata(&path).map_err(|source| NetError::Namespace { path, source })?;
        let own = theirs != (ours.dev(), ours.ino());
        Ok(Self { net: net.into(), user: own.then(|| user.into()) })
    }

    /// The numbers of its descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = i32> {
        std::iter::once(&self.net).chain(&self.user).map(AsRawFd::as_raw_fd)
    }

    /// Moves the calling process, which has one thread, into them.
    pub fn enter(&self) -> Result<(), SysError> {
        let join = |namespace: &OwnedFd, kind| {
            move_into_link_name_space(namespace.as_fd(), Some(kind)).call(|| format!("setns `{kind:?}`"))
        };
        // Whoever owns the network may enter it.
        if let Some(user) = &self.user {
            join(user, LinkNameSpaceType::User)?;
        }
        join(&self.net, LinkNameSpaceType::Network)
    }

    /// The same namespaces, by descriptors of their own.
    pub fn try_clone(&self) -> Result<Self, SysError> {
        let copy = |fd: &OwnedFd| fd.try_clone().call(|| "dup a namespace".to_owned());
        Ok(Self { net: copy(&self.net)?, user: self.user.as_ref().map(copy).transpose()? })
    }
}

/// A helper that was started, or nothing where the plan needs none. Dropping it stops it.
#[derive(Debug)]
pub enum Helper {
    /// The plan needs none.
    Nobody,
    /// `pasta`.
    Pasta(Running),
    /// `slirp4netns`.
    Slirp(Running, slirp::Pipes),
}

/// Starts what `plan` needs, and does not wait for it.
///
/// Of [`Driver::Loopback`] nothing is started: init brings `lo` up with [`crate::sys::net::bring_up_loopback`], which the
/// helpers do by themselves.
pub fn start(plan: &NetPlan, target: NetTarget) -> Result<Helper, NetError> {
    Ok(match &plan.driver {
        Driver::Host | Driver::Loopback | Driver::Joined => Helper::Nobody,
        Driver::Pasta(program) => Helper::Pasta(pasta::start(program, &plan.nameservers, target)?),
        Driver::Slirp(program) => {
            let (running, pipes) = slirp::start(program, target)?;
            Helper::Slirp(running, pipes)
        }
    })
}

impl Helper {
    /// Waits until the interface has its addresses and routes. Call it once.
    pub fn ready(&mut self, timeout: Duration) -> Result<(), NetError> {
        match self {
            Self::Nobody => {}
            Self::Pasta(running) => pasta::wait_until_ready(running, timeout)?,
            Self::Slirp(running, pipes) => running.wait_for_pipe(timeout, &mut pipes.ready)?,
        }
        Ok(())
    }

    /// The helper's process id in our pid namespace.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Nobody => None,
            Self::Pasta(running) | Self::Slirp(running, _) => Some(running.pid()),
        }
    }

    /// Ends the helper. Connections of the box break.
    pub fn stop(self) -> Result<(), NetError> {
        match self {
            Self::Nobody => {}
            Self::Pasta(running) | Self::Slirp(running, _) => running.stop()?,
        }
        Ok(())
    }
}
