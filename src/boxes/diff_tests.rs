use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use super::*;
use crate::boxes::testing::Home;

/// Writes a tree: `name/` is a directory, `name -> target` a link, `name = text` a file, `name !` a whiteout, `name/ !`
/// an opaque directory.
fn tree(root: &Path, entries: &[&str]) -> PathBuf {
    fs::create_dir_all(root).unwrap();
    for entry in entries {
        if let Some((name, text)) = entry.split_once(" = ") {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            fs::File::options().append(true).open(root.join(name)).unwrap().set_modified(time).unwrap();
        } else if let Some((name, target)) = entry.split_once(" -> ") {
            symlink(target, root.join(name)).unwrap();
        } else if let Some(name) = entry.strip_suffix("/ !") {
            fs::create_dir_all(root.join(name)).unwrap();
            set(&root.join(name), "opaque", "y");
        } else if let Some(name) = entry.strip_suffix(" !") {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "").unwrap();
            set(&root.join(name), "whiteout", "y");
        } else {
            fs::create_dir_all(root.join(entry)).unwrap();
        }
    }
    root.to_owned()
}

fn set(path: &Path, attribute: &str, value: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, format!("user.overlay.{attribute}"), value.as_bytes(), flags).unwrap();
}

fn touch(path: &Path) {
    fs::File::options().append(true).open(path).unwrap().set_modified(SystemTime::now()).unwrap();
}

/// Which extended attributes a temporary directory takes depends on the machine.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn show(spec: &DiffSpec) -> Vec<String> {
    let walker = Walker::open(spec).unwrap();
    let diff = walker.walk();
    assert_eq!(diff.skipped, Vec::<String>::new());
    let mark = |change: &Change| match change.kind {
        ChangeKind::Added => "A".to_owned(),
        ChangeKind::Removed => "D".to_owned(),
        ChangeKind::Changed => format!("{:?}", change.aspects),
    };
    diff.changes.iter().map(|change| format!("{} {}", mark(change), change.path.display())).collect()
}

#[test]
fn tells_what_differs() {
    let scratch = scratch();
    let base = tree(
        &scratch.path().join("base"),
        &[
            "etc/same = 1",
            "etc/text = old",
            "etc/size = 1",
            "etc/touched = 1",
            "etc/mode = 1",
            "usr/lib/x = 1",
            "gone = 1",
            "turned = 1",
            "dir/a = 1",
            "dir/b = 1",
            "opaque/a = 1",
            "opaque/b = 1",
            "opaque/sub/c = 1",
            "link -> a",
            "meta = 1",
        ],
    );
    let upper = tree(
        &scratch.path().join("upper"),
        &[
            "etc/same = 1",
            "etc/text = new",
            "etc/size = 123",
            "etc/touched = 1",
            "etc/mode = 1",
            "gone !",
            "never !",
            "turned/x = 1",
            "dir !",
            "opaque/ !",
            "opaque/a = 1",
            "opaque/sub/d = 1",
            "link -> b",
            "new/file = 1",
            "meta = 1",
        ],
    );
    for name in ["etc/text", "etc/touched", "meta"] {
        touch(&upper.join(name));
    }
    fs::write(upper.join("meta"), "x").unwrap();
    set(&upper.join("meta"), "metacopy", "");
    fs::set_permissions(upper.join("meta"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(upper.join("etc/mode"), fs::Permissions::from_mode(0o4755)).unwrap();
    let spec = DiffSpec { own: vec![upper], base: vec![base], ..DiffSpec::default() };
    assert_eq!(
        show(&spec),
        [
            "D /dir",
            "[Mode] /etc/mode",
            "[Content] /etc/size",
            "[Content] /etc/text",
            "D /gone",
            "[Content] /link",
            "[Mode] /meta",
            "A /new",
            "A /new/file",
            "D /opaque/b",
            "D /opaque/sub/c",
            "A /opaque/sub/d",
            "[Type] /turned",
            "A /turned/x",
        ]
    );
}

#[test]
fn layers_hide_each_other() {
    let scratch = scratch();
    let base = tree(&scratch.path().join("base"), &["a = 1", "b = 1", "d/x = 1", "e/x = 1"]);
    let generated = tree(&scratch.path().join("generated"), &["proc", "hidden !", "mnt/project"]);
    let middle = tree(&scratch.path().join("middle"), &["a !", "c = 1", "d !", "e/y = 1"]);
    // `d` made again is opaque; this one is so because the layer below removed it.
    let upper =
        tree(&scratch.path().join("upper"), &["a = 1", "b !", "c !", "d/z = 1", "e/y !", "proc", "mnt/project/x = 1"]);
    let spec = DiffSpec {
        own: vec![upper, middle],
        base: vec![generated, base],
        ignore: vec![PathBuf::from("/mnt/project")],
        ..DiffSpec::default()
    };
    assert_eq!(show(&spec), ["D /b", "D /d/x", "A /d/z"]);
}

#[test]
fn trees_beside_each_other() {
    let scratch = scratch();
    let at = |name: &str, entries: &[&str]| tree(&scratch.path().join(name), entries);
    let below = at("below", &["a = 1", "b = 1", "d/x = 1", "d/y = 1", "e/sub/x = 1", "same/x = 1"]);
    let one = at("one", &["one = 1", "b = 2", "d/one = 1", "e !"]);
    let two = at("two", &["two = 1", "a !", "d/two = 1", "d/y !", "e/sub/y = 1"]);
    let spec = |own: &[&PathBuf], base: &[&PathBuf]| {
        let paths = |layers: &[&PathBuf]| layers.iter().map(|path| (*path).clone()).collect();
        DiffSpec { own: paths(own), base: paths(base), sides: Sides::Beside, ..DiffSpec::default() }
    };
    let expected = [
        "D /a",
        "[Content] /b",
        "D /d/one",
        "A /d/two",
        "D /d/y",
        "A /e",
        "A /e/sub",
        "A /e/sub/x",
        "A /e/sub/y",
        "D /one",
        "A /two",
    ];
    assert_eq!(show(&spec(&[&two, &below], &[&one, &below])), expected);
    assert_eq!(show(&spec(&[&two, &below], &[&two, &below])), [""; 0]);
    assert_eq!(show(&spec(&[&below], &[])).len(), 10);
    // What is made of the same layers is not looked at.
    fs::remove_dir_all(below.join("same")).unwrap();
    fs::write(below.join("same"), "").unwrap();
    assert_eq!(show(&spec(&[&two, &below], &[&one, &below])), expected);
}

#[test]
fn metadata_layers_find_their_content() {
    let scratch = scratch();
    let data = tree(&scratch.path().join("usr"), &["bin/tool = abc"]);
    let meta = tree(&scratch.path().join("meta"), &["usr/bin/tool = \0\0\0"]);
    set(&meta.join("usr/bin/tool"), "metacopy", "");
    set(&meta.join("usr/bin/tool"), "redirect", "/bin/tool");
    for (text, expected) in [("abc", vec![]), ("abd", vec!["[Content] /usr/bin/tool"])] {
        let upper = scratch.path().join(text);
        tree(&upper, &[&format!("usr/bin/tool = {text}")]);
        touch(&upper.join("usr/bin/tool"));
        let spec = DiffSpec {
            own: vec![upper],
            base: vec![meta.clone()],
            data_only: vec![data.clone()],
            ..DiffSpec::default()
        };
        assert_eq!(show(&spec), expected);
    }
}

#[test]
fn host_directories_are_the_base() {
    let scratch = scratch();
    let host = tree(&scratch.path().join("host"), &["same = 1", "removed = 1"]);
    let name = host.strip_prefix("/").unwrap().display();
    let upper = tree(
        &scratch.path().join("upper"),
        &[&format!("{name}/same = 1"), &format!("{name}/removed !"), &format!("{name}/new = 1")],
    );
    let base = tree(&scratch.path().join("base"), &[&name.to_string()]);
    let spec =
        DiffSpec { own: vec![upper], base: vec![base], host_directories: vec![host.clone()], ..DiffSpec::default() };
    let shown: Vec<_> = show(&spec)
        .iter()
        .filter_map(|it| it.split_once(' ').map(|it| it.0.to_owned() + it.1.rsplit('/').next().unwrap()))
        .collect();
    assert_eq!(shown, ["Anew", "Dremoved"]);
    // A file is the box's own, else the host's, else the base's.
    let walker = Walker::open(&spec).unwrap();
    let all = [walker.own.clone(), walker.base.clone()].concat();
    fs::write(spec.own[0].join(name.to_string()).join("same"), "box").unwrap();
    fs::write(spec.base[0].join(name.to_string()).join("same"), "base").unwrap();
    let path = Path::new(&name.to_string()).join("same");
    assert_eq!(walker.read(&all, &path).unwrap(), b"box");
    assert_eq!(walker.read(&walker.base, &path).unwrap(), b"1");
    assert_eq!(walker.read(&all, &path.with_file_name("removed")), None);
    assert_eq!(walker.read(&walker.base, &path.with_file_name("removed")).unwrap(), b"1");
}

#[test]
fn packages_are_named() {
    let scratch = scratch();
    let stanza =
        |name: &str, version: &str| format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n");
    let status = "var/lib/dpkg/status";
    let base =
        tree(&scratch.path().join("base"), &[&format!("{status} = {}", stanza("libc6", "1") + &stanza("vim", "1"))]);
    let upper =
        tree(&scratch.path().join("upper"), &[&format!("{status} = {}", stanza("libc6", "2") + &stanza("hello", "1"))]);
    tree(&base, &["var/lib/pacman/local/bash-5-1/desc = x"]);
    tree(
        &upper,
        &["var/lib/pacman/local/zsh-5-1/desc = x", "var/lib/pacman/local/bash-5-1 !", "var/lib/rpm/rpmdb.sqlite = x"],
    );
    let spec = DiffSpec { own: vec![upper], base: vec![base], ..DiffSpec::default() };
    let diff = diff(&spec, &IdMap::root()).unwrap();
    let names: Vec<_> = diff.packages.iter().map(|it| (it.name.as_str(), it.old.is_some(), it.new.is_some())).collect();
    assert_eq!(
        names,
        [
            ("bash", true, false),
            ("hello", false, true),
            ("libc6", true, true),
            ("vim", true, false),
            ("zsh", false, true)
        ]
    );
    assert!(diff.unreadable_packages);
    assert_eq!(serde_json::from_str::<Diff>(&serde_json::to_string(&diff).unwrap()).unwrap(), diff);
}

#[test]
fn an_untouched_box_has_no_changes() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    let base = tree(&home.scratch.path().join("base"), &["etc/x = 1"]);
    let spec = |shop: &crate::boxes::change::LockedBox| {
        let mut own = vec![shop.directory.upper()];
        own.extend(shop.directory.frozen_layers(&shop.record));
        DiffSpec { own, base: vec![base.clone()], ..DiffSpec::default() }
    };
    assert_eq!(diff(&spec(&shop), &IdMap::root()).unwrap(), Diff::default());
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    shop.put("b");
    assert_eq!(show(&spec(&shop)), ["A /a", "A /b"]);
}

#[test]
fn whiteout_files_count_only_for_fuse() {
    let scratch = scratch();
    let base = tree(&scratch.path().join("base"), &["a = 1", "d/x = 1"]);
    let upper = tree(&scratch.path().join("upper"), &[".wh.a = 1", "d/.wh..wh..opq = 1", "d/y = 1"]);
    let spec = DiffSpec { own: vec![upper], base: vec![base], driver: OverlayDriver::Fuse, ..DiffSpec::default() };
    assert_eq!(show(&spec), ["D /a", "D /d/x", "A /d/y"]);
    let spec = DiffSpec { driver: OverlayDriver::Kernel, ..spec };
    assert_eq!(show(&spec), ["A /.wh.a", "A /d/.wh..wh..opq", "A /d/y"]);
}
