//! Bases other than the host: a distribution, a tar archive, a directory.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::shared;

/// The host's own distribution and release, for which it has package sources: `debian:bookworm`.
fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").expect("read a file");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
        line.trim_matches('"').to_owned()
    };
    format!("{}:{}", value("ID"), value("VERSION_CODENAME"))
}

/// A project on the distribution, which is bootstrapped once for all tests.
fn on_distribution() -> Devbox {
    Devbox::shared(&format!("distro = \"{}\"\n[network]\nmode = \"none\"\n", distribution()))
}

/// A tar archive of a root file system, made once.
fn archive() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let path = shared().join("root.tar");
        let test = on_distribution();
        let tar = ["run", "--", "tar", "-C", "/", "--one-file-system", "--exclude=./tmp/*", "-c", "."];
        let mut command = test.command(tar);
        let file = File::create(&path).expect("create a file");
        let output = command.stdin(Stdio::null()).stdout(file).output().expect("start the binary");
        assert!(output.status.success(), "{output:?}");
        path
    });
    made.clone()
}

/// Works as a system of its own, and not as the host.
fn check(test: &Devbox) {
    test.args(["profile", "trust"]).any_stdout().any_stderr().run();
    test.sh("id -u; ls /home; test -d /var/lib/dpkg && dpkg --version | grep -c Debian; apt-get --version | head -1 | cut -d' ' -f1; touch /etc/mine && pwd")
        .stdout("0\n1\napt\n[TEST]/project\n")
        .any_stderr()
        .run();
    test.sh("ls /etc/mine; command -v tmux").stdout("/etc/mine\n").status(127).run();
}

#[test]
fn a_distribution() {
    require!(Userns, Overlay, Mirror, Program("mmdebstrap"), Program("fakechroot"), Program("fakeroot"));
    let test = on_distribution();
    check(&test);
}

#[test]
fn installing_on_a_distribution() {
    require!(Userns, Overlay, Mirror, Program("mmdebstrap"), Program("fakechroot"), Program("fakeroot"));
    let test = on_distribution();
    test.profile(&format!("distro = \"{}\"\n", distribution()));
    let script = "export DEBIAN_FRONTEND=noninteractive
        apt-get update && apt-get install -y --no-install-recommends hello openssh-server && hello && dpkg --audit";
    let output = test.sh(script).any_stdout().any_stderr().run();
    assert!(output.stdout.ends_with("Hello, world!\n"), "{}", output.stdout);
}

#[test]
fn an_archive() {
    require!(Userns, Overlay, Mirror, Program("mmdebstrap"), Program("fakechroot"), Program("fakeroot"));
    for compress in [None, Some("gzip")] {
        let path = archive();
        let test = Devbox::new();
        let name = compress.map_or("root.tar", |_| "root.tar.gz");
        fs::copy(&path, test.path(name)).expect("copy a file");
        if let Some(program) = compress {
            fs::remove_file(test.path(name)).expect("remove a file");
            let packed = File::create(test.path(name)).expect("create a file");
            let status = Command::new(program).args(["-1", "-c"]).arg(&path).stdout(packed).status();
            assert!(status.expect("start a program").success());
        }
        test.profile(&format!("rootfs = \"{}\"\n[network]\nmode = \"none\"\n", test.path(name).display()));
        check(&test);
    }
}

#[test]
fn a_directory() {
    require!(Userns, Overlay, Mirror, Program("mmdebstrap"), Program("fakechroot"), Program("fakeroot"));
    let test = Devbox::new();
    let root = test.path("root");
    fs::create_dir(&root).expect("a directory");
    let status = Command::new("tar").args(["--no-same-owner", "-xf"]).arg(archive()).arg("-C").arg(&root).status();
    assert!(status.expect("start tar").success());
    test.profile(&format!("rootfs = \"{}\"\n[network]\nmode = \"none\"\n", root.display()));
    check(&test);
    // The directory itself stays as it is.
    assert!(!root.join("etc/mine").exists());
}

#[test]
fn what_is_no_base() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    test.file("cut.tar", [0x1f, 0x8b, 8, 0]).file("text", "no archive\n");
    for (path, word) in [("cut.tar", "cut.tar"), ("text", "text"), ("missing", "missing"), ("/", "host's own root")] {
        test.profile(&format!("rootfs = \"{path}\"\n"));
        test.args(["profile", "trust"]).output();
        let output = test.sh("true").output();
        assert_eq!(output.status.code(), Some(125), "{path}: {output:?}");
        assert!(output.stderr.contains(word), "{path}: {output:?}");
    }
    assert!(test.boxes().is_empty());
}
