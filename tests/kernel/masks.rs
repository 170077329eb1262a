//! What the profile hides in the project stays hidden and unchanged, whatever is tried.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, kill_process};

use crate::require;
use crate::support::PATIENCE;
use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::processes::{belonging_to, wait_end};

const PROFILE: &str =
    "base = \"host\"\n[project]\nmask = [\".env\", \".git/hooks/\", \".git/config\"]\n[network]\nmode = \"none\"\n";

/// A project with secrets, and the files by which git runs commands.
fn masked() -> Devbox {
    let test = Devbox::host();
    test.file(".env", "secret\n")
        .file(".git/config", "[core]\n")
        .file(".git/hooks/sample", "")
        .file(".git/HEAD", "ref\n");
    test.profile(PROFILE);
    test
}

fn read(test: &Devbox, name: &str) -> String {
    fs::read_to_string(test.project().join(name)).unwrap()
}

fn assert_untouched(test: &Devbox) {
    assert_eq!((read(test, ".env"), read(test, ".git/config")), ("secret\n".into(), "[core]\n".into()));
    assert_eq!(fs::read_dir(test.project().join(".git/hooks")).unwrap().count(), 1);
}

/// The entries of a folder of the project, sorted.
fn entries(test: &Devbox, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(test.project().join(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until the supervisor has cleaned up, which it does after the session.
fn settle(test: &Devbox) {
    test.args(["stop"]).any_stdout().any_stderr().output();
}

/// Ends with this, for `echo` and `cat` of the test's scripts must not be what is looked at.
const WAIT_UNTIL_HIDDEN: &str = "i=0; while [ -s .env ] && [ $i -lt 1000000 ]; do i=$((i+1)); done; cat .env; echo end";

#[test]
fn what_is_hidden_is_neither_read_nor_changed() {
    require!(Userns, Overlay);
    let test = masked();
    let script =
        "cat .env .git/config; ls -A .git/hooks; echo x > .env; echo x > .git/config; touch .git/hooks/post-commit
        ln .env link && cat link; mv .env moved; rm -f .env; mv .git/hooks moved; rm -rf .git/hooks; ln -sf x .env
        cat $PWD/.git/../.env; cp --reflink=auto .env copy; cat copy; rm -f copy; cat /proc/self/cwd/.env; echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    assert_untouched(&test);
    // What is beside it works as ever.
    test.sh("echo new > .git/HEAD; mkdir .git/objects; mv .git/objects .git/o; cat .git/HEAD").stdout("new\n").run();
}

#[test]
fn folders_above_cannot_be_renamed() {
    require!(Userns, Overlay);
    let test = masked();
    let script =
        "mv .git aside && echo moved; mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; echo evil > .git/config
        rm -rf .git; rmdir .git && echo removed; python3 -c '
import ctypes, os
libc = ctypes.CDLL(None)
os.mkdir(\"other\")
print(libc.renameat2(-100, b\".git\", -100, b\"other\", 2))' 2>/dev/null; echo end";
    let output = test.sh(script).any_stdout().any_stderr().run();
    assert!(!output.stdout.contains("moved") && !output.stdout.contains("removed"), "{}", output.stdout);
    assert!(!output.stdout.lines().any(|line| line == "0"), "exchanged: {}", output.stdout);
    assert_untouched(&test);
}

#[test]
fn mounts_do_not_uncover() {
    require!(Userns, Overlay);
    let test = masked();
    let script = "umount -l .env; umount .git; umount -l .git/config; mount --bind . /mnt; cat /mnt/.env; mount --rbind . /mnt
        mount -o remount,rw .env; mount --move .env /mnt; mount -t overlay -o lowerdir=$PWD:/etc none /mnt; cat /mnt/.env
        unshare -m umount .env; unshare -Urm sh -c 'umount -l .env .git/config; mount --bind . /mnt; cat /mnt/.env .env'
        unshare -Urm mount -o remount,rw .env; unshare -r cat .env; chroot . /bin/true; cat .env .git/config
        exec 9< .; cat /proc/self/fd/9/.env /proc/1/root$PWD/.env; echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    assert_untouched(&test);
}

#[test]
fn what_is_not_there_cannot_be_made() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.profile(PROFILE);
    let script = "for path in .env .git/config; do echo evil > $path; rm -f $path; done
        mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; mv .git x; rm -rf .git; ls -A .git; ls -A .git/hooks; echo end";
    test.sh(script).stdout("config\nhooks\nend\n").any_stderr().run();
    // Nothing of that is left.
    settle(&test);
    assert_eq!(entries(&test, "."), ["devbox.toml"]);
}

#[test]
fn what_the_host_makes_meanwhile() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.profile(PROFILE);
    let mut session = test.background(&format!("echo up; read x; {WAIT_UNTIL_HIDDEN}"));
    session.expect("up");
    fs::write(test.project().join(".env"), "secret\n").unwrap();
    session.say("go");
    session.expect("end");
    assert!(session.wait().success());
    assert_eq!(read(&test, ".env"), "secret\n");
    test.sh("cat .env; echo end").stdout("end\n").run();
}

#[test]
fn what_the_host_replaces_meanwhile() {
    require!(Userns, Overlay);
    let test = masked();
    let script = format!("echo up; read x; {WAIT_UNTIL_HIDDEN}; read x; {WAIT_UNTIL_HIDDEN}; read x; {WAIT_UNTIL_HIDDEN}
        read x; i=0; while ! mountpoint -q .git && [ $i -lt 9999 ]; do i=$((i+1)); done; cat .git/config; mv .git x; echo end");
    let mut session = test.background(&script);
    session.expect("up");
    let at = |name: &str| test.project().join(name);
    // As git and most editors write.
    fs::write(at(".env.new"), "secret\n").unwrap();
    fs::rename(at(".env.new"), at(".env")).unwrap();
    session.say("go");
    session.expect("end");
    // As others do.
    fs::rename(at(".env"), at(".env~")).unwrap();
    fs::write(at(".env"), "secret\n").unwrap();
    session.say("go");
    session.expect("end");
    fs::remove_file(at(".env")).unwrap();
    session.say("go");
    session.expect("end");
    // And the whole folder above.
    fs::create_dir_all(at("new/hooks")).unwrap();
    fs::write(at("new/config"), "[core]\n").unwrap();
    fs::rename(at(".git"), at("old")).unwrap();
    fs::rename(at("new"), at(".git")).unwrap_or_default();
    session.say("go");
    session.expect("end");
    assert!(session.wait().success());
    assert!(at(".git").is_dir() && !at("x").exists());
}

#[test]
fn symlinks_are_not_followed() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let outside = test.path("outside");
    fs::create_dir(&outside).unwrap();
    test.file("real.env", "secret\n").profile(PROFILE);
    symlink("real.env", test.project().join(".env")).unwrap();
    symlink(&outside, test.project().join(".git")).unwrap();
    let script = "cat .env real.env; rm -f .env .git; echo evil > .env; mkdir .git; echo evil > real.env; echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    assert_eq!(fs::read_link(test.project().join(".env")).unwrap().to_str(), Some("real.env"));
    assert_eq!(fs::read_link(test.project().join(".git")).unwrap(), outside);
    assert_eq!((read(&test, "real.env"), fs::read_dir(&outside).unwrap().count()), ("secret\n".into(), 0));
}

#[test]
fn boxes_of_one_folder_share_placeholders() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let below = |name: &str| PROFILE.replace("\".env\"", &format!("\"{name}\""));
    test.profile(&below("inner/.env")).file("inner/devbox.toml", below(".env"));
    let mut outer = test.background("echo up; read x; echo evil > inner/.env; cat inner/.env; echo end");
    outer.expect("up");
    let mut command = test.command(["run", "--", "sh", "-c", "echo up; read x"]);
    command.current_dir(test.project().join("inner"));
    let mut inner = Background::start(command);
    inner.expect("up");
    inner.say("x");
    assert!(inner.wait().success());
    test.args(["rm", "--force"]).current_dir(test.project().join("inner")).any_stderr().run();
    test.args(["gc"]).any_stdout().any_stderr().run();
    assert_eq!(entries(&test, "inner"), [".env", "devbox.toml"]);
    outer.say("x");
    outer.expect("end");
    assert!(outer.wait().success());
    settle(&test);
    assert_eq!(
        (entries(&test, "."), entries(&test, "inner")),
        (vec!["devbox.toml".into(), "inner".into()], vec!["devbox.toml".into()])
    );
}

#[test]
fn a_killed_supervisor_leaves_nothing_for_good() {
    require!(Userns, Overlay);
    for cleaner in [&["run", "--", "true"][..], &["gc"], &["rm", "--force"]] {
        let test = Devbox::host();
        test.profile(PROFILE);
        let mut session = test.background("echo up; read x");
        session.expect("up");
        assert_eq!(entries(&test, "."), [".env", ".git", "devbox.toml"]);
        let patience = std::time::Instant::now() + PATIENCE;
        let ours: Vec<_> =
            belonging_to(test.project().parent().unwrap()).into_iter().map(|process| process.pid).collect();
        // All at once: a supervisor whose box ends cleans up.
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in &ours {
                kill_process(Pid::from_raw((*pid).try_into().unwrap()).unwrap(), signal).ok();
            }
        }
        assert!(ours.iter().all(|pid| wait_end(*pid, patience)));
        drop(session);
        fs::write(test.project().join(".git/config"), "kept").unwrap();
        test.args(cleaner).any_stdout().any_stderr().run();
        settle(&test);
        assert_eq!(
            (entries(&test, "."), entries(&test, ".git")),
            (vec![".git".into(), "devbox.toml".into()], vec!["config".into()]),
            "{cleaner:?}"
        );
    }
}
