//! Locking: writing down what a profile came to, and holding a start to it.
//!
//! `profile::lock` reads and writes the file; loading a profile obeys it. Here it is compared with what the base and the
//! packages really are, and brought up to date.

use std::path::{Path, PathBuf};

use super::diff::{DiffSpec, Walker};
use super::error::BoxesError;
use super::packages::Packages;
use super::packages_layer::{self, Freshness, locked_versions};
use super::session::{self, SessionError};
use crate::base::{BaseSpec, RootLayers};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::store::StoreError;
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::profile::lock::{self, BuildInputs, LOCK_FILE, Lock, LockedBase, differences, digest_of_packages, spelled};
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer::TransferError;
use crate::transfer::pull::pull;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// What is here is not what was locked.
#[derive(Debug, thiserror::Error)]
pub enum LockingError {
    /// `--locked` without a lock file.
    #[error("`{}` has no {LOCK_FILE}", project.display())]
    Missing {
        /// The project.
        project: PathBuf,
    },
    /// The profile asks for something else than the lock file answers.
    #[error("{LOCK_FILE} does not fit the profile: {}", differences.join(", "))]
    OutOfDate {
        /// What differs.
        differences: Vec<String>,
    },
    /// The archive is another one, or the distribution was made from other packages.
    #[error("the base is not the one that {LOCK_FILE} names: {}", differences.join(", "))]
    OtherBase {
        /// What differs.
        differences: Vec<String>,
    },
    /// `update` of a package that the profile does not name and that did not come along.
    #[error("`{name}` is neither in the profile nor in {LOCK_FILE}")]
    NotLocked {
        /// The package.
        name: String,
    },
    /// The image could not be looked up anew.
    #[error(transparent)]
    Pull(#[from] TransferError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `lock` may change of a lock file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Only what the profile asks for anew.
    Nothing,
    /// The base: what its name means now.
    Base,
    /// These packages.
    Packages(Vec<String>),
    /// The base and every package.
    Everything,
}

/// `--locked`: the lock file must answer what the profile asks. Nothing but the two files is looked at; `build`: how what a
/// build names differs from what is locked.
pub fn require(loaded: &LoadedProfile, build: Vec<String>) -> Result<(), LockingError> {
    let Some(lock) = &loaded.lock else { return Err(LockingError::Missing { project: loaded.project.clone() }) };
    if lock::is_current(loaded) && build.is_empty() {
        return Ok(());
    }
    let mut wanted = lock.clone();
    wanted.packages = loaded.profile.packages.iter().cloned().collect();
    let mut differences = differences(lock, &wanted);
    if !lock.base.is_of(&loaded.asked_base, &loaded.project) {
        differences.insert(0, "the base is another one".to_owned());
    }
    differences.extend(build);
    Err(LockingError::OutOfDate { differences })
}

/// `--locked`: what a build was made `of` must be all that the lock file names.
pub fn require_inputs(loaded: &LoadedProfile, of: &BuildInputs) -> Result<(), LockingError> {
    let Some(lock) = &loaded.lock else { return Ok(()) };
    match &lock.base {
        LockedBase::Build(locked) if locked != of => {
            let now = Lock { base: LockedBase::Build(of.clone()), ..lock.clone() };
            Err(LockingError::OutOfDate { differences: differences(lock, &now) })
        }
        _ => Ok(()),
    }
}

/// Whether the prepared base is what the lock file says. An archive must be; a distribution is made from what the mirrors
/// have, so that a difference is an error for `--locked` only, and noted otherwise.
pub fn check_base(
    loaded: &LoadedProfile,
    base: &RootLayers,
    map: &IdMap,
    locked: bool,
    progress: &dyn Progress,
) -> Result<(), SessionError> {
    let Some(lock) = loaded.lock.as_ref().filter(|lock| lock.base.is_of(&loaded.asked_base, &loaded.project)) else {
        return Ok(());
    };
    let found = match &lock.base {
        LockedBase::Archive { path, .. } => LockedBase::Archive { path: path.clone(), digest: digest_of(base) },
        // Reading the package database takes a while: only where it is asked for.
        LockedBase::Distro { name, .. } if locked => {
            LockedBase::Distro { name: name.clone(), packages: digest_of_packages(&packages_of(base, map)?) }
        }
        _ => return Ok(()),
    };
    if found == lock.base {
        return Ok(());
    }
    let differences = differences(lock, &Lock { base: found, ..lock.clone() });
    if matches!(lock.base, LockedBase::Distro { .. }) && !locked {
        progress.note(&format!("the base is not the one that {LOCK_FILE} names"));
        return Ok(());
    }
    Err(LockingError::OtherBase { differences }.into())
}

/// Brings a lock file that is there up to date: `packages` is the layer that was made for the profile.
pub fn refresh(
    loaded: &LoadedProfile,
    base: &RootLayers,
    packages: Option<&Path>,
    map: &IdMap,
    progress: &dyn Progress,
) -> Result<(), SessionError> {
    if loaded.lock.is_none() || lock::is_current(loaded) {
        return Ok(());
    }
    let versions = match packages {
        None => Packages::new(),
        Some(tree) => packages_layer::installed(tree, base, map)?,
    };
    // What a build is made from is locked by `devbox lock` alone: it is the build that knows.
    let inputs = match loaded.lock.as_ref().map(|lock| &lock.base) {
        Some(LockedBase::Build(inputs)) => inputs.clone(),
        _ => BuildInputs::default(),
    };
    if lock::write(&loaded.project, &resolved(loaded, base, inputs, map, &versions)?)? {
        progress.note(&format!("updated {LOCK_FILE}"));
    }
    Ok(())
}

/// Writes the lock file of `loaded`'s project; returns what was there before, and what is there now. `inputs`: what the
/// build of the profile was made from. The caller must be single-threaded.
pub fn lock(
    paths: &Paths,
    loaded: &LoadedProfile,
    update: &Update,
    inputs: BuildInputs,
    progress: &dyn Progress,
) -> Result<(Option<Lock>, Lock), SessionError> {
    let old = loaded.lock.clone();
    let mut wanted = loaded.clone();
    if let Update::Packages(names) = update {
        for name in names {
            let known = loaded.profile.versions.contains_key(name) || loaded.profile.packages.contains(name);
            if !known {
                return Err(LockingError::NotLocked { name: name.clone() }.into());
            }
            wanted.profile.versions.remove(name);
        }
    }
    if *update == Update::Everything {
        wanted.profile.versions.clear();
    }
    if matches!(update, Update::Base | Update::Everything) {
        wanted.profile.base.clone_from(&loaded.asked_base);
        if let (BaseSpec::Image(reference), None) = (&loaded.asked_base, &loaded.profile.build) {
            let client = Client::new(loaded.registries.clone(), paths).with_notice(progress.notice());
            let map = session::map_and_driver(paths, loaded)?.0;
            pull(paths, &map, &client, reference, &Platform::host(), progress).map_err(LockingError::from)?;
        }
    }
    let (map, base) = session::prepare_base(paths, &wanted, progress)?;
    if *update == Update::Nothing {
        check_base(loaded, &base, &map, false, progress)?;
    }
    let versions = if wanted.profile.packages.is_empty() {
        Packages::new()
    } else {
        // What was locked is soft as soon as something else may change.
        let freshness = if *update == Update::Nothing { Freshness::Any } else { Freshness::Newest };
        match packages_layer::find(paths, &wanted, &map, &base)? {
            Some(tree) if freshness == Freshness::Any => packages_layer::installed(&tree, &base, &map)?,
            _ => packages_layer::make(paths, &wanted, &map, &base, freshness, progress)?.versions,
        }
    };
    let new = resolved(&wanted, &base, inputs, &map, &versions)?;
    lock::write(&loaded.project, &new)?;
    Ok((old, new))
}

/// The lock of what is here now.
fn resolved(
    loaded: &LoadedProfile,
    base: &RootLayers,
    inputs: BuildInputs,
    map: &IdMap,
    versions: &Packages,
) -> Result<Lock, SessionError> {
    let locked_base = match &loaded.asked_base {
        BaseSpec::Host => LockedBase::Host,
        BaseSpec::Directory(path) => LockedBase::Directory { path: spelled(path, &loaded.project) },
        BaseSpec::Archive(path) => {
            LockedBase::Archive { path: spelled(path, &loaded.project), digest: digest_of(base) }
        }
        BaseSpec::Distro(name) => {
            LockedBase::Distro { name: name.clone(), packages: digest_of_packages(&packages_of(base, map)?) }
        }
        BaseSpec::Image(_) if loaded.profile.build.is_some() => LockedBase::Build(inputs),
        BaseSpec::Image(name) => LockedBase::Image { name: name.clone(), digest: digest_of(base) },
    };
    Ok(Lock {
        base: locked_base,
        packages: loaded.profile.packages.iter().cloned().collect(),
        versions: locked_versions(versions, &loaded.profile.packages, &loaded.asked_base),
    })
}

/// Of an archive or an image. Every one has a digest; another one than any other for one that had none.
fn digest_of(base: &RootLayers) -> Digest {
    base.digest.clone().unwrap_or_else(|| Digest::of_bytes(base.id.as_bytes()))
}

/// Every package of a base.
fn packages_of(base: &RootLayers, map: &IdMap) -> Result<Packages, SessionError> {
    let spec = DiffSpec { base: base.lower.clone(), driver: base.driver, ..DiffSpec::default() };
    let walker = Walker::open(&spec)?;
    run_mapped(map, || Ok(walker.packages(&walker.base)))
        .map_err(|source| BoxesError::Stage { action: "read the package database", source }.into())
}
