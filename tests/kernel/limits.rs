//! Limits on a machine as it is. What only a cgroup of version 2 can hold is tested in `tests/vm`.

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::{Identity, identity};

fn boxed(limits: &str) -> Devbox {
    let test = Devbox::new();
    test.root_with_busybox("root");
    test.profile(&format!("rootfs = \"./root\"\n[network]\nmode = \"none\"\n[limits]\n{limits}\n"));
    test
}

/// Whether this machine has cgroups of version 2 alone.
fn has_groups() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn what_needs_no_cgroup_holds_everywhere() {
    require!(Userns, Overlay);
    let test = boxed("files = 99\nshm = \"1MiB\"\nrequire = true");
    let script =
        "ulimit -n; ulimit -Hn; dd if=/dev/zero of=/dev/shm/x bs=64k count=64 2>/dev/null; du -k /dev/shm/x | cut -f1";
    test.sh(script).stdout("99\n99\n1024\n").run();
}

#[test]
fn files_can_be_lowered_in_a_running_box() {
    require!(Userns, Overlay);
    let test = boxed("files = 99");
    test.args(["run", "--keep", "--", "true"]).run();
    test.args(["limits", "set", "files=70"]).run();
    test.sh("ulimit -n").stdout("70\n").run();
    test.args(["limits"]).stdout("files  70\n").run();
    let fixed = "error: `shm` cannot be changed while the box runs\n\
                 hint: write it into `[limits]` of `devbox.toml`, and start the box anew\n";
    test.args(["limits", "set", "shm=1MiB"]).status(1).stderr(fixed).run();
    // What can be changed is.
    let said = format!("devbox: `files` is set\n{fixed}");
    test.args(["limits", "set", "shm=1MiB", "files=66"]).status(1).stderr(&said).run();
    test.sh("ulimit -n").stdout("66\n").run();
    test.args(["limits"]).stdout("files  66\n").run();
    if identity() != Identity::Root {
        let said = test.args(["limits", "set", "files=80"]).status(1).any_stderr().run().stderr;
        assert!(said.contains("hint: a running box can have fewer files, not more"), "{said}");
    }
    test.args(["stop"]).any_stderr().run();
    let stopped = "error: the box does not run\nhint: `[limits]` in `devbox.toml` holds from the next start\n";
    test.args(["limits", "set", "files=80"]).status(1).stderr(stopped).run();
}

#[test]
fn a_running_box_is_told_why_it_gets_no_cgroup() {
    require!(Userns, Overlay);
    if has_groups() {
        return;
    }
    let test = boxed("files = 99");
    test.args(["run", "--keep", "--", "true"]).run();
    let said = "devbox: `files` is set\nerror: `cpus` needs a cgroup, and the running box has none\n\
                hint: the cgroups of this machine are of version 1 or hybrid; `devbox doctor` knows the way out\n";
    test.args(["limits", "set", "cpus=1", "files=66"]).status(1).stderr(said).run();
    test.args(["limits"]).stdout("files  66\n").run();
    test.args(["stop"]).any_stderr().run();
}

#[test]
fn sessions_that_are_thrown_away_have_statistics() {
    require!(Userns, Overlay);
    let test = boxed("files = 99");
    test.sh("true").run();
    let id = test.boxes().pop().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let mut session = test.background_with(&["--rm"], "echo up; read line");
    session.expect("up");
    let stats = test.args(["stats", "--once", "--format", "json"]).any_stdout().run().stdout;
    let own = stats.lines().find(|line| id.as_ref().is_some_and(|id| line.contains(id.as_str())));
    assert!(own.is_some_and(|line| line.contains("\"temporary\":true") && line.contains("\"pids\":")), "{stats}");
    session.say("");
    session.wait();
}

#[test]
fn what_does_not_hold_is_said_once() {
    require!(Userns, Overlay);
    if has_groups() {
        return;
    }
    let test = boxed("memory = \"1GiB\"\ncpus = 1");
    let said = "devbox: `cpus`, `memory` of `[limits]` do not hold here: the cgroups of this machine are of version 1 or \
                hybrid\n";
    test.sh("true").stderr(said).run();
    test.sh("true").run();
    let shown = test.args(["limits", "--format", "json"]).any_stdout().run().stdout;
    assert!(shown.contains("\"memory\": \"1GiB\"") && shown.contains("\"cpus\": \"the cgroups"), "{shown}");

    let required = boxed("memory = \"1GiB\"\nrequire = true");
    let error = "error: the limits of the profile do not hold: `memory` (the cgroups of this machine are of version 1 or hybrid)\n\
                 hint: limits cannot hold: the cgroups of this machine are of version 1 or hybrid: boot with \
                 `systemd.unified_cgroup_hierarchy=1`\n\
                 hint: or take `require` out of `[limits]`, and go without\n";
    required.sh("true").status(125).stderr(error).run();
}

#[test]
fn without_a_cgroup_each_user_of_the_box_has_so_many_processes() {
    require!(Userns, Overlay, Ordinary);
    if has_groups() {
        return;
    }
    let test = boxed("pids = 40");
    let script = "mkfifo /tmp/never; for i in $(seq 60); do cat /tmp/never & done; echo unreached";
    let output = test.sh(script).any_stdout().any_stderr().output();
    assert_eq!(output.stdout, "", "{}", output.stderr);
    assert!(output.stderr.contains("can't fork"), "{}", output.stderr);
}

#[test]
fn a_box_that_outgrows_its_disk_limit_is_ended_and_can_be_entered_again() {
    require!(Userns, Overlay);
    let test = boxed("disk = \"4MiB\"");
    let script = "dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; mkfifo /tmp/never; cat /tmp/never; echo unreached";
    // How soon it is seen depends on what counting costs.
    let output = test.sh(script).any_stderr().any_stdout().output();
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("ended by its disk limit"), "{}", output.stderr);
    let status = test.args(["status"]).any_stdout().run().stdout;
    assert!(status.contains("ended by its disk limit"), "{status}");
    let mut entered = test.background("echo ready; read go; rm /big && echo room");
    entered.expect("ready");
    // The second of two requests is answered after the supervisor has looked at what the box wrote.
    for _ in 0..2 {
        test.args(["root"]).any_stdout().run();
    }
    entered.say("go");
    entered.expect("room");
    assert!(entered.wait().success());
    let status = test.args(["status"]).any_stdout().run().stdout;
    assert!(!status.contains("disk limit"), "{status}");
}

#[test]
fn the_plan_shows_limits() {
    let test = boxed("memory = \"1GiB\"\ncpus = 0.5");
    let plan = test.args(["run", "--dry-run", "--", "true"]).any_stdout().any_stderr().run().stdout;
    assert!(plan.contains("limit      cpus 0.5\nlimit      memory 1GiB\n"), "{plan}");
    assert!(test.boxes().is_empty());
}
