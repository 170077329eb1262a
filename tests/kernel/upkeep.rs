//! The store is kept small and sound: `gc`, `df`, `check`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;

/// A project on an archive with busybox, in a data directory of its own.
fn busybox() -> Devbox {
    let test = Devbox::new();
    archive(&test, "root.tar", "one");
    test.profile("rootfs = \"./root.tar\"\n[network]\nmode = \"none\"\n");
    test
}

fn archive(test: &Devbox, name: &str, content: &str) {
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let script = format!(
        "mkdir -p root/bin root/etc && cp {} root/bin/busybox && for n in sh cat; do ln -sf busybox root/bin/$n; done && \
         echo {content} >root/etc/content && tar -C root --owner=0 --group=0 -cf {name} . && rm -r root",
        busybox.expect("required")
    );
    let status = Command::new("sh").args(["-c", &script]).current_dir(test.project()).status().expect("run sh");
    assert!(status.success());
}

fn json(test: &Devbox, arguments: &[&str]) -> serde_json::Value {
    let stdout = test.args(arguments).arg("--format=json").any_stdout().any_stderr().run().stdout;
    serde_json::from_str(&stdout).expect("JSON")
}

fn layers(test: &Devbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(test.data().join("store/layers")).expect("a store");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn df_says_what_du_says() {
    require!(Userns, Overlay, Program("busybox"), Program("du"));
    let test = busybox();
    test.sh("head -c 300000 /dev/zero >/big; mkdir -p /d/e; echo x >/d/e/f; ln /d/e/f /d/g").any_stderr().run();
    test.args(["snapshot", "create", "one"]).any_stdout().run();
    test.sh("echo y >/d/e/f").run();
    for _ in 0..2 {
        let usage = json(&test, &["df"]);
        // Overlayfs keeps a directory that nobody can read; it is empty.
        let du = Command::new("du").args(["-s", "--block-size=1"]).arg(test.data()).output().expect("run du");
        let du = String::from_utf8(du.stdout).expect("text");
        let du: u64 = du.split_whitespace().next().expect("a number").parse().expect("a number");
        // `usage.json` itself was written after it was counted.
        let counted = usage["size_bytes"].as_u64().expect("a number");
        assert!(counted.abs_diff(du) <= 4096, "df {counted}, du {du}");
        let line = |kind: &str| usage["lines"].as_array().expect("lines").iter().find(|line| line["kind"] == kind);
        assert!(line("box-layers").expect("a line")["size_bytes"].as_u64() >= Some(300_000));
        assert_eq!(line("bases").expect("a line")["count"], 1);
    }
}

#[test]
fn gc_keeps_what_is_needed() {
    require!(Userns, Overlay, Program("busybox"));
    let test = busybox();
    let nothing = "freed 0 B: 0 things\n";
    // A running box stands on what it was started on, whatever its profile says now.
    let mut session = test.background("echo ready; cat >/dev/null; cat /etc/content");
    session.expect("ready");
    archive(&test, "other.tar", "two");
    test.profile("rootfs = \"./other.tar\"\n[network]\nmode = \"none\"\n");
    test.args(["gc"]).stdout(nothing).run();
    session.close_stdin();
    session.expect("one");
    assert!(session.wait().success());
    // A session that comes at once may still find the old box.
    test.args(["stop"]).any_stdout().any_stderr().run();
    test.sh("cat /etc/content").stdout("two\n").any_stderr().run();
    assert_eq!(layers(&test).len(), 2);

    // Now nobody needs the first one.
    let plan = json(&test, &["gc", "--dry-run"]);
    assert_eq!(plan["items"].as_array().map(Vec::len), Some(1), "{plan}");
    assert_eq!(layers(&test).len(), 2);
    let lock = File::open(test.data().join("store/lock")).expect("a lock");
    lock.lock_shared().expect("lock");
    let busy = "devbox: something is being pulled, built or installed: layers and blobs were left alone\n";
    test.args(["gc"]).stdout(nothing).stderr(busy).run();
    drop(lock);
    let freed = test.args(["gc"]).any_stdout().run().stdout;
    assert!(freed.starts_with("freed ") && freed.ends_with(": 1 thing\n"), "{freed}");
    test.sh("cat /etc/content").stdout("two\n").any_stderr().run();
    assert_eq!(layers(&test).len(), 1);

    // And without the box, none of it.
    test.args(["rm"]).run();
    test.args(["gc"]).any_stdout().run();
    assert_eq!(layers(&test), [] as [PathBuf; 0]);
    test.sh("cat /etc/content").stdout("two\n").any_stderr().run();
}

#[test]
fn check_finds_and_mends() {
    require!(Userns, Overlay, Program("busybox"));
    let test = busybox();
    test.sh("echo x >/x").any_stderr().run();
    test.args(["snapshot", "create", "one"]).any_stdout().run();
    let first = "0 images, 0 blobs, 2 layers, 1 boxes: 0 problems\n\
                 2 layers were read for the first time; later checks compare with that\n";
    test.args(["check"]).stdout(first).any_stderr().run();
    test.args(["check"]).stdout("0 images, 0 blobs, 2 layers, 1 boxes: 0 problems\n").any_stderr().run();

    let layer = layers(&test).remove(0);
    fs::write(layer.join("fs/etc/content"), "three").expect("change a layer");
    let blobs = test.data().join("store/blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    fs::write(blobs.join("0".repeat(64)), "not nothing").expect("a blob");
    let images = test.data().join("store/images");
    fs::create_dir_all(&images).expect("a directory");
    fs::write(images.join("broken.json"), "{").expect("a record");
    let name = layer.file_name().expect("a name").to_str().expect("text").to_owned();
    let zeros = "0".repeat(64);
    let report = |mended: &str| {
        format!(
            "store/blobs/sha256/{zeros}: the content has another digest than the name says{mended}\n\
             store/layers/{name}: it has changed since it was first checked{mended}\n\
             store/images/broken.json: it cannot be read{mended}\n\
             1 images, 1 blobs, 2 layers, 1 boxes: 3 problems\n"
        )
    };
    let hint = "`devbox check --repair` removes what is broken and can be had again\n";
    test.args(["check"]).stdout(report("") + hint).any_stderr().status(1).run();
    let gc = test.args(["gc"]).any_stdout().any_stderr().run().stderr;
    assert!(gc.contains("images/broken.json` needs: layers and blobs were left alone"), "{gc}");
    test.args(["check", "--repair"]).stdout(report(" (repaired)")).any_stderr().run();
    // The layer is unpacked anew, and what the box wrote is there.
    test.sh("cat /etc/content /x").stdout("one\nx\n").any_stderr().run();
    let again = test.args(["check"]).any_stdout().any_stderr().run().stdout;
    assert!(again.contains(": 0 problems\n"), "{again}");
}
