//! What was installed by hand in a box, compared with what its profile says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::explicit::{self, Names};
use super::owners::{Loose, Owners, loose};
use super::rpm::{self, Both};
use crate::boxes::BoxId;
use crate::boxes::comparison::Comparison;
use crate::boxes::diff::{Aspect, Change, ChangeKind, Diff, FileKind, Walker};
use crate::boxes::error::BoxesError;
use crate::boxes::manager::bare_name;
use crate::boxes::packages::{self, APK, PACMAN, Packages};
use crate::boxes::session::SessionError;
use crate::boxes::stack::Shares;
use crate::paths::Paths;
use crate::profile::validate::package_fault;
use crate::progress::Progress;
use crate::userns::stage::run_mapped;

/// A package that was installed by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its name, fit for `packages`.
    pub name: String,
    /// Its version; empty where only rpm could tell, and did not.
    pub version: String,
}

/// A file of a package that was changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// Absolute, in the box. Any bytes.
    #[serde(with = "crate::boxes::path_text")]
    pub path: PathBuf,
    /// The package that it belongs to.
    pub package: String,
}

/// A box, beside its profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Frozen {
    /// Asked for by name in the box, and neither in its base nor in the profile. Sorted by name.
    pub installed: Vec<Installed>,
    /// Entries of the profile's `packages` that the box has removed, in their order.
    pub removed: Vec<String>,
    /// Sorted by path.
    pub edited: Vec<Edited>,
    /// What belongs to no package, sorted by path.
    pub loose: Vec<Loose>,
    /// Packages changed in a database that only rpm can read, and the box's rpm did not.
    pub unreadable_packages: bool,
    /// Directories that could not be read, at most some hundred.
    pub skipped: Vec<String>,
}

/// Compares the box with its base and profile. The caller must be single-threaded.
pub fn compare(paths: &Paths, id: &BoxId, progress: &dyn Progress) -> Result<Frozen, SessionError> {
    let comparison = Comparison::open(paths, id, progress)?;
    let spec = comparison.spec();
    let walker = Walker::open(&spec)?;
    let rpm = rpm::read(paths, &comparison, progress)?;
    let seen = run_mapped(&comparison.record.id_map, || Ok(look(&walker, rpm.as_ref())))
        .map_err(|source| BoxesError::Stage { action: "compare the layers", source })?;
    Ok(judge(seen, &comparison.loaded.profile.packages))
}

/// What the layers say.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    diff: Diff,
    base: Packages,
    now: Packages,
    /// Asked for by name, of those that the base does not have.
    explicit: Names,
    edited: Vec<Edited>,
    loose: Vec<Loose>,
}

fn look(walker: &Walker<'_>, rpm: Option<&Both>) -> Seen {
    let mut diff = walker.walk();
    let (base, all) = (walker.base.clone(), walker.all());
    let (mut before, mut now) = (walker.packages(&base), walker.packages(&all));
    let read = |shares: &Shares, path: &str| walker.read(shares, Path::new(path)).unwrap_or_default();

    let mut explicit = explicit::of_apt(&now, &read(&all, "var/lib/apt/extended_states"));
    let world = read(&all, "etc/apk/world");
    if !world.is_empty() {
        let world = explicit::of_apk(&world);
        explicit.retain(|name| world.contains(name));
    }
    for (name, version) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
        let desc = format!("{PACMAN}/{name}-{version}/desc");
        if explicit::is_pacman_dependency(&read(&all, &desc)) {
            explicit.remove(name);
        }
    }
    explicit.retain(|name| !before.contains_key(name));
    let dnf = |shares: &Shares| explicit::of_dnf(&read(shares, "usr/lib/sysimage/libdnf5/packages.toml"));
    let dnf_before = dnf(&base);
    explicit.extend(dnf(&all).into_iter().filter(|name| !dnf_before.contains(name)));

    let mut owners = owners(walker, &all, &now, &diff.changes);
    if let Some(both) = rpm {
        let mut automatic = explicit::automatic_of_dnf(&read(&all, "usr/lib/sysimage/libdnf5/packages.toml"));
        automatic.extend(explicit::automatic_of_zypper(&read(&all, "var/lib/zypp/AutoInstalled")));
        explicit.extend(rpm::standing_for_all(both).into_iter().filter(|name| !automatic.contains(name)));
        for (name, package) in &both.now {
            owners.read_rpm(name, &package.files);
        }
        before.extend(rpm::versions(&both.before));
        now.extend(rpm::versions(&both.now));
        diff.unreadable_packages = false;
    }
    let changed = packages::compare(&before, &now);
    let is_new = |package: &str| changed.iter().any(|change| change.name == package);
    let edited = |change: &Change| {
        let content = change.kind == ChangeKind::Changed && change.aspects.contains(&Aspect::Content);
        let package = owners.get(&change.path).filter(|package| content && !is_new(package))?;
        Some(Edited { path: change.path.clone(), package: package.to_owned() })
    };
    let edited = diff.changes.iter().filter(|change| change.file_type == FileKind::File).filter_map(edited).collect();
    let loose = loose(&diff.changes, &owners);
    Seen { base: before, now, explicit, edited, loose, diff }
}

fn owners(walker: &Walker<'_>, shares: &Shares, now: &Packages, changes: &[Change]) -> Owners {
    let mut owners = Owners::of(changes.iter().map(|change| change.path.as_path()));
    let lists = Path::new("var/lib/dpkg/info");
    for file in walker.list(shares, lists) {
        // `libc6:amd64.list` of packages that can be installed for several architectures.
        let Some(package) = file.strip_suffix(".list") else { continue };
        let bare = package.split_once(':').map_or(package, |(name, _)| name);
        owners.read_dpkg(bare, &walker.read(shares, &lists.join(&file)).unwrap_or_default());
    }
    owners.read_apk(&walker.read(shares, Path::new(APK)).unwrap_or_default());
    let local = Path::new(PACMAN);
    for entry in walker.list(shares, local) {
        let found =
            now.iter().find(|(name, version)| entry.strip_prefix(name.as_str()) == Some(&format!("-{version}")));
        if let Some((name, _)) = found {
            owners.read_pacman(name, &walker.read(shares, &local.join(&entry).join("files")).unwrap_or_default());
        }
    }
    owners
}

fn judge(seen: Seen, profile: &[String]) -> Frozen {
    let named: Vec<&str> = profile.iter().map(|entry| bare_name(entry)).collect();
    let installed = seen
        .explicit
        .iter()
        // The databases are the box's: a name must be one that the profile could hold.
        .filter(|name| package_fault(name).is_none() && !named.contains(&bare_name(name)))
        .map(|name| Installed { name: name.clone(), version: seen.now.get(name).cloned().unwrap_or_default() })
        .collect();
    let is_gone = |entry: &&String| {
        let name = bare_name(entry);
        seen.base.contains_key(name) && !seen.now.contains_key(name)
    };
    let unreadable_packages = seen.diff.unreadable_packages && seen.explicit.is_empty();
    Frozen {
        installed,
        removed: profile.iter().filter(is_gone).cloned().collect(),
        edited: seen.edited,
        loose: seen.loose,
        unreadable_packages,
        skipped: seen.diff.skipped,
    }
}

#[cfg(test)]
#[path = "freeze_tests.rs"]
mod tests;
