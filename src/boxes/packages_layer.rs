//! The profile's `packages`: installed once with the base's own package manager into a layer of the store, which every
//! box with the same base and the same list stands on.

use std::path::{Path, PathBuf};

use super::capture::question::Ground;
use super::capture::rpm;
use super::diff::{DiffSpec, Walker};
use super::environment::variables_of_a_build;
use super::error::BoxesError;
use super::generated::{self, Inputs};
use super::manager::{self, Manager, bare_name};
use super::packages::Packages;
use super::session::{SessionError, hold};
use super::view::View;
use crate::base::{BaseSpec, RootLayers};
use crate::image::digest;
use crate::image::store::{Layer, LayerRecord, Store, StoreError};
use crate::paths::{self, Paths};
use crate::profile::lock::{self, LOCK_FILE};
use crate::profile::{Grant, LoadedProfile, Profile};
use crate::progress::Progress;
use crate::sandbox::attach::Purpose;
use crate::sandbox::channel::{Bytes, Command};
use crate::sandbox::etc::{hosts, resolv};
use crate::sandbox::net;
use crate::sandbox::net::plan::{Mode, plan as plan_network};
use crate::sandbox::plan::{Wanted, plan};
use crate::sandbox::spec::Network;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

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
    /// It failed to install the versions that were locked; what it said has been shown.
    #[error("`{manager}` failed with status {status} to install the versions of {LOCK_FILE}")]
    LockedFailed {
        /// Which.
        manager: &'static str,
        /// Its exit status.
        status: i32,
    },
    /// Other versions came than those that were locked: they are not to be had any more.
    #[error("packages came in other versions than {LOCK_FILE} says: {}", differences.join(", "))]
    OtherVersions {
        /// `name: locked -> found`, sorted.
        differences: Vec<String>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a layer that is there is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Any,
    /// The packages are to be those that the mirrors have now.
    Newest,
}

/// A layer of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its tree.
    pub tree: PathBuf,
    /// What it brought, and in which versions: empty where only rpm could tell.
    pub versions: Packages,
}

/// The layer's name in the store. The order of the list does not matter. A locked layer is named by what is in it.
fn layer_name(packages: &[String], versions: &Packages, base: &RootLayers) -> String {
    let mut sorted: Vec<&str> = packages.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut text = format!("1\0{}\0{}", base.id, sorted.join("\0"));
    for (name, version) in versions {
        text.push_str(&format!("\0\0{name}={version}"));
    }
    format!("packages-{}", digest::of_bytes(text.as_bytes()).trim_start_matches("sha256:"))
}

/// What a lock file says of `versions`: all of them, but on the host base, where everything that the packages need may be
/// there in any version, those of the packages that were asked for.
#[must_use]
pub fn locked_versions(versions: &Packages, packages: &[String], base: &BaseSpec) -> Packages {
    let named: Vec<&str> = packages.iter().map(|entry| bare_name(entry)).collect();
    let counts = |name: &str| *base != BaseSpec::Host || named.contains(&bare_name(name));
    versions.iter().filter(|(name, _)| counts(name)).map(|(name, version)| (name.clone(), version.clone())).collect()
}

/// The tree of the layer if it has been made.
pub fn find(
    paths: &Paths,
    loaded: &LoadedProfile,
    map: &IdMap,
    base: &RootLayers,
) -> Result<Option<PathBuf>, PackagesError> {
    let profile = &loaded.profile;
    if profile.packages.is_empty() {
        return Ok(None);
    }
    let store = Store::open(&paths.store())?;
    let layout = map.layout();
    if let Some(tree) = store.tree(&layer_name(&profile.packages, &profile.versions, base), &layout) {
        return Ok(Some(tree));
    }
    // One that was made before there was a lock file may have just what was locked then.
    let unlocked = || store.layer(&layer_name(&profile.packages, &Packages::new(), base), &layout);
    let fits =
        |layer: &Layer| locked_versions(&layer.record.packages, &profile.packages, &profile.base) == profile.versions;
    Ok(loaded.lock.as_ref().and_then(|_| unlocked()).filter(fits).map(|layer| layer.tree()))
}

/// The tree of the layer, made first if necessary. `None` without packages.
pub fn prepare(
    paths: &Paths,
    loaded: &LoadedProfile,
    map: &IdMap,
    base: &RootLayers,
    progress: &dyn Progress,
) -> Result<Option<PathBuf>, SessionError> {
    match find(paths, loaded, map, base)? {
        None if !loaded.profile.packages.is_empty() => {
            Ok(Some(make(paths, loaded, map, base, Freshness::Any, progress)?.tree))
        }
        found => Ok(found),
    }
}

/// Makes the layer. The profile must name packages.
///
/// Where the lock file is up to date, exactly the versions that it names are installed; else those of its versions that
/// can be had.
pub fn make(
    paths: &Paths,
    loaded: &LoadedProfile,
    map: &IdMap,
    base: &RootLayers,
    freshness: Freshness,
    progress: &dyn Progress,
) -> Result<Installed, SessionError> {
    let profile = &loaded.profile;
    let store = Store::open(&paths.store()).map_err(PackagesError::from)?;
    let name = layer_name(&profile.packages, &profile.versions, base);
    // The base must stay while packages are installed on it.
    let _using = store.lock_shared().map_err(PackagesError::from)?;
    let _guard = store.lock_name(&name).map_err(PackagesError::from)?;
    // Another box with the same list may have been faster.
    if let Some(layer) = store.layer(&name, &map.layout()).filter(|_| freshness == Freshness::Any) {
        return Ok(Installed { tree: layer.tree(), versions: layer.record.packages });
    }
    let view = View::new(&[], base);
    let manager = manager::find(&view).ok_or(PackagesError::NoManager)?;
    progress.note(&format!("installing {} with {}", profile.packages.join(" "), manager.name));

    let map = &map.for_installing();
    // Two directories that are swept should this be killed: the layer holds nothing but its tree.
    let build = store.begin(map).map_err(PackagesError::from)?;
    let scratch = store.begin(map).map_err(PackagesError::from)?;
    super::pool::make_layer(&scratch.path().join("upper"), map, None)?;
    let status = install(paths, profile, map, base, manager, freshness, scratch.path(), progress)?;
    if status != 0 {
        let manager = manager.name;
        return Err(match profile.versions.is_empty() {
            true => PackagesError::Failed { manager, status },
            false => PackagesError::LockedFailed { manager, status },
        }
        .into());
    }
    std::fs::remove_dir(build.tree()).map_err(super::session::io("replace the layer's tree"))?;
    std::fs::rename(scratch.path().join("upper/fs"), build.tree())
        .map_err(super::session::io("replace the layer's tree"))?;
    let mut versions = installed(&build.tree(), base, map)?;
    if manager.is_rpm {
        let ground = Ground { map, base, named: &profile.base };
        versions.extend(rpm::changes(paths, ground, &build.tree(), progress)?);
    }
    let locked = locked_versions(&versions, &profile.packages, &profile.base);
    if freshness == Freshness::Any && lock::is_current(loaded) && locked != profile.versions {
        let differences = lock::differences_of_versions(&profile.versions, &locked);
        return Err(PackagesError::OtherVersions { differences }.into());
    }
    // What is locked from now on names the layer.
    let name = match (loaded.lock.is_some(), freshness) {
        (false, Freshness::Any) => name,
        _ => layer_name(&profile.packages, &locked, base),
    };
    let mut record = LayerRecord::new(&name, map, &profile.packages.join(" "));
    record.packages.clone_from(&versions);
    let layer = build.commit(record).map_err(PackagesError::from)?;
    Ok(Installed { tree: layer.tree(), versions: layer.record.packages })
}

/// The packages that the layer `tree` adds to `base`, or has in another version.
pub fn installed(tree: &Path, base: &RootLayers, map: &IdMap) -> Result<Packages, SessionError> {
    let spec = DiffSpec {
        own: vec![tree.to_owned()],
        base: base.lower.clone(),
        data_only: base.data_only.clone(),
        host_directories: base.host_directories.clone(),
        driver: base.driver,
        ..DiffSpec::default()
    };
    let walker = Walker::open(&spec)?;
    let changes = run_mapped(map, || Ok(walker.compare_packages()))
        .map_err(|source| BoxesError::Stage { action: "read the package databases", source })?;
    Ok(changes.into_iter().filter_map(|change| Some((change.name, change.new?))).collect())
}

/// Runs the package manager in a sandbox of its own, whose writable layer is the layer to be.
#[expect(clippy::too_many_arguments, reason = "the parts of a sandbox")]
fn install(
    paths: &Paths,
    profile: &Profile,
    map: &IdMap,
    base: &RootLayers,
    manager: &Manager,
    freshness: Freshness,
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
            certificates: profile.share.has(Grant::CaCertificates),
            mount_points: ["/proc", "/sys", "/dev", "/run", "/tmp"].map(PathBuf::from).to_vec(),
            placeholders: Vec::new(),
            language: None,
        },
    )?;
    let path = paths::variable("PATH").and_then(|path| path.into_string().ok()).unwrap_or_default();
    let net = plan_network(Mode::Auto, &net::probe(&path))?;
    let hostname = hosts::host_name("packages");
    let read = |path: &str| std::fs::read_to_string(path).ok().filter(|_| !net.own_namespace());
    let hosts = hosts::hosts_file(&hostname, read("/etc/hosts").as_deref());
    let resolv = resolv::resolv_conf(&net, read("/etc/resolv.conf").as_deref());
    std::fs::create_dir_all(place.join("work")).map_err(super::session::io("make the scratch directory"))?;
    let spec = |runtime: &Path| {
        plan(Wanted {
            layers: vec![generated::tree(&generated)],
            network: if net.own_namespace() { Network::Own } else { Network::Host },
            own: vec![("/run/.containerenv".into(), b"engine=\"devbox\"\n".to_vec())],
            files: vec![(hosts.path, hosts.content), (resolv.path, resolv.content)],
            ..Wanted::without_project(&hostname, map, base, place, runtime)
        })
    };
    // What is said goes to standard error: standard output belongs to the command that waits for this.
    let script = format!("exec </dev/null >&2\n{}", manager.install);
    let head = ["/bin/sh", "-c", &script, "install"].map(Bytes::from);
    let mut environment =
        variables_of_a_build(&made.environment, profile.share.has(Grant::CaCertificates), &paths::variable);
    let versions: Vec<_> = profile.versions.iter().map(|(name, version)| format!("{name}={version}")).collect();
    environment.push((Bytes::from("DEVBOX_VERSIONS"), Bytes::from(versions.join("\n"))));
    if freshness == Freshness::Newest {
        environment.push((Bytes::from("DEVBOX_NEWEST"), Bytes::from("1")));
    }
    let arguments = profile.packages.iter().map(|entry| argument(entry, &profile.versions, manager));
    let arguments = head.into_iter().chain(arguments.map(Bytes::from)).collect();
    let command = Command::new(arguments, environment, &format!("{} install", manager.name));
    let hold = hold(&profile.base, base)?;
    Ok(super::transient::run(paths, place, spec, &net, Purpose::Run(Box::new(command)), hold, progress)?.status())
}

/// The entry with the version that was locked. An entry that says by itself which version it wants has the last word.
fn argument(entry: &str, versions: &Packages, manager: &Manager) -> String {
    match (versions.get(entry), manager.before_version) {
        (Some(version), Some(before)) => format!("{entry}{before}{version}"),
        _ => entry.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_base_and_list() {
        let base = |id: &str| RootLayers { id: id.into(), ..RootLayers::default() };
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let none = Packages::new();
        let one = layer_name(&list(&["git", "make"]), &none, &base("a"));
        assert_eq!(one, layer_name(&list(&["make", "git"]), &none, &base("a")));
        assert_ne!(one, layer_name(&list(&["git"]), &none, &base("a")));
        assert_ne!(one, layer_name(&list(&["git", "make"]), &none, &base("b")));
        let locked = Packages::from([("git".to_owned(), "1".to_owned())]);
        assert_ne!(one, layer_name(&list(&["git", "make"]), &locked, &base("a")));
    }

    #[test]
    fn the_host_locks_what_was_asked_for() {
        let versions: Packages =
            [("git", "1"), ("libc6:i386", "2"), ("perl", "5")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        let asked = ["git".to_owned(), "libc6:i386".to_owned()];
        let names = |base: &BaseSpec| locked_versions(&versions, &asked, base).into_keys().collect::<Vec<_>>();
        assert_eq!(names(&BaseSpec::Host), ["git", "libc6:i386"]);
        assert_eq!(names(&BaseSpec::Distro("debian:bookworm".into())), ["git", "libc6:i386", "perl"]);
    }
}
