//! Builds on machines that lack something.

use super::own::has;
use super::pair::{built, devbox_with_base};
use crate::support::devbox::Devbox;
use crate::support::disk::Disk;

/// The user chooses the program that stacks layers.
fn choose_fuse(test: &Devbox) {
    let config = test.home().join(".config/devbox");
    std::fs::create_dir_all(&config).expect("a directory");
    std::fs::write(config.join("config.toml"), "[overlay]\ndriver = \"fuse\"\n").expect("a file");
}

#[test]
fn fuse_overlayfs_makes_the_same_layers() {
    crate::require!(Userns, Overlay, FuseOverlayfs);
    let test = devbox_with_base();
    let file = "FROM localhost/base\nRUN mkdir -p /d/sub /e && touch /d/x /d/sub/y /e/f && ln /d/x /d/z\n\
        RUN rm -r /d && mkdir /d && echo n > /d/n && rm /e/f && chmod 700 /e\n\
        RUN mv /e /f && cp -a /bin/busybox /f/su && chmod 4755 /f/su && ln -s n /d/l\nRUN ls /d /f > /seen\n";
    test.file("c/Containerfile", file);
    let build = |name: &str| {
        let tag = format!("localhost/{name}");
        test.args(["image", "build", "--no-cache", "-t", &tag, "c"]).any_stdout().any_stderr().run();
        built(&test, name).0
    };
    let kernel = build("kernel");
    choose_fuse(&test);
    let fuse = build("fuse");
    assert!(has(&kernel, "d/n") && !has(&kernel, "d/x") && !has(&kernel, "e"), "{kernel:#?}");
    assert_eq!(kernel, fuse);
}

#[test]
fn what_is_missing_is_said() {
    crate::require!(Userns, Overlay);
    let mut test = devbox_with_base();
    test.file("c/Containerfile", "FROM localhost/base\nRUN true\n");
    choose_fuse(&test);
    // Everything but the program; then one that only fails.
    let bin = test.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    for program in ["newuidmap", "newgidmap"] {
        if let Ok(path) = which::which(program) {
            std::os::unix::fs::symlink(path, bin.join(program)).expect("a link");
        }
    }
    test.env("PATH", &bin);
    let build = || test.args(["image", "build", "c"]).status(1).any_stderr().run().stderr;
    let said = build();
    assert!(said.contains("Containerfile:2:1") && said.contains("install the package `fuse-overlayfs`"), "{said}");
    if std::fs::File::open("/dev/fuse").is_ok() {
        std::fs::copy("/bin/false", bin.join("fuse-overlayfs")).expect("a program");
        let said = build();
        assert!(said.contains("cannot start the sandbox of the command") && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_command_that_fills_the_disk_gets_a_hint() {
    crate::require!(Root, Userns, Overlay);
    let test = Devbox::new();
    let _disk = Disk::mount(&test, 24);
    let base = super::pair::base();
    test.args(["image", "build", "-t", "localhost/base"]).arg(base).any_stdout().any_stderr().run();
    test.file("c/Containerfile", "FROM localhost/base\nRUN dd if=/dev/zero of=/big bs=65536 || exit 4\n");
    let said = test.args(["image", "build", "c"]).status(1).any_stderr().run().stderr;
    assert!(said.contains("ended with status 4, and the disk of") && said.contains("hint: make room"), "{said}");
    let check = test.args(["check"]).any_stdout().run().stdout;
    assert!(check.contains(" 0 problems"), "{check}");
}
