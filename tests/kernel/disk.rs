//! A full disk at any step: the command fails with a reason or does its work, and the next one finds everything in order.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;

/// A small file system of its own for the data directory.
struct Disk<'a> {
    test: &'a Devbox,
}

impl<'a> Disk<'a> {
    fn mount(test: &'a Devbox) -> Self {
        let disk = test.home().join(".local/share");
        fs::create_dir_all(&disk).expect("the file system works");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "none"])
            .arg(&disk)
            .status()
            .expect("the file system works");
        assert!(mounted.success());
        Self { test }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.test.home().join(".local/share").join(name)
    }

    /// Leaves this much room.
    fn fill(&self, room_bytes: u64) {
        let mut file = File::create(self.path("fill")).expect("the file system works");
        while file.write_all(&[0; 4096]).is_ok() {}
        let size = file.metadata().expect("the file system works").len();
        file.set_len(size.saturating_sub(room_bytes)).expect("the file system works");
    }

    fn empty(&self) {
        fs::remove_file(self.path("fill")).expect("the file system works");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path("")).status().expect("the file system works");
    }
}

#[test]
fn a_full_disk_breaks_nothing() {
    require!(Root, Userns, Overlay, Program("busybox"));
    let commands: [&[&str]; 7] = [
        &["run", "--", "true"],
        &["run", "--rm", "--", "true"],
        &["snapshot", "create", "new"],
        &["snapshot", "restore", "old"],
        &["snapshot", "rm", "old"],
        &["reset"],
        &["rm"],
    ];
    for command in commands {
        for room_bytes in [0, 4, 8, 12, 20, 32].map(|kib| kib << 10) {
            let test = Devbox::new();
            test.profile("rootfs = \"root\"\n[network]\nmode = \"none\"\n");
            test.root_with_busybox("root");
            let disk = Disk::mount(&test);
            if command[0] != "run" {
                test.sh("touch /one").run();
                test.args(["snapshot", "create", "old"]).run();
                test.sh("touch /two").run();
            }
            disk.fill(room_bytes);
            let output = test.command(command).output().expect("the file system works");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() {
                assert!(
                    said.starts_with("error: ") && said.contains("hint: make room"),
                    "{command:?} {room_bytes}: {said}"
                );
            }
            disk.empty();
            let removed = command == ["rm"] && output.status.success();
            let script = if command[0] == "run" || removed { "true" } else { "test -e /one || test ! -e /two" };
            test.sh(script).run();
            test.args(["rm"]).run();
            let left: Vec<_> = fs::read_dir(disk.path("devbox/boxes")).expect("the file system works").collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
