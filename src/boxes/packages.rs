//! Which packages are installed, from the package managers' own databases. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where dpkg keeps what it knows, relative to the root.
pub const DPKG: &str = "var/lib/dpkg/status";
/// Where apk does.
pub const APK: &str = "lib/apk/db/installed";
/// Where pacman does, a directory for each package.
pub const PACMAN: &str = "var/lib/pacman/local";
/// Where rpm does, which only rpm can read.
pub const RPM: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Where package managers do.
pub const DATABASES: [&str; 5] = [DPKG, APK, PACMAN, RPM[0], RPM[1]];

/// Installed packages and their versions.
pub type Packages = BTreeMap<String, String>;

/// A package that came, went or got another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// The package.
    pub name: String,
    /// The version before; `None` when it was not installed.
    pub old: Option<String>,
    /// The version now; `None` when it is not installed any more.
    pub new: Option<String>,
}

/// What differs between two lists, by name.
#[must_use]
pub fn compare(old: &Packages, new: &Packages) -> Vec<PackageChange> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| PackageChange { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() })
        .filter(|change| change.old != change.new)
        .collect()
}

/// Reads `var/lib/dpkg/status`. Only what is installed counts, configured or not. A package that is installed for a
/// second architecture is called `name:architecture`.
#[must_use]
pub fn parse_dpkg(untrusted: &[u8]) -> Packages {
    let mut packages = Packages::new();
    for stanza in stanzas(untrusted, ": ") {
        let field = |name: &str| stanza.get(name).copied();
        let (Some(name), Some(version), Some(status)) = (field("Package"), field("Version"), field("Status")) else {
            continue;
        };
        if matches!(status.rsplit(' ').next(), Some("not-installed" | "config-files") | None) {
            continue;
        }
        let name = match field("Architecture") {
            Some(architecture) if packages.contains_key(name) => format!("{name}:{architecture}"),
            _ => name.to_owned(),
        };
        packages.insert(name, version.to_owned());
    }
    packages
}

/// Reads `lib/apk/db/installed`.
#[must_use]
pub fn parse_apk(untrusted: &[u8]) -> Packages {
    let packages = stanzas(untrusted, ":").filter_map(|stanza| Some((*stanza.get("P")?, *stanza.get("V")?)));
    packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// Reads the names of the directories in `var/lib/pacman/local`: `name-version-release`.
pub fn parse_pacman<'a>(untrusted: impl IntoIterator<Item = &'a str>) -> Packages {
    let split = |entry: &'a str| {
        let (rest, release) = entry.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some((name.to_owned(), format!("{version}-{release}")))
    };
    untrusted.into_iter().filter_map(split).collect()
}

/// Paragraphs of `key<separator>value` lines; continued and unreadable lines are left out, the first value of a key
/// counts.
pub(super) fn stanzas<'a>(text: &'a [u8], separator: &'a str) -> impl Iterator<Item = BTreeMap<&'a str, &'a str>> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut stanza = BTreeMap::new();
        loop {
            let Some(line) = lines.next() else {
                ended = true;
                return Some(stanza);
            };
            if line.is_empty() {
                return Some(stanza);
            }
            if let Ok(line) = std::str::from_utf8(line)
                && let Some((key, value)) = line.split_once(separator)
                && !key.starts_with([' ', '\t'])
            {
                stanza.entry(key).or_insert(value.trim_end());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(list: &[(&str, &str)]) -> Packages {
        list.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn reads_dpkg() {
        let status = b"Package: hello\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.10-3\n\
            Description: greets\n Version: 9 is not this\n .\n\nPackage: gone\nStatus: deinstall ok config-files\n\
            Version: 1\n\nPackage: half\nStatus: install ok half-configured\nVersion: 3\n\n\
            Package: hello\nStatus: hold ok installed\nArchitecture: i386\nVersion: 2.9\n\n\xff\xfe\n\
            Package: last\nStatus: install ok installed\nVersion: 1:2~rc1";
        let expected = [("hello", "2.10-3"), ("half", "3"), ("hello:i386", "2.9"), ("last", "1:2~rc1")];
        assert_eq!(parse_dpkg(status), packages(&expected));
        for bad in [&b""[..], b"\n\n\n", b"Package: x\n", b"\0\xff", b"Package"] {
            assert_eq!(parse_dpkg(bad), Packages::new());
        }
    }

    #[test]
    fn reads_apk() {
        let text = b"C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld.so\n\nP:busybox\nV:1.36-r5\n\n";
        assert_eq!(parse_apk(text), packages(&[("musl", "1.2.4-r2"), ("busybox", "1.36-r5")]));
    }

    #[test]
    fn reads_pacman() {
        let names = ["ALPM_DB_VERSION", "gcc-libs-13.2.1-5", "lib32-glibc-2:2.38-1", "x"];
        assert_eq!(parse_pacman(names), packages(&[("gcc-libs", "13.2.1-5"), ("lib32-glibc", "2:2.38-1")]));
    }

    #[test]
    fn compares() {
        let old = packages(&[("same", "1"), ("up", "1"), ("gone", "1")]);
        let new = packages(&[("same", "1"), ("up", "2"), ("come", "1")]);
        let shown: Vec<_> = compare(&old, &new)
            .into_iter()
            .map(|it| format!("{} {} {}", it.name, it.old.unwrap_or_default(), it.new.unwrap_or_default()))
            .collect();
        assert_eq!(shown, ["come  1", "gone 1 ", "up 1 2"]);
    }
}
