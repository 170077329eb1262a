//! Which changed paths belong to a package, and what is left over. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::boxes::diff::{Change, ChangeKind, FileKind};

/// Something changed that no package brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loose {
    /// How.
    pub kind: ChangeKind,
    /// Absolute, in the box. Any bytes.
    #[serde(with = "crate::boxes::path_text")]
    pub path: PathBuf,
    /// What it is. A new directory stands for everything in it.
    pub file_type: FileKind,
    /// How many files it is or holds.
    pub files: u64,
    /// Their size in bytes.
    pub size_bytes: u64,
}

/// The package of a path, for those paths that were asked about.
#[derive(Debug, Default)]
pub struct Owners {
    /// Keys are spelled by [`plain`].
    known: BTreeMap<PathBuf, Option<String>>,
}

impl Owners {
    /// Asks about these paths.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { known: paths.into_iter().map(|path| (plain(path), None)).collect() }
    }

    /// Whose `path` is, as far as the lists said that were read until now.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&str> {
        self.known.get(&plain(path))?.as_deref()
    }

    fn found(&mut self, package: &str, untrusted_path: &[u8]) {
        if let Some(owner) = self.known.get_mut(&plain(Path::new(OsStr::from_bytes(untrusted_path)))) {
            owner.get_or_insert_with(|| package.to_owned());
        }
    }

    /// Reads `var/lib/dpkg/info/<package>.list`: a path a line.
    pub fn read_dpkg(&mut self, package: &str, untrusted_list: &[u8]) {
        for line in untrusted_list.split(|byte| *byte == b'\n') {
            self.found(package, line);
        }
    }

    /// Reads `var/lib/pacman/local/<package>/files`: relative paths behind `%FILES%`.
    pub fn read_pacman(&mut self, package: &str, untrusted_files: &[u8]) {
        let lines = untrusted_files.split(|byte| *byte == b'\n').skip_while(|line| *line != b"%FILES%").skip(1);
        for line in lines.take_while(|line| !line.starts_with(b"%")) {
            self.found(package, line);
        }
    }

    /// Takes the absolute paths that rpm says are the package's.
    pub fn read_rpm(&mut self, package: &str, untrusted_files: &[String]) {
        for path in untrusted_files {
            self.found(package, path.as_bytes());
        }
    }

    /// Reads `lib/apk/db/installed`: `P:` package, `F:` directory, `R:` file in it.
    pub fn read_apk(&mut self, untrusted_installed: &[u8]) {
        let mut package = String::new();
        let mut directory = PathBuf::new();
        for line in untrusted_installed.split(|byte| *byte == b'\n') {
            match line {
                [b'P', b':', name @ ..] => package = String::from_utf8_lossy(name).into_owned(),
                [b'F', b':', path @ ..] => {
                    directory = PathBuf::from(OsStr::from_bytes(path));
                    self.found(&package, path);
                }
                [b'R', b':', name @ ..] => {
                    let path = directory.join(OsStr::from_bytes(name));
                    self.found(&package, path.as_os_str().as_bytes());
                }
                _ => {}
            }
        }
    }
}

/// Relative to the root. Packages may still say `/bin/ls` where `/bin` has become a link to `/usr/bin`.
fn plain(path: &Path) -> PathBuf {
    const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
    let path = path.strip_prefix("/").unwrap_or(path);
    let merged = path.strip_prefix("usr").ok().filter(|rest| MERGED.iter().any(|name| rest.starts_with(name)));
    merged.unwrap_or(path).to_owned()
}

/// What package managers and programs keep for themselves: it is made anew where the packages are installed.
const KEPT_ASIDE: &[&str] = &[
    "/etc/.pwd.lock",
    "/etc/alternatives",
    "/etc/apk/world",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/ld.so.cache",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/lib/apk/db",
    "/root/.bash_history",
    "/root/.cache",
    "/usr/lib/apk/db",
    "/usr/lib/sysimage",
    "/usr/share/info/dir",
    "/usr/share/info/dir.old",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/devbox",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/pacman",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/lib/ucf",
    "/var/lib/zypp",
    "/var/log",
    "/var/tmp",
];

/// The changes that belong to no package, new directories as one.
#[must_use]
pub fn loose(changes: &[Change], owners: &Owners) -> Vec<Loose> {
    let is_kept_aside = |path: &Path| {
        KEPT_ASIDE.iter().any(|kept| path.starts_with(kept))
            || path.components().any(|part| part.as_os_str() == "__pycache__")
    };
    let owned: BTreeSet<&Path> =
        changes.iter().map(|change| change.path.as_path()).filter(|path| owners.get(path).is_some()).collect();
    let holds_owned = |path: &Path| owned.range(path..).next().is_some_and(|next| next.starts_with(path));
    let mut loose: Vec<Loose> = Vec::new();
    // Sorted by path: what is in a directory comes right behind it.
    for change in changes {
        if let Some(last) = loose.last_mut()
            && (last.kind, last.file_type) == (ChangeKind::Added, FileKind::Directory)
            && change.path.starts_with(&last.path)
        {
            if change.file_type != FileKind::Directory {
                last.files += 1;
                last.size_bytes += change.size_bytes;
            }
            continue;
        }
        let is_directory = change.file_type == FileKind::Directory;
        let own = match change.kind {
            // A directory that a package's file lies in is only the way to it; a changed one is no content.
            _ if is_kept_aside(&change.path) || holds_owned(&change.path) => false,
            ChangeKind::Changed => !is_directory,
            ChangeKind::Added | ChangeKind::Removed => true,
        };
        if own {
            let (files, size_bytes) = if is_directory { (0, 0) } else { (1, change.size_bytes) };
            let (kind, file_type) = (change.kind, change.file_type);
            loose.push(Loose { kind, path: change.path.clone(), file_type, files, size_bytes });
        }
    }
    loose
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind, path: &str) -> Change {
        let file_type = if path.ends_with('/') { FileKind::Directory } else { FileKind::File };
        let path = PathBuf::from(path.trim_end_matches('/'));
        Change { kind, path, file_type, size_bytes: 10, aspects: Vec::new() }
    }

    #[test]
    fn every_database_names_owners() {
        let paths = ["/usr/bin/ls", "/usr/lib/x/a b", "/opt/tool", "/etc/conf"].map(Path::new);
        let mut owners = Owners::of(paths);
        owners.read_dpkg("coreutils", b"/.\n/bin\n/bin/ls\n/etc\n");
        owners.read_pacman("x", b"%NAME%\nopt/tool\n%FILES%\nusr/\nusr/lib/x/a b\n%BACKUP%\netc/conf\tabc\n");
        owners.read_apk(b"P:conf\nV:1\nF:etc\nR:conf\nZ:Q1\n\nP:late\nF:etc\nR:conf\n");
        let found = paths.map(|path| owners.get(path));
        assert_eq!(found, [Some("coreutils"), Some("x"), None, Some("conf")]);
        owners.read_dpkg("odd", b"\0\xff\n\n../../opt/tool");
        assert_eq!(owners.get(Path::new("/opt/tool")), None);
    }

    #[test]
    fn what_is_left_over() {
        use ChangeKind::{Added, Changed, Removed};
        let changes = [
            change(Changed, "/etc/"),
            change(Changed, "/etc/hosts.mine"),
            change(Changed, "/etc/ld.so.cache"),
            change(Changed, "/etc/owned"),
            change(Added, "/opt/tool/"),
            change(Added, "/opt/tool/bin/"),
            change(Added, "/opt/tool/bin/a"),
            change(Added, "/opt/tool/b"),
            change(Added, "/usr/lib/new/"),
            change(Added, "/usr/lib/new/mine"),
            change(Added, "/usr/lib/new/owned"),
            change(Added, "/usr/lib/p/__pycache__/"),
            change(Removed, "/usr/share/doc/"),
            change(Added, "/var/cache/x"),
        ];
        let mut owners = Owners::of(changes.iter().map(|change| change.path.as_path()));
        owners.read_dpkg("p", b"/etc/owned\n/usr/lib/new/owned\n/etc");
        let shown: Vec<_> = loose(&changes, &owners)
            .iter()
            .map(|it| format!("{} {} {}", it.path.display(), it.files, it.size_bytes))
            .collect();
        assert_eq!(shown, ["/etc/hosts.mine 1 10", "/opt/tool 2 20", "/usr/lib/new/mine 1 10", "/usr/share/doc 0 0"]);
    }
}
