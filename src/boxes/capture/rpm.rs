//! The packages of the rpm family. Their database can be read by `rpm` alone, so the box's own `rpm` is asked, once in the
//! box and once in what it stands on, in sandboxes that are thrown away.
//!
//! What it prints is the box's word: [`parse`] is pure, takes anything, and nothing of it is more than text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::explicit::Names;
use super::question::{Ground, ask};
use crate::base::RootLayers;
use crate::boxes::comparison::Comparison;
use crate::boxes::packages::{self, Packages};
use crate::boxes::session::SessionError;
use crate::boxes::view::View;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sandbox::etc::{Base, resolve};

/// The program.
const PROGRAM: &str = "/usr/bin/rpm";
/// A line for each package, and behind it one for each thing that it provides, requires and owns.
const FORMAT: &str = "n%{NAME}\\nv%{EVR}\\n[p%{PROVIDENAME}\\n][r%{REQUIRENAME}\\n][f%{FILENAMES}\\n]";
/// The first two of these lines.
const VERSIONS: &str = "n%{NAME}\\nv%{EVR}\\n";
/// The keys that signatures are checked with are kept as packages.
const KEYS: &str = "gpg-pubkey";

/// What is known of a package besides its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// `[epoch:]version-release`.
    pub version: String,
    provides: BTreeSet<String>,
    requires: BTreeSet<String>,
    /// Absolute.
    pub files: Vec<String>,
}

/// Installed packages by name.
pub type Rpm = BTreeMap<String, Package>;

/// The packages before and after what was done in a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Both {
    /// Those of the base and of the profile.
    pub before: Rpm,
    /// Those of the box.
    pub now: Rpm,
}

/// Asks, if the box has written a database of rpm. `None`: it has not, or its `rpm` does not answer.
pub(in crate::boxes) fn read(
    paths: &Paths,
    comparison: &Comparison,
    progress: &dyn Progress,
) -> Result<Option<Both>, SessionError> {
    let own = View::new(&comparison.own, &RootLayers::default());
    if !packages::RPM.iter().any(|path| own.exists(Path::new(path))) {
        return Ok(None);
    }
    let below: Vec<PathBuf> = [comparison.generated.clone()].into_iter().chain(comparison.packages.clone()).collect();
    let above = [comparison.own.clone(), below.clone()].concat();
    let packages_of = |layers: &[PathBuf]| query(paths, comparison.ground(), layers, FORMAT, progress);
    let Some(now) = packages_of(&above)? else { return Ok(None) };
    // A base without the program has no packages of it.
    Ok(Some(Both { before: packages_of(&below)?.unwrap_or_default(), now }))
}

/// What the package manager changed that wrote the layer `tree` on `ground`: packages that are new, or have another version.
pub(in crate::boxes) fn changes(
    paths: &Paths,
    ground: Ground<'_>,
    tree: &Path,
    progress: &dyn Progress,
) -> Result<Packages, SessionError> {
    let packages_of = |layers: &[PathBuf]| {
        Ok::<_, SessionError>(query(paths, ground, layers, VERSIONS, progress)?.unwrap_or_default())
    };
    let before = versions(&packages_of(&[])?);
    let mut now = versions(&packages_of(&[tree.to_owned()])?);
    now.retain(|name, version| before.get(name) != Some(version));
    Ok(now)
}

/// The packages of a sandbox of `layers` on `ground`. `None`: it has no `rpm`, or that does not answer.
fn query(
    paths: &Paths,
    ground: Ground<'_>,
    layers: &[PathBuf],
    format: &str,
    progress: &dyn Progress,
) -> Result<Option<Rpm>, SessionError> {
    let view = View::new(layers, ground.base);
    if resolve(&view, Path::new(PROGRAM)).is_none_or(|path| !view.exists(&path)) {
        return Ok(None);
    }
    let answer = ask(paths, ground, layers, &[PROGRAM, "-qa", "--qf", format], progress)?;
    Ok(answer.map(|untrusted| parse(&untrusted)))
}

/// Reads what [`FORMAT`] makes. Of a package that is installed several times the last counts.
#[must_use]
pub fn parse(untrusted: &str) -> Rpm {
    let mut packages = Rpm::new();
    let mut name = String::new();
    for line in untrusted.lines() {
        let Some((kind, text)) = line.split_at_checked(1) else { continue };
        if kind == "n" {
            text.clone_into(&mut name);
            if name != KEYS {
                packages.insert(name.clone(), Package::default());
            }
            continue;
        }
        let Some(package) = packages.get_mut(&name) else { continue };
        match kind {
            "v" => text.clone_into(&mut package.version),
            "p" => _ = package.provides.insert(text.to_owned()),
            "r" => _ = package.requires.insert(text.to_owned()),
            "f" => package.files.push(text.to_owned()),
            _ => {}
        }
    }
    packages
}

/// Names and versions.
#[must_use]
pub fn versions(packages: &Rpm) -> Packages {
    packages.iter().map(|(name, package)| (name.clone(), package.version.clone())).collect()
}

/// The new packages that stand for all new ones: rpm does not know which were asked for by name, so it is those that no
/// other new one needs. Of several that need each other, and nobody else needs, it is the first.
#[must_use]
pub fn standing_for_all(both: &Both) -> Names {
    let new: BTreeMap<&str, &Package> = both
        .now
        .iter()
        .filter(|(name, _)| !both.before.contains_key(*name))
        .map(|(name, package)| (name.as_str(), package))
        .collect();
    let wanted: BTreeSet<&str> = new.values().flat_map(|package| &package.requires).map(String::as_str).collect();
    let mut givers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (&name, package) in &new {
        let gives = package.provides.iter().chain(&package.files).map(String::as_str).chain([name]);
        for thing in gives.filter(|thing| wanted.contains(thing)) {
            givers.entry(thing).or_default().insert(name);
        }
    }
    let needs = |name: &str| {
        let requires = new.get(name).into_iter().flat_map(|package| &package.requires);
        let found: BTreeSet<&str> = requires
            .filter_map(|thing| givers.get(thing.as_str()))
            .flatten()
            .copied()
            .filter(|it| *it != name)
            .collect();
        found
    };
    let needed: BTreeSet<&str> = new.keys().flat_map(|name| needs(name)).collect();
    let (in_circles, tops): (Vec<&str>, Vec<&str>) = new.keys().copied().partition(|name| needed.contains(name));
    let mut chosen = Names::new();
    let mut reached = BTreeSet::new();
    for name in tops.into_iter().chain(in_circles) {
        if reached.contains(name) {
            continue;
        }
        chosen.insert(name.to_owned());
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            if reached.insert(name) {
                next.extend(needs(name));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name: requirements > what it provides`, a package a line.
    fn rpm(lines: &str) -> Rpm {
        let package = |line: &str| {
            let (name, rest) = line.split_once(':').unwrap();
            let (requires, provides) = rest.split_once('>').unwrap_or((rest, ""));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            let package = Package { requires: words(requires), provides: words(provides), ..Package::default() };
            (name.trim().to_owned(), package)
        };
        lines.lines().map(package).collect()
    }

    #[test]
    fn reads_what_rpm_prints() {
        let text =
            "nbash\nv5.2-1\npbash\np/bin/sh\nrlibc.so.6\nf/usr/bin/bash\nngpg-pubkey\nv1-2\nf/key\nngit\nv1:2.4-1\n";
        let found = parse(text);
        assert_eq!(versions(&found), [("bash", "5.2-1"), ("git", "1:2.4-1")].map(|(a, b)| (a.into(), b.into())).into());
        assert_eq!(found["bash"].files, ["/usr/bin/bash"]);
        for hostile in ["", "\n\n", "v1\nf/x\n", "\u{fffd}\0", "n", "\u{e9}x\n", "zeta\np"] {
            assert!(parse(hostile).keys().all(String::is_empty), "{hostile:?}");
        }
    }

    #[test]
    fn who_stands_for_all() {
        for (before, now, expected) in [
            ("", "", &[][..]),
            ("bash:", "bash:", &[]),
            ("bash:", "bash:\ngit: libz perl\nzlib: > libz\nperl: libz", &["git"]),
            // What was there before neither counts nor needs.
            ("top: libz", "top: libz\nzlib: > libz", &["zlib"]),
            ("", "a: b\nb: a", &["a"]),
            ("", "a: b\nb: c\nc: b\nself: self", &["a", "self"]),
        ] {
            let both = Both { before: rpm(before), now: rpm(now) };
            assert_eq!(standing_for_all(&both).iter().collect::<Vec<_>>(), expected, "{now}");
        }
    }
}
