use std::fs;

use super::*;
use crate::boxes::diff::DiffSpec;

/// Files below a directory, for a layer.
fn layer(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn frozen(base: &tempfile::TempDir, own: &tempfile::TempDir, profile: &[&str]) -> Frozen {
    frozen_with(base, own, profile, None)
}

fn frozen_with(base: &tempfile::TempDir, own: &tempfile::TempDir, profile: &[&str], rpm: Option<&Both>) -> Frozen {
    let spec = DiffSpec { own: vec![own.path().to_owned()], base: vec![base.path().to_owned()], ..DiffSpec::default() };
    let walker = Walker::open(&spec).unwrap();
    let profile: Vec<String> = profile.iter().map(|name| (*name).to_owned()).collect();
    judge(look(&walker, rpm), &profile)
}

fn dpkg(packages: &[&str]) -> String {
    let stanza = |name: &&str| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-{name}\n\n")
    };
    packages.iter().map(stanza).collect()
}

fn shown(frozen: &Frozen) -> String {
    let installed = frozen.installed.iter().map(|it| format!("+{}={} ", it.name, it.version));
    let removed = frozen.removed.iter().map(|name| format!("-{name} "));
    let edited = frozen.edited.iter().map(|it| format!("{}@{} ", it.path.display(), it.package));
    let loose = frozen.loose.iter().map(|it| format!("{} ", it.path.display()));
    installed.chain(removed).chain(edited).chain(loose).collect::<String>().trim_end().to_owned()
}

#[test]
fn a_debian_box() {
    let base = layer(&[
        ("var/lib/dpkg/status", &dpkg(&["libc6", "vim", "jq"])),
        ("var/lib/dpkg/info/libc6:amd64.list", "/lib/libc.so\n/etc/libc.conf\n"),
        ("etc/libc.conf", "a"),
        ("etc/own", "a"),
    ]);
    let own = layer(&[
        ("var/lib/dpkg/status", &dpkg(&["libc6", "htop", "libncurses", "git", "evil name", "vim"])),
        ("var/lib/apt/extended_states", "Package: libncurses\nArchitecture: amd64\nAuto-Installed: 1\n"),
        ("var/lib/dpkg/info/htop.list", "/.\n/usr\n/usr/bin\n/usr/bin/htop\n"),
        ("var/cache/apt/x.deb", ""),
        ("usr/bin/htop", ""),
        ("usr/bin/mine", ""),
        ("etc/libc.conf", "abc"),
        ("etc/own", "abc"),
    ]);
    let expected = "+htop=1-htop -jq /etc/libc.conf@libc6 /etc/own /usr/bin/mine";
    assert_eq!(shown(&frozen(&base, &own, &["jq", "git=1", "vim"])), expected);
}

#[test]
fn an_alpine_box() {
    let base = layer(&[("lib/apk/db/installed", "P:musl\nV:1\n\n"), ("etc/apk/world", "musl\n")]);
    let own = layer(&[
        ("lib/apk/db/installed", "P:musl\nV:1\n\nP:git\nV:2\nF:usr/bin\nR:git\n\nP:pcre2\nV:10\n\n"),
        ("etc/apk/world", "musl\ngit\n.deps=1\n"),
        ("usr/bin/git", ""),
        ("srv/x", ""),
    ]);
    assert_eq!(shown(&frozen(&base, &own, &[])), "+git=2 /srv");
}

#[test]
fn an_arch_box() {
    let base = layer(&[("var/lib/pacman/local/glibc-2-1/desc", "%NAME%\nglibc\n")]);
    let own = layer(&[
        ("var/lib/pacman/local/git-2-1/desc", "%NAME%\ngit\n"),
        ("var/lib/pacman/local/git-2-1/files", "%FILES%\nusr/\nusr/bin/\nusr/bin/git\n"),
        ("var/lib/pacman/local/perl-5-1/desc", "%NAME%\nperl\n\n%REASON%\n1\n"),
        ("usr/bin/git", ""),
    ]);
    assert_eq!(shown(&frozen(&base, &own, &[])), "+git=2-1");
}

#[test]
fn a_fedora_box() {
    let state = "usr/lib/sysimage/libdnf5/packages.toml";
    let base = layer(&[(state, "[packages]\n\"bash.x86_64\" = {reason = \"User\"}\n")]);
    let own = layer(&[
        (state, "[packages]\n\"bash.x86_64\" = {reason = \"User\"}\n\"git.x86_64\" = {reason = \"User\"}\n"),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", "x"),
    ]);
    let found = frozen(&base, &own, &[]);
    assert_eq!(shown(&found), "+git=");
    assert!(!found.unreadable_packages);
    let own = layer(&[("var/lib/rpm/rpmdb.sqlite", "x")]);
    assert!(frozen(&base, &own, &[]).unreadable_packages);
}

#[test]
fn what_rpm_says() {
    let base = layer(&[("etc/bash.conf", "a"), ("var/lib/rpm/rpmdb.sqlite", ""), ("usr/bin/bash", "")]);
    let own = layer(&[
        ("var/lib/rpm/rpmdb.sqlite", "x"),
        ("var/lib/zypp/AutoInstalled", "docs\n"),
        ("etc/bash.conf", "abc"),
        ("usr/bin/git", ""),
        ("usr/bin/mine", ""),
    ]);
    let before = rpm::parse("nbash\nv1\nf/etc/bash.conf\nnjq\nv1\n");
    let now =
        "nbash\nv1\nf/etc/bash.conf\nngit\nv1:2-1\nrlibz\nf/usr/bin/git\nnzlib\nv3\nplibz\nndocs\nv4\nnevil name\nv5\n";
    let both = Both { before, now: rpm::parse(now) };
    let found = frozen_with(&base, &own, &["jq", "bash"], Some(&both));
    assert_eq!(shown(&found), "+git=1:2-1 -jq /etc/bash.conf@bash /usr/bin/mine");
    assert!(!found.unreadable_packages);
}
