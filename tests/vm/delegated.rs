//! A cgroup that somebody delegated to a user without a systemd of his own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::require;
use crate::support::binary;
use crate::support::files::wait_for_change;

const GROUP: &str = "/sys/fs/cgroup/delegated";
const UID: &str = "1006";
const PROFILE: &str =
    "name = \"shop\"\nrootfs = \"./root\"\n[network]\nmode = \"none\"\n[limits]\nmemory = \"64MiB\"\n";

fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().expect("sh");
    assert!(status.success(), "{script}");
}

/// Runs the binary as the user, in the leaf of the delegated group.
fn devbox(args: &str) -> Output {
    let script = format!(
        "echo $$ > {GROUP}/leaf/cgroup.procs; cd /home/leaf/shop; exec setpriv --reuid {UID} --regid {UID} --clear-groups \
         --inh-caps=-all env -i HOME=/home/leaf PATH=/usr/bin:/bin:/usr/sbin:/sbin {} {args}",
        binary().display()
    );
    Command::new("sh").args(["-ec", &script]).output().expect("sh")
}

/// The groups of boxes.
fn groups() -> Vec<String> {
    let entries = fs::read_dir(GROUP).expect("the group").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("devbox-")).collect()
}

#[test]
fn limits_hold_in_a_delegated_group() {
    require!(Vm, Root);
    sh(&format!("useradd --create-home --uid {UID} leaf; mkdir -p /home/leaf/shop/root/bin"));
    fs::copy("/bin/busybox", "/home/leaf/shop/root/bin/busybox").expect("busybox");
    std::os::unix::fs::symlink("busybox", "/home/leaf/shop/root/bin/sh").expect("a link");
    fs::write("/home/leaf/shop/devbox.toml", PROFILE).expect("write");
    sh("chown -R leaf: /home/leaf; echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control");
    sh(&format!(
        "mkdir -p {GROUP}/leaf; echo '+cpu +memory +pids' > {GROUP}/cgroup.subtree_control; \
         chown leaf {GROUP} {GROUP}/cgroup.procs {GROUP}/cgroup.subtree_control {GROUP}/leaf {GROUP}/leaf/cgroup.procs"
    ));

    let hog = devbox("run --keep -- busybox dd if=/dev/zero of=/dev/null bs=200M count=1");
    let said = String::from_utf8_lossy(&hog.stderr).into_owned();
    assert_eq!(hog.status.code(), Some(137), "{said}");
    assert!(said.contains("killed by its memory limit"), "{said}");
    assert_eq!(groups().len(), 1);

    // A supervisor that is killed leaves an empty group, which the next start removes.
    let first = groups();
    let inside = Path::new(GROUP).join(&first[0]).join("inside/cgroup.procs");
    assert!(!fs::read_to_string(&inside).expect("processes").is_empty());
    sh(&format!("for pid in $(cat {GROUP}/leaf/cgroup.procs); do kill -9 $pid; done"));
    let inside = inside.parent().expect("a group");
    let is_empty = || fs::read_to_string(inside.join("cgroup.events")).expect("events").contains("populated 0");
    wait_for_change(inside, "its processes end", is_empty);
    let again = devbox("run -- busybox echo again");
    assert_eq!(String::from_utf8_lossy(&again.stdout), "again\n", "{}", String::from_utf8_lossy(&again.stderr));
    assert!(devbox("rm --force").status.success());
    assert!(groups().is_empty(), "{:?}", groups());

    // A box that runs already is moved into a group of its own.
    fs::write("/home/leaf/shop/devbox.toml", PROFILE.split("[limits]").next().expect("a profile")).expect("write");
    assert!(devbox("run --keep -- busybox true").status.success());
    assert!(groups().is_empty(), "{:?}", groups());
    let set = devbox("limits set memory=64MiB");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let hog = devbox("run -- busybox dd if=/dev/zero of=/dev/null bs=200M count=1");
    assert_eq!(hog.status.code(), Some(137), "{}", String::from_utf8_lossy(&hog.stderr));
    assert!(devbox("rm --force").status.success());
    assert!(groups().is_empty(), "{:?}", groups());
}
