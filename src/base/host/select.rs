//! Which of the host's paths a box sees, and how they get there. Pure.
//!
//! | what | how |
//! | --- | --- |
//! | `/usr`, `/opt`, and `/bin`, `/sbin`, `/lib*` where they are directories | metadata layer |
//! | `/var/lib/apt/lists`, package indexes in `/var/cache/apt` | metadata layer |
//! | `/etc`, package databases and what installation scripts keep ([`STATE`]) | copied |
//! | `/var` otherwise | its directories, two levels, empty |
//! | `/home`, `/root`, `/tmp`, `/run`, `/proc` ... | made empty |
//! | `/nix/store`, `/gnu/store` | bound read-only |
//! | everything else | absent |
//!
//! Private is what others may not read: a file without `o+r` is left out, a directory without `o+rx` is empty. That
//! holds for the host's root too: the box of root is no reason to hand a private key to what runs in it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How the content of a tree reaches the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Empty files that redirect to the host's.
    Metadata,
    /// Copies: programs open them for writing, or read several of them as one state that must not change under a box.
    Copy,
}

/// A directory tree of the host. `path` is relative to the host's root and to the box's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub how: How,
}

/// An entry of the host's root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopEntry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: TopKind,
}

/// What an entry of the host's root directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopKind {
    /// A directory.
    Directory,
    /// A symlink and its target.
    Symlink(PathBuf),
    /// Something else.
    Other,
}

/// What the root directory of a box is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Trees of the host, in the order in which their data is looked up.
    pub trees: Vec<Tree>,
    /// Symlinks of the root directory.
    pub symlinks: Vec<(PathBuf, PathBuf)>,
    /// Empty directories of the root directory with their modes.
    pub directories: Vec<(&'static str, u32)>,
    /// Directories of the host bound read-only, absolute.
    pub read_only_binds: Vec<PathBuf>,
}

/// Directories that every box has, whatever the host has there.
const DIRECTORIES: &[(&str, u32)] = &[
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
];

/// What package managers and installation scripts keep below `/var` (and in `/usr` by the rpm family), copied.
pub const STATE: &[&str] = &[
    // dpkg and apt; `lists` and the caches of apt are large and become metadata.
    "var/lib/dpkg",
    "var/lib/apt",
    "var/lib/aptitude",
    "var/cache/debconf",
    "var/lib/ucf",
    "var/lib/pam",
    "var/lib/python",
    "var/lib/sgml-base",
    "var/lib/xml-core",
    "var/lib/dictionaries-common",
    "var/lib/emacsen-common",
    "var/lib/ghc",
    "var/lib/tex-common",
    "var/lib/vim",
    "var/lib/ca-certificates-java",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "var/lib/systemd/deb-systemd-user-helper-enabled",
    "var/lib/alternatives",
    "var/lib/locales",
    "var/lib/shells.state",
    // rpm, dnf, zypper
    "var/lib/rpm",
    "usr/lib/sysimage",
    "var/lib/dnf",
    "var/lib/yum",
    "var/lib/zypp",
    // pacman, apk, portage, xbps, eopkg
    "var/lib/pacman",
    "lib/apk",
    "usr/lib/apk",
    "var/lib/apk",
    "var/lib/portage",
    "var/db/xbps",
    "var/lib/eopkg",
];

/// Trees below `/var` that are large and only read, or replaced by a rename.
const METADATA_STATE: &[&str] = &["var/lib/apt/lists", "var/cache/apt", "var/db/pkg", "var/db/repos", "var/usrlocal"];

/// Names that are left out of a directory, whoever may read them. `*` at the end stands for any ending.
const EXCLUDED: &[(&str, &[&str])] = &[
    ("etc/ssh", &["ssh_host_*"]),
    (
        "etc",
        &[
            // Regenerated.
            "shadow",
            "shadow-",
            "gshadow",
            "gshadow-",
            "sudoers",
            // The box has its own.
            "machine-id",
            "hostname",
            "hosts",
            "resolv.conf",
            "mtab",
            // Says where the host's disks and shares are.
            "fstab",
            "crypttab",
            ".pwd.lock",
        ],
    ),
    ("var/lib/dpkg", &["lock", "lock-frontend"]),
    ("var/lib/apt", &["lists"]),
    ("var/lib/apt/lists", &["lock"]),
    ("var/cache/apt", &["archives"]),
];

/// What to take, given the entries of the host's root directory and which of the optional trees exist.
pub fn select(top: &[TopEntry], exists: impl Fn(&Path) -> bool) -> Selection {
    let mut selection = Selection { directories: DIRECTORIES.to_vec(), ..Selection::default() };
    let metadata = |path: &str| Tree { path: path.into(), how: How::Metadata };
    for name in ["usr", "opt"] {
        if exists(Path::new(name)) {
            selection.trees.push(metadata(name));
        }
    }
    for entry in top {
        match (&entry.kind, entry.name.to_str()) {
            (TopKind::Directory, Some(name)) if is_system_directory(name) => selection.trees.push(metadata(name)),
            (TopKind::Symlink(target), Some(name))
                if !DIRECTORIES.iter().any(|(fixed, _)| *fixed == name) && leads_into_usr(target) =>
            {
                selection.symlinks.push((name.into(), target.clone()));
            }
            _ => {}
        }
    }
    for name in METADATA_STATE {
        if exists(Path::new(name)) {
            selection.trees.push(metadata(name));
        }
    }
    // Where `/lib` is a symlink, what is below it is reached through `/usr/lib`.
    let linked = |path: &str| selection.symlinks.iter().any(|(link, _)| Path::new(path).starts_with(link));
    let copied: Vec<_> = ["etc"].iter().chain(STATE).filter(|name| !linked(name)).collect();
    for name in copied {
        if exists(Path::new(name)) {
            selection.trees.push(Tree { path: (*name).into(), how: How::Copy });
        }
    }
    for name in ["nix/store", "gnu/store"] {
        if exists(Path::new(name)) {
            selection.read_only_binds.push(Path::new("/").join(name));
        }
    }
    selection
}

/// `/bin`, `/sbin`, `/lib`, `/lib64`, `/libx32` ...
fn is_system_directory(name: &str) -> bool {
    matches!(name, "bin" | "sbin") || name.starts_with("lib")
}

/// Whether the target of a symlink in the root directory is something that a box has.
fn leads_into_usr(target: &Path) -> bool {
    let first = target.components().find(|component| *component != Component::RootDir);
    matches!(first, Some(Component::Normal(name)) if name == "usr" || name == "opt")
}

/// The directories of users who are people, from `/etc/passwd`, as far as they could lie inside a tree that is taken.
pub fn homes(passwd: &str) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let uid: u32 = fields.next()?.parse().ok()?;
            let home = PathBuf::from(fields.nth(2)?);
            let inside = ["/usr/", "/opt/"].iter().any(|tree| home.as_os_str().as_bytes().starts_with(tree.as_bytes()));
            ((1000..65_534).contains(&uid) && inside && !is_shared(&home)).then_some(home)
        })
        .collect();
    homes.sort();
    homes.dedup();
    homes
}

/// Directories of the system that are given as the home of users who have none.
pub fn is_shared(home: &Path) -> bool {
    let text = home.to_string_lossy();
    let text = text.trim_end_matches('/');
    matches!(text.matches('/').count(), 0 | 1)
        || matches!(
            text.strip_prefix("/usr/"),
            Some("bin" | "sbin" | "lib" | "lib64" | "libexec" | "share" | "games" | "local" | "local/bin")
        )
}

/// Names that are left out, by directory.
#[derive(Debug, Clone, Default)]
pub struct Excluded(HashMap<PathBuf, Vec<OsString>>);

impl Excluded {
    /// The fixed names, the roots of trees that are taken in another way, and `private`: absolute directories of the
    /// host, ours and people's homes.
    #[must_use]
    pub fn new(selection: &Selection, private: &[PathBuf]) -> Self {
        let mut names: HashMap<PathBuf, Vec<OsString>> = HashMap::new();
        for (directory, fixed) in EXCLUDED {
            names.entry(directory.into()).or_default().extend(fixed.iter().map(OsString::from));
        }
        let private = private.iter().filter_map(|path| path.strip_prefix("/").ok());
        for path in selection.trees.iter().map(|tree| tree.path.as_path()).chain(private) {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                names.entry(parent.to_owned()).or_default().push(name.to_owned());
            }
        }
        Self(names)
    }

    /// The names left out of `directory`, relative to the root.
    #[must_use]
    pub fn in_directory(&self, directory: &Path) -> &[OsString] {
        self.0.get(directory).map_or(&[], Vec::as_slice)
    }
}

/// Whether `name` is among `excluded`, or is nobody's use.
#[must_use]
pub fn is_excluded(name: &[u8], excluded: &[OsString]) -> bool {
    name == b"lost+found"
        || name.starts_with(b".devbox-new")
        || excluded.iter().any(|pattern| match pattern.as_bytes().strip_suffix(b"*") {
            Some(start) => name.starts_with(start),
            None => name == pattern.as_bytes(),
        })
}

/// Whether others may read a file of this mode.
#[must_use]
pub const fn is_public_file(mode: u32) -> bool {
    mode & 0o004 != 0
}

/// Whether others may list and enter a directory of this mode.
#[must_use]
pub const fn is_public_directory(mode: u32) -> bool {
    mode & 0o005 == 0o005
}

/// Directories of `/var` whose sub-directories say something about users, or are nobody's business.
#[must_use]
pub fn is_var_leaf(name: &OsStr) -> bool {
    ["mail", "spool", "tmp", "crash", "backups", "run", "lock"].iter().any(|leaf| name == *leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: TopKind) -> TopEntry {
        TopEntry { name: name.into(), kind }
    }

    #[test]
    fn a_merged_usr_keeps_its_symlinks() {
        let top = [
            entry("bin", TopKind::Symlink("usr/bin".into())),
            entry("vmlinuz", TopKind::Symlink("boot/vmlinuz".into())),
            entry("home", TopKind::Symlink("usr/home".into())),
            entry("data", TopKind::Directory),
            entry("secret", TopKind::Other),
        ];
        let selection = select(&top, |path| ["usr", "etc", "var/lib/dpkg"].iter().any(|name| path == Path::new(name)));
        assert_eq!(selection.symlinks, [("bin".into(), "usr/bin".into())]);
        let trees: Vec<_> = selection.trees.iter().map(|tree| (tree.path.to_str().unwrap(), tree.how)).collect();
        assert_eq!(trees, [("usr", How::Metadata), ("etc", How::Copy), ("var/lib/dpkg", How::Copy)]);
        assert!(selection.directories.contains(&("root", 0o700)));
    }

    #[test]
    fn a_split_usr_is_taken_apart() {
        let top = [entry("bin", TopKind::Directory), entry("lib64", TopKind::Directory)];
        let selection = select(&top, |path| path == Path::new("usr") || path == Path::new("nix/store"));
        let trees: Vec<_> = selection.trees.iter().map(|tree| tree.path.to_str().unwrap()).collect();
        assert_eq!(trees, ["usr", "bin", "lib64"]);
        assert_eq!(selection.read_only_binds, [PathBuf::from("/nix/store")]);
    }

    #[test]
    fn homes_below_system_directories_are_found() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/usr/home/ann:/bin/sh\n\
                      bob:x:1001:1::/home/bob:/bin/sh\nsvc:x:1002:1::/usr/sbin:/bin/false\nrun:x:999:1::/opt/run/a:/x\n\
                      odd:x:1003:1::/opt:/x\nbroken\nnobody:x:65534:1::/opt/no/body:/x\n";
        assert_eq!(homes(passwd), [PathBuf::from("/usr/home/ann")]);
    }

    #[test]
    fn names_are_excluded_by_pattern() {
        let excluded = Excluded::new(&Selection::default(), &["/opt/me/box".into()]);
        for (directory, name, out) in [
            ("etc/ssh", "ssh_host_rsa_key.pub", true),
            ("etc/ssh", "ssh_config", false),
            ("etc", "shadow", true),
            ("etc", "passwd", false),
            ("opt/me", "box", true),
            ("usr", "lost+found", true),
        ] {
            assert_eq!(is_excluded(name.as_bytes(), excluded.in_directory(Path::new(directory))), out, "{name}");
        }
    }

    #[test]
    fn public_is_what_others_may_read() {
        for (mode, file, directory) in [
            (0o644, true, false),
            (0o755, true, true),
            (0o640, false, false),
            (0o711, false, false),
            (0o4755, true, true),
        ] {
            assert_eq!((is_public_file(mode), is_public_directory(mode)), (file, directory), "{mode:o}");
        }
    }
}
