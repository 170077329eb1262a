//! What a box keeps, and how that is kept, restored, shown and thrown away.

use std::fs;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::processes;

/// Waits until the box has stopped.
fn stopped(test: &Devbox) {
    let left = processes::wait_until_none(&test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_snapshot_brings_back_what_was_removed() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo one > /root/note; test -d /usr/share/doc").run();
    stopped(&test);
    test.args(["snapshot", "create", "good"]).run();
    let listed = test.args(["snapshot", "list"]).any_stdout().run();
    assert!(listed.stdout.contains("good"), "{}", listed.stdout);
    test.sh("rm -rf /usr/share/doc /etc/apt /root/note; echo two > /root/other; ls /usr/share/doc")
        .any_stderr()
        .status(2)
        .run();
    stopped(&test);
    test.args(["snapshot", "restore", "good"]).run();
    test.sh("cat /root/note; test -d /usr/share/doc && ls /usr/share/doc | grep -c . | grep -q -v '^0$' && test -d /etc/apt; ls /root")
        .stdout("one\nnote\n")
        .run();
    stopped(&test);
    test.args(["snapshot", "rm", "good"]).run();
    test.args(["snapshot", "restore", "good"]).any_stderr().status(1).run();
    test.sh("cat /root/note").stdout("one\n").run();
    assert!(std::path::Path::new("/usr/share/doc").is_dir());
}

#[test]
fn a_reset_goes_back_to_the_base() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("rm -rf /usr/share/doc; echo x > /root/note; echo x > /usr/local/new").run();
    stopped(&test);
    test.args(["reset"]).any_stdout().any_stderr().run();
    test.sh("ls /root /usr/local/new; test -d /usr/share/doc && echo back").stdout("/root:\nback\n").any_stderr().run();
}

#[test]
fn a_difference_names_what_changed() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo x > /usr/local/new; echo '# x' >> /etc/apt/apt.conf.d/99own; echo more >> /etc/fstab; rm -f /usr/share/doc/bash/copyright").run();
    stopped(&test);
    let shown = test.args(["diff"]).any_stdout().run().stdout;
    for line in ["A /usr/local/new", "A /etc/apt/apt.conf.d/99own", "D /usr/share/doc/bash/copyright"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    let json = test.args(["diff", "--format", "json"]).any_stdout().run().stdout;
    assert!(json.contains("/usr/local/new"), "{json}");
}

#[test]
fn a_clone_begins_as_its_source_and_goes_its_own_way() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo first > /root/note").run();
    stopped(&test);
    let copy = test.path("copy");
    fs::create_dir(&copy).expect("a directory");
    fs::copy(test.project().join("devbox.toml"), copy.join("devbox.toml")).expect("copy a file");
    test.args(["clone"]).arg(&copy).any_stdout().run();
    test.sh("cat /root/note; echo second > /root/note; pwd").current_dir(&copy).stdout("first\n[TEST]/copy\n").run();
    test.sh("cat /root/note").stdout("first\n").run();
    stopped(&test);
    test.args(["rm"]).run();
    test.sh("cat /root/note").current_dir(&copy).stdout("second\n").run();
}

#[test]
fn a_session_with_rm_leaves_nothing() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo kept > /root/note").run();
    stopped(&test);
    test.args(["run", "--rm", "--", "sh", "-c", "cat /root/note; rm /root/note; echo x > /root/other; exit 3"])
        .stdout("kept\n")
        .status(3)
        .run();
    stopped(&test);
    test.sh("ls /root").stdout("note\n").run();
    stopped(&test);
    let scratch: Vec<_> = test
        .boxes()
        .iter()
        .flat_map(|path| fs::read_dir(path).expect("read a directory"))
        .map(|entry| entry.expect("read a directory").file_name())
        .filter(|name| name.to_string_lossy().starts_with("scratch"))
        .collect();
    assert!(scratch.is_empty(), "{scratch:?}");
}

#[test]
fn only_what_is_thrown_away_is_volatile() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let count = "grep ' / overlay ' /proc/mounts | grep -c volatile; true";
    test.sh(count).stdout("0\n").run();
    stopped(&test);
    test.args(["run", "--rm", "--", "sh", "-c", count]).stdout("1\n").run();
}

#[test]
fn rm_leaves_nothing_on_disk() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("mkdir -p /srv/x/y; echo x > /srv/x/y/z; chmod 0 /srv/x; touch /root/file").run();
    stopped(&test);
    test.args(["snapshot", "create", "one"]).run();
    test.sh("echo x > /root/after").run();
    stopped(&test);
    assert_eq!(test.boxes().len(), 1);
    test.args(["rm"]).run();
    assert!(test.boxes().is_empty());
    let own = test.path("");
    let own = own.to_str().expect("a plain name");
    // Neither in the trash nor in the pool of layers is anything of it.
    let output = std::process::Command::new("grep")
        .args(["-r", "-l", "-s", own])
        .args(["boxes", "trash"].map(|name| test.data().join(name)))
        .output()
        .expect("start grep");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    test.args(["status"]).any_stderr().status(1).run();
    test.args(["rm"]).any_stderr().status(1).run();
    test.args(["rm", "--force"]).run();
}

#[test]
fn a_running_box_is_removed_only_by_force() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut session = test.background("echo ready; read line; exit 0");
    session.expect("ready");
    let refused = test.args(["rm"]).any_stderr().status(1).run();
    assert!(refused.stderr.contains("running") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    for arguments in [&["reset"][..], &["snapshot", "restore", "x"]] {
        let output = test.args(arguments).output();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    }
    assert_eq!(test.boxes().len(), 1);
    test.args(["rm", "--force"]).run();
    session.wait();
    assert!(test.boxes().is_empty());
}

#[test]
fn a_box_outlives_its_folder_and_can_be_removed() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let name = format!("orphan{}", std::process::id());
    test.profile(&format!("name = \"{name}\"\nbase = \"host\"\n[network]\nmode = \"none\"\n"));
    test.sh("true").run();
    stopped(&test);
    fs::remove_dir_all(test.project()).expect("remove a directory");
    let listed = test.args(["list"]).current_dir(test.home()).any_stdout().run().stdout;
    assert!(listed.lines().any(|line| line.contains(&name) && line.contains("orphaned")), "{listed}");
    test.args(["rm", &name]).current_dir(test.home()).run();
    assert!(test.boxes().is_empty());
    fs::create_dir(test.project()).expect("a directory");
}

#[test]
fn a_killed_supervisor_is_recovered_from() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut session = test.background("echo kept > /root/note; sync; echo ready; read line");
    session.expect("ready");
    for process in processes::belonging_to(&test.path("")) {
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(process.pid).expect("a pid")) {
            // Some end by themselves when others do.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    session.wait();
    stopped(&test);
    test.sh("cat /root/note").stdout("kept\n").run();
}
