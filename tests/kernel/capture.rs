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

/// Makes two packages below `r` in the current folder, of which one needs the other.
pub const PACKAGES: &str = r#"set -e
make() {
    printf 'Name: %s\nVersion: '"${3:-1}"'\nRelease: 2\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%s\n%%description\nd\n%%install
mkdir -p %%{buildroot}/opt\necho x >%%{buildroot}/opt/%s\n%%files\n/opt/%s\n' "$1" "$2" "$1" "$1" >"$1.spec"
    rpmbuild -bb --quiet --define "_topdir $PWD/r" "$1.spec"
}
make boxlib 'Provides: libbox.so'
make boxtool 'Requires: libbox.so'
"#;

/// Debian's rpm has its database elsewhere by default.
pub const MACROS: &str = "%_dbpath /var/lib/rpm";

#[test]
fn what_rpm_installed_is_written() {
    require!(Userns, Overlay, Program("rpmbuild"));
    let test = Devbox::host();
    test.profile("base = \"host\"\n");
    let install = "rpm --initdb\nrpm -i --force-debian --nodeps r/RPMS/noarch/*.rpm";
    let script = format!("mkdir -p /etc/rpm && echo '{MACROS}' >/etc/rpm/macros\ncd /tmp\n{PACKAGES}{install}");
    test.sh(&script).any_stdout().any_stderr().run();
    let json = test.args(["freeze", "--format", "json"]).any_stdout().run().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["installed"], serde_json::json!([{ "name": "boxtool", "version": "1-2" }]), "{json}");
    assert_eq!(json["unreadable_packages"], false);
    let diff = test.args(["diff"]).any_stdout().run().stdout;
    assert!(diff.starts_with("package added    boxlib 1-2\npackage added    boxtool 1-2\n"), "{diff}");
    assert!(!diff.contains("rpm database"), "{diff}");
    assert!(!json["loose"].to_string().contains("/opt"), "{json}");
    assert_eq!(profile_of(&test), "base = \"host\"\npackages = [\"boxtool\"]\n");
    // The program is the box's: whatever it says, nothing but names can come of it.
    let rpm = "cat >/usr/bin/rpm <<'E'\n#!/bin/sh\necho noise >&2\nprintf 'nevil; name\\nngood\\nv\\033[1m\\n'\nE\n";
    test.profile("base = \"host\"\n").sh(rpm).run();
    let hostile = test.args(["freeze", "--dry-run"]).any_stdout().run().stdout;
    let added: Vec<&str> = hostile.lines().filter(|line| line.starts_with("add ")).collect();
    assert!(matches!(added[..], [line] if line.starts_with("add  good ") && !line.contains('\u{1b}')), "{hostile}");
    let refused = "devbox: packages changed in an rpm database, and the box's `rpm` does not say which\n";
    for answer in ["exit 1", "exec yes nname"] {
        test.sh(&format!("printf '#!/bin/sh\\n{answer}\\n' >/usr/bin/rpm")).run();
        test.args(["freeze", "--dry-run"]).any_stdout().stderr(refused).run();
    }
}

/// Makes a base with a program and a database of its own, in which one of the packages is installed.
const BASE: &str = r#"
root=$PWD/root
for file in /usr/bin/rpm $(ldd /usr/bin/rpm | grep -o '/[^ )]*'); do
    mkdir -p "$root${file%/*}"
    cp -L "$file" "$root$file"
done
cp -R /usr/lib/rpm "$root/usr/lib"
rpm --root "$root" --dbpath /var/lib/rpm -i --force-debian --nodeps r/RPMS/noarch/boxlib-*.rpm
"#;

#[test]
fn what_the_base_had_by_rpm_is_not_written() {
    require!(Userns, Overlay, Program("rpmbuild"), Program("busybox"));
    let test = Devbox::new();
    test.root_with_busybox("root").profile("rootfs = \"root\"\n[network]\nmode = \"none\"\n");
    let script =
        format!("{PACKAGES}mkdir -p root/etc/rpm root/usr/lib && echo '{MACROS}' >root/etc/rpm/macros\n{BASE}");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(test.project()).env("HOME", test.home());
    let made = command.output().expect("a shell");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let install = "/usr/bin/rpm -i --force-debian --nodeps r/RPMS/noarch/boxtool-*.rpm && echo y >>/opt/boxlib";
    test.args(["run", "--keep", "--", "sh", "-c", install]).any_stderr().run();
    let expected = "add  boxtool 1-2\n\nfiles of packages that were edited:\n  /opt/boxlib  (boxlib)\n";
    test.args(["freeze", "--dry-run"]).stdout(expected).run();
    test.args(["stop"]).any_stdout().any_stderr().run();
    test.args(["freeze", "--dry-run"]).stdout(expected).run();
}
