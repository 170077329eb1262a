//! `devbox push`, `image commit` and `image push`, read by `skopeo` and `umoci`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::{Registry, run};

/// The tree of an image of a registry, as `umoci` unpacks it.
fn unpacked(image: &str, place: &Path) -> std::path::PathBuf {
    let layout = place.join("layout");
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "-q", "--src-tls-verify=false", &format!("docker://{image}")]);
    run(copy.arg(format!("oci:{}:image", layout.display())));
    let mut unpack = Command::new("umoci");
    unpack.arg("unpack").args(if rustix::process::getuid().is_root() { &[][..] } else { &["--rootless"] });
    run(unpack.arg("--image").arg(format!("{}:image", layout.display())).arg(place.join("bundle")));
    place.join("bundle/rootfs")
}

fn layers(image: &str) -> Vec<String> {
    let text = run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{image}")]));
    let shown: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let layers = shown["Layers"].as_array().expect("a list");
    layers.iter().map(|layer| layer.as_str().expect("a digest").to_owned()).collect()
}

#[test]
fn a_box_becomes_an_image_and_a_box_on_that_a_layer() {
    require!(Userns, Overlay, Program("docker-registry"), Program("skopeo"), Program("umoci"));
    let registry = Registry::start();
    let (root, mine) = (format!("{}/root:1", registry.name()), format!("{}/team/mine:2", registry.name()));

    let first = Devbox::new();
    first.root_with_busybox("root").profile("rootfs = \"root\"\n[network]\nmode = \"none\"\n");
    first.sh("echo below > /etc/kept; echo below > /etc/gone; echo tmp > /tmp/x").any_stderr().run();
    first.args(["stop"]).any_stdout().any_stderr().run();
    first.args(["push", &root]).any_stdout().any_stderr().run();
    let digest = |output: String| output.trim().rsplit('@').next().unwrap().to_owned();
    let committed = digest(first.args(["image", "commit", "one"]).any_stdout().any_stderr().run().stdout);
    let again = digest(first.args(["image", "commit", "two"]).any_stdout().any_stderr().run().stdout);
    assert_eq!(committed, again, "the same box is the same image");
    assert_eq!(layers(&root).len(), 1);

    let second = Devbox::new();
    second.profile(&format!("image = {root:?}\n[network]\nmode = \"none\"\n"));
    second
        .sh("echo above > /etc/new; busybox ln /etc/new /etc/link; rm /etc/gone; mkdir /opt; echo x > project-file; cat /etc/kept")
        .stdout("below\n")
        .any_stderr()
        .run();
    second.args(["stop"]).any_stdout().any_stderr().run();
    second.args(["push", &mine, "-m", "with /etc/new"]).any_stdout().any_stderr().run();
    let pushed = layers(&mine);
    assert_eq!(pushed[..1], layers(&root), "the base's layer is the same one");
    assert_eq!(pushed.len(), 2);

    let scratch = tempfile::tempdir().unwrap();
    let tree = unpacked(&mine, scratch.path());
    assert_eq!(fs::read_to_string(tree.join("etc/kept")).unwrap(), "below\n");
    assert_eq!(fs::read_to_string(tree.join("etc/link")).unwrap(), "above\n");
    assert_eq!(fs::metadata(tree.join("etc/new")).unwrap().nlink(), 2);
    assert!(!tree.join("etc/gone").exists() && tree.join("opt").is_dir() && tree.join("tmp").is_dir());
    assert!(!tree.join("tmp/x").exists(), "what is mounted over stays behind");
    let found = run(Command::new("find").arg(&tree).args(["-name", "project-file", "-o", "-name", ".wh*"]));
    assert_eq!(found, "", "neither the project nor marks");

    // As files, which others read.
    let at = |name: &str| scratch.path().join(name).into_os_string().into_string().unwrap();
    for (format, name, transport) in [
        ("docker-archive", "d.tar", "docker-archive"),
        ("oci-archive", "o.tar", "oci-archive"),
        ("oci-dir", "dir", "oci"),
    ] {
        second.args(["image", "save", "--format", format, "-o", &at(name), &mine]).any_stderr().run();
        let shown = run(Command::new("skopeo").args(["inspect", &format!("{transport}:{}", at(name))]));
        assert!(shown.contains("\"Architecture\""), "{shown}");
    }

    // To another registry: the layer that was pulled comes from where it was pulled, for it is not kept here.
    let other = Registry::start();
    let copy = format!("{}/copy:3", other.name());
    second.args(["image", "push", &mine, &copy]).any_stdout().any_stderr().run();
    assert_eq!(layers(&copy), pushed);
    second.args(["push", &copy, "--compression", "zstd"]).any_stdout().any_stderr().run();
    assert_ne!(layers(&copy)[1], pushed[1]);

    // In another compression: only the layer that was made here, and the same each time.
    let zstd = || {
        second.args(["image", "push", "--compression", "zstd:19", &mine, &copy]).any_stdout().any_stderr().run();
        layers(&copy)
    };
    let compressed = zstd();
    assert_eq!(compressed[0], pushed[0]);
    assert_ne!(compressed[1], pushed[1]);
    assert_eq!(zstd(), compressed);
    let third = Devbox::new();
    third.profile(&format!("image = {copy:?}\n[network]\nmode = \"none\"\n"));
    third.sh("cat /etc/link").stdout("above\n").any_stderr().run();
    second.args(["image", "push", "--compression", "gzip", &mine, &copy]).any_stdout().any_stderr().run();
    assert_eq!(layers(&copy), pushed, "and back");
}

#[test]
fn the_host_is_no_image() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("true").any_stderr().run();
    test.args(["image", "commit", "mine"])
        .status(1)
        .stderr(
            "error: the box `project` stands on this machine's own system, which is not for an image\n\
             hint: a box on an image or a distribution can become one: write `image = \"debian:bookworm\"` into `devbox.toml`\n",
        )
        .run();
}
