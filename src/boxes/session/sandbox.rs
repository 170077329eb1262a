//! The sandbox of a box, from its profile, its base and its layers.

use std::path::{Path, PathBuf};

use super::Options;
use crate::base::RootLayers;
use crate::boxes::error::BoxesResult;
use crate::boxes::generated::{self, Made};
use crate::boxes::scratch::Scratch;
use crate::boxes::shares::Given;
use crate::boxes::{BoxDir, BoxRecord, guards, shares, shell};
use crate::limits;
use crate::paths;
use crate::profile::{self, Grant, LoadedProfile};
use crate::sandbox::etc::{hosts, resolv};
use crate::sandbox::net::plan::{Driver, NetPlan};
use crate::sandbox::plan::{Access, Wanted, plan};
use crate::sandbox::spec::{Lifetime, MountOp, Network, SandboxSpec};

/// Layers of the box above its base, the topmost first.
fn above(directory: &BoxDir, record: &BoxRecord) -> Vec<PathBuf> {
    let mut layers = directory.frozen_layers(record);
    layers.push(generated::tree(&directory.generated()));
    layers
}

/// What is written anew at each start of the box.
pub(super) fn make_generated(
    directory: &BoxDir,
    record: &BoxRecord,
    loaded: &LoadedProfile,
    base: &RootLayers,
    packages: Option<&Path>,
    given: &Given,
) -> BoxesResult<Made> {
    let profile = &loaded.profile;
    let user = (profile.user != "root").then_some(profile.user.as_str());
    let mut mount_points: Vec<PathBuf> =
        ["/proc", "/sys", "/dev", "/run", "/tmp", "/etc", "/root"].into_iter().map(PathBuf::from).collect();
    mount_points.extend(profile.project.is_mounted.then(|| profile.project.path.clone()));
    mount_points.extend(profile.mounts.iter().filter(|mount| mount.source.is_dir()).map(|mount| mount.target.clone()));
    mount_points.extend(profile.root.tmpfs.iter().map(|tmpfs| tmpfs.target.clone()));
    mount_points.extend(profile.volumes.iter().map(|volume| volume.target.clone()));
    mount_points.extend(user.map(|user| Path::new("/home").join(user)));
    let (directories, placeholders) = given.below(&shares::home(profile));
    mount_points.extend(directories);
    let inputs = generated::Inputs {
        id: record.id.as_str(),
        name: &record.name,
        base,
        above: &packages.map(Path::to_owned).into_iter().collect::<Vec<_>>(),
        map: &record.id_map,
        user,
        certificates: profile.share.has(Grant::CaCertificates),
        mount_points,
        placeholders,
        language: paths::variable("LANG").and_then(|value| value.into_string().ok()),
    };
    generated::prepare_directory(&directory.generated())?;
    generated::make(&directory.generated(), &inputs)
}

/// The sandbox that the box is.
#[expect(clippy::too_many_arguments, reason = "the parts of a plan")]
pub(super) fn sandbox(
    loaded: &LoadedProfile,
    options: &Options,
    base: &RootLayers,
    packages: Option<PathBuf>,
    directory: &BoxDir,
    record: &BoxRecord,
    net: &NetPlan,
    scratch: Option<&Scratch>,
    limits: limits::Plan,
    given: Vec<MountOp>,
) -> SandboxSpec {
    let profile = &loaded.profile;
    let hostname = hosts::host_name(&record.name);
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let host_network = net.driver == Driver::Host;
    let resolv = resolv::resolv_conf(net, read("/etc/resolv.conf").filter(|_| host_network).as_deref());
    let hosts = hosts::hosts_file(&hostname, read("/etc/hosts").filter(|_| host_network).as_deref());
    let mut layers = above(directory, record);
    layers.extend(packages);
    let (upper, work) = match scratch {
        None => (directory.upper(), directory.work()),
        Some(scratch) => {
            layers.insert(0, directory.upper());
            (scratch.holder.join("fs"), scratch.holder.join("work"))
        }
    };
    let keep = options.keep || profile.lifetime == profile::Lifetime::Keep;
    plan(Wanted {
        hostname,
        id_map: record.id_map.clone(),
        base: base.clone(),
        layers,
        upper,
        work,
        is_volatile: scratch.is_some(),
        is_read_only: profile.root.read_only,
        staging: directory.runtime().join("root"),
        network: if net.own_namespace() { Network::Own } else { Network::Host },
        lifetime: if keep && scratch.is_none() { Lifetime::Keep } else { Lifetime::Session },
        security: profile.security.clone(),
        limits,
        project: profile.project.is_mounted.then(|| {
            let access = if profile.project.read_only { Access::ReadOnly } else { Access::ReadWrite };
            (loaded.project.clone(), profile.project.path.clone(), access)
        }),
        guarded: guards::guarded(loaded),
        binds: shares::own_profile(loaded)
            .chain(shares::mounts(profile))
            .chain(shares::volumes(profile, directory))
            .chain(given)
            .collect(),
        own: shell::files(profile, &loaded.project),
        files: vec![(hosts.path, hosts.content), (resolv.path, resolv.content)],
    })
}
