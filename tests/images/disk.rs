//! A full disk while images come, are made and go: the store works, and so does the same command once there is room.

use super::load::make_layout;
use super::pull::stored;
use super::registry::noise;
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::disk::Disk;
use crate::support::registry::{Registry, run};

#[test]
fn a_full_disk_leaves_a_working_store() {
    require!(
        Root,
        Userns,
        Overlay,
        Program("docker-registry"),
        Program("umoci"),
        Program("skopeo"),
        Program("busybox")
    );
    let (registry, source) = (Registry::start(), Devbox::new());
    let layout = make_layout(&source);
    let image = format!("{}/app:1", registry.name());
    let mut copy = std::process::Command::new("skopeo");
    copy.args(["copy", "--insecure-policy", "-q", "--dest-tls-verify=false", &format!("oci:{}:x", layout.display())]);
    run(copy.arg(format!("docker://{image}")));
    let layout = layout.to_str().expect("a plain name").to_owned();

    let pushed = format!("{}/pushed:1", registry.name());
    let commands: [&[&str]; 5] = [
        &["image", "pull", &image],
        &["image", "load", "--tag", "loaded", &layout],
        &["image", "commit", "committed"],
        &["image", "build", "--tag", "built", "."],
        &["image", "push", "built", &pushed],
    ];
    for command in commands {
        for room_bytes in [0, 600 << 10] {
            let test = Devbox::new();
            test.profile(&format!("image = \"{image}\"\nshell = \"/bin/sh\"\n[network]\nmode = \"none\"\n"));
            let disk = Disk::mount(&test, 12);
            let what = format!("{command:?} with {room_bytes} bytes");
            let ok = |args: &[&str]| {
                let output = test.args(args).any_stdout().any_stderr().output();
                assert!(output.status.success(), "{what}: {args:?}: {}", output.stderr);
                output.stdout
            };
            // The store is there.
            ok(&["image", "list"]);
            test.file("big", noise(1 << 20));
            test.file("Containerfile", format!("FROM {image}\nCOPY big /big\nRUN /busybox cat /big /big >/bigger\n"));
            if command[1] != "pull" && command[1] != "load" {
                ok(&["image", "pull", &image]);
            }
            if command[1] == "commit" {
                ok(&["run", "--", "/busybox", "cp", "big", "/big"]);
                ok(&["stop"]);
            }
            if command[1] == "push" {
                ok(&["image", "build", "--tag", "built", "."]);
            }

            disk.fill(room_bytes);
            let output = test.args(command).any_stdout().any_stderr().output();
            assert!(room_bytes > 0 || !output.status.success(), "{what}: it needs no room?");
            if !output.status.success() {
                let said = &output.stderr;
                let of_command = "cat: write error: No space left on device";
                assert!(
                    said.contains("error: ") && (said.contains("hint: make room") || said.contains(of_command)),
                    "{what}: {said}"
                );
            }
            // Looking and cleaning up need no room.
            for args in [&["image", "list"][..], &["check"], &["gc", "--all"], &["df"]] {
                ok(args);
            }
            disk.empty();
            ok(command);
            ok(&["check"]);
            assert_eq!((stored(&test, "tmp"), stored(&test, "partial")), (vec![], vec![]), "{what}");
        }
    }
}
