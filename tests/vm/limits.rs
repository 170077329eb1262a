//! What cgroups of version 2 hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::disk::Disk;
use crate::support::files::wait_for_change;
use crate::support::{Identity, identity};

fn boxed(limits: &str) -> Devbox {
    let test = Devbox::new();
    test.root_with_busybox("root");
    test.profile(&format!("name = \"shop\"\nrootfs = \"./root\"\n[network]\nmode = \"none\"\n[limits]\n{limits}\n"));
    test
}

/// Starts the box and leaves it running; returns its cgroup.
fn started(test: &Devbox) -> PathBuf {
    test.args(["run", "--keep", "--", "true"]).run();
    group(test).expect("a box with limits has a group")
}

/// The cgroups of boxes of this user, and what is in them.
fn groups() -> Vec<PathBuf> {
    fn find(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with("devbox-shop") {
                    found.push(entry.path());
                } else {
                    find(&entry.path(), found);
                }
            }
        }
    }
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), &mut found);
    found
}

/// The directory with the limits of the test's box.
fn group(test: &Devbox) -> Option<PathBuf> {
    let shown = test.args(["status", "--format", "json"]).any_stdout().run().stdout;
    assert!(shown.contains("\"state\": \"running\""), "{shown}");
    groups().into_iter().map(|scope| scope.join("box")).find(|group| group.is_dir())
}

fn number(file: &Path, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let value = if field.is_empty() {
        text.trim()
    } else {
        text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim()
    };
    value.parse().unwrap_or_else(|_| panic!("{}: {text}", file.display()))
}

/// The kernel tells of groups that are removed, and of numbers of theirs that change, as of files.
fn wait_until_no_group() {
    while let Some(group) = groups().pop() {
        let parent = group.parent().expect("a group is in another");
        wait_for_change(parent, "the group is gone", || !group.exists());
    }
}

#[test]
fn a_memory_hog_dies_alone() {
    require!(Vm);
    let (test, other) = (boxed("memory = \"64MiB\""), boxed("memory = \"256MiB\""));
    let group = started(&test);
    assert_eq!(number(&group.join("memory.max"), ""), 64 << 20);
    assert_eq!(number(&group.join("memory.swap.max"), ""), 0);
    let neighbour = test.background("echo ready; cat");
    let hog = "dd if=/dev/zero of=/dev/null bs=200M count=1";
    let output = other.sh(&format!("{hog} 2>/dev/null; echo $?")).any_stdout().any_stderr().output();
    assert_eq!(output.stdout, "0\n", "200 MiB are allowed there: {}", output.stderr);

    let output = test.args(["run", "--", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    let output = output.status(137).any_stdout().any_stderr().run();
    assert!(output.stderr.contains("devbox: shop: a process was killed by its memory limit"), "{}", output.stderr);
    assert_eq!(number(&group.join("memory.events"), "oom_kill"), 1);
    test.sh("echo alive").stdout("alive\n").run();
    let status = test.args(["status"]).any_stdout().run().stdout;
    assert!(status.contains("running; a process was killed by its memory limit"), "{status}");
    let log = test.args(["logs"]).any_stdout().run().stdout;
    assert!(log.contains("limit reached  killed=1 limit=memory"), "{log}");
    drop(neighbour);
    test.args(["stop"]).any_stderr().run();
}

#[test]
fn half_a_processor_is_half() {
    require!(Vm);
    let test = boxed("cpus = 0.5");
    let group = started(&test);
    let counted = |field: &str| number(&group.join("cpu.stat"), field);
    let be_busy =
        |seconds: u32| test.sh(&format!("timeout {seconds} sh -c 'while :; do :; done'; true")).any_stderr().run();
    let (before, begun) = (counted("usage_usec"), Instant::now());
    be_busy(4);
    let share = (counted("usage_usec") - before) as f64 / begun.elapsed().as_micros() as f64;
    // How much less it is depends on what else the machine of this machine does.
    assert!((0.1..0.56).contains(&share), "{share}");
    assert!(counted("nr_throttled") > 3);
    test.args(["limits", "set", "cpus=2"]).run();
    // The period that was running when it was set may still count.
    be_busy(1);
    let throttled = counted("nr_throttled");
    be_busy(1);
    assert_eq!(counted("nr_throttled"), throttled);
    test.args(["stop"]).any_stderr().run();
}

#[test]
fn a_fork_bomb_stops_at_pids() {
    require!(Vm);
    let test = boxed("pids = 40");
    let group = started(&test);
    let bomb = test.background("echo ready; exec 2>/dev/null; bomb() { bomb | bomb & }; bomb; read line");
    wait_for_change(&group, "the limit is reached", || number(&group.join("pids.events"), "max") > 20);
    assert!(number(&group.join("pids.peak"), "") <= 40 || !group.join("pids.peak").exists());
    test.args(["stop", "--time", "1"]).any_stderr().run();
    drop(bomb);
    wait_until_no_group();
}

/// Root needs nobody's leave. The others have it after `doctor::controllers_that_are_not_delegated`, which does what is advised
/// there: `scripts/test-vm` runs this before and after.
fn io_is_delegated() -> bool {
    let uid = rustix::process::getuid().as_raw();
    let group = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    identity() == Identity::Root
        || std::fs::read_to_string(group).is_ok_and(|names| names.split_whitespace().any(|it| it == "io"))
}

#[test]
fn disks_are_slowed_where_that_is_delegated() {
    require!(Vm);
    let test = boxed("io_write = \"2MB/s\"");
    let write = "dd if=/dev/zero of=/big bs=1M count=6 conv=fsync 2>/dev/null";
    if !io_is_delegated() {
        let said =
            "devbox: `io_write` of `[limits]` does not hold here: the controller `io` is not delegated to this user\n";
        return drop(test.sh("true").stderr(said).run());
    }
    let begun = Instant::now();
    test.sh(write).run();
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_quota_of_the_file_system_holds_the_disk_limit() {
    require!(Vm, Root);
    let test = boxed("disk = \"4MiB\"");
    let _disk = Disk::with_quotas(&test, 64);
    let fill = "dd if=/dev/zero of=/big bs=64k count=512 2>/dev/null && echo unlimited; du -k /big | cut -f1";
    let filled = |test: &Devbox| test.sh(fill).any_stdout().run().stdout.trim().parse::<u32>().expect("a number alone");
    // The box goes on, and not a block more is written.
    let mut running = test.background("echo ready; read end");
    running.expect("ready");
    assert!((3500..=4096).contains(&filled(&test)));
    test.args(["limits"]).stdout("disk  4MiB  a quota of the file system\n").run();
    test.args(["limits", "set", "disk=8MiB"]).any_stderr().run();
    assert!((7500..=8192).contains(&filled(&test)));
    running.say("");
    assert!(running.wait().success());
    // The profile's counts again. A box that has more than that can be entered to make room.
    test.sh("rm /big && echo x > /small").run();
    // Files of the base, new ones and new names are of one project.
    test.sh("chmod 700 /bin/busybox && mkdir /a /b && echo x > /a/x && ln /a/x /b/y && mv /a/x /b/x && cat /b/y")
        .stdout("x\n")
        .run();
    // What is frozen does not count, and what follows does.
    test.args(["snapshot", "create", "one"]).run();
    assert!((3500..=4096).contains(&filled(&test)));
    test.profile("rootfs = \"./root\"\n[network]\nmode = \"none\"\n");
    test.sh("dd if=/dev/zero of=/more bs=1M count=8 2>/dev/null && echo unlimited").stdout("unlimited\n").run();
}

#[test]
fn limits_change_in_a_running_box() {
    require!(Vm);
    let test = boxed("memory = \"128MiB\"\npids = 100");
    let group = started(&test);
    test.args(["limits", "set", "memory=96MiB", "pids=50", "cpu_weight=20"]).run();
    for (file, value) in [("memory.max", 96 << 20), ("pids.max", 50), ("cpu.weight", 20)] {
        assert_eq!(number(&group.join(file), ""), value, "{file}");
    }
    test.args(["limits"]).stdout("cpu_weight  20\nmemory      96MiB\npids        50\n").run();
    let stats = test.args(["stats", "shop", "--once", "--format", "json"]).any_stdout().run().stdout;
    for part in ["\"source\":\"cgroup\"", "\"memory_limit_bytes\":100663296,", "\"pids_limit\":50,", "\"cpu_percent\":"]
    {
        assert!(stats.contains(part), "{part} is not in {stats}");
    }
    assert!(!Path::new("/proc/pressure/cpu").exists() || !stats.contains("\"memory_pressure\":null"), "{stats}");
    test.args(["stop"]).any_stderr().run();
    test.args(["limits"]).stdout("memory  128MiB\npids    100\n").run();
}

#[test]
fn a_box_cannot_reach_its_limits() {
    require!(Vm);
    let test = boxed("memory = \"128MiB\"");
    let script = "cat /proc/self/cgroup; ls /sys/fs/cgroup; mkdir /c; mount -t cgroup2 none /c 2>&1; ls /c";
    let output = test.sh(script).any_stdout().any_stderr().output();
    assert!(output.stdout.starts_with("0::/\n"), "{}", output.stdout);
    assert!(!output.stdout.contains("memory.max"), "{}", output.stdout);
}

#[test]
fn nothing_is_left_of_a_box_that_ends() {
    require!(Vm);
    let test = boxed("memory = \"128MiB\"");
    started(&test);
    let name = groups()[0].file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with("devbox-shop-") && name.ends_with(".scope"), "{name}");
    test.args(["stop"]).any_stderr().run();
    wait_until_no_group();

    let group = started(&test);
    let scope = group.parent().expect("a scope");
    let supervisor = number(&scope.join("supervisor/cgroup.procs"), "");
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill the supervisor");
    wait_until_no_group();
    test.sh("echo again").stdout("again\n").run();
    wait_until_no_group();
}

#[test]
fn a_box_that_was_started_without_limits_gets_them() {
    require!(Vm);
    let test = boxed("");
    let mut session = test.background("echo ready; cat");
    session.expect("ready");
    assert!(groups().is_empty(), "a box without limits has no scope");
    test.args(["limits", "set", "memory=64MiB", "pids=40"]).run();
    let group = group(&test).expect("a group");
    for (file, value) in [("memory.max", 64 << 20), ("memory.swap.max", 0), ("pids.max", 40)] {
        assert_eq!(number(&group.join(file), ""), value, "{file}");
    }
    // Init, the leader of the session and its command at least.
    let inside = fs::read_to_string(group.join("inside/cgroup.procs")).expect("processes");
    assert!(inside.lines().count() >= 3, "{inside}");
    let hog = test.args(["run", "--", "busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    let output = hog.status(137).any_stdout().any_stderr().run();
    assert!(output.stderr.contains("a process was killed by its memory limit"), "{}", output.stderr);
    test.args(["limits"]).stdout("memory  64MiB\npids    40\n").run();
    test.args(["stop"]).any_stderr().run();
    wait_until_no_group();
    drop(session);
}

#[test]
fn required_limits_start() {
    require!(Vm);
    let test = boxed("memory = \"128MiB\"\npids = 100\ncpus = 1.5\nrequire = true");
    test.sh("echo held").stdout("held\n").run();
}
