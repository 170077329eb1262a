//! Base archives where they meet the kernel: owners in a mapped namespace, and what a failure leaves behind.
//!
//! Work in a mapped namespace forks, and so needs a process with one thread: this file has a `main` of its own.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use devbox::base::archive;
use devbox::base::error::BaseError;
use devbox::image::layer::UnpackLimits;
use devbox::image::remove::remove_tree;
use devbox::image::store::Store;
use devbox::paths::Paths;
use devbox::progress::Silent;
use devbox::userns::idmap::{IdMap, IdMode};
use devbox::userns::mapper::Offer;
use tar_core::EntryType;
use tar_core::builder::HeaderBuilder;

fn main() {
    let offer = Offer::probe();
    for user in [0, 1000] {
        owners_follow_the_map(&offer.map(user));
        owners_follow_the_map(&IdMap::single(user, offer.uid, offer.gid));
    }
    println!("test owners_follow_the_map ... ok");
    failures_leave_nothing(&offer.map(0));
    println!("test failures_leave_nothing ... ok");
    println!("\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn paths(root: &Path) -> Paths {
    Paths {
        home: root.to_owned(),
        data: root.join("data"),
        config: root.join("config"),
        cache: root.join("cache"),
        runtime: root.join("run"),
    }
}

/// `etc/` of root, `etc/shadow` of 0:42, mode 0640, `home` of 1000:1000, and `far` of an id that no box has.
fn tar() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, kind, mode, uid, gid) in [
        ("etc", EntryType::Directory, 0o755, 0, 0),
        ("etc/shadow", EntryType::Regular, 0o640, 0, 42),
        ("home", EntryType::Directory, 0o555, 1000, 1000),
        ("home/sudo", EntryType::Regular, 0o4755, 1000, 1000),
        ("far", EntryType::Regular, 0o644, 200_000, 0),
    ] {
        let mut header = HeaderBuilder::new_ustar();
        header.path(path).unwrap().mode(mode).unwrap().uid(uid).unwrap().gid(gid).unwrap().size(0).unwrap();
        header.mtime(1).unwrap().entry_type(kind);
        bytes.extend_from_slice(header.finish().as_bytes());
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn owners_follow_the_map(map: &IdMap) {
    let directory = tempfile::tempdir().unwrap();
    let paths = paths(directory.path());
    let file = directory.path().join("base.tar");
    fs::write(&file, tar()).unwrap();
    let layers = archive::prepare(&paths, map, &file, UnpackLimits::default(), &Silent).unwrap();
    assert_eq!(archive::prepare(&paths, map, &file, UnpackLimits::default(), &Silent).unwrap(), layers);
    let outside = |uid: u32, gid: u32| match map.mode {
        IdMode::Single => (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
        IdMode::Range | IdMode::Root => (map.uid_outside(uid).unwrap(), map.gid_outside(gid).unwrap()),
    };
    let holder = layers.lower[0].clone();
    for (name, uid, gid, mode) in [
        ("", 0, 0, 0o755),
        ("etc", 0, 0, 0o755),
        ("etc/shadow", 0, 42, 0o640),
        ("home", 1000, 1000, 0o555),
        ("home/sudo", 1000, 1000, 0o4755),
        ("far", 0, 0, 0o644),
    ] {
        let meta = fs::symlink_metadata(holder.join(name)).unwrap();
        assert_eq!(((meta.uid(), meta.gid()), meta.mode() & 0o7777), (outside(uid, gid), mode), "{name} {map:?}");
    }
    // Also where directories belong to others and forbid writing.
    remove_tree(holder.parent().unwrap(), map).unwrap();
    assert!(!holder.exists());
}

fn failures_leave_nothing(map: &IdMap) {
    let directory = tempfile::tempdir().unwrap();
    let paths = paths(directory.path());
    let file = directory.path().join("base.tar");
    let whole = tar();
    fs::write(&file, &whole[..whole.len() - 1024]).unwrap();
    let error = archive::prepare(&paths, map, &file, UnpackLimits::default(), &Silent).unwrap_err();
    let BaseError::Unpack { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("cut short: it ends after 5 entries, 2560 bytes"), "{source}");
    let store = Store::open(&paths.store()).unwrap();
    assert_eq!(store.layers().unwrap(), []);
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(store.path().join("archives")).unwrap().count(), 0);
}
