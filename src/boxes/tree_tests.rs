use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, openat};

use super::*;

fn remove_in(directory: &Path, name: &str) -> Failures {
    remove(fs::File::open(directory).unwrap().as_fd(), OsStr::new(name), &[])
}

#[test]
fn removes_everything_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    symlink("../../outside/kept", tree.join("a/b/file")).unwrap();
    fs::hard_link(outside.join("kept"), tree.join("hard")).unwrap();
    for number in 0..3000 {
        fs::write(tree.join(format!("a/{number}")), "").unwrap();
    }
    fs::create_dir(tree.join("a/locked")).unwrap();
    fs::write(tree.join("a/locked/x"), "").unwrap();
    fs::set_permissions(tree.join("a/locked"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(remove_in(scratch.path(), "tree"), Failures::default());
    assert!(!tree.exists());
    assert!(outside.join("kept").exists());
    assert_eq!(remove_in(scratch.path(), "tree"), Failures::default(), "nothing there is a success");
    symlink(&outside, scratch.path().join("link")).unwrap();
    assert_eq!(remove_in(scratch.path(), "link"), Failures::default());
    assert!(outside.join("kept").exists());
}

#[test]
fn depth_does_not_matter() {
    let scratch = tempfile::tempdir().unwrap();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut handle = openat(CWD, scratch.path(), flags, Mode::empty()).unwrap();
    for _ in 0..10_000 {
        rustix::fs::mkdirat(&handle, "d", Mode::RWXU).unwrap();
        rustix::fs::mkdirat(&handle, "side", Mode::RWXU).unwrap();
        handle = openat(&handle, "d", flags, Mode::empty()).unwrap();
    }
    assert_eq!(remove_in(scratch.path(), "d"), Failures::default());
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["side"]);
}

#[test]
fn named_entries_go_last() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("fs/map.json")).unwrap();
    fs::write(tree.join("map.json"), "").unwrap();
    assert_eq!(
        remove(fs::File::open(scratch.path()).unwrap().as_fd(), OsStr::new("tree"), &["map.json"]),
        Failures::default()
    );
    assert!(!tree.exists());
}
