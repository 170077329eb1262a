//! Which packages were asked for by name, and which only came along with them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::boxes::manager::bare_name;
use crate::boxes::packages::{Packages, stanzas};

/// Names of packages.
pub type Names = BTreeSet<String>;

/// Of the packages that dpkg knows, those that `var/lib/apt/extended_states` does not call automatic.
#[must_use]
pub fn of_apt(installed: &Packages, untrusted_states: &[u8]) -> Names {
    let mut automatic: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for stanza in stanzas(untrusted_states, ": ") {
        if let (Some(name), Some(&"1")) = (stanza.get("Package"), stanza.get("Auto-Installed")) {
            automatic.entry(name).or_default().insert(stanza.get("Architecture").copied().unwrap_or_default());
        }
    }
    let is_automatic = |package: &str| match package.split_once(':') {
        Some((name, architecture)) => automatic.get(name).is_some_and(|found| found.contains(architecture)),
        // One that is installed for several architectures has the name without one for the first of them.
        None => automatic.get(package).is_some_and(|found| {
            found.iter().any(|architecture| !installed.contains_key(&format!("{package}:{architecture}")))
        }),
    };
    installed.keys().filter(|package| !is_automatic(package)).cloned().collect()
}

/// The words of `etc/apk/world`, without conflicts and the versions that were asked for.
#[must_use]
pub fn of_apk(untrusted_world: &[u8]) -> Names {
    let text = String::from_utf8_lossy(untrusted_world);
    let words = text.split_whitespace().filter(|word| !word.starts_with(['!', '.']));
    words.map(|word| bare_name(word).to_owned()).collect()
}

/// Whether `var/lib/pacman/local/<package>/desc` says that the package came as a dependency.
#[must_use]
pub fn is_pacman_dependency(untrusted_desc: &[u8]) -> bool {
    let text = String::from_utf8_lossy(untrusted_desc);
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == "%REASON%").is_some() && lines.next() == Some("1")
}

/// The packages that `usr/lib/sysimage/libdnf5/packages.toml` says the user asked for.
#[must_use]
pub fn of_dnf(untrusted_packages: &[u8]) -> Names {
    reasons_of_dnf(untrusted_packages)
        .into_iter()
        .filter(|(_, reason)| is_of_user(reason))
        .map(|(name, _)| name)
        .collect()
}

/// The packages that it says came along, for whatever reason.
#[must_use]
pub fn automatic_of_dnf(untrusted_packages: &[u8]) -> Names {
    let reasons = reasons_of_dnf(untrusted_packages).into_iter();
    reasons.filter(|(_, reason)| !reason.is_empty() && !is_of_user(reason)).map(|(name, _)| name).collect()
}

fn is_of_user(reason: &str) -> bool {
    matches!(reason, "User" | "External User")
}

/// Names without the architecture, and why each is there; empty where that is not said.
fn reasons_of_dnf(untrusted_packages: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(untrusted_packages);
    let Ok(document) = text.parse::<toml::Table>() else { return Vec::new() };
    let Some(packages) = document.get("packages").and_then(toml::Value::as_table) else { return Vec::new() };
    let reason = |state: &toml::Value| state.get("reason").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let bare = |name: &str| name.rsplit_once('.').map_or(name, |(name, _)| name).to_owned();
    packages.iter().map(|(name, state)| (bare(name), reason(state))).collect()
}

/// The lines of `var/lib/zypp/AutoInstalled`: what came along.
#[must_use]
pub fn automatic_of_zypper(untrusted_list: &[u8]) -> Names {
    let text = String::from_utf8_lossy(untrusted_list);
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::packages::parse_dpkg;

    fn listed(names: &Names) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn reads_apt() {
        let package = |name: &str, architecture: &str| {
            format!("Package: {name}\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: 1\n\n")
        };
        let status = [("git", "amd64"), ("perl", "amd64"), ("libc6", "amd64"), ("libc6", "i386"), ("zlib1g", "amd64")]
            .map(|(name, architecture)| package(name, architecture))
            .concat();
        let installed = parse_dpkg(status.as_bytes());
        for (states, expected) in [
            ("", &["git", "libc6", "libc6:i386", "perl", "zlib1g"][..]),
            (
                "Package: perl\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: git\nArchitecture: amd64\n\
                 Auto-Installed: 0\n\nPackage: libc6\nArchitecture: i386\nAuto-Installed: 1\n\n\
                 Package: zlib1g\nAuto-Installed: 1\n",
                &["git", "libc6"],
            ),
            ("Package: libc6\nArchitecture: amd64\nAuto-Installed: 1\n", &["git", "libc6:i386", "perl", "zlib1g"]),
            ("Auto-Installed: 1\n\n\0\u{fffd}\n: \nPackage: \n", &["git", "libc6", "libc6:i386", "perl", "zlib1g"]),
        ] {
            assert_eq!(listed(&of_apt(&installed, states.as_bytes())), expected, "{states}");
        }
    }

    #[test]
    fn reads_apk() {
        let world = b"alpine-base\nnano~7 git=2.4-r1\n!vim\n.build-deps=20260101\nvim@edge\n\xff>1\n";
        assert_eq!(listed(&of_apk(world)), ["alpine-base", "git", "nano", "vim", "\u{fffd}"]);
        assert!(of_apk(b"").is_empty());
    }

    #[test]
    fn reads_pacman() {
        for (desc, dependency) in [
            ("%NAME%\nzlib\n\n%REASON%\n1\n\n%SIZE%\n2\n", true),
            ("%NAME%\ngit\n\n%REASON%\n0\n", false),
            ("%NAME%\ngit\n", false),
            ("%REASON%", false),
            ("", false),
        ] {
            assert_eq!(is_pacman_dependency(desc.as_bytes()), dependency, "{desc}");
        }
    }

    #[test]
    fn reads_dnf() {
        let text = b"version = \"1.0\"\n[packages]\n\"git-core.x86_64\" = {reason = \"User\"}\n\
            \"python3.12.x86_64\" = {reason = \"External User\"}\n\"zlib.x86_64\" = {reason = \"Dependency\"}\n\
            \"odd\" = 1\n";
        assert_eq!(listed(&of_dnf(text)), ["git-core", "python3.12"]);
        assert_eq!(listed(&automatic_of_dnf(text)), ["zlib"]);
        for bad in [&b""[..], b"packages = 1", b"[packages", b"\xff"] {
            assert!(of_dnf(bad).is_empty());
        }
    }

    #[test]
    fn reads_zypper() {
        assert_eq!(
            listed(&automatic_of_zypper(b"# made by zypper\nzlib\n\n perl \n\xff")),
            ["perl", "zlib", "\u{fffd}"]
        );
    }
}
