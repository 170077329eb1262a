//! Programs are installed in a box, from the network, and the host has none of it.

use crate::require;
use crate::support::devbox::Devbox;

/// A project on the host base that reaches the network.
fn networked() -> Devbox {
    let test = Devbox::host();
    test.profile("base = \"host\"\n");
    test
}

#[test]
fn a_package_is_installed_in_the_box_only() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = networked();
    test.args(["run", "--", "apt-get", "install", "-y", "hello"]).any_stdout().any_stderr().run();
    test.args(["run", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
    assert!(!std::path::Path::new("/usr/bin/hello").exists());
    let shown = test.args(["diff"]).any_stdout().any_stderr().run().stdout;
    assert!(shown.lines().any(|line| line.starts_with("package added    hello ")), "{shown}");
    test.args(["run", "--", "apt-get", "remove", "-y", "hello"]).any_stdout().any_stderr().run();
    test.args(["run", "--", "hello"]).any_stderr().status(127).run();
}

#[test]
fn packages_with_several_owners() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = networked();
    let script = "export DEBIAN_FRONTEND=noninteractive
        apt-get install -y --reinstall openssh-server postgresql-common && dpkg --audit && getent passwd sshd postgres";
    let output = test.sh(script).any_stdout().any_stderr().run();
    assert!(output.stdout.contains("\nsshd:") && output.stdout.contains("\npostgres:"), "{}", output.stdout);
}

#[test]
fn pip_works_without_any_setting() {
    require!(Userns, Overlay, Mirror, Program("python3"), Program("pip"));
    let test = networked();
    let script = "python3 -m venv /root/v && /root/v/bin/pip install --quiet --disable-pip-version-check six && \
         /root/v/bin/python -c 'import six; print(six.__name__)'";
    test.sh(script).stdout("six\n").any_stderr().run();
}

#[test]
fn npm_works_without_any_setting() {
    require!(Userns, Overlay, Mirror, Program("npm"));
    let test = networked();
    let output = test.args(["run", "--", "npm", "view", "is-number", "version"]).any_stdout().any_stderr().run();
    assert!(output.stdout.starts_with(|first: char| first.is_ascii_digit()), "{output:?}");
}

#[test]
fn packages_of_the_profile() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = networked();
    test.profile("base = \"host\"\npackages = [\"hello\"]\n");
    test.args(["run", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
    // A second box takes them from the layer that the first has made.
    let other = Devbox::host();
    other.profile("base = \"host\"\npackages = [\"hello\"]\n[network]\nmode = \"none\"\n");
    other.args(["run", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
}
