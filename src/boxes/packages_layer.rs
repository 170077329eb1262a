//! The profile's `packages`: installed once with the base's own package manager into a layer of the store, which every
//! box with the same base and the same list stands on.

use std::path::{Path, PathBuf};

use super::environment::variables_of_a_build;
use super::generated::{self, Inputs};
use super::manager::{self, Manager};
use super::session::{SessionError, hold};
use super::view::View;
use crate::base::RootLayers;
use crate::image::digest;
use crate::image::store::{LayerRecord, Store, StoreError};
use crate::paths::{self, Paths};
use crate::profile::Profile;
use crate::progress::Progress;
use crate::sandbox::channel::{Bytes, Command, Stream};
use crate::sandbox::etc::{hosts, resolv};
use crate::sandbox::net;
use crate::sandbox::net::plan::{Mode, plan as plan_network};
use crate::sandbox::plan::{Wanted, plan};
use crate::sandbox::spec::{Lifetime, Network};
use crate::userns::idmap::IdMap;

/// Packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The base has no package manager that is known here.
    #[error("the base has none of apt-get, dnf, apk, pacman, zypper")]
    NoManager,
    /// The package manager failed; what it said has been shown.
    #[error("`{manager}` failed with status {status}")]
    Failed {
        /// Which.
        manager: &'static str,
        /// Its exit status.
        status: i32,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The layer's name in the store. The order of the list does not matter.
fn layer_name(packages: &[String], base: &RootLayers) -> String {
    let mut sorted: Vec<&str> = packages.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let digest = digest::of_bytes(format!("1\0{}\0{}", base.id, sorted.join("\0")).as_bytes());
    format!("packages-{}", digest.trim_start_matches("sha256:"))
}

/// The tree of the layer if it has been made.
pub fn find(
    paths: &Paths,
    profile: &Profile,
    map: &IdMap,
    base: &RootLayers,
) -> Result<Option<PathBuf>, PackagesError> {
    if profile.packages.is_empty() {
        return Ok(None);
    }
    Ok(Store::open(&paths.store())?.tree(&layer_name(&profile.packages, base), &map.layout()))
}

/// The tree of the layer, made first if necessary. `None` without packages.
pub fn prepare(
    paths: &Paths,
    profile: &Profile,
    map: &IdMap,
    base: &RootLayers,
    progress: &dyn Progress,
) -> Result<Option<PathBuf>, SessionError> {
    if let Some(tree) = find(paths, profile, map, base)? {
        return Ok(Some(tree));
    }
    if profile.packages.is_empty() {
        return Ok(None);
    }
    let store = Store::open(&paths.store()).map_err(PackagesError::from)?;
    let name = layer_name(&profile.packages, base);
    let _guard = store.lock_name(&name).map_err(PackagesError::from)?;
    // Another box with the same list may have been faster.
    if let Some(tree) = store.tree(&name, &map.layout()) {
        return Ok(Some(tree));
    }
    let view = View::new(&[], base);
    let manager = manager::find(&view).ok_or(PackagesError::NoManager)?;
    progress.note(&format!("installing {} with {}", profile.packages.join(" "), manager.name));

    let map = &map.for_installing();
    // Two directories that are swept should this be killed: the layer holds nothing but its tree.
    let build = store.begin(map).map_err(PackagesError::from)?;
    let scratch = store.begin(map).map_err(PackagesError::from)?;
    super::pool::make_layer(&scratch.path().join("upper"), map, None)?;
    let status = install(paths, profile, map, base, manager, scratch.path(), progress)?;
    if status != 0 {
        return Err(PackagesError::Failed { manager: manager.name, status }.into());
    }
    std::fs::remove_dir(build.tree()).map_err(super::session::io("replace the layer's tree"))?;
    std::fs::rename(scratch.path().join("upper/fs"), build.tree())
        .map_err(super::session::io("replace the layer's tree"))?;
    let layer = build.commit(LayerRecord::new(&name, map, &profile.packages.join(" "))).map_err(PackagesError::from)?;
    Ok(Some(layer.tree()))
}

/// Runs the package manager in a sandbox of its own, whose writable layer is the layer to be.
fn install(
    paths: &Paths,
    profile: &Profile,
    map: &IdMap,
    base: &RootLayers,
    manager: &Manager,
    place: &Path,
    progress: &dyn Progress,
) -> Result<i32, SessionError> {
    let generated = place.join("generated");
    generated::prepare_directory(&generated)?;
    let made = generated::make(
        &generated,
        &Inputs {
            id: "packages",
            name: "packages",
            base,
            above: &[],
            map,
            user: None,
            certificates: profile.share.ca_certificates,
            mount_points: ["/proc", "/sys", "/dev", "/run", "/tmp"].map(PathBuf::from).to_vec(),
            language: None,
        },
    )?;
    let path = paths::variable("PATH").and_then(|path| path.into_string().ok()).unwrap_or_default();
    let net = plan_network(Mode::Auto, &net::probe(&path))?;
    let hostname = hosts::host_name("packages");
    let read = |path: &str| std::fs::read_to_string(path).ok().filter(|_| !net.own_namespace());
    let hosts = hosts::hosts_file(&hostname, read("/etc/hosts").as_deref());
    let resolv = resolv::resolv_conf(&net, read("/etc/resolv.conf").as_deref());
    let work = place.join("work");
    std::fs::create_dir_all(&work).map_err(super::session::io("make the scratch directory"))?;
    let spec = |runtime: &Path| {
        plan(Wanted {
            hostname,
            id_map: map.clone(),
            base: base.clone(),
            layers: vec![generated::tree(&generated)],
            upper: place.join("upper/fs"),
            work,
            staging: runtime.join("root"),
            network: if net.own_namespace() { Network::Own } else { Network::Host },
            lifetime: Lifetime::Session,
            project: None,
            mask: Vec::new(),
            binds: Vec::new(),
            files: vec![(hosts.path, hosts.content), (resolv.path, resolv.content)],
        })
    };
    // What is said goes to standard error: standard output belongs to the command that waits for this.
    let script = format!("exec </dev/null >&2\n{}", manager.install);
    let head = ["/bin/sh", "-c", &script, "install"].map(Bytes::from);
    let command = Command {
        arguments: head.into_iter().chain(profile.packages.iter().map(Bytes::from)).collect(),
        alternatives: Vec::new(),
        environment: variables_of_a_build(&made.environment, profile.share.ca_certificates, &paths::variable),
        directories: vec![Bytes::from("/")],
        user: None,
        streams: [Stream::Descriptor; 3],
        terminal: None,
        title: format!("{} install", manager.name),
    };
    let hold = hold(&profile.base, base)?;
    Ok(super::transient::run(paths, place, spec, &net, command, hold, progress)?.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_base_and_list() {
        let base = |id: &str| RootLayers { id: id.into(), ..RootLayers::default() };
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let one = layer_name(&list(&["git", "make"]), &base("a"));
        assert_eq!(one, layer_name(&list(&["make", "git"]), &base("a")));
        assert_ne!(one, layer_name(&list(&["git"]), &base("a")));
        assert_ne!(one, layer_name(&list(&["git", "make"]), &base("b")));
    }
}
