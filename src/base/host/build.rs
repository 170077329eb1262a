//! Making the two layers of the host base from nothing.

use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};

use super::accounts;
use super::entry::{Facts, Writer};
use super::mounts::{self, MountPoint};
use super::roots::Roots;
use super::select::{self, Excluded, How, Selection, TopEntry, TopKind};
use super::walk::{Job, Report, Stamp, Walk, each_name, open_directory};
use crate::progress::Progress;
use crate::sys::fs::Root;
use crate::sys::{Context, SysResult};

/// The host as this base sees it.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Its root directory: `/`, or a tree made by a test.
    pub root: PathBuf,
    pub selection: Selection,
    pub excluded: Excluded,
    pub roots: Roots,
    /// Mount points inside trees of metadata.
    pub points: Vec<MountPoint>,
}

impl Host {
    /// Looks at the host: `private` are directories that are left out wherever they lie, `mountinfo` is the text of
    /// `/proc/self/mountinfo`.
    pub fn look(root: &Path, private: &[PathBuf], mountinfo: &[u8]) -> SysResult<Self> {
        let passwd = std::fs::read(root.join("etc/passwd")).unwrap_or_default();
        let mut private = private.to_vec();
        private.extend(select::homes(&String::from_utf8_lossy(&passwd)));
        let selection = select::select(&top_entries(root)?, |path| root.join(path).metadata().is_ok());
        let excluded = Excluded::new(&selection, &private);
        let mut trees = Vec::new();
        for tree in selection.trees.iter().filter(|tree| tree.how == How::Metadata) {
            // `/opt` may be a symlink into `/var`, and the kernel names mount points by their real paths.
            if let Ok(real) = root.join(&tree.path).canonicalize() {
                trees.push((tree.path.clone(), real));
            }
        }
        let real: Vec<PathBuf> = trees.iter().map(|(_, real)| real.clone()).collect();
        let points = mounts::parse(mountinfo, &real);
        let mut roots = Vec::new();
        for (path, real) in &trees {
            for data in mounts::data_roots(real, &points, &children) {
                let inner = data.strip_prefix(real).unwrap_or(Path::new(""));
                // Joining an empty path would leave a slash at the end.
                let inside = if inner.as_os_str().is_empty() { path.clone() } else { path.join(inner) };
                roots.push((inside, data));
            }
        }
        Ok(Self { root: root.to_owned(), selection, excluded, roots: Roots::new(roots), points })
    }

    /// The trees that are taken as `how`.
    fn trees(&self, how: How) -> impl Iterator<Item = &Path> {
        self.selection.trees.iter().filter(move |tree| tree.how == how).map(|tree| tree.path.as_path())
    }

    /// Host directories of the first level that are taken as metadata, absolute: `/usr`, `/opt` ...
    pub fn system_directories(&self) -> Vec<PathBuf> {
        self.trees(How::Metadata)
            .filter(|path| path.components().count() == 1)
            .map(|path| self.root.join(path))
            .collect()
    }
}

fn top_entries(root: &Path) -> SysResult<Vec<TopEntry>> {
    let call = || format!("read `{}`", root.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(root).call(call)? {
        let entry = entry.call(call)?;
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_dir() => TopKind::Directory,
            Ok(kind) if kind.is_symlink() => std::fs::read_link(entry.path()).map_or(TopKind::Other, TopKind::Symlink),
            _ => TopKind::Other,
        };
        entries.push(TopEntry { name: entry.file_name(), kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut children: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .map(|entry| entry.path())
        .collect();
    children.sort();
    children
}

/// Makes the metadata layer in the empty directory `layer`.
pub(super) fn metadata(
    host: &Host,
    layer: &Path,
    copy_limit: u64,
    progress: &dyn Progress,
) -> SysResult<(Report, Vec<Stamp>)> {
    let writer = Writer::new(false, false);
    let mut jobs = Vec::new();
    for tree in host.trees(How::Metadata) {
        make_ancestors(host, layer, tree)?;
        jobs.push(Job { path: tree.to_owned(), how: How::Metadata });
    }
    let walk = Walk {
        host: &host.root,
        layer,
        excluded: &host.excluded,
        roots: &host.roots,
        writer,
        copy_limit,
        previous: None,
    };
    walk.run(jobs, progress)
}

/// What the copied layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// It lies on a metadata layer.
    Metadata,
    /// It lies on the host's directories themselves: package lists, which are a metadata tree else, are copied too.
    Directories,
}

/// Makes the copied layer in the empty directory `layer`: everything that is not metadata.
pub(super) fn copied(
    host: &Host,
    layer: &Path,
    below: Below,
    keep_owners: bool,
    previous: Option<(&Path, i64)>,
    progress: &dyn Progress,
) -> SysResult<Report> {
    let handle = open_directory(layer).call(|| format!("open `{}`", layer.display()))?;
    let root = Root::new(handle.as_fd());
    for (name, mode) in &host.selection.directories {
        let made = root.create_directory(Path::new(name))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(*mode))
            .or_else(|_| {
                // An `O_PATH` handle cannot be changed through itself.
                rustix::fs::chmodat(&handle, *name, Mode::from_raw_mode(*mode), AtFlags::empty())
            })
            .call(|| format!("chmod `{name}`"))?;
    }
    for (name, target) in &host.selection.symlinks {
        rustix::fs::symlinkat(target, &handle, name).call(|| format!("symlink `{}`", name.display()))?;
    }
    let writer = Writer::new(keep_owners, false);
    variable_directories(host, layer, writer)?;
    let mut jobs = Vec::new();
    let lists = (below == Below::Directories).then_some(Path::new("var/lib/apt/lists"));
    let lists = lists.filter(|lists| host.trees(How::Metadata).any(|tree| tree == *lists));
    for tree in host.trees(How::Copy).chain(lists) {
        if make_ancestors(host, layer, tree)? == FileType::Directory {
            jobs.push(Job { path: tree.to_owned(), how: How::Copy });
        } else {
            single_file(host, layer, tree, writer)?;
        }
    }
    let walk = Walk {
        host: &host.root,
        layer,
        excluded: &host.excluded,
        roots: &Roots::default(),
        writer,
        copy_limit: 0,
        previous,
    };
    let (report, _) = walk.run(jobs, progress)?;
    generated(host, root)?;
    Ok(report)
}

/// The first two levels of directories and symlinks in `/var`.
fn variable_directories(host: &Host, layer: &Path, writer: Writer) -> SysResult<()> {
    let mut finish = Vec::new();
    let first = level(host, layer, Path::new("var"), writer)?;
    for (path, facts) in first {
        let leaf = path.file_name().is_none_or(select::is_var_leaf);
        if !leaf && select::is_public_directory(facts.mode) {
            finish.extend(level(host, layer, &path, writer)?);
        }
        finish.push((path, facts));
    }
    for (path, facts) in finish {
        let directory = open_directory(&layer.join(&path)).call(|| format!("open `{}`", path.display()))?;
        writer.finish_directory(directory.as_fd(), &facts).call(|| format!("chmod `{}`", path.display()))?;
    }
    Ok(())
}

/// Makes the directories and symlinks in `path`; the directories made.
fn level(host: &Host, layer: &Path, path: &Path, writer: Writer) -> SysResult<Vec<(PathBuf, Facts)>> {
    let Ok(from) = open_directory(&host.root.join(path)) else { return Ok(Vec::new()) };
    let to = open_directory(&layer.join(path)).call(|| format!("open `{}`", path.display()))?;
    let mut directories = Vec::new();
    each_name(from.as_fd(), |name| {
        let facts = Facts::of(from.as_fd(), name)?;
        match facts.kind {
            _ if name == c"lost+found" => {}
            FileType::Directory => {
                Writer::directory(to.as_fd(), name)?;
                directories.push((path.join(OsStr::from_bytes(name.to_bytes())), facts));
            }
            FileType::Symlink => writer.symlink(from.as_fd(), to.as_fd(), name, &facts)?,
            _ => {}
        }
        Ok(())
    })
    .call(|| format!("copy the directories of `{}`", path.display()))?;
    Ok(directories)
}

/// Makes the directories that lead to `tree`, with the host's modes, and `tree` itself if it is a directory. What it is.
fn make_ancestors(host: &Host, layer: &Path, tree: &Path) -> SysResult<FileType> {
    let mut current = PathBuf::new();
    let mut kind = FileType::Directory;
    for component in tree.components() {
        current.push(component);
        let stat = rustix::fs::stat(host.root.join(&current)).call(|| format!("stat `/{}`", current.display()))?;
        let facts = Facts::from(stat);
        kind = facts.kind;
        let path = layer.join(&current);
        if kind == FileType::Directory && path.symlink_metadata().is_err() {
            rustix::fs::mkdir(&path, Mode::RWXU).call(|| format!("mkdir `{}`", path.display()))?;
            // Writable for now; the walk sets the mode of `tree` itself.
            rustix::fs::chmod(&path, Mode::from_raw_mode(facts.mode | 0o700))
                .call(|| format!("chmod `{}`", path.display()))?;
        }
    }
    Ok(kind)
}

fn single_file(host: &Host, layer: &Path, path: &Path, writer: Writer) -> SysResult<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let call = || format!("copy `/{}`", path.display());
    let from = open_directory(&host.root.join(parent)).call(call)?;
    let to = open_directory(&layer.join(parent)).call(call)?;
    let name = CString::new(name.as_bytes()).unwrap_or_default();
    let facts = Facts::of(from.as_fd(), &name).call(call)?;
    if facts.kind == FileType::RegularFile && select::is_public_file(facts.mode) {
        writer.copy(from.as_fd(), to.as_fd(), &name, &facts).call(call)?;
    }
    Ok(())
}

/// The files of `/etc` that are made for the box. The sandbox mounts or writes its own over the empty ones.
fn generated(host: &Host, root: Root<'_>) -> SysResult<()> {
    let read = |path: &str| {
        let text = std::fs::read(host.root.join(path)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    root.write_file(Path::new("etc/shadow"), accounts::shadow(&read("etc/passwd")).as_bytes(), 0o640)?;
    root.write_file(Path::new("etc/gshadow"), accounts::gshadow(&read("etc/group")).as_bytes(), 0o640)?;
    for name in ["machine-id", "hostname", "hosts", "resolv.conf"] {
        root.write_file(&Path::new("etc").join(name), b"", 0o644)?;
    }
    root.write_file(Path::new("etc/fstab"), b"# A box has no disks of its own.\n", 0o644)?;
    root.symlink("../proc/self/mounts", Path::new("etc/mtab"))?;
    if host.root.join("var/cache/apt").is_dir() {
        root.create_directory(Path::new("var/cache/apt/archives/partial"))?;
    }
    if host.root.join("etc/sudoers").symlink_metadata().is_ok() {
        root.write_file(Path::new("etc/sudoers"), accounts::SUDOERS.as_bytes(), 0o440)?;
    }
    Ok(())
}

/// Calls `each` with the path (relative) and facts of every entry that the copied layer is made from.
pub(super) fn each_copied(host: &Host, each: &mut dyn FnMut(&Path, &Facts)) -> SysResult<()> {
    let mut stack: Vec<(PathBuf, bool)> = host.trees(How::Copy).map(|tree| (tree.to_owned(), true)).collect();
    // The directories of /var: what is made in them is seen by their times.
    stack.extend([("var", false), ("var/lib", false), ("var/cache", false)].map(|(path, deep)| (path.into(), deep)));
    while let Some((path, deep)) = stack.pop() {
        let full = host.root.join(&path);
        let Ok(stat) = rustix::fs::stat(&full) else { continue };
        let facts = Facts::from(stat);
        each(&path, &facts);
        if !deep || facts.kind != FileType::Directory || !select::is_public_directory(facts.mode) {
            continue;
        }
        let Ok(directory) = open_directory(&full) else { continue };
        let excluded = host.excluded.in_directory(&path);
        each_name(directory.as_fd(), |name| {
            if select::is_excluded(name.to_bytes(), excluded) {
                return Ok(());
            }
            let Ok(facts) = Facts::of(directory.as_fd(), name) else { return Ok(()) };
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            if facts.kind == FileType::Directory {
                stack.push((path, true));
            } else {
                each(&path, &facts);
            }
            Ok(())
        })
        .call(|| format!("read `{}`", full.display()))?;
    }
    Ok(())
}
