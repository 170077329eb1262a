//! Boxes whose layers `fuse-overlayfs` stacks, as on kernels that cannot.

use std::fs;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::processes;

/// A project on the host base; its user has chosen the program.
fn test() -> Devbox {
    let test = Devbox::shared("base = \"host\"\n[network]\nmode = \"none\"\n");
    let config = test.home().join(".config/devbox");
    fs::create_dir_all(&config).expect("a directory");
    fs::write(config.join("config.toml"), "[overlay]\ndriver = \"fuse\"\n").expect("write a file");
    test
}

#[test]
fn the_host_base_without_metadata_layers() {
    require!(Userns, Overlay, Ordinary, FuseOverlayfs);
    let test = test();
    test.sh("id -u; stat -c %U /usr/bin/env /etc; ls /root; touch made /etc/mine /usr/mine; rm -rf /usr/share/doc; ls -d /usr/share/doc")
        .stdout("0\nroot\nroot\n")
        .any_stderr()
        .status(2)
        .run();
    assert!(test.project().join("made").exists());
    let status = test.args(["status"]).any_stdout().run().stdout;
    assert!(status.contains("+fuse"), "{status}");
    test.args(["snapshot", "create", "one"]).run();
    test.sh("ls /etc/mine /usr/mine; rm -rf /etc/apt /usr/bin/env").stdout("/etc/mine\n/usr/mine\n").run();
    test.args(["snapshot", "restore", "one"]).run();
    test.sh("ls -d /etc/apt /usr/bin/env; ls -d /usr/share/doc")
        .stdout("/etc/apt\n/usr/bin/env\n")
        .any_stderr()
        .status(2)
        .run();
    let changes = test.args(["diff"]).any_stdout().run().stdout;
    assert!(changes.lines().any(|line| line == "D /usr/share/doc/"), "{changes}");
    test.args(["reset"]).any_stdout().run();
    test.sh("ls -d /usr/share/doc /etc/mine").stdout("/usr/share/doc\n").any_stderr().status(2).run();
    test.args(["run", "--rm", "--", "touch", "/etc/gone"]).run();
    test.sh("ls /etc/gone").any_stderr().status(2).run();
}

#[test]
fn the_program_ends_with_the_box_however_that_ends() {
    require!(Userns, Overlay, Ordinary, FuseOverlayfs);
    let test = test();
    test.sh("true").any_stderr().run();
    let mut session = test.background("echo ready; read x");
    session.expect("ready");
    // It is out of the box's sight.
    test.sh("ls /proc/[0-9]*/comm | xargs cat 2>/dev/null | grep -c fuse-overlayfs")
        .stdout("0\n")
        .any_stderr()
        .status(1)
        .run();
    test.args(["stop", "--time", "0"]).run();
    session.wait();
    let left = processes::wait_until_none(&test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_box_ends_with_its_program_and_the_program_with_its_supervisor() {
    require!(Userns, Overlay, Ordinary, FuseOverlayfs);
    let test = test();
    test.sh("true").any_stderr().run();
    for name in ["fuse-overlayfs", "supervisor"] {
        let mut session = test.background("echo kept > /root/note; sync; echo ready; read x");
        session.expect("ready");
        let program = processes::belonging_to(&test.path(""))
            .into_iter()
            .find(|process| process.command.starts_with("fuse-overlayfs "))
            .expect("the program runs beside the box");
        let victim = if name == "supervisor" { program.parent } else { program.pid };
        let pid = rustix::process::Pid::from_raw(i32::try_from(victim).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill a process");
        session.wait();
        let left = processes::wait_until_none(&test.path(""));
        assert!(left.is_empty(), "{name}: {left:?}");
        test.sh("cat /root/note").stdout("kept\n").run();
    }
}
