//! A full disk at any step: the command fails with a reason or does its work, and the next one finds everything in order.

use std::fs;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::disk::Disk;

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
            let disk = Disk::mount(&test, 2);
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
