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
