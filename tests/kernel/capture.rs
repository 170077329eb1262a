//! What was installed becomes part of the profile.

use std::fs;

use crate::require;
use crate::support::devbox::Devbox;

fn profile_of(test: &Devbox) -> String {
    fs::read_to_string(test.project().join("devbox.toml")).expect("read the profile")
}

/// Wants something of the host, so that it must be trusted.
const PROFILE: &str = "# Shop\nbase = \"host\" # as it is\n\n[share]\ngit_config = true\n";

#[test]
fn packages_come_and_go() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = Devbox::host();
    test.profile(PROFILE);
    test.args(["profile", "trust"]).any_stdout().run();
    let change = |arguments: &[&str]| test.args(arguments).any_stderr();
    let with_hello = PROFILE.replace("as it is\n", "as it is\npackages = [\"hello\"]\n");

    // Before there is a box. The profile stays trusted.
    change(&["add", "hello"]).stdout("added hello to devbox.toml\n").run();
    assert_eq!(profile_of(&test), with_hello);
    test.args(["run", "--keep", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
    // What cannot be installed is not written.
    change(&["add", "devbox-no-such-package"]).status(1).run();
    assert_eq!(profile_of(&test), with_hello);
    // Into the running box, and out of it.
    change(&["add", "sl", "hello"])
        .stdout("added sl to devbox.toml\nhello is there already: [TEST]/project/devbox.toml\n")
        .run();
    test.sh("dpkg-query -W -f '${Package}\n' sl hello").stdout("hello\nsl\n").run();
    change(&["remove", "sl"]).stdout("removed sl from devbox.toml\n").run();
    test.sh("dpkg-query -W sl").any_stderr().status(1).run();
    assert_eq!(profile_of(&test), with_hello);
    test.args(["stop"]).any_stdout().any_stderr().run();
    // A stopped box whose package database is its own.
    change(&["remove", "hello"]).stdout("removed hello from devbox.toml\n").run();
    test.sh("dpkg-query -W hello; command -v hello").any_stderr().status(127).run();
}

#[test]
fn what_was_installed_by_hand_is_written() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = Devbox::host();
    test.profile("base = \"host\"\n");
    let script = "apt-get install -y hello && echo x >/opt/mine && echo '# x' >>/etc/login.defs";
    test.sh(script).any_stdout().any_stderr().run();
    let rest = "\nfiles of packages that were edited:\n  /etc/login.defs  (login)\n\
                \nchanges that belong to no package:\n  /opt/mine\n";
    let version = test.sh("dpkg-query -W -f '${Version}' hello").any_stdout().any_stderr().run().stdout;
    test.args(["freeze", "--dry-run"]).stdout(format!("add  hello {version}\n{rest}")).run();
    assert_eq!(profile_of(&test), "base = \"host\"\n");
    test.args(["freeze"]).stdout(format!("added  hello {version}\n{rest}")).run();
    assert_eq!(profile_of(&test), "base = \"host\"\npackages = [\"hello\"]\n");
    let again = "devbox.toml names every package that was installed by hand\n";
    test.args(["freeze"]).stdout(format!("{again}{rest}")).run();
    let json = test.args(["freeze", "--format", "json"]).any_stdout().run().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["edited"][0]["package"], "login");
    // The next box begins with it.
    test.args(["reset"]).any_stdout().any_stderr().run();
    test.args(["run", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
}

/// Makes and installs two packages, of which one needs the other. Debian's rpm has its database elsewhere by default.
const RPM: &str = r#"set -e
mkdir -p /etc/rpm && echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros
cd /tmp
make() {
    printf 'Name: %s\nVersion: 1\nRelease: 2\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%s\n%%description\nd\n%%install
mkdir -p %%{buildroot}/opt\necho x >%%{buildroot}/opt/%s\n%%files\n/opt/%s\n' "$1" "$2" "$1" "$1" >"$1.spec"
    rpmbuild -bb --quiet --define "_topdir $PWD/r" "$1.spec"
}
make boxlib 'Provides: libbox.so'
make boxtool 'Requires: libbox.so'
rpm --initdb
rpm -i --force-debian --nodeps r/RPMS/noarch/*.rpm
"#;

#[test]
fn what_rpm_installed_is_written() {
    require!(Userns, Overlay, Program("rpmbuild"));
    let test = Devbox::host();
    test.profile("base = \"host\"\n");
    test.sh(RPM).any_stdout().any_stderr().run();
    let json = test.args(["freeze", "--format", "json"]).any_stdout().run().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["installed"], serde_json::json!([{ "name": "boxtool", "version": "1-2" }]), "{json}");
    assert_eq!(json["unreadable_packages"], false);
    assert!(!json["loose"].to_string().contains("/opt"), "{json}");
    assert_eq!(profile_of(&test), "base = \"host\"\npackages = [\"boxtool\"]\n");
    // The program is the box's: whatever it says, nothing but names can come of it.
    let rpm = "cat >/usr/bin/rpm <<'E'\n#!/bin/sh\nprintf 'nevil; name\\nngood\\nv\\033[1m\\n'\nE\n";
    test.profile("base = \"host\"\n").sh(rpm).run();
    let hostile = test.args(["freeze", "--dry-run"]).any_stdout().run().stdout;
    let added: Vec<&str> = hostile.lines().filter(|line| line.starts_with("add ")).collect();
    assert!(matches!(added[..], [line] if line.starts_with("add  good ") && !line.contains('\u{1b}')), "{hostile}");
    test.sh("printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/rpm").run();
    let refused = "devbox: packages changed in an rpm database, and the box's `rpm` does not say which\n";
    test.args(["freeze", "--dry-run"]).any_stdout().stderr(refused).run();
}
