//! The network that a box is to have: what its profile says, made a plan for this host.

use super::directory::BoxDir;
use super::session::{Options, SessionError, io};
use super::{list, running};
use crate::paths::{self, Paths};
use crate::profile::{self, LoadedProfile, egress};
use crate::sandbox::control;
use crate::sandbox::net::filter::Egress;
use crate::sandbox::net::plan::{Driver, Filter, Mode, NetPlan, Tasks, plan as plan_network};
use crate::sandbox::net::{self, NetError, NetTarget};
use crate::userns::idmap::IdMap;

/// Decides. A list of what it reaches, or learning that, needs a network of its own.
pub(super) fn network(loaded: &LoadedProfile, options: &Options) -> Result<NetPlan, SessionError> {
    let mode = match options.network.unwrap_or(loaded.profile.network.mode) {
        profile::NetworkMode::Auto => Mode::Auto,
        profile::NetworkMode::Private => Mode::Private,
        profile::NetworkMode::Host => Mode::Host,
        profile::NetworkMode::None => Mode::None,
    };
    let network = &loaded.profile.network;
    let egress = match &network.egress {
        _ if options.learn => Some(Egress::Learn),
        rules => rules.clone().map(Egress::Only),
    };
    if network.join.is_some() && options.network.is_none() {
        if egress.is_some() {
            return Err(NetError::EgressInHostNetwork.into());
        }
        return Ok(plan_network(mode, &net::probe(&search_path()))?.joined());
    }
    let mode = match (mode, &egress) {
        // Fallbacks are for who does not mind.
        (Mode::Auto, Some(_)) => Mode::Private,
        (Mode::Host, Some(_)) => return Err(NetError::EgressInHostNetwork.into()),
        _ => mode,
    };
    let found = net::probe(&search_path());
    let mut plan = plan_network(mode, &found)?;
    let filter = match egress {
        Some(egress) if mode == Mode::Private => Some(Filter { egress, nft: found.nft.ok_or(NetError::NoNft)? }),
        _ => None,
    };
    plan.bandwidth = network.bandwidth;
    plan.assign(Tasks {
        published: network.ports.clone(),
        forward: network.forward == profile::ForwardMode::Auto,
        attributes: loaded.devcontainer.as_ref().map_or_else(Vec::new, |own| own.ports.clone()),
        host_ports: network.host_ports.clone(),
        resolver: true,
        filter,
    });
    Ok(plan)
}

/// That of a command of a build.
pub fn of_a_build(mode: Mode, egress: Option<Vec<egress::Rule>>) -> Result<NetPlan, NetError> {
    let found = net::probe(&search_path());
    let Some(rules) = egress.filter(|_| mode != Mode::None) else { return plan_network(mode, &found) };
    let mut plan = plan_network(Mode::Private, &found)?;
    let filter = Filter { egress: Egress::Only(rules), nft: found.nft.ok_or(NetError::NoNft)? };
    plan.assign(Tasks { resolver: true, filter: Some(filter), ..Tasks::default() });
    Ok(plan)
}

/// Where helpers are looked for.
fn search_path() -> String {
    paths::variable("PATH").and_then(|path| path.into_string().ok()).unwrap_or_default()
}

/// The namespaces and ids of the box whose network is shared, if one is.
pub(super) fn join_network(
    paths: &Paths,
    loaded: &LoadedProfile,
    net: &NetPlan,
) -> Result<Option<(NetTarget, IdMap)>, SessionError> {
    let Some(name) = loaded.profile.network.join.as_ref().filter(|_| net.driver == Driver::Joined) else {
        return Ok(None);
    };
    let refused = |reason: String| NetError::Join { name: name.clone(), reason };
    let directory = BoxDir::new(paths, &list::find_by_name(paths, name)?);
    let map = super::state::load(&directory)?.id_map;
    let stream = running::connect_to_supervisor(&directory).ok_or_else(|| refused("it does not run".to_owned()))?;
    match control::ask(stream, &control::Request::Namespaces).map_err(io("talk to the other box"))? {
        Some((control::Answer::Namespaces, descriptors)) => {
            let mut descriptors = descriptors.into_iter();
            let net = descriptors.next().ok_or_else(|| refused("it sent nothing".to_owned()))?;
            Ok(Some((NetTarget { net, user: descriptors.next() }, map)))
        }
        Some((control::Answer::Refused { reason }, _)) => Err(refused(reason).into()),
        Some((control::Answer::Ports(_) | control::Answer::Tree | control::Answer::Group, _)) | None => {
            Err(refused("it has just stopped".to_owned()).into())
        }
    }
}

/// The file in a box's runtime directory that says which network it has.
pub(super) const NETWORK_FILE: &str = "network";

/// Which network a plan gives, in the words of `--network`.
pub(super) fn network_name(net: &NetPlan) -> &'static str {
    match net.driver {
        Driver::Pasta(_) | Driver::Slirp(_) => "private",
        Driver::Host => "host",
        Driver::Loopback => "none",
        Driver::Joined => "joined",
    }
}

/// A running box keeps its network: one that was asked for by name must be the one it has.
pub(super) fn require_network(directory: &BoxDir, options: &Options) -> Result<(), SessionError> {
    let wanted = match options.network {
        None | Some(profile::NetworkMode::Auto) => return Ok(()),
        Some(profile::NetworkMode::Private) => "private",
        Some(profile::NetworkMode::Host) => "host",
        Some(profile::NetworkMode::None) => "none",
    };
    match std::fs::read_to_string(directory.runtime().join(NETWORK_FILE)) {
        Ok(running) if running != wanted => Err(SessionError::OtherNetwork { running, wanted }),
        // Without the file the box is just stopping.
        _ => Ok(()),
    }
}
