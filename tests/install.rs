//! What is installed: `make install` and the Debian package.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use support::binary;

/// Runs a program of the repository; returns what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("start it");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{command:?}\n{stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// `make install` into a directory, whose `usr` is returned.
fn installed() -> (TempDir, PathBuf) {
    let target = tempfile::tempdir().expect("a temporary directory");
    run(Command::new("make")
        .args(["--silent", "install", "PREFIX=/usr"])
        .arg(format!("BIN={}", binary().display()))
        .arg(format!("DESTDIR={}", target.path().display())));
    let usr = target.path().join("usr");
    (target, usr)
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn make_install_puts_everything_in_its_place() {
    let (_target, usr) = installed();
    for (file, mode) in [
        ("bin/devbox", 0o755),
        ("share/bash-completion/completions/devbox", 0o644),
        ("share/zsh/site-functions/_devbox", 0o644),
        ("share/fish/vendor_completions.d/devbox.fish", 0o644),
        ("share/man/man1/devbox.1", 0o644),
        ("share/man/man1/devbox-snapshot-create.1", 0o644),
        ("share/man/man5/devbox.toml.5", 0o644),
        ("share/man/man7/devbox-networks.7", 0o644),
        ("share/devbox/profiles/rust.toml", 0o644),
        ("share/devbox/devbox.schema.json", 0o644),
    ] {
        let meta = fs::metadata(usr.join(file)).expect(file);
        assert!(meta.is_file() && meta.len() > 0, "{file}");
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{file}");
    }
    let schema = fs::read(usr.join("share/devbox/devbox.schema.json")).expect("the schema");
    let schema: serde_json::Value = serde_json::from_slice(&schema).expect("JSON");
    assert!(schema["properties"]["packages"].is_object(), "{schema}");
}

#[test]
fn a_failed_install_is_noticed() {
    let target = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["install", "BIN=/nonexistent/devbox"])
        .arg(format!("DESTDIR={}", target.path().display()))
        .output()
        .expect("run make");
    assert!(!output.status.success());
}

#[test]
fn manual_pages_are_rendered_without_a_warning() {
    require!(Program("groff"), Program("man"));
    let (target, usr) = installed();
    let render = |file: &Path| {
        let groff = Command::new("groff").args(["-man", "-Tutf8", "-Kutf8", "-ww", "-z"]).arg(file).output();
        let output = groff.expect("groff");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // A mistake is seen at all.
    let wrong = target.path().join("wrong.1");
    fs::write(&wrong, ".TH wrong 1\n.SH NAME\n.nonesuch\n").expect("write");
    assert!(render(&wrong).contains("nonesuch"), "{}", render(&wrong));

    let pages = files_below(&usr.join("share/man"));
    assert!(pages.len() > 90, "{}", pages.len());
    for page in &pages {
        assert_eq!(render(page), "", "{}", page.display());
        let text = fs::read_to_string(page).expect("a page");
        assert!(text.contains(" \\- "), "{} has a line for `whatis`", page.display());
    }
    let shown = run(Command::new("man").env("MANWIDTH", "80").arg("-l").arg(usr.join("share/man/man5/devbox.toml.5")));
    assert!(shown.contains("no_new_privileges") && shown.contains("devbox-networks(7)"), "{shown}");
}

#[test]
fn shells_load_their_completions() {
    require!(Program("bash"), Program("zsh"), Program("fish"));
    let (target, usr) = installed();
    let shell = |program: &str, script: &str| {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", usr.join("bin").display());
        run(Command::new(program)
            .args(if program == "zsh" { &["-f", "-c"][..] } else { &["-c"] })
            .args([script, program])
            .env_clear()
            .env("PATH", path)
            .env("HOME", target.path())
            .env("SHARE", usr.join("share")))
    };
    let bash = "source $SHARE/bash-completion/completions/devbox
        COMP_WORDS=(devbox help netw) COMP_CWORD=2; _clap_complete_devbox devbox netw help; echo ${COMPREPLY[@]}";
    assert_eq!(shell("bash", bash).trim(), "networks");
    let zsh = "fpath=($SHARE/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D; echo ${_comps[devbox]}";
    assert_eq!(shell("zsh", zsh), "_devbox\n");
    let fish = "source $SHARE/fish/vendor_completions.d/devbox.fish; complete -C 'devbox help netw'";
    assert!(shell("fish", fish).starts_with("networks\t"), "{}", shell("fish", fish));
}

/// Makes the package in `directory`.
fn package(directory: &Path, revision: &str) -> PathBuf {
    let printed = run(Command::new("scripts/deb")
        .arg(binary())
        .arg(directory)
        .env("DEB_REVISION", revision)
        .env("DEB_COMPRESSION", "none")
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    PathBuf::from(printed.trim_end())
}

#[test]
fn the_debian_package_is_the_same_each_time() {
    require!(Program("dpkg-deb"), Program("dpkg-shlibdeps"), Program("strip"));
    let (first, second) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let deb = package(first.path(), "1");
    assert_eq!(fs::read(&deb).expect("a package"), fs::read(package(second.path(), "1")).expect("a package"));

    let field = |name: &str| run(Command::new("dpkg-deb").arg("--field").arg(&deb).arg(name));
    assert_eq!(field("Version"), format!("{}-1\n", env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));
    assert_eq!(field("Recommends"), "fuse-overlayfs, passt, uidmap\n");

    let contents = run(Command::new("dpkg-deb").arg("--contents").arg(&deb));
    for file in [
        "-rwxr-xr-x root/root ",
        " ./usr/bin/devbox\n",
        " ./usr/share/doc/devbox/copyright\n",
        " ./usr/share/doc/devbox/changelog.Debian.gz\n",
        " ./usr/share/man/man1/devbox.1.gz\n",
        " ./usr/share/zsh/vendor-completions/_devbox\n",
        " ./usr/share/fish/vendor_completions.d/devbox.fish\n",
        " ./usr/share/bash-completion/completions/devbox\n",
        " ./usr/share/devbox/apparmor\n",
        " ./etc/apparmor.d/abstractions/base.d/devbox\n",
    ] {
        assert!(contents.contains(file), "{file:?} is not in {contents}");
    }
    assert!(contents.lines().all(|line| line.contains(" root/root ") && line.contains(" 2023-11-14 ")), "{contents}");
}

#[test]
fn scripts_of_the_package_are_sound() {
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").args(["-n", &format!("packaging/deb/{script}")]));
    }
}
