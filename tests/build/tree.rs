//! A root file system as a table that can be compared: path, kind, mode, owner, content, times of what was copied.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The time of the files in the contexts of the tests; anything newer was made by a build.
pub const OLD: u64 = 1_600_000_000;

/// What is at each path.
pub type Tree = BTreeMap<PathBuf, String>;

/// The tree of a directory.
pub fn of_directory(root: &Path) -> Tree {
    let mut found = Found::new();
    add(root, Path::new(""), &mut found);
    finish(found)
}

/// The tree of layers, the lowest first, whose whiteouts are those of overlayfs.
pub fn of_layers(layers: &[PathBuf]) -> Tree {
    let mut found = Found::new();
    for layer in layers {
        add(layer, Path::new(""), &mut found);
    }
    finish(found)
}

/// What is at a path, and which file it is: names of one file are told from copies of it.
type Found = BTreeMap<PathBuf, (String, (u64, u64))>;

/// Adds how many names of the tree each file has.
fn finish(found: Found) -> Tree {
    let mut names: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (_, identity) in found.values() {
        *names.entry(*identity).or_default() += 1;
    }
    let with_names = |(path, (text, identity)): (PathBuf, (String, (u64, u64)))| {
        let is_file = text.starts_with("file");
        (path, if is_file { format!("{text}, {} names", names[&identity]) } else { text })
    };
    found.into_iter().map(with_names).collect()
}

fn add(root: &Path, below: &Path, tree: &mut Found) {
    let mut names: Vec<_> = std::fs::read_dir(root.join(below)).expect("a directory").flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let path = below.join(entry.file_name());
        let meta = entry.path().symlink_metadata().expect("metadata");
        let is_whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        let was_directory = tree.get(&path).is_some_and(|known| known.0.starts_with("directory"));
        if is_whiteout || !meta.is_dir() || !was_directory || is_opaque(&entry.path()) {
            tree.retain(|known, _| !known.starts_with(&path));
        }
        if !is_whiteout {
            tree.insert(path.clone(), (describe(&entry.path(), &meta), (meta.dev(), meta.ino())));
        }
        if meta.is_dir() {
            add(root, &path, tree);
        }
    }
}

fn describe(path: &Path, meta: &std::fs::Metadata) -> String {
    let kind = meta.file_type();
    let owner = format!("{}:{} {:o}", meta.uid(), meta.gid(), meta.mode() & 0o7777);
    let time = if (meta.mtime() as u64) < OLD + 1000 { meta.mtime().to_string() } else { "new".to_owned() };
    if kind.is_dir() {
        return format!("directory {owner}");
    }
    if kind.is_symlink() {
        let target = std::fs::read_link(path).expect("a link");
        return format!("link {}:{} to {}", meta.uid(), meta.gid(), target.display());
    }
    if kind.is_file() {
        let content = std::fs::read(path).expect("a file");
        let content = if content.len() > 60 {
            devbox::image::digest::of_bytes(&content)
        } else {
            format!("{:?}", String::from_utf8_lossy(&content))
        };
        return format!("file {owner} {time} {content}{}", capabilities(path));
    }
    format!("{kind:?} {owner}")
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn is_opaque(path: &Path) -> bool {
    attribute(path, "user.overlay.opaque").as_deref() == Some(b"y")
}

fn capabilities(path: &Path) -> String {
    attribute(path, "security.capability").map(|value| format!(" {value:?}")).unwrap_or_default()
}

/// What differs, one line each; empty when nothing does.
pub fn differences(ours: &Tree, theirs: &Tree) -> String {
    let paths: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let mut text = String::new();
    for path in paths {
        let (ours, theirs) = (ours.get(path), theirs.get(path));
        if ours != theirs {
            let name = String::from_utf8_lossy(path.as_os_str().as_bytes());
            text.push_str(&format!("{name}\n  devbox:  {ours:?}\n  buildah: {theirs:?}\n"));
        }
    }
    text
}
