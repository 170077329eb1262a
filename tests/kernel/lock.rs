//! The lock file: written, obeyed, and held to.

use std::fs;
use std::process::Command;

use crate::capture::{self, MACROS};
use crate::require;
use crate::support::devbox::Devbox;

fn read(test: &Devbox, name: &str) -> String {
    fs::read_to_string(test.project().join(name)).expect("read a file of the project")
}

const HEAD: &str = "# Written by `devbox lock`. It belongs beside devbox.toml, and under version control.\n";
const HOST: &str = "the host base cannot be locked: another machine has its own\n";

#[test]
fn versions_are_locked() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = Devbox::host();
    let devbox = |arguments: &[&str]| test.args(arguments);
    test.profile("base = \"host\"\npackages = [\"hello\"]\n");
    let expected = "error: `[TEST]/project` has no devbox.lock.toml\n\
                    hint: `devbox lock` writes it; it belongs under version control\n";
    devbox(&["run", "--locked", "--", "hello"]).stderr(expected).status(125).run();

    devbox(&["lock"]).stdout(format!("wrote devbox.lock.toml: 1 package\n{HOST}")).any_stderr().run();
    let lock = read(&test, "devbox.lock.toml");
    let version = test.sh("dpkg-query -W -f '${Version}' hello").any_stdout().any_stderr().run().stdout;
    let expected = format!(
        "{HEAD}version = 1\npackages = [\n    \"hello\",\n]\n\n[base]\nhost = true\n\n[versions]\n\"hello\" = \"{version}\"\n"
    );
    assert_eq!(lock, expected);
    devbox(&["lock"]).stdout(format!("devbox.lock.toml is up to date\n{HOST}")).run();
    devbox(&["lock", "--check"]).stdout("devbox.lock.toml fits the profile\n").run();
    devbox(&["run", "--locked", "--", "hello"]).stdout("Hello, world!\n").run();
    // The box cannot change it.
    test.sh("echo x >>devbox.lock.toml").any_stderr().status(2).run();

    // A profile that asks for more is refused, and else brings the lock file along.
    test.profile("base = \"host\"\npackages = [\"hello\", \"sl\"]\n");
    let expected = "error: devbox.lock.toml does not fit the profile: sl: is not in the lock file\n\
                    hint: `devbox lock` brings it up to date\n";
    devbox(&["run", "--locked", "--", "true"]).stderr(expected).status(125).run();
    devbox(&["lock", "--check"]).stderr(expected).status(1).run();
    assert_eq!(read(&test, "devbox.lock.toml"), lock);
    // A session that joins changes nothing: the box of the last one may just be stopping.
    devbox(&["stop"]).run();
    let noted = devbox(&["run", "--", "true"]).any_stderr().run().stderr;
    assert!(noted.contains("devbox: updated devbox.lock.toml\n"), "{noted}");
    assert!(read(&test, "devbox.lock.toml").contains("\n\"sl\" = \""));
    devbox(&["run", "--locked", "--", "hello"]).stdout("Hello, world!\n").run();
    devbox(&["remove", "sl"]).stdout("removed sl from devbox.toml\n").any_stderr().run();
    assert_eq!(read(&test, "devbox.lock.toml"), lock);
}

#[test]
fn a_version_that_is_gone() {
    require!(Userns, Overlay, Mirror, Program("apt-get"));
    let test = Devbox::host();
    test.profile("base = \"host\"\npackages = [\"hello\"]\n");
    let gone = format!(
        "{HEAD}version = 1\npackages = [\n    \"hello\",\n]\n\n[base]\nhost = true\n\n[versions]\n\"hello\" = \"0.1-1\"\n"
    );
    test.file("devbox.lock.toml", &gone);
    let stderr = test.args(["run", "--", "hello"]).any_stderr().status(125).run().stderr;
    let expected = "error: cannot install the packages of the profile\n  \
                    cause: `apt-get` failed with status 1 to install the versions of devbox.lock.toml\n\
                    hint: mirrors keep the newest version only: `devbox update` locks what there is now\n\
                    hint: `devbox update PACKAGE` does so for one\n";
    assert!(stderr.ends_with(expected), "{stderr}");
    assert_eq!(read(&test, "devbox.lock.toml"), gone);
    let stdout = test.args(["update", "hello"]).any_stdout().any_stderr().run().stdout;
    assert!(stdout.starts_with("hello: 0.1-1 -> 2."), "{stdout}");
    test.args(["run", "--locked", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
    // One that cannot be read can be replaced.
    test.file("devbox.lock.toml", "<<<<<<< HEAD\n");
    let stderr = test.args(["lock"]).status(1).any_stderr().run().stderr;
    assert!(stderr.contains("--> [TEST]/project/devbox.lock.toml:1:"), "{stderr}");
    test.args(["update"]).any_stdout().any_stderr().run();
    test.args(["run", "--locked", "--", "hello"]).stdout("Hello, world!\n").any_stderr().run();
}

#[test]
fn an_archive_is_locked_by_its_content() {
    require!(Userns, Overlay, Program("tar"), Program("busybox"));
    let test = Devbox::new();
    test.file("root/etc/x", "x");
    let busybox = which("busybox");
    let script = format!(
        "mkdir -p root/bin && cp {busybox} root/bin/busybox && ln -sf busybox root/bin/sh && ln -sf busybox root/bin/cat && \
         tar -C root -cf root.tar ."
    );
    let run = |script: &str| {
        let status = std::process::Command::new("sh").args(["-c", script]).current_dir(test.project()).status();
        assert!(status.expect("run sh").success());
    };
    run(&script);
    test.profile("rootfs = \"./root.tar\"\n[network]\nmode = \"none\"\n");
    test.args(["lock"]).stdout("wrote devbox.lock.toml: 0 packages\n").any_stderr().run();
    let lock = read(&test, "devbox.lock.toml");
    assert!(lock.contains("\n[base]\nrootfs = \"./root.tar\"\ndigest = \"sha256:"), "{lock}");
    test.args(["run", "--locked", "--", "cat", "/etc/x"]).stdout("x").any_stderr().run();
    test.args(["stop"]).run();
    run("echo y >root/etc/x && tar -C root -cf root.tar .");
    for locked in [&["run", "--locked", "--", "cat", "/etc/x"][..], &["run", "--", "cat", "/etc/x"]] {
        let stderr = test.args(locked).any_stderr().status(125).run().stderr;
        assert!(
            stderr.contains("error: the base is not the one that devbox.lock.toml names: base: ./root.tar (sha256:")
        );
        assert!(stderr.ends_with("hint: `devbox update --base` locks the base that is here\n"), "{stderr}");
    }
    test.args(["update", "--base"]).any_stdout().any_stderr().run();
    test.args(["run", "--locked", "--", "cat", "/etc/x"]).stdout("y\n").any_stderr().run();
}

fn which(program: &str) -> String {
    let found = ["/usr/bin", "/bin"].map(|directory| format!("{directory}/{program}"));
    found.into_iter().find(|path| std::path::Path::new(path).exists()).expect("required above")
}

/// Makes the base `root` in the current folder: dnf, and a repository with two versions of a package that needs another.
const RPM_BASE: &str = r#"
make boxtool 'Requires: libbox.so' 2
MORE='dnf rpm' sh "$MAKE"
mkdir root
tar -xf debian.tar -C root --no-same-owner
mkdir -p root/etc/yum.repos.d root/etc/rpm root/var/lib/rpm
cp -R r/RPMS/noarch root/srv/packages
createrepo_c --quiet root/srv/packages
printf '[local]\nname=local\nbaseurl=file:///srv/packages\ngpgcheck=0\n' >root/etc/yum.repos.d/local.repo
rm debian.tar
"#;

#[test]
fn versions_of_rpm_packages_are_locked() {
    require!(Subuid, Userns, Overlay, Program("dnf"), Program("createrepo_c"), Program("rpmbuild"));
    let test = Devbox::new();
    let devbox = |arguments: &[&str]| test.args(arguments);
    let made = Command::new("sh")
        .args([
            "-euc",
            &format!("{}echo '{MACROS}' >macros\n{RPM_BASE}mv macros root/etc/rpm/macros", capture::PACKAGES),
        ])
        .env("MAKE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/projects/debian/make.sh"))
        .current_dir(test.project())
        .output()
        .expect("sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    test.profile("rootfs = \"./root\"\npackages = [\"boxtool\"]\n[network]\nmode = \"none\"\n");

    devbox(&["lock"]).any_stdout().any_stderr().run();
    let lock = read(&test, "devbox.lock.toml");
    assert!(lock.ends_with("\n[versions]\n\"boxlib\" = \"1-2\"\n\"boxtool\" = \"2-2\"\n"), "{lock}");
    devbox(&["run", "--locked", "--", "rpm", "-q", "boxtool"]).stdout("boxtool-2-2.noarch\n").any_stderr().run();
    devbox(&["stop"]).run();
    // Not the newest, because it is not what was locked.
    let write =
        |text: &str| fs::write(test.project().join("devbox.lock.toml"), text).expect("write a file of the project");
    write(&lock.replace("\"2-2\"", "\"1-2\""));
    devbox(&["run", "--locked", "--", "rpm", "-q", "boxtool"]).stdout("boxtool-1-2.noarch\n").any_stderr().run();
    devbox(&["stop"]).run();
    // Nor what is not there, or comes along in another version.
    for (from, to, expected) in
        [("\"2-2\"", "\"3-2\"", "No match for argument: boxtool-3-2"), ("\"1-2\"", "\"0-2\"", "boxlib")]
    {
        write(&lock.replace(from, to));
        let error = devbox(&["run", "--locked", "--", "true"]).status(125).any_stderr().run().stderr;
        assert!(error.contains(expected), "{error}");
    }
}
