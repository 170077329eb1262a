//! The files below `/etc` (and a few elsewhere) that are made for one box. Pure: the caller reads the host and the base,
//! and writes what comes back into the box's generated layer; `resolv.conf` and `hosts` are also bound fresh at each
//! start.

use std::path::{Path, PathBuf};

pub mod ca;
pub mod hosts;
pub mod locale;
pub mod proxy;
pub mod resolv;

/// A file or symbolic link of the generated layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Absolute in the box; no component of its parent is a symbolic link there, as far as the base was asked.
    pub path: PathBuf,
    /// What the file holds, or where the link points.
    pub content: Vec<u8>,
    /// Permission bits; [`Generated::SYMLINK`] makes it a symbolic link.
    pub mode: u32,
}

impl Generated {
    /// The `mode` of a symbolic link whose target is `content`.
    pub const SYMLINK: u32 = libc::S_IFLNK;

    /// A file that everybody may read.
    pub fn file(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into(), mode: 0o644 }
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<PathBuf>, target: &str) -> Self {
        Self { path: path.into(), content: target.into(), mode: Self::SYMLINK }
    }

    /// Whether this is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.mode == Self::SYMLINK
    }
}

/// Reads a root file system that is made of layers. Implementations never follow symbolic links: [`resolve`] does, so
/// that an untrusted base cannot point out of itself.
pub trait Base {
    /// The content of the regular file `path`.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;
    /// The target of the symbolic link `path`.
    fn read_link(&self, path: &Path) -> Option<PathBuf>;
    /// Whether there is anything at `path`.
    fn exists(&self, path: &Path) -> bool;
}

/// Where the absolute `path` leads within the base, all symbolic links followed. The result need not exist. `None` if
/// there are more than 40 links on the way.
pub fn resolve(base: &dyn Base, path: &Path) -> Option<PathBuf> {
    let mut links_left = 40;
    let mut resolved = PathBuf::from("/");
    let mut rest: Vec<std::ffi::OsString> = parts(path);
    while let Some(name) = rest.pop() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(&name);
        match base.read_link(&next) {
            None => resolved = next,
            Some(untrusted_target) => {
                links_left -= 1;
                if links_left == 0 {
                    return None;
                }
                if untrusted_target.is_absolute() {
                    resolved = PathBuf::from("/");
                }
                rest.extend(parts(&untrusted_target));
            }
        }
    }
    Some(resolved)
}

/// The names of a path, the last first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    use std::path::Component;
    let mut names: Vec<_> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect();
    names.reverse();
    names
}

/// `/etc/machine-id`: derived from the box's id, so that it stays, and tells nothing of the host's.
#[must_use]
pub fn machine_id(box_id: &str) -> Generated {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"devbox machine-id\0");
    context.update(box_id.as_bytes());
    let digest = context.finish();
    let mut text: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    Generated { mode: 0o444, ..Generated::file("/etc/machine-id", text) }
}

/// In single mode there is no `_apt` user to drop to.
#[must_use]
pub fn apt_without_sandbox(base: &dyn Base) -> Option<Generated> {
    base.exists(Path::new("/etc/apt"))
        .then(|| Generated::file("/etc/apt/apt.conf.d/90devbox", "APT::Sandbox::User \"root\";\n"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A base in memory: a content that starts with `->` is a link.
    #[derive(Default)]
    pub(crate) struct Fake(pub BTreeMap<PathBuf, String>);

    impl Fake {
        pub(crate) fn new(entries: &[(&str, &str)]) -> Self {
            Self(entries.iter().map(|&(path, content)| (path.into(), content.to_owned())).collect())
        }
    }

    impl Base for Fake {
        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            self.0.get(path).filter(|content| !content.starts_with("->")).map(|content| content.clone().into_bytes())
        }
        fn read_link(&self, path: &Path) -> Option<PathBuf> {
            self.0.get(path)?.strip_prefix("->").map(PathBuf::from)
        }
        fn exists(&self, path: &Path) -> bool {
            self.0.keys().any(|key| key.starts_with(path))
        }
    }

    #[test]
    fn links_stay_within_the_base() {
        let base = Fake::new(&[
            ("/a", "->/b/c"),
            ("/b/c", "->../../../d"),
            ("/loop", "->loop"),
            ("/dir", "->usr/dir"),
            ("/usr/dir/file", "x"),
        ]);
        let table = [
            ("/a", Some("/d")),
            ("/a/x", Some("/d/x")),
            ("/loop", None),
            ("/dir/file", Some("/usr/dir/file")),
            ("/none/../dir/./file", Some("/usr/dir/file")),
        ];
        for (path, expected) in table {
            assert_eq!(resolve(&base, Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn machine_ids_differ_and_stay() {
        let id = machine_id("shop");
        assert_eq!(id, machine_id("shop"));
        assert_ne!(id.content, machine_id("shop2").content);
        assert_eq!(id.content.len(), 33);
        assert!(id.content[..32].iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn apt_only_where_there_is_apt() {
        assert!(apt_without_sandbox(&Fake::new(&[("/etc/apt/sources.list", "")])).is_some());
        assert!(apt_without_sandbox(&Fake::new(&[("/etc/aptitude", "")])).is_none());
    }
}
