//! What was added to `packages` or taken from it, brought into the project's box.
//!
//! A stopped box stands on the new layer of packages at its next start, so the layer is all that is made. A running one
//! keeps its layers: the package manager works inside. It works inside as well where the box has a package database of its
//! own, which hides that of the layer: otherwise the box's package manager would not know what the layer holds.

use std::ffi::OsString;
use std::path::Path;

use crate::base::RootLayers;
use crate::boxes::comparison::Comparison;
use crate::boxes::diff::{DiffSpec, Walker};
use crate::boxes::error::BoxesError;
use crate::boxes::manager::{self, Manager, bare_name};
use crate::boxes::network::NETWORK_FILE;
use crate::boxes::packages::{self, Packages};
use crate::boxes::packages_layer::{self, PackagesError};
use crate::boxes::session::{self, Options, SessionError, What};
use crate::boxes::view::View;
use crate::boxes::{BoxDir, list, locking, running};
use crate::paths::Paths;
use crate::profile::{Hooks, LoadedProfile, NetworkMode};
use crate::progress::Progress;
use crate::sandbox::etc::Base;
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::run_mapped;

/// A change of `packages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// These are new in it.
    Add,
    /// These are not in it any more.
    Remove,
}

/// When the box has what the profile now says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// At once.
    Now,
    /// At its next start, because it runs without a network.
    NoNetwork,
    /// At its next start, because it runs without a root user.
    NoRoot,
}

/// Brings `entries` into the box of `loaded`'s project, or out of it. `loaded` says already what the profile will be. The
/// caller must be single-threaded.
pub fn apply(
    paths: &Paths,
    loaded: &LoadedProfile,
    act: Act,
    entries: &[String],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Applied, SessionError> {
    let id = list::find_by_project(paths, &loaded.project)?;
    let directory = id.as_ref().map(|id| BoxDir::new(paths, id));
    let is_running = directory.as_ref().is_some_and(|directory| running::probe(paths, directory));
    let (map, base) = session::prepare_base(paths, loaded, progress)?;
    if !is_running {
        let packages = packages_layer::prepare(paths, loaded, &map, &base, progress)?;
        locking::refresh(loaded, &base, packages.as_deref(), &map, progress)?;
    }
    let (Some(id), Some(directory)) = (id, directory) else { return Ok(Applied::Now) };
    let comparison = Comparison::open(paths, &id, progress)?;
    if !is_running && !has_database(&comparison) {
        return Ok(Applied::Now);
    }
    let entries = match act {
        Act::Add => entries.to_vec(),
        Act::Remove => removable(&comparison, &map, entries)?,
    };
    if entries.is_empty() {
        return Ok(Applied::Now);
    }
    if map.mode == IdMode::Single && map.user != 0 {
        return Ok(Applied::NoRoot);
    }
    let has_network = match is_running {
        true => std::fs::read_to_string(directory.runtime().join(NETWORK_FILE)).is_ok_and(|network| network != "none"),
        false => loaded.profile.network.mode != NetworkMode::None,
    };
    if act == Act::Add && !has_network {
        return Ok(Applied::NoNetwork);
    }
    let manager = manager_of(&base)?;
    let script = match act {
        Act::Add => manager.install,
        Act::Remove => manager.remove,
    };
    match inside(paths, loaded, script, &entries, options, progress)? {
        0 => Ok(Applied::Now),
        status => Err(PackagesError::Failed { manager: manager.name, status }.into()),
    }
}

/// Runs a package manager's script in the box, as its root and without the profile's hooks.
fn inside(
    paths: &Paths,
    loaded: &LoadedProfile,
    script: &str,
    entries: &[String],
    options: &Options,
    progress: &dyn Progress,
) -> Result<i32, SessionError> {
    let mut loaded = loaded.clone();
    loaded.profile.hooks = Hooks::default();
    let script = format!("cd / && exec </dev/null >&2\n{script}");
    let head = ["/bin/sh", "-c", &script, "devbox"].map(OsString::from);
    let what = What::Command(head.into_iter().chain(entries.iter().map(OsString::from)).collect());
    let options = Options { user: Some("root".to_owned()), ..options.clone() };
    session::run(paths, &loaded, &what, &options, progress)
}

fn manager_of(base: &RootLayers) -> Result<&'static Manager, SessionError> {
    Ok(manager::find(&View::new(&[], base)).ok_or(PackagesError::NoManager)?)
}

/// Whether the box's own layers hold a package database.
fn has_database(comparison: &Comparison) -> bool {
    let own = View::new(&comparison.own, &RootLayers::default());
    packages::DATABASES.iter().any(|path| own.exists(Path::new(path)))
}

/// Of `entries`, what the box has and its base has not: what the base brings stays.
fn removable(comparison: &Comparison, map: &IdMap, entries: &[String]) -> Result<Vec<String>, SessionError> {
    let below = comparison.spec();
    let own = comparison.own.iter().cloned().chain(comparison.packages.clone()).collect();
    let spec = DiffSpec { own, base: comparison.base.lower.clone(), ..below };
    let walker = Walker::open(&spec)?;
    let (base, now): (Packages, Packages) =
        run_mapped(map, || Ok((walker.packages(&walker.base), walker.packages(&walker.all()))))
            .map_err(|source| BoxesError::Stage { action: "read the package databases", source })?;
    let is_own = |name: &&str| now.contains_key(*name) && !base.contains_key(*name);
    Ok(entries.iter().map(|entry| bare_name(entry)).filter(is_own).map(str::to_owned).collect())
}
