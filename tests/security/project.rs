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

#[test]
fn a_build_that_reads_what_is_masked() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    test.root_with_busybox("root");
    test.file(".env", "SECRET").file("keys/a", "SECRET").file("seen", "seen");
    symlink(".env", test.project().join("link")).expect("a symlink");
    let mask = "[project]\nmask = [\".env\", \"keys/\"]\n[network]\nmode = \"none\"\n";
    let lines = "FROM scratch\nCOPY root /\nENV PATH=/bin\n";
    let everything =
        "COPY . /all\nCOPY .e* s* /some/\nRUN --mount=type=bind,target=/context busybox cp -R /context /mounted\n";
    test.profile(&format!("[build]\n{mask}")).file("Containerfile", format!("{lines}{everything}"));
    let found = test.args([
        "run",
        "--",
        "sh",
        "-c",
        "cat /some/seen; busybox grep -r SECRET /all /some /mounted; ls /all; true",
    ]);
    let found = found.any_stdout().any_stderr().run().stdout;
    assert!(found.starts_with("seen") && !found.contains("SECRET") && !found.contains("keys"), "{found}");
    for (line, name) in [("COPY .env /x", ".env"), ("COPY link /x", "link"), ("COPY keys/a /x", "keys/a")] {
        test.file("Containerfile", format!("{lines}{line}\n"));
        let said = test.args(["run", "--", "true"]).status(125).any_stderr().run().stderr;
        assert!(said.contains(&format!("`{name}` does not exist")), "{said}");
    }
    for build in ["context = \"keys\"", "containerfile = \".env\"", "containerfile = \"link\""] {
        test.profile(&format!("[build]\n{build}\n{mask}"));
        let said = test.args(["run", "--", "true"]).status(125).any_stderr().run().stderr;
        assert!(said.contains("is masked in the profile"), "{said}");
    }
}

#[test]
fn a_build_that_asks_for_the_hosts_network() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    test.root_with_busybox("root").profile("[build]\n");
    test.file("Containerfile", "FROM scratch\nCOPY root /\nENV PATH=/bin\nRUN --network=host true\n");
    let said = test.args(["run", "--", "true"]).status(125).any_stderr().run().stderr;
    assert!(said.contains("`RUN --network=host` would reach every service of this machine"), "{said}");
}

#[test]
fn changing_the_containerfile_from_inside() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    let lines = "FROM scratch\nCOPY root /\nENV PATH=/bin\n";
    test.root_with_busybox("root").file("image/Containerfile", lines).file(".env", "");
    symlink("../root", test.project().join("image/root")).expect("a symlink");
    test.profile(
        "[build]\ncontainerfile = \"image/Containerfile\"\n[project]\nmask = [\".env\"]\n[network]\nmode = \"none\"\n",
    );
    let script = "echo >> image/Containerfile; rm -f image/Containerfile; mv image x; echo end";
    test.args(["run", "--", "sh", "-c", script]).stdout("end\n").any_stderr().run();
    assert_eq!(fs::read_to_string(test.project().join("image/Containerfile")).expect("it is still there"), lines);
}

/// `git status` at the top runs git in each submodule, with what is configured where its `.git` says.
#[test]
fn another_repository_for_a_submodule() {
    require!(Userns, Overlay, Program("git"));
    let test = Devbox::host();
    let project = test.project().to_owned();
    let git = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&project).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for (number, (key, value)) in [("protocol.file.allow", "always"), ("safe.directory", "*")].iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.com");
        }
        let output = command.env("GIT_CONFIG_COUNT", "2").output().expect("run a program");
        assert!(output.status.success(), "{output:?}");
    };
    let upstream = test.path("upstream");
    let upstream = upstream.display();
    git(&format!(
        "git init -q {upstream}; git -C {upstream} commit -q --allow-empty -m 1; git init -q .
        git submodule --quiet add {upstream} here; git submodule --quiet add {upstream} gone
        git commit -q -m 1; rm -r gone; mkdir gone; git clone -q {upstream} clone"
    ));
    test.profile("base = \"host\"\n[project]\nprotect = [\".git/\"]\n[network]\nmode = \"none\"\n");
    let mark = test.path("mark");
    let script = format!(
        "mkdir -p x/objects x/refs; echo 'ref: refs/heads/main' >x/HEAD
        printf '[core]\\nrepositoryformatversion=0\\nbare=false\\nworktree=../here\\nfsmonitor=touch {}; false\\n' >x/config
        for name in here gone; do
            mv $name moved; rm -rf $name/.git $name; mkdir -p $name; echo 'gitdir: ../x' >$name/.git
        done
        echo evil >>clone/.git/config; git -C clone config core.fsmonitor evil; echo end",
        mark.display()
    );
    test.sh(&script).stdout("end\n").any_stderr().run();
    git("git status --short; git diff; ! grep evil clone/.git/config");
    assert!(!mark.exists(), "git ran what the box named");
}
