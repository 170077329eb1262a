//! Builds on machines that lack something.

use super::own::{content, has};
use super::pair::{built, context, devbox_with_base};
use super::tree::Tree;
use crate::support::devbox::Devbox;
use crate::support::disk::Disk;

/// The user chooses the program that stacks layers.
fn choose_fuse(test: &Devbox) {
    let config = test.home().join(".config/devbox");
    std::fs::create_dir_all(&config).expect("a directory");
    std::fs::write(config.join("config.toml"), "[overlay]\ndriver = \"fuse\"\n").expect("a file");
}

/// Builds `c/Containerfile` with the kernel's overlayfs and with the program; what came of it, which must be the same.
fn with_both(test: &Devbox) -> Tree {
    let build = |name: &str| {
        let tag = format!("localhost/{name}");
        test.args(["image", "build", "--no-cache", "-t", &tag, "c"]).any_stdout().any_stderr().run();
        built(test, name).0
    };
    let kernel = build("kernel");
    choose_fuse(test);
    assert_eq!(kernel, build("fuse"));
    kernel
}

#[test]
fn fuse_overlayfs_makes_the_same_layers() {
    crate::require!(Userns, Overlay, FuseOverlayfs);
    let test = devbox_with_base();
    let file = "FROM localhost/base\nRUN mkdir -p /d/sub /e && touch /d/x /d/sub/y /e/f && ln /d/x /d/z\n\
        RUN rm -r /d && mkdir /d && echo n > /d/n && rm /e/f && chmod 700 /e\n\
        RUN mv /e /f && cp -a /bin/busybox /f/su && chmod 4755 /f/su && ln -s n /d/l\nRUN ls /d /f > /seen\n";
    test.file("c/Containerfile", file);
    let tree = with_both(&test);
    assert!(has(&tree, "d/n") && !has(&tree, "d/x") && !has(&tree, "e"), "{tree:#?}");
}

#[test]
fn fuse_overlayfs_serves_what_is_copied() {
    crate::require!(Userns, Overlay, FuseOverlayfs);
    let test = devbox_with_base();
    context(&test.path("project/c"), "");
    let file = "FROM localhost/base AS other\nRUN mkdir -p /o/sub && echo one > /o/one && echo two > /o/sub/two \\\n\
        && ln -s one /o/l && chmod 750 /o/sub\n\
        FROM localhost/base\nRUN mkdir -p /d /gone && touch /d/x /gone/a && ln -s d /dl\nRUN rm -r /gone\n\
        WORKDIR /dl/work/deep\nCOPY a.txt dir/ ./\nCOPY --chown=7:8 --chmod=4755 run.sh /d/x\n\
        COPY --from=other /o /copied\nCOPY --link b.txt /linked/\nCOPY --chown=9:9 dir/sub /gone\n\
        USER 5:6\nWORKDIR /of/five\nUSER 0\n\
        RUN --mount=type=bind,from=other,source=/o,target=/m --mount=type=bind,from=other,target=/w,rw \\\n\
        --mount=type=bind,from=other,source=/o/one,target=/f --mount=type=cache,target=/c,from=other,source=/o \\\n\
        cat /m/sub/two /c/one /f > /read && echo x > /w/o/one && cat /w/o/one >> /read && ! touch /m/x\n";
    test.file("c/Containerfile", file);
    let tree = with_both(&test);
    assert_eq!(content(&tree, "read"), "two\\none\\none\\nx\\n");
    assert_eq!(content(&tree, "d/work/deep/sub/z"), "z");
    assert!(has(&tree, "linked/b.txt") && has(&tree, "of/five") && has(&tree, "gone/z") && !has(&tree, "gone/a"));
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
        test.file("c/Containerfile", "FROM localhost/base\nCOPY Containerfile /\n");
        let said = build();
        assert!(said.contains("`fuse-overlayfs` ended") && said.contains("help: `[overlay] driver"), "{said}");
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
