//! Attacks on the mounts, while they are made and afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::{Identity, identity};

#[test]
fn looking_for_the_hosts_files() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let outside = tempfile::NamedTempFile::new().expect("a file in the host's /tmp");
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    let script = format!(
        "[ / -ef /.. ] || ls /..; ls -A /home; ls -A /root; ls -A /run/user 2>/dev/null; ls {} {} 2>/dev/null; for d in /var/lib/docker /mnt /media /lost+found; do ls -A $d 2>/dev/null; done; \
         ls -A /tmp | grep -v '^db[.]'; cat /etc/shadow | cut -d: -f2 | sort -u | tr -d '*!'",
        outside.path().display(),
        test.home().display(),
    );
    let output = test.sh(&script).any_stderr().any_stdout().output();
    assert_eq!(output.stdout.trim(), "", "{output:?}");
    if identity() == Identity::Root {
        return;
    }
    // Not even by the way of a mount.
    let output = test.sh("cut -d' ' -f1,2 /proc/mounts").any_stdout().run();
    assert!(!output.stdout.contains("/home/"), "{}", output.stdout);
}

#[test]
fn asking_who_remembers_owners_for_the_hosts_files() {
    require!(Userns, Overlay, NoSubuid, Program("python3"));
    for emulated in [false, true] {
        let test = Devbox::host();
        let profile = format!("base = \"host\"\n[network]\nmode = \"none\"\n[security]\nemulate_ids = {emulated}\n");
        test.profile(&profile);
        // It looks from the host's /proc, where there is a way up.
        let home = test.home();
        let script = format!(
            "import os
for way in ['', '/proc/self/../..', '/proc/thread-self/../..', '/proc/self/fd/../../..', '/proc/self/task/../../..',
    '/proc/self/cwd' + '/..' * 9, '/proc/self/root/../..']:
    for call in [lambda path: os.chown(path, 5, 5), os.stat]:
        try: call(way + '{0}'); print('found by', way)
        except FileNotFoundError: pass
print('end')",
            home.display(),
        );
        test.args(["run", "--", "python3", "-c", &script]).stdout("end\n").any_stderr().run();
        let known = rustix::fs::getxattr(&home, "user.containers.override_stat", &mut [0_u8; 64][..]);
        assert!(known.is_err(), "the host's files are left alone");
    }
}

#[test]
fn unmounting_and_remounting_masked_paths() {
    require!(Userns, Overlay);
    let script = "umount -l /proc/kcore; umount /proc/sys; mount -o remount,rw /proc/sys; mount -o bind,remount,rw /sys
        mount -t proc proc /mnt; mount --bind /proc /mnt; mount --move /proc/sys /mnt; unshare -m umount /proc/kcore
        unshare -Urm mount -t proc proc /mnt; ls -A /mnt; head -c 1 /proc/kcore | wc -c
        (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo end";
    Devbox::host().sh(script).stdout("0\nend\n").any_stderr().run();
}

#[test]
fn a_symlink_as_mount_point_cve_2021_30465() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::create_dir(test.path("victim")).expect("a directory");
    test.file("data/inner", "mine");
    let project = test.project();
    symlink(test.path("victim"), project.join("place")).expect("a link");
    let target = project.join("place/deep");
    test.profile(&format!(
        "base = \"host\"\n[[mounts]]\nsource = \"data\"\ntarget = \"{}\"\n[network]\nmode = \"none\"\n",
        target.display()
    ));
    // It leads to a place in the box, or nowhere: never to the host's directory of that name.
    test.sh("true").any_stderr().any_stdout().output();
    assert_eq!(fs::read_dir(test.path("victim")).expect("a directory").count(), 0, "written on the host");
}

#[test]
fn swapping_a_mount_point_for_a_symlink_cve_2021_30465() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::create_dir(test.path("victim")).expect("a directory");
    test.file("data/inner", "mine").file("swap/a", "").file("other/b", "");
    let (project, victim) = (test.project(), test.path("victim"));
    symlink(&victim, project.join("link")).expect("a link");
    test.profile(&format!(
        "base = \"host\"\n[[mounts]]\nsource = \"data\"\ntarget = \"{}\"\n[network]\nmode = \"none\"\n",
        project.join("swap/deep/place").display()
    ));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let at = |name: &str| project.join(name);
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, at("swap"), CWD, at("link"), RenameFlags::EXCHANGE).expect("swap two names");
            }
        });
        for _ in 0..8 {
            test.sh("true").any_stderr().any_stdout().output();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&victim).expect("a directory").count(), 0, "written on the host");
}

/// A root file system whose `name` is a symlink to `target`.
fn hostile_root(name: &str, target: &str) -> Devbox {
    let test = Devbox::new();
    test.root_with_busybox("root");
    let link = test.project().join("root").join(name);
    fs::create_dir_all(link.parent().expect("a parent")).expect("a directory");
    symlink(target, link).expect("a link");
    test.profile("rootfs = \"./root\"\n[network]\nmode = \"none\"\n");
    test
}

#[test]
fn dev_null_of_the_image_cve_2025_31133() {
    require!(Userns, Overlay);
    // What masks a file is our own /dev/null, and not what the image has there.
    let test = hostile_root("dev/null", "../etc/target");
    test.file("root/etc/target", "kept");
    test.sh("test -c /dev/null && test ! -h /dev/null && cat /proc/keys /proc/timer_list && echo $?")
        .stdout("0\n")
        .run();
    assert_eq!(fs::read_to_string(test.project().join("root/etc/target")).expect("a file"), "kept");
}

#[test]
fn dev_as_a_link_cve_2025_52565() {
    require!(Userns, Overlay);
    let test = hostile_root("dev", "/proc");
    // A place of its own stands where the image has the link, and what is masked in `/proc` is.
    let script = "test -h /dev && echo link; test -c /dev/null || echo covered; test -e /proc/1/stat || echo none
        cat /proc/keys /proc/timer_list; echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
}

#[test]
fn proc_as_a_link_cve_2025_52881() {
    require!(Userns, Overlay);
    let test = hostile_root("proc", "srv/elsewhere");
    let script = "for file in /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/kernel/core_pattern /proc/sysrq-trigger; do
            (: >>$file) && echo opened; done
        cat /proc/keys; test -h /proc && echo link; test -e /srv/elsewhere/1/stat && echo twice; test -e /proc/1/stat && echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
}
