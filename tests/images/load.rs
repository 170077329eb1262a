//! Images from files, and as they come out in the store: compared with umoci.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::run;

/// An OCI layout `layout` with the image `x`, made by umoci of two layers. The second one has no entries for the
/// directories `a` and `a/b`, which the first one gives modes of their own.
pub fn make_layout(test: &Devbox) -> PathBuf {
    let at = |name: &str| test.project().join(name);
    for (name, content) in [
        ("one/a/b/old", "old"),
        ("one/a/b/kept", "kept"),
        ("one/gone/x", "x"),
        ("one/full/below", "below"),
        ("two/a/b/new", "new"),
        ("two/a/b/.wh.old", ""),
        ("two/.wh.gone", ""),
        ("two/full/.wh..wh..opq", ""),
        ("two/full/above", "above"),
    ] {
        test.file(name, content);
    }
    fs::copy("/bin/busybox", at("one/busybox")).expect("busybox");
    fs::create_dir(at("one/bin")).expect("a directory");
    fs::hard_link(at("one/busybox"), at("one/bin/sh")).expect("a link");
    fs::hard_link(at("one/busybox"), at("one/bin/cat")).expect("a link");
    fs::set_permissions(at("one/a/b"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    fs::set_permissions(at("one/a"), fs::Permissions::from_mode(0o750)).expect("a mode");
    let tar = |arguments: &[&str]| run(Command::new("tar").args(arguments).current_dir(test.project()));
    tar(&["-C", "one", "--owner=0", "--group=0", "--mtime=@1000000000", "-cf", "one.tar", "."]);
    let names = ["a/b/new", "a/b/.wh.old", ".wh.gone", "full"];
    tar(&[&["-C", "two", "--owner=0", "--group=0", "--mtime=@1100000000", "-cf", "two.tar"], &names[..]].concat());
    let umoci = |arguments: &[&str]| run(Command::new("umoci").args(arguments).current_dir(test.project()));
    umoci(&["init", "--layout", "layout"]);
    umoci(&["new", "--image", "layout:x"]);
    for layer in ["one.tar", "two.tar"] {
        umoci(&["raw", "add-layer", "--image", "layout:x", layer]);
    }
    umoci(&["config", "--image", "layout:x", "--config.env", "FOO=of the image"]);
    at("layout")
}

/// Path, type and permissions, size of files, target of links.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("a file");
            let size = if meta.is_file() { meta.size() } else { 0 };
            let name = path.strip_prefix(root).expect("below").display();
            lines.push(format!("/{name} {:o} {size} {}", meta.mode(), meta.mtime()));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn every_form_gives_the_same_tree() {
    require!(Program("umoci"), Program("skopeo"), Program("busybox"));
    let test = Devbox::new();
    let layout = make_layout(&test);
    let source = format!("oci:{}:x", layout.display());
    for (to, name) in [("docker-archive", "localhost/app:1"), ("oci-archive", "localhost/app:2")] {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--insecure-policy", "-q", &source, &format!("{to}:{to}.tar:{name}")]);
        run(skopeo.current_dir(test.project()));
    }
    let unnamed = "error: cannot load `layout`\n  cause: the image in it has no name\nhint: give it one with `--tag`\n";
    test.args(["image", "load", "layout"]).status(1).stderr(unnamed).run();
    test.args(["image", "load", "docker-archive.tar"]).any_stdout().any_stderr().run();
    test.args(["image", "load"])
        .stdin(fs::read(test.project().join("oci-archive.tar")).unwrap())
        .any_stdout()
        .any_stderr()
        .run();
    test.args(["image", "load", "--tag", "localhost/app:3", "layout"]).any_stdout().any_stderr().run();
    let layers = fs::read_dir(test.data().join("store/layers")).unwrap().count();
    assert_eq!(layers, 2, "the forms share the layers");

    let umoci = ["unpack", "--rootless", "--image", "layout:x", "bundle"];
    run(Command::new("umoci").args(umoci).current_dir(test.project()));
    let expected = listing(&test.project().join("bundle/rootfs"));
    // The tree as a box sees it, without what the box adds.
    let script = "cd / && for f in a a/b a/b/* full full/*; do busybox stat -c '/%n %f %s %Y' $f; done; ls -d gone";
    for tag in ["1", "2", "3"] {
        test.profile(&format!("image = \"localhost/app:{tag}\"\n[network]\nmode = \"none\"\n"));
        let found = test.args(["run", "--rm", "--", "/busybox", "sh", "-c", script]).output();
        let found: Vec<String> = found.stdout.lines().map(seen).collect();
        let expected: Vec<&String> =
            expected.iter().filter(|line| line.starts_with("/a") || line.starts_with("/full")).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{tag}");
    }
}

/// `stat`'s hexadecimal mode as [`listing`] has it; directories have no size.
fn seen(line: &str) -> String {
    let mut fields = line.split(' ');
    let mut next = || fields.next().unwrap_or_default();
    let (name, mode, size, time) = (next(), next(), next(), next());
    let mode = u32::from_str_radix(mode, 16).unwrap_or_default();
    let size = if mode & 0o170_000 == 0o040_000 { "0" } else { size };
    format!("{name} {mode:o} {size} {time}")
}

#[test]
fn an_image_can_be_the_rootfs() {
    require!(Program("umoci"), Program("skopeo"), Program("busybox"));
    let test = Devbox::new();
    let layout = make_layout(&test);
    let mut skopeo = Command::new("skopeo");
    let source = format!("oci:{}:x", layout.display());
    skopeo.args(["copy", "--insecure-policy", "-q", &source, "docker-archive:image.tar:localhost/app:1"]);
    run(skopeo.current_dir(test.project()));
    for rootfs in ["layout", "image.tar"] {
        test.profile(&format!("rootfs = \"{rootfs}\"\nshell = \"/bin/sh\"\n[network]\nmode = \"none\"\n"));
        for _ in 0..2 {
            let run = test.args(["run", "--rm", "--", "/busybox", "sh", "-c", "cat /a/b/new; echo \" $FOO\""]);
            run.any_stderr().stdout("new of the image\n").run();
        }
    }
}

#[test]
fn what_cannot_be_loaded() {
    require!(Program("umoci"), Program("busybox"));
    let test = Devbox::new();
    let layout = make_layout(&test);
    let error = |name: &str| test.args(["image", "load", "--tag", "x", name]).status(1).any_stderr().run().stderr;
    assert!(error("one.tar").contains("it holds no image"), "{}", error("one.tar"));
    assert!(error("missing").contains("cannot read it"), "{}", error("missing"));
    // One byte of each blob is another one: everything is noticed, nothing is kept.
    let blobs: Vec<PathBuf> =
        fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let used: Vec<&PathBuf> = blobs.iter().filter(|blob| is_used(blob, &blobs, &layout)).collect();
    for blob in used {
        let whole = fs::read(blob).unwrap();
        let mut other = whole.clone();
        other[whole.len() / 2] ^= 1;
        fs::set_permissions(blob, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(blob, &other).unwrap();
        let said = error("layout");
        assert!(said.contains("cannot load `layout`") || said.contains("cannot install the layers"), "{said}");
        fs::write(blob, &whole).unwrap();
    }
    assert_eq!(fs::read_dir(test.data().join("store/images")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(test.data().join("store/tmp")).unwrap().count(), 1);
    test.args(["image", "load", "--tag", "x", "layout"]).any_stdout().any_stderr().run();
}

/// A layer that has no entries for a great many directories, the first of which lower layers have: it is right above each
/// of them.
#[test]
fn many_directories_without_entries() {
    require!(Program("umoci"));
    let test = Devbox::new();
    let names: String = (0..1100).map(|number| format!("top/d/{number}/x\n")).collect();
    for name in names.lines() {
        test.file(name, "");
    }
    let names = names.replace("top/", "");
    test.file("names", names);
    let here = |command: &mut Command| run(command.current_dir(test.project()));
    let owners = ["--owner=0", "--group=0", "--mtime=@1000000000"];
    here(Command::new("tar").args(owners).args(["-C", "top", "-T", "names", "-cf", "top.tar"]));
    for (layout, mode) in [("one", 0o711), ("two", 0o750)] {
        let base = test.project().join("base/d");
        fs::create_dir_all(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(mode)).unwrap();
        here(Command::new("tar").args(owners).args(["-C", "base", "-cf", "base.tar", "."]));
        let image = format!("{layout}:x");
        here(Command::new("umoci").args(["init", "--layout", layout]));
        here(Command::new("umoci").args(["new", "--image", &image]));
        for layer in ["base.tar", "top.tar"] {
            here(Command::new("umoci").args(["raw", "add-layer", "--image", &image, layer]));
        }
        test.args(["image", "load", "--tag", layout, layout]).any_stdout().any_stderr().run();
        // It is there: nothing is unpacked again.
        test.args(["image", "load", "--tag", layout, layout]).any_stdout().any_stderr().run();
    }
    let mut modes = Vec::new();
    for layer in fs::read_dir(test.data().join("store/layers")).unwrap().map(|entry| entry.unwrap().path()) {
        let is_top = layer.join("fs/d/1099/x").exists();
        assert_eq!(is_top, layer.file_name().unwrap().to_string_lossy().starts_with("chain-"), "{layer:?}");
        assert!(fs::metadata(layer.join("layer.json")).unwrap().len() < 4096);
        if is_top {
            modes.push(fs::metadata(layer.join("fs/d")).unwrap().permissions().mode() & 0o7777);
        }
    }
    modes.sort_unstable();
    assert_eq!(modes, [0o711, 0o750]);
}

/// Whether the index leads to this blob: umoci leaves what it replaced.
fn is_used(blob: &Path, blobs: &[PathBuf], layout: &Path) -> bool {
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = |path: &Path| fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&name));
    let index = layout.join("index.json");
    let manifest = |blob: &&PathBuf| {
        let hexadecimal = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::read_to_string(&index).is_ok_and(|text| text.contains(&hexadecimal))
    };
    names(&index) || blobs.iter().filter(manifest).any(|blob| names(blob))
}

#[test]
fn what_differs_between_images() {
    require!(Program("umoci"), Program("busybox"));
    let test = Devbox::new();
    make_layout(&test);
    let here = |command: &mut Command| run(command.current_dir(test.project()));
    test.args(["image", "load", "--tag", "x", "layout"]).any_stdout().any_stderr().run();
    let status = |packages: &[&str]| -> String {
        packages.iter().map(|it| format!("Package: {it}\nStatus: install ok installed\nVersion: 1\n\n")).collect()
    };
    test.file("three/var/lib/dpkg/status", status(&["hello"]))
        .file("three/a/b/new", "old")
        .file("three/a/b/.wh.kept", "");
    here(Command::new("tar").args(["-C", "three", "--owner=0", "--group=0", "--mtime=@1100000000"]).args([
        "-cf",
        "three.tar",
        "var/lib/dpkg/status",
        "a/b/new",
        "a/b/.wh.kept",
    ]));
    here(Command::new("umoci").args(["raw", "add-layer", "--image", "layout:x", "three.tar"]));
    test.args(["image", "load", "--tag", "y", "layout"]).any_stdout().any_stderr().run();

    // Of the same size and time as before, and yet another content.
    let shown = "package added    hello 1\nD /a/b/kept\nC /a/b/new\nA /var/\nA /var/lib/\nA /var/lib/dpkg/\nA /var/lib/dpkg/status\n";
    test.args(["image", "diff", "y"]).stdout(shown).run();
    test.args(["image", "diff", "x", "y"]).stdout(shown).run();
    test.args(["image", "diff", "x", "x"]).stdout("").run();
    let back = test.args(["image", "diff", "y", "x", "--format", "json"]).any_stdout().run().stdout;
    let back: serde_json::Value = serde_json::from_str(&back).expect("JSON");
    assert_eq!(back["packages"][0], serde_json::json!({"name": "hello", "old": "1", "new": null}));
    assert_eq!(back["changes"][0]["kind"], "added");
    let last = test.args(["image", "diff", "x"]).any_stdout().run().stdout;
    for line in ["A /a/b/new\n", "D /a/b/old\n", "D /gone/\n", "A /full/above\n", "D /full/below\n"] {
        assert!(last.contains(line), "{last}");
    }
    assert!(!last.contains(".wh."), "{last}");
}
