//! Attacks through the project folder, which the box shares with the host.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::{Identity, identity};

/// What the mount of the project forbids, in a box.
const FORBIDS: &str =
    "grep -E ' /[^ ]*/project ' /proc/self/mountinfo | head -1 | grep -o -w -E 'nosuid|nodev' | sort -u | xargs";

#[test]
fn setuid_programs_in_the_project() {
    require!(Userns, Overlay, Program("setpriv"));
    let test = Devbox::host();
    test.sh("cp $(command -v id) id; chmod 4755 id").run();
    // Whatever its owner and bits are, it gives nothing in the box ...
    test.sh(FORBIDS).stdout("nodev nosuid\n").run();
    if identity() != Identity::Plain {
        test.sh("chmod 755 .; setpriv --reuid 1000 --regid 1000 --clear-groups ./id -u").stdout("1000\n").run();
    }
    // ... and on the host it is the invoking user's own.
    let meta = fs::metadata(test.project().join("id")).expect("read a file's attributes");
    assert_eq!(meta.uid(), rustix::process::getuid().as_raw());
}

#[test]
fn device_nodes_in_the_project() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("mknod disk b 8 0 2>/dev/null; mknod mem c 1 1 2>/dev/null; test -b disk -o -c mem && echo made; rm -f disk mem").run();
    test.sh(FORBIDS).stdout("nodev nosuid\n").run();
    if identity() == Identity::Root {
        // One that the host has there.
        let made = Command::new("mknod").arg(test.project().join("zero")).args(["c", "1", "5"]).status();
        assert!(made.expect("start a program").success());
        test.sh("head -c 1 zero 2>/dev/null | wc -c").stdout("0\n").run();
    }
}

#[test]
fn changing_the_profile_from_inside() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let profile = "base = \"host\"\n[network]\nmode = \"none\"\n[project]\nmask = [\".env\"]\n";
    test.profile(profile);
    let script = "(echo >> devbox.toml) 2>/dev/null && echo written; rm -f devbox.toml; mv devbox.toml x; ln devbox.toml y && echo > y
        ln -sf x devbox.toml; umount devbox.toml; echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    assert_eq!(fs::read_to_string(test.project().join("devbox.toml")).expect("it is still there"), profile);
}

#[test]
fn devboxs_own_files_in_the_project() {
    require!(Userns, Overlay);
    // Records, answers about trust, sockets: who can change them is out of the box at its next start.
    for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
        let mut test = Devbox::new();
        let own = test.project().join("own");
        DirBuilder::new().mode(0o700).create(&own).expect("a directory");
        test.env(name, &own).profile("base = \"host\"\n[network]\nmode = \"none\"\n");
        let output = test.sh("true").status(125).any_stderr().run();
        assert!(output.stderr.contains("holds devbox's own directory"), "{name}: {}", output.stderr);
        // As the user has it for the test to clean up.
        test.env(name, test.path(if name == "XDG_RUNTIME_DIR" { "run" } else { "home" }));
    }
    let test = Devbox::new();
    DirBuilder::new().recursive(true).mode(0o700).create(test.data().join("store/x")).expect("a directory");
    let output = test.sh("true").current_dir(test.data().join("store/x")).status(125).any_stderr().run();
    assert!(output.stderr.contains("lies in devbox's own directory"), "{}", output.stderr);
    // And the home directory by another name.
    let mut test = Devbox::new();
    symlink(test.project(), test.path("link")).expect("a link");
    test.env("HOME", test.path("link"));
    let output = test.sh("true").status(125).any_stderr().run();
    assert!(output.stderr.contains("holds your home directory"), "{}", output.stderr);
}
