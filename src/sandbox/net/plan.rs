//! Which network a box gets, decided from what the host has. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::NetError;
use super::agent::dns;
use super::filter::Egress;
use super::resolver::HostResolver;
use crate::profile::bandwidth::Bandwidth;
use crate::profile::ports::{Attributes, HostPort, Published};

/// Where a box under `pasta` sends its queries when the host's resolver listens on an address of the host's own:
/// `pasta` hands them over. Link-local, so that it collides with no network.
pub const DNS_FORWARD_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The same for a resolver on an IPv6 address; a unique local address, since a link-local one would need a scope.
pub const DNS_FORWARD_V6: Ipv6Addr = Ipv6Addr::new(0xfd6b, 0x2f1e, 0x5c7a, 0, 0, 0, 0, 0x53);
/// Where `slirp4netns` answers queries, whatever the host's resolver is.
pub const SLIRP_DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// What the profile asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Private if this machine can, else the host's.
    #[default]
    Auto,
    /// A network namespace with a way out, or an error.
    Private,
    /// The host's network.
    Host,
    /// A network namespace with nothing but loopback.
    None,
}

/// `/dev/net/tun`, without which no helper can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tun {
    /// We can read and write it.
    Usable,
    /// It does not exist.
    Missing,
    /// It may not be opened.
    Denied,
}

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The `pasta` program.
    pub pasta: Option<PathBuf>,
    /// The `slirp4netns` program.
    pub slirp: Option<PathBuf>,
    /// The `nft` program.
    pub nft: Option<PathBuf>,
    /// `/dev/net/tun`.
    pub tun: Tun,
    /// The host has a default route: `pasta` copies its address and routes, and refuses to start without.
    pub default_route: bool,
    /// How the host resolves names.
    pub resolver: HostResolver,
}

/// Who connects the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// `pasta` at this path.
    Pasta(PathBuf),
    /// `slirp4netns` at this path.
    Slirp(PathBuf),
    /// Nobody: the box is in the host's network namespace.
    Host,
    /// Nobody: the box has only loopback.
    Loopback,
    /// Nobody: the box is in the network namespace of another one.
    Joined,
}

/// The network of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetPlan {
    /// Who connects it.
    pub driver: Driver,
    /// `nameserver` lines of the box.
    pub nameservers: Vec<IpAddr>,
    /// Its `search` line.
    pub search: Vec<String>,
    /// Its `options` line.
    pub options: Vec<String>,
    /// What the user should know: a fallback, or what of the profile does not hold; a line each.
    pub notes: Vec<String>,
    /// What the network agent is for.
    pub tasks: Tasks,
    /// How fast the box sends and receives.
    pub bandwidth: Bandwidth,
    /// Where the box's traffic is written down.
    pub journal: Option<PathBuf>,
}

/// What a network agent does in the box's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Ports of the box that are reachable on the host.
    pub published: Vec<Published>,
    /// Whatever listens in the box is reachable on the host's loopback.
    pub forward: bool,
    /// What is said of ports of the box.
    pub attributes: Vec<Attributes>,
    /// Ports of the host's loopback that are reachable in the box.
    pub host_ports: Vec<HostPort>,
    /// The box asks names of a resolver of its own.
    pub resolver: bool,
    /// What the box may reach; absent: everything.
    pub filter: Option<Filter>,
}

/// A packet filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What passes.
    pub egress: Egress,
    /// The program that sets it up.
    pub nft: PathBuf,
}

impl Tasks {
    /// Without a task there is no agent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.published.is_empty()
            && !self.forward
            && self.host_ports.is_empty()
            && !self.resolver
            && self.filter.is_none()
    }

    /// Whether nothing may run in the box before the agent is ready.
    #[must_use]
    pub fn come_first(&self) -> bool {
        !self.host_ports.is_empty() || self.resolver || self.filter.is_some()
    }
}

impl NetPlan {
    /// Whether the box gets a network namespace of its own.
    #[must_use]
    pub fn own_namespace(&self) -> bool {
        !matches!(self.driver, Driver::Host | Driver::Joined)
    }

    /// Gives the box's agent its tasks. In the host's network there are none, for every port is there already; nor are
    /// there any without a network. What cannot be had there is noted.
    pub fn assign(&mut self, tasks: Tasks) {
        match self.driver {
            Driver::Pasta(_) | Driver::Slirp(_) => {
                if tasks.resolver {
                    self.nameservers = vec![dns::ADDRESS.into()];
                }
                self.tasks = tasks;
            }
            Driver::Host => {
                if tasks.published.iter().any(|port| port.host_port != Some(port.box_port)) {
                    self.note("the box is in the host's network: its ports are the host's, none is published under another number");
                }
                if self.bandwidth != Bandwidth::default() {
                    self.note("the box is in the host's network: its `bandwidth` is not limited");
                }
            }
            Driver::Loopback if !tasks.published.is_empty() || !tasks.host_ports.is_empty() => {
                self.note("the box has no network: `ports` and `host_ports` of its profile are not reachable");
            }
            Driver::Loopback | Driver::Joined => {}
        }
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// The plan of a box in the network of another one, whose resolver it asks.
    #[must_use]
    pub fn joined(self) -> Self {
        Self { driver: Driver::Joined, nameservers: vec![dns::ADDRESS.into()], notes: Vec::new(), ..self }
    }
}

/// Decides. Only [`Mode::Private`] fails.
pub fn plan(mode: Mode, found: &Found) -> Result<NetPlan, NetError> {
    match mode {
        Mode::Host => Ok(host(found, None)),
        Mode::None => Ok(NetPlan {
            driver: Driver::Loopback,
            nameservers: Vec::new(),
            search: Vec::new(),
            options: Vec::new(),
            notes: Vec::new(),
            tasks: Tasks::default(),
            bandwidth: Bandwidth::default(),
            journal: None,
        }),
        Mode::Private => private(found),
        Mode::Auto => Ok(match private(found) {
            Ok(plan) => plan,
            Err(reason) => {
                let note = format!("the box shares the host's network: {reason}; {}", reason.remedy());
                host(found, Some(note))
            }
        }),
    }
}

fn private(found: &Found) -> Result<NetPlan, NetError> {
    if found.pasta.is_none() && found.slirp.is_none() {
        return Err(NetError::NoHelper);
    }
    match found.tun {
        Tun::Usable => {}
        Tun::Missing => return Err(NetError::NoTun),
        Tun::Denied => return Err(NetError::TunDenied),
    }
    match (&found.pasta, &found.slirp) {
        (Some(pasta), _) if found.default_route => Ok(with_pasta(pasta.clone(), &found.resolver)),
        (_, Some(slirp)) => Ok(with_slirp(slirp.clone(), &found.resolver)),
        _ => Err(NetError::NoRoute),
    }
}

/// The host's name servers as they are, except those that only the host itself can reach.
///
/// `pasta` hands queries to the *first* server of an address family, so only a local one that comes first is replaced;
/// a later one would be answered by somebody else and is left out.
fn with_pasta(pasta: PathBuf, resolver: &HostResolver) -> NetPlan {
    let mut nameservers = Vec::new();
    let mut options = resolver.options.clone();
    for (index, server) in resolver.nameservers.iter().enumerate() {
        let first =
            !resolver.nameservers[..index].iter().any(|other| other.address.is_ipv4() == server.address.is_ipv4());
        match (server.local, first, server.address) {
            (false, _, address) => nameservers.push(address),
            (true, true, IpAddr::V4(_)) => nameservers.push(IpAddr::V4(DNS_FORWARD_V4)),
            (true, true, IpAddr::V6(_)) => nameservers.push(IpAddr::V6(DNS_FORWARD_V6)),
            (true, false, _) => {}
        }
    }
    // Only UDP is handed over by the `pasta` of Debian 12: ask for answers large enough not to need TCP.
    if resolver.nameservers.iter().any(|server| server.local) && !options.iter().any(|option| option == "edns0") {
        options.push("edns0".to_owned());
    }
    NetPlan {
        driver: Driver::Pasta(pasta),
        nameservers,
        search: resolver.search.clone(),
        options,
        notes: Vec::new(),
        tasks: Tasks::default(),
        bandwidth: Bandwidth::default(),
        journal: None,
    }
}

fn with_slirp(slirp: PathBuf, resolver: &HostResolver) -> NetPlan {
    NetPlan {
        driver: Driver::Slirp(slirp),
        nameservers: vec![IpAddr::V4(SLIRP_DNS)],
        search: resolver.search.clone(),
        options: resolver.options.clone(),
        notes: Vec::new(),
        tasks: Tasks::default(),
        bandwidth: Bandwidth::default(),
        journal: None,
    }
}

fn host(found: &Found, note: Option<String>) -> NetPlan {
    NetPlan {
        driver: Driver::Host,
        nameservers: found.resolver.nameservers.iter().map(|server| server.address).collect(),
        search: found.resolver.search.clone(),
        options: found.resolver.options.clone(),
        notes: note.into_iter().collect(),
        tasks: Tasks::default(),
        bandwidth: Bandwidth::default(),
        journal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ports::Protocol;

    fn found(pasta: bool, slirp: bool, tun: Tun, default_route: bool, resolv_conf: &str) -> Found {
        Found {
            pasta: pasta.then(|| "/usr/bin/pasta".into()),
            slirp: slirp.then(|| "/usr/bin/slirp4netns".into()),
            nft: None,
            tun,
            default_route,
            resolver: HostResolver::parse(resolv_conf, |_| false),
        }
    }

    #[test]
    fn drivers() {
        use Tun::{Denied, Missing, Usable};
        let table = [
            (Mode::Auto, (true, true, Usable, true), "pasta"),
            (Mode::Auto, (true, true, Usable, false), "slirp"),
            (Mode::Auto, (false, true, Usable, true), "slirp"),
            (Mode::Auto, (true, false, Usable, false), "host!"),
            (Mode::Auto, (false, false, Usable, true), "host!"),
            (Mode::Auto, (true, true, Denied, true), "host!"),
            (Mode::Private, (true, false, Usable, true), "pasta"),
            (Mode::Private, (false, false, Usable, true), "no helper"),
            (Mode::Private, (true, true, Missing, true), "no tun"),
            (Mode::Private, (true, true, Denied, true), "denied"),
            (Mode::Private, (true, false, Usable, false), "no route"),
            (Mode::Host, (true, true, Usable, true), "host"),
            (Mode::None, (true, true, Usable, true), "loopback"),
        ];
        for (mode, (pasta, slirp, tun, route), expected) in table {
            let got = match plan(mode, &found(pasta, slirp, tun, route, "nameserver 192.0.2.1")) {
                Ok(NetPlan { driver: Driver::Pasta(_), .. }) => "pasta",
                Ok(NetPlan { driver: Driver::Slirp(_), .. }) => "slirp",
                Ok(NetPlan { driver: Driver::Host, notes, .. }) if !notes.is_empty() => "host!",
                Ok(NetPlan { driver: Driver::Host, .. }) => "host",
                Ok(NetPlan { driver: Driver::Loopback, .. }) => "loopback",
                Err(NetError::NoHelper) => "no helper",
                Err(NetError::NoTun) => "no tun",
                Err(NetError::TunDenied) => "denied",
                Err(NetError::NoRoute) => "no route",
                other => panic!("{other:?}"),
            };
            assert_eq!(got, expected, "{mode:?} {pasta} {slirp} {tun:?} {route}");
        }
    }

    #[test]
    fn what_does_not_hold_is_said() {
        let port = |host_port| Published { address: None, host_port, box_port: 80, protocol: Protocol::Tcp };
        let with = |mode, published: &[Published], bandwidth: Option<u64>| {
            let mut plan = plan(mode, &found(false, false, Tun::Usable, true, "")).unwrap();
            plan.bandwidth = Bandwidth { up: bandwidth, down: None };
            plan.assign(Tasks { published: published.to_vec(), ..Tasks::default() });
            plan.notes.join("\n")
        };
        assert_eq!(with(Mode::Host, &[port(Some(80))], None), "");
        assert!(with(Mode::Host, &[port(None)], None).contains("none is published under another number"));
        let both = with(Mode::Auto, &[], Some(1));
        assert!(both.contains("neither `pasta`") && both.contains("its `bandwidth` is not limited"), "{both}");
        assert_eq!(with(Mode::None, &[], Some(1)), "");
        assert!(with(Mode::None, &[port(Some(80))], None).starts_with("the box has no network: `ports`"));
    }

    #[test]
    fn the_note_names_the_package() {
        let plan = plan(Mode::Auto, &found(false, false, Tun::Usable, true, "")).unwrap();
        assert_eq!(
            plan.notes[0],
            "the box shares the host's network: neither `pasta` nor `slirp4netns` is installed; \
             install the package `passt` for a private one"
        );
    }

    #[test]
    fn nameservers() {
        let (v4, v6) = (DNS_FORWARD_V4.to_string(), DNS_FORWARD_V6.to_string());
        let table: [(&str, &[&str], &[&str]); 6] = [
            ("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions rotate", &["192.0.2.1", "192.0.2.2"], &["rotate"]),
            ("nameserver 127.0.0.53\noptions edns0 trust-ad", &[&v4], &["edns0", "trust-ad"]),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.2", &[&v4, "192.0.2.2"], &["edns0"]),
            ("nameserver 192.0.2.2\nnameserver 127.0.0.1", &["192.0.2.2"], &["edns0"]),
            ("nameserver ::1\nnameserver 127.0.0.1", &[&v6, &v4], &["edns0"]),
            ("", &[&v4], &["edns0"]),
        ];
        for (text, servers, options) in table {
            let plan = plan(Mode::Auto, &found(true, true, Tun::Usable, true, text)).unwrap();
            let got: Vec<String> = plan.nameservers.iter().map(ToString::to_string).collect();
            assert_eq!(got, servers, "{text}");
            assert_eq!(plan.options, options, "{text}");
        }
        let plan = plan(Mode::Auto, &found(false, true, Tun::Usable, true, "nameserver 127.0.0.1")).unwrap();
        assert_eq!(plan.nameservers, [IpAddr::V4(SLIRP_DNS)]);
    }
}
