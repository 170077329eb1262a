//! What a box changed: its own layers against its base. And what differs between two images.
//!
//! Only what the box's layers mention is looked at, so the cost is that of the changes, not of the base. Paths that
//! cannot be read (too deep for a path, for one) are counted, not silently left out.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::{BoxesError, BoxesResult};
use super::packages::{self, PackageChange, Packages};
use super::stack::{Merged, Node, Shares, Stack, file_type};
use crate::base::OverlayDriver;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped;

/// Longest package database that is read, in bytes.
const MAX_DATABASE_BYTES: u64 = 64 << 20;

/// How the two sides of a comparison lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sides {
    /// `own` lies on `base`: what it does not mention is as it was.
    #[default]
    Stacked,
    /// Each is a whole tree, of an image. What is made of the same layers on both sides is not looked at.
    Beside,
}

/// What to compare. Layers are topmost first.
#[derive(Debug, Clone, Default)]
pub struct DiffSpec {
    /// The box's own: `upper`, then its frozen layers.
    pub own: Vec<PathBuf>,
    /// What they lie on: the generated layer, the packages layer, `RootLayers::lower`.
    pub base: Vec<PathBuf>,
    /// `RootLayers::data_only`.
    pub data_only: Vec<PathBuf>,
    /// `RootLayers::host_directories`.
    pub host_directories: Vec<PathBuf>,
    /// Absolute paths in the box that are left out, with everything below: mount points, files made at each start.
    pub ignore: Vec<PathBuf>,
    /// `RootLayers::driver`: how the box's layers say that something is gone.
    pub driver: OverlayDriver,
    /// How `own` and `base` lie.
    pub sides: Sides,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The base does not have it.
    Added,
    /// The base has it differently.
    Changed,
    /// Only the base has it. What was below a removed directory is not listed.
    Removed,
}

/// What of a changed path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// It is another kind of file.
    Type,
    /// The bytes of a file, the target of a link, the number of a device.
    Content,
    /// The permissions.
    Mode,
    /// The owner or the group.
    Owner,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe or a socket.
    Special,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Absolute, in the box. Any bytes.
    #[serde(with = "super::path_text")]
    pub path: PathBuf,
    /// What it is now; what it was if it was removed.
    pub file_type: FileKind,
    /// Its size in bytes, for the same moment.
    pub size_bytes: u64,
    /// What differs; empty unless it was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<Aspect>,
}

/// Everything that a box changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Sorted by path.
    pub changes: Vec<Change>,
    /// By name: dpkg, apk and pacman.
    pub packages: Vec<PackageChange>,
    /// Packages changed in a database that cannot be read here (rpm).
    pub unreadable_packages: bool,
    /// Directories that could not be read, at most some hundred.
    pub skipped: Vec<String>,
}

/// Compares as the root of the box's ids. The caller must be single-threaded (see [`run_mapped`]).
pub fn diff(spec: &DiffSpec, map: &IdMap) -> BoxesResult<Diff> {
    let walker = Walker::open(spec)?;
    run_mapped(map, || Ok(walker.walk())).map_err(|source| BoxesError::Stage { action: "compare the layers", source })
}

/// Number of paths in [`Diff::skipped`].
const MAX_SKIPPED: usize = 100;

/// A box's layers beside what they lie on.
pub(super) struct Walker<'a> {
    spec: &'a DiffSpec,
    stack: Stack,
    own: Shares,
    /// The layers of the base.
    pub(super) base: Shares,
    /// The number of the layer that is the host's root, if directories of the host are part of the base.
    host: Option<usize>,
}

/// A directory still to be compared.
struct Task {
    path: PathBuf,
    own: Shares,
    base: Shares,
    /// What the base has here is gone, unless the box has made it again.
    cut: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn open(spec: &'a DiffSpec) -> BoxesResult<Self> {
        let mut layers = [spec.own.as_slice(), spec.base.as_slice()].concat();
        let host = (!spec.host_directories.is_empty()).then_some(layers.len());
        if host.is_some() {
            layers.push(PathBuf::from("/"));
        }
        let base = spec.own.len()..spec.own.len() + spec.base.len();
        let stack = Stack::open(&layers, &spec.data_only, spec.driver.into())?;
        Ok(Self { spec, stack, own: (0..spec.own.len()).collect(), base: base.collect(), host })
    }

    /// Compares everything. Inside a namespace that can read every file.
    pub(super) fn walk(&self) -> Diff {
        let mut diff = Diff::default();
        let mut tasks = vec![Task {
            path: PathBuf::new(),
            own: self.own.clone(),
            base: self.base.clone(),
            cut: self.spec.sides == Sides::Beside,
        }];
        while let Some(task) = tasks.pop() {
            if let Err(errno) = self.compare_directory(&task, &mut diff.changes, &mut tasks)
                && diff.skipped.len() < MAX_SKIPPED
            {
                diff.skipped.push(format!("`/{}`: {}", task.path.display(), std::io::Error::from(errno)));
            }
        }
        diff.changes.sort_by(|a, b| a.path.cmp(&b.path));
        diff.packages = self.compare_packages();
        diff.unreadable_packages = diff.changes.iter().any(|change| {
            let path = change.path.strip_prefix("/").unwrap_or(&change.path);
            packages::RPM.iter().any(|database| path.starts_with(database) && path != Path::new(database))
        });
        diff
    }

    fn host_share(&self, path: &Path) -> Option<usize> {
        let is_host = |directory: &PathBuf| directory.strip_prefix("/").is_ok_and(|directory| directory == path);
        self.host.filter(|_| self.spec.host_directories.iter().any(is_host))
    }

    /// Whether these are the same layers, which lie on both sides.
    fn is_same(&self, own: &[usize], base: &[usize]) -> bool {
        let base = base.iter().map(|&layer| &self.spec.base[layer - self.own.len()]);
        self.spec.sides == Sides::Beside && own.iter().map(|&layer| &self.spec.own[layer]).eq(base)
    }

    fn compare_directory(&self, task: &Task, changes: &mut Vec<Change>, tasks: &mut Vec<Task>) -> Result<(), Errno> {
        if self.is_same(&task.own, &task.base) {
            return Ok(());
        }
        let own = self.stack.directory(&task.own, &task.path)?;
        let base = self.stack.directory(&task.base, &task.path)?;
        let mut names = own.names()?;
        if task.cut {
            names.extend(base.names()?);
        }
        for name in names {
            let path = task.path.join(&name);
            let absolute = Path::new("/").join(&path);
            if self.spec.ignore.contains(&absolute) {
                continue;
            }
            let mut below = base.look_up(&name);
            if let (Some(host), Ok(stat)) = (self.host_share(&path), rustix::fs::lstat(&absolute)) {
                below = match below {
                    Node::Directory { mut shares, cut, .. } => {
                        shares.insert(0, host);
                        Node::Directory { shares, stat, cut }
                    }
                    _ => Node::Directory { shares: vec![host], stat, cut: true },
                };
            }
            let found = own.look_up(&name);
            let (ours, theirs) = (Side { directory: &own, node: &found }, Side { directory: &base, node: &below });
            changes.extend(compare_node(&ours, &theirs, &name, absolute, self.spec.sides));
            if let Node::Directory { shares, cut, .. } = found {
                let (base, was_directory) = match below {
                    Node::Directory { shares, .. } => (shares, true),
                    _ => (Vec::new(), false),
                };
                tasks.push(Task { path, own: shares, base, cut: was_directory && (cut || task.cut) });
            }
        }
        Ok(())
    }

    /// Packages that the box's layers added, removed or have in another version.
    pub(super) fn compare_packages(&self) -> Vec<PackageChange> {
        packages::compare(&self.packages(&self.base), &self.packages(&self.all()))
    }

    /// The layers of the box: its own, and those of the base that they lie on.
    pub(super) fn all(&self) -> Shares {
        let below = self.base.iter().filter(|_| self.spec.sides == Sides::Stacked);
        self.own.iter().chain(below).copied().collect()
    }

    /// Every package in the databases of a stack. A box has one package manager; names do not clash.
    pub(super) fn packages(&self, shares: &Shares) -> Packages {
        let read = |path: &str| self.read(shares, Path::new(path)).unwrap_or_default();
        let mut packages = packages::parse_dpkg(&read(packages::DPKG));
        packages.extend(packages::parse_apk(&read(packages::APK)));
        let pacman = self.list(shares, Path::new(packages::PACMAN));
        packages.extend(packages::parse_pacman(pacman.iter().map(String::as_str)));
        packages
    }

    fn reach<T>(&self, shares: &Shares, path: &Path, then: impl FnOnce(&Merged<'_>, &OsStr) -> Option<T>) -> Option<T> {
        self.stack.reach(shares.clone(), path, |directory, found| self.enter(directory, found), then)
    }

    /// The layers of a directory. A directory of the host lies above the base's layers and below the box's own.
    fn enter(&self, path: &Path, found: Node) -> Shares {
        let is_own = |layer: &usize| *layer < self.own.len();
        let (mut shares, cut) = match found {
            Node::Directory { shares, cut, .. } => (shares, cut),
            Node::Absent => (Vec::new(), false),
            Node::Whiteout | Node::Leaf { .. } => return Vec::new(),
        };
        let hidden = cut && !shares.is_empty() && shares.iter().all(is_own);
        if let Some(host) = self.host_share(path).filter(|_| !hidden) {
            shares.insert(shares.iter().take_while(|layer| is_own(layer)).count(), host);
        }
        shares
    }

    /// The file `path`, relative to the root; links are not followed.
    pub(super) fn read(&self, shares: &Shares, path: &Path) -> Option<Vec<u8>> {
        self.reach(shares, path, |parent, name| {
            let Node::Leaf { part, .. } = parent.look_up(name) else { return None };
            let mut text = Vec::new();
            parent.content(part, name)?.take(MAX_DATABASE_BYTES).read_to_end(&mut text).ok()?;
            Some(text)
        })
    }

    /// The names in the directory `path`, those that are UTF-8.
    pub(super) fn list(&self, shares: &Shares, path: &Path) -> Vec<String> {
        // The names in a directory are reached by any name in it.
        let names = self.reach(shares, &path.join("x"), |directory, _| {
            let names = directory.names().ok()?.into_iter();
            let seen = names.filter(|name| !matches!(directory.look_up(name), Node::Whiteout | Node::Absent));
            Some(seen.filter_map(|name| name.into_string().ok()).collect())
        });
        names.unwrap_or_default()
    }
}

/// What one side has under a name.
struct Side<'a> {
    directory: &'a Merged<'a>,
    node: &'a Node,
}

fn compare_node(ours: &Side<'_>, theirs: &Side<'_>, name: &OsStr, path: PathBuf, sides: Sides) -> Option<Change> {
    let now = stat_of(ours.node);
    let before = stat_of(theirs.node);
    let (kind, shown, aspects) = match (now, before) {
        (None, None) => return None,
        (Some(now), None) => (ChangeKind::Added, now, Vec::new()),
        (None, Some(before)) => (ChangeKind::Removed, before, Vec::new()),
        (Some(now), Some(before)) => {
            let mut aspects = metadata_aspects(now, before);
            if aspects.first() != Some(&Aspect::Type) && differs(ours, theirs, name, sides) {
                aspects.insert(0, Aspect::Content);
            }
            if aspects.is_empty() {
                return None;
            }
            (ChangeKind::Changed, now, aspects)
        }
    };
    let size_bytes = u64::try_from(shown.st_size).unwrap_or_default();
    Some(Change { kind, path, file_type: kind_of(shown), size_bytes, aspects })
}

fn stat_of(node: &Node) -> Option<&Stat> {
    match node {
        Node::Leaf { stat, .. } | Node::Directory { stat, .. } => Some(stat),
        Node::Absent | Node::Whiteout => None,
    }
}

fn kind_of(stat: &Stat) -> FileKind {
    match file_type(stat) {
        rustix::fs::FileType::RegularFile => FileKind::File,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Special,
    }
}

fn metadata_aspects(now: &Stat, before: &Stat) -> Vec<Aspect> {
    if file_type(now) != file_type(before) {
        return vec![Aspect::Type];
    }
    let mut aspects = Vec::new();
    // The mode of a symbolic link means nothing.
    if kind_of(now) != FileKind::Symlink && (now.st_mode ^ before.st_mode) & 0o7777 != 0 {
        aspects.push(Aspect::Mode);
    }
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid) {
        aspects.push(Aspect::Owner);
    }
    aspects
}

/// Whether two leaves of one type differ in content. In doubt they do.
fn differs(ours: &Side<'_>, theirs: &Side<'_>, name: &OsStr, sides: Sides) -> bool {
    let (Node::Leaf { part: now, stat: after }, Node::Leaf { part: then, stat: before }) = (ours.node, theirs.node)
    else {
        return false;
    };
    match kind_of(after) {
        FileKind::Symlink => ours.directory.link_target(*now, name) != theirs.directory.link_target(*then, name),
        FileKind::Special => after.st_rdev != before.st_rdev,
        FileKind::Directory => false,
        FileKind::File => {
            let untouched = match sides {
                // A file that was only copied up keeps its time of modification.
                Sides::Stacked => {
                    after.st_size == before.st_size
                        && (after.st_mtime, after.st_mtime_nsec) == (before.st_mtime, before.st_mtime_nsec)
                }
                // Files of images may all have the same time; but this is one file, in a layer of both.
                Sides::Beside => (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino),
            };
            if untouched || ours.directory.is_metadata_only(*now, name) {
                return false;
            }
            let contents = || ours.directory.content(*now, name).zip(theirs.directory.content(*then, name));
            after.st_size != before.st_size || contents().is_none_or(|(a, b)| !same_bytes(a, b))
        }
    }
}

fn same_bytes(a: File, b: File) -> bool {
    use std::io::{BufRead, BufReader};
    const CHUNK_BYTES: usize = 64 << 10;
    let (mut a, mut b) = (BufReader::with_capacity(CHUNK_BYTES, a), BufReader::with_capacity(CHUNK_BYTES, b));
    loop {
        let length = match (a.fill_buf(), b.fill_buf()) {
            (Ok(x), Ok(y)) => {
                let length = x.len().min(y.len());
                if x[..length] != y[..length] {
                    return false;
                }
                if length == 0 {
                    return x.is_empty() && y.is_empty();
                }
                length
            }
            _ => return false,
        };
        a.consume(length);
        b.consume(length);
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
