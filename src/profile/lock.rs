//! `devbox.lock.toml`: what a profile came to when it was locked.
//!
//! ```text
//! version = 1
//! packages = [            what the profile asked for, sorted
//!     "git",
//! ]
//!
//! [base]                  what the base was, by a digest where it has one
//! image = "docker.io/library/debian:bookworm"
//! digest = "sha256:..."
//!
//! [versions]              every package that came along with `packages`, sorted: one a line, so that changes merge
//! "git" = "1:2.39.5-0+deb12u2"
//! ```
//!
//! Pure, but for [`read`] and [`write`]. The file comes with the project: whatever it says is checked like a profile, for its
//! names and versions become arguments of a package manager.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::edit;
use super::error::ProfileError;
use super::load::{self, Text};
use super::resolve::{BUILT_IMAGES, LoadedProfile};
use super::schema::At;
use super::validate::package_fault;
use crate::base::BaseSpec;
use crate::image::digest::Digest;
use crate::image::reference::Reference;

/// The lock file, beside `devbox.toml`.
pub const LOCK_FILE: &str = "devbox.lock.toml";

/// The format that is written; a newer one is refused.
const VERSION: u32 = 1;

/// What the file begins with.
const HEAD: &str = "# Written by `devbox lock`. It belongs beside devbox.toml, and under version control.\n";

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The base.
    pub base: LockedBase,
    /// The profile's `packages` at that time.
    pub packages: BTreeSet<String>,
    /// The packages that they brought along, themselves included, and their versions.
    pub versions: BTreeMap<String, String>,
}

/// A base and what pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedBase {
    /// The host's own system, which nothing pins.
    Host,
    /// A directory, which nothing pins.
    Directory {
        /// As [`spelled`].
        path: String,
    },
    /// An archive.
    Archive {
        /// As [`spelled`].
        path: String,
        /// Of the file.
        digest: Digest,
    },
    /// An image.
    Image {
        /// Its whole name, as the profile means it.
        name: Reference,
        /// Of its index or manifest.
        digest: Digest,
    },
    /// What `[build]` makes.
    Build(BuildInputs),
    /// A distribution. Its mirrors move on: what was made from them can be told from something else, not be had again.
    Distro {
        /// `distribution:release`.
        name: String,
        /// Of the names and versions of its packages: see [`digest_of_packages`].
        packages: Digest,
    },
}

/// What a build takes from elsewhere, by its name in the Containerfile after expansion; all else is in the project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildInputs {
    /// Images: the digest of the index or manifest.
    pub images: BTreeMap<String, Digest>,
    /// Files of `ADD URL`: their digest.
    pub files: BTreeMap<String, Digest>,
    /// Repositories, `URL#REF`: the commit.
    pub commits: BTreeMap<String, String>,
}

impl BuildInputs {
    /// All of them, and what pins each.
    fn pins(&self) -> BTreeMap<String, String> {
        let digests = self.images.iter().chain(&self.files).map(|(name, digest)| (name.clone(), digest.to_string()));
        digests.chain(self.commits.clone()).collect()
    }
}

/// Whether `text` names a commit and nothing else.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl LockedBase {
    /// Whether the profile's base is the one that was locked, whatever it has come to.
    #[must_use]
    pub fn is_of(&self, base: &BaseSpec, project: &Path) -> bool {
        match (self, base) {
            (Self::Host, BaseSpec::Host) => true,
            (Self::Directory { path }, BaseSpec::Directory(base))
            | (Self::Archive { path, .. }, BaseSpec::Archive(base)) => *path == spelled(base, project),
            // Every machine has another name for what it builds.
            (Self::Build(_), BaseSpec::Image(base)) => base.name() == BUILT_IMAGES,
            (Self::Image { name, .. }, BaseSpec::Image(base)) => name == base,
            (Self::Distro { name, .. }, BaseSpec::Distro(base)) => name == base,
            _ => false,
        }
    }

    /// What the profile's base becomes by being locked: an image is named by its digest, too.
    #[must_use]
    pub fn pinned(&self, base: &BaseSpec) -> BaseSpec {
        match self {
            Self::Image { name, digest } if name.digest().is_none() => BaseSpec::Image(name.pinned(digest.clone())),
            _ => base.clone(),
        }
    }
}

/// A path as the lock file has it: relative to the project where it lies in it, so that every machine writes the same.
#[must_use]
pub fn spelled(path: &Path, project: &Path) -> String {
    match path.strip_prefix(project) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => path.display().to_string(),
    }
}

/// Names a list of packages and their versions.
#[must_use]
pub fn digest_of_packages(packages: &BTreeMap<String, String>) -> Digest {
    let lines: String = packages.iter().map(|(name, version)| format!("{name}={version}\n")).collect();
    Digest::of_bytes(lines.as_bytes())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    version: At<u32>,
    #[serde(default)]
    packages: Vec<At<String>>,
    base: At<RawBase>,
    #[serde(default)]
    versions: BTreeMap<At<String>, At<String>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawBase {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distro: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<BTreeMap<String, Digest>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Digest>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    commits: BTreeMap<String, String>,
}

/// Reads the text of a lock file; `file` is for messages.
pub fn parse(untrusted_text: &str, file: &Path) -> Result<Lock, Box<Diagnostic>> {
    // The version first: a newer format has keys that are not known here.
    #[derive(Deserialize)]
    struct Format {
        version: Option<At<u32>>,
    }
    let wrong = |span, message: &str| Box::new(Diagnostic::new(file, untrusted_text, span, message));
    let toml = |error| Box::new(Diagnostic::from_toml(file, untrusted_text, &error));
    if let Some(version) = toml::from_str::<Format>(untrusted_text).map_err(toml)?.version
        && version.value != VERSION
    {
        let message = format!("lock format {} is not known here", version.value);
        let diagnostic = Diagnostic::new(file, untrusted_text, version.span, message);
        return Err(Box::new(diagnostic.help("update devbox, or write the file anew with `devbox update`")));
    }
    let raw: RawLock = toml::from_str(untrusted_text).map_err(toml)?;
    debug_assert_eq!(raw.version.value, VERSION);
    let RawBase { host, image, rootfs, distro, digest, packages, build, files, commits } = raw.base.value;
    let image = image.map(|name| name.parse::<Reference>()).transpose();
    let image = image.map_err(|error| wrong(raw.base.span.clone(), &error.to_string()))?;
    let base = match (host, image, rootfs, distro, digest, packages) {
        (None, None, None, None, None, None) if let Some(images) = build => {
            if let Some((name, _)) = commits.iter().find(|(_, commit)| !is_commit(commit)) {
                return Err(wrong(raw.base.span, &format!("`{name}` is not pinned by a commit")));
            }
            LockedBase::Build(BuildInputs { images, files, commits })
        }
        _ if build.is_some() || !files.is_empty() || !commits.is_empty() => {
            return Err(wrong(raw.base.span, "this does not pin one base"));
        }
        (Some(true), None, None, None, None, None) => LockedBase::Host,
        (None, None, Some(path), None, None, None) => LockedBase::Directory { path },
        (None, None, Some(path), None, Some(digest), None) => LockedBase::Archive { path, digest },
        (None, Some(name), None, None, Some(digest), None) => LockedBase::Image { name, digest },
        (None, None, None, Some(name), None, Some(packages)) => LockedBase::Distro { name, packages },
        _ => {
            let diagnostic = wrong(raw.base.span, "this does not pin one base");
            return Err(Box::new(diagnostic.help("`devbox update` writes the file anew")));
        }
    };
    for package in &raw.packages {
        if let Some(fault) = package_fault(&package.value) {
            return Err(Box::new(wrong(package.span.clone(), "this is not the name of a package").label(fault)));
        }
    }
    for (name, version) in &raw.versions {
        if let Some(fault) = package_fault(&name.value) {
            return Err(Box::new(wrong(name.span.clone(), "this is not the name of a package").label(fault)));
        }
        if !is_version(&version.value) {
            return Err(wrong(version.span.clone(), "this is not the version of a package"));
        }
    }
    Ok(Lock {
        base,
        packages: raw.packages.into_iter().map(|package| package.value).collect(),
        versions: raw.versions.into_iter().map(|(name, version)| (name.value, version.value)).collect(),
    })
}

/// Whether every package manager's versions look like this one. It becomes part of an argument and of a line of a file.
#[must_use]
pub fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+:~-_^".contains(c))
}

/// The text of a lock file: the same for the same content, entries sorted.
#[must_use]
pub fn render(lock: &Lock) -> String {
    let mut raw = RawBase::default();
    match lock.base.clone() {
        LockedBase::Host => raw.host = Some(true),
        LockedBase::Directory { path } => raw.rootfs = Some(path),
        LockedBase::Archive { path, digest } => (raw.rootfs, raw.digest) = (Some(path), Some(digest)),
        LockedBase::Image { name, digest } => (raw.image, raw.digest) = (Some(name.to_string()), Some(digest)),
        LockedBase::Build(inputs) => {
            (raw.build, raw.files, raw.commits) = (Some(inputs.images), inputs.files, inputs.commits);
        }
        LockedBase::Distro { name, packages } => (raw.distro, raw.packages) = (Some(name), Some(packages)),
    }
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let packages: String = lock.packages.iter().map(|name| format!("    {},\n", quoted(name))).collect();
    let packages = if packages.is_empty() { "[]".to_owned() } else { format!("[\n{packages}]") };
    // Tables of strings: printing them cannot fail.
    let base = toml::to_string(&BTreeMap::from([("base", raw)])).unwrap_or_default();
    let versions: String =
        lock.versions.iter().map(|(name, version)| format!("{} = {}\n", quoted(name), quoted(version))).collect();
    let versions = if versions.is_empty() { versions } else { format!("\n[versions]\n{versions}") };
    format!("{HEAD}version = {VERSION}\npackages = {packages}\n\n{base}{versions}")
}

/// What differs between two locks, a line each, for people.
#[must_use]
pub fn differences(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    if let (LockedBase::Build(old), LockedBase::Build(new)) = (&old.base, &new.base) {
        lines.extend(differences_of_versions(&old.pins(), &new.pins()));
    } else if old.base != new.base {
        lines.push(format!("base: {} -> {}", describe(&old.base), describe(&new.base)));
    }
    for name in old.packages.symmetric_difference(&new.packages) {
        let state = if new.packages.contains(name) { "is not in the lock file" } else { "is not in the profile" };
        lines.push(format!("{name}: {state}"));
    }
    lines.extend(differences_of_versions(&old.versions, &new.versions));
    lines
}

/// What differs between versions: `name: old -> new`, sorted.
#[must_use]
pub fn differences_of_versions(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |name: &String| {
        let shown = |versions: &BTreeMap<String, String>| versions.get(name).map_or("none", String::as_str).to_owned();
        let (old, new) = (shown(old), shown(new));
        (old != new).then(|| format!("{name}: {old} -> {new}"))
    };
    names.into_iter().filter_map(line).collect()
}

/// Whether there is a lock file that answers what the profile asks now.
#[must_use]
pub fn is_current(loaded: &LoadedProfile) -> bool {
    loaded.lock.as_ref().is_some_and(|lock| {
        let asked: BTreeSet<&String> = loaded.profile.packages.iter().collect();
        lock.base.is_of(&loaded.asked_base, &loaded.project) && asked.iter().copied().eq(&lock.packages)
    })
}

fn describe(base: &LockedBase) -> String {
    match base {
        LockedBase::Host => "the host".to_owned(),
        LockedBase::Directory { path } => path.clone(),
        LockedBase::Archive { path, digest } => format!("{path} ({digest})"),
        LockedBase::Image { name, digest } => format!("{} ({digest})", name.familiar()),
        LockedBase::Build(inputs) => {
            let pins: Vec<String> = inputs.pins().into_iter().map(|(name, pin)| format!("{name} ({pin})")).collect();
            format!("build of {}", pins.join(", "))
        }
        LockedBase::Distro { name, packages } => format!("{name} ({packages})"),
    }
}

/// Where the lock file of a project lies.
#[must_use]
pub fn path(project: &Path) -> PathBuf {
    project.join(LOCK_FILE)
}

/// The lock of the project, if it has one.
pub fn read(project: &Path) -> Result<Option<Lock>, ProfileError> {
    let file = path(project);
    if !load::exists(&file)? {
        return Ok(None);
    }
    let Text { text, .. } = load::read(&file)?;
    Ok(Some(parse(&text, &file)?))
}

/// Writes the lock of the project, unless it is there already in these words; returns whether it was written.
pub fn write(project: &Path, lock: &Lock) -> Result<bool, ProfileError> {
    let file = path(project);
    let text = render(lock);
    if load::exists(&file)? && load::read(&file).is_ok_and(|old| old.text == text) {
        return Ok(false);
    }
    edit::write(&file, &text)?;
    Ok(true)
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
