//! The package managers that are known: what they are called, and the scripts that install and remove.

use std::path::Path;

use super::view::View;
use crate::sandbox::etc::{Base, resolve};

/// A package manager: its program, and shell scripts that get packages as `"$@"`.
#[derive(Debug)]
pub struct Manager {
    /// The program.
    pub name: &'static str,
    programs: &'static [&'static str],
    /// Installs.
    pub install: &'static str,
    /// Removes what is installed.
    pub remove: &'static str,
    /// What it understands between a name and a version; `None`: it installs what there is.
    pub before_version: Option<char>,
    /// Whether its packages are those of rpm.
    pub is_rpm: bool,
}

/// Variables of the install scripts: `DEVBOX_VERSIONS` holds a `name=version` a line, for what comes along with the packages
/// that were asked for; `DEVBOX_NEWEST` is set when nothing older than the mirror has will do.
///
/// A base whose lists are fresh needs no update, and one that has everything needs no network. What an installed package
/// provides is there as well: a `nodejs` from elsewhere brings, and conflicts with, `npm`.
const MANAGERS: [Manager; 5] = [
    Manager {
        name: "apt-get",
        programs: &["/usr/bin/apt-get"],
        install: "export DEBIAN_FRONTEND=noninteractive
there=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}, ${Provides}\\n' | sed -n 's/^.i *|//p' | tr ',' '\\n' | sed 's/^ *//; s/[ (:].*//')
missing=
for p; do printf '%s\\n' \"$there\" | grep -qxF -- \"$p\" || missing=\"$missing $p\"; done
[ -z \"$missing\" ] && exit 0
options=
if [ -n \"$DEVBOX_VERSIONS\" ]; then
  # A priority above 1000 also goes back to an older version.
  printf '%s\\n' \"$DEVBOX_VERSIONS\" | sed 's/^\\([^=]*\\)=\\(.*\\)$/Package: \\1\\nPin: version \\2\\nPin-Priority: 1001\\n/' \
>/tmp/devbox-versions
  options='--allow-downgrades -o Dir::Etc::Preferences=/tmp/devbox-versions'
fi
install() { apt-get install -y -q --no-install-recommends $options $missing; }
[ -z \"$DEVBOX_NEWEST\" ] && install || { apt-get update -q && install; } || exit 1
apt-get clean",
        remove: "DEBIAN_FRONTEND=noninteractive apt-get remove -y -q \"$@\"",
        before_version: Some('='),
        is_rpm: false,
    },
    Manager {
        name: "dnf",
        programs: &["/usr/bin/dnf"],
        install: "dnf install -y --setopt=install_weak_deps=False \"$@\" && dnf clean packages",
        remove: "dnf remove -y \"$@\"",
        before_version: Some('-'),
        is_rpm: true,
    },
    Manager {
        name: "apk",
        programs: &["/sbin/apk", "/usr/bin/apk"],
        install: "apk add --no-cache \"$@\"",
        remove: "apk del \"$@\"",
        before_version: Some('='),
        is_rpm: false,
    },
    Manager {
        name: "pacman",
        programs: &["/usr/bin/pacman"],
        install: "pacman -Sy --noconfirm --needed \"$@\" && rm -f /var/cache/pacman/pkg/*",
        remove: "pacman -R --noconfirm \"$@\"",
        before_version: None,
        is_rpm: false,
    },
    Manager {
        name: "zypper",
        programs: &["/usr/bin/zypper"],
        install: "zypper --non-interactive install --no-recommends \"$@\" && zypper clean",
        remove: "zypper --non-interactive remove \"$@\"",
        before_version: Some('='),
        is_rpm: true,
    },
];

/// The package manager of a root file system.
#[must_use]
pub fn find(view: &View) -> Option<&'static Manager> {
    let there = |path: &&str| resolve(view, Path::new(*path)).is_some_and(|path| view.exists(&path));
    MANAGERS.iter().find(|manager| manager.programs.iter().any(there))
}

/// The package that an entry of `packages` is about: without version, release, repository and architecture.
#[must_use]
pub fn bare_name(entry: &str) -> &str {
    let end = entry.char_indices().skip(1).find(|(_, c)| "=<>~@/:".contains(*c)).map_or(entry.len(), |(at, _)| at);
    &entry[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_entry() {
        for (entry, name) in [
            ("git", "git"),
            ("g++", "g++"),
            ("hello=2.10-3", "hello"),
            ("libc6:i386", "libc6"),
            ("vim/bookworm-backports", "vim"),
            ("nano~7", "nano"),
            ("nano@edge", "nano"),
            ("nano>=7", "nano"),
            ("@development-tools", "@development-tools"),
            ("", ""),
        ] {
            assert_eq!(bare_name(entry), name, "{entry}");
        }
    }
}
