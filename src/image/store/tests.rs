use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn with_store(check: impl FnOnce(&Store)) {
    let directory = tempfile::tempdir().unwrap();
    check(&Store::open(&directory.path().join("data/store")).unwrap());
}

fn own_map() -> IdMap {
    IdMap::single(0, rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn make(store: &Store, name: &str, content: &str) -> Layer {
    let build = store.begin(&own_map()).unwrap();
    std::fs::write(build.tree().join("file"), content).unwrap();
    build.commit(LayerRecord::new(name, &own_map(), "a test")).unwrap()
}

fn tmp_entries(store: &Store) -> usize {
    std::fs::read_dir(store.path().join("tmp")).unwrap().count() - 1
}

#[test]
fn is_private_and_opens_again() {
    with_store(|store| {
        assert_eq!(std::fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(&Store::open(store.path()).unwrap(), store);
    });
}

#[test]
fn a_newer_format_is_refused() {
    with_store(|store| {
        std::fs::write(store.path().join("version"), "2\n").unwrap();
        let error = Store::open(store.path()).unwrap_err();
        assert!(error.to_string().contains("has format \"2\"; this devbox knows format 1"), "{error}");
        // A full disk when the store was made.
        std::fs::write(store.path().join("version"), "").unwrap();
        assert!(Store::open(store.path()).is_ok());
    });
}

#[test]
fn a_layer_appears_when_it_is_committed() {
    with_store(|store| {
        assert_eq!(store.layer("abc", "single"), None);
        let layer = make(store, "abc", "x");
        assert_eq!(store.layer("abc", "single").unwrap(), layer);
        assert_eq!(store.tree("abc", "single").unwrap(), layer.tree());
        assert_eq!(store.layer("abc", "root"), None);
        assert_eq!(std::fs::read_to_string(layer.tree().join("file")).unwrap(), "x");
        assert_eq!(store.layers().unwrap(), [layer]);
        assert_eq!(tmp_entries(store), 0);
    });
}

#[test]
fn the_first_to_commit_wins() {
    with_store(|store| {
        let late = store.begin(&own_map()).unwrap();
        std::fs::write(late.tree().join("file"), "late").unwrap();
        let first = make(store, "abc", "first");
        let got = late.commit(LayerRecord::new("abc", &own_map(), "late")).unwrap();
        assert_eq!(got, first);
        assert_eq!(std::fs::read_to_string(got.tree().join("file")).unwrap(), "first");
        assert_eq!(tmp_entries(store), 0);
    });
}

#[test]
fn a_layer_without_a_record_is_replaced() {
    with_store(|store| {
        let layer = make(store, "abc", "old");
        std::fs::remove_file(layer.path.join("layer.json")).unwrap();
        assert_eq!(store.layer("abc", "single"), None);
        assert_eq!(store.tree("abc", "single"), None);
        let layer = make(store, "abc", "new");
        assert_eq!(std::fs::read_to_string(layer.tree().join("file")).unwrap(), "new");
        assert_eq!(store.sweep(&own_map()).unwrap(), 1);
    });
}

#[test]
fn what_is_dropped_is_removed() {
    with_store(|store| {
        let build = store.begin(&own_map()).unwrap();
        std::fs::create_dir(build.tree().join("closed")).unwrap();
        std::fs::write(build.tree().join("closed/file"), "x").unwrap();
        std::fs::set_permissions(build.tree().join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
        drop(build);
        assert_eq!(tmp_entries(store), 0);
    });
}

#[test]
fn sweeping_removes_the_dead_only() {
    with_store(|store| {
        let alive = store.begin(&own_map()).unwrap();
        let dead = store.path().join("tmp/layer-dead");
        std::fs::create_dir_all(dead.join("fs/a/b")).unwrap();
        std::fs::write(dead.join("lock"), "").unwrap();
        // Killed before it had a lock.
        std::fs::create_dir(store.path().join("tmp/layer-dead2")).unwrap();
        assert_eq!(store.sweep(&own_map()).unwrap(), 2);
        assert!(!dead.exists());
        assert!(alive.tree().is_dir());
        assert_eq!(store.sweep(&own_map()).unwrap(), 0);
    });
}

#[test]
fn removal_crosses_no_symlink_and_has_no_depth() {
    with_store(|store| {
        let outside = store.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let top = store.path().join("tmp/x");
        std::fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        let mut fd = crate::sys::fs::open_directory(&top).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&fd, "d", rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            fd = rustix::fs::openat(&fd, "d", flags, rustix::fs::Mode::empty()).unwrap();
        }
        remove_tree(&top, &own_map()).unwrap();
        assert!(!top.exists());
        assert!(outside.join("kept").exists());
        std::os::unix::fs::symlink(&outside, &top).unwrap();
        remove_tree(&top, &own_map()).unwrap();
        assert!(outside.join("kept").exists());
        remove_tree(&top, &own_map()).unwrap();
    });
}

#[test]
fn names_are_checked() {
    with_store(|store| {
        let long = "a".repeat(251);
        for name in ["", ".", "..", "a/b", "../x", ".hidden", "-x", "a b", "a\0", "ä", long.as_str()] {
            assert!(matches!(store.layer_path(name, "single"), Err(StoreError::Name { .. })), "{name}");
            assert!(matches!(store.lock_name(name), Err(StoreError::Name { .. })), "{name}");
            assert_eq!(store.layer(name, "single"), None);
        }
        assert!(store.layer_path(&"a".repeat(64), "range-100000-user1000").is_ok());
    });
}

#[test]
fn a_name_is_locked_by_one() {
    with_store(|store| {
        let guard = store.lock_name("abc").unwrap();
        let other = open_lock(&store.path().join("locks/abc")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert!(other.try_lock().is_ok());
        let shared = store.lock_shared().unwrap();
        assert!(store.try_lock_exclusive().unwrap().is_none());
        drop(shared);
        assert!(store.try_lock_exclusive().unwrap().is_some());
    });
}

#[test]
fn small_files_are_private() {
    with_store(|store| {
        let path = store.path().join("archives/x");
        write_durably(&path, b"1").unwrap();
        write_durably(&path, b"2").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(store.path().join("archives")).unwrap().count(), 1);
    });
}

#[test]
fn a_layer_that_may_not_be_on_the_disk_lasts_as_long_as_the_boot() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let (map, layout) = (own_map(), own_map().layout());
    let commit = |text: &str| {
        let build = store.begin(&map).unwrap();
        std::fs::write(build.tree().join("file"), text).unwrap();
        build.commit_unsettled(LayerRecord::new("abc", &map, text)).unwrap()
    };
    let layer = commit("first");
    assert_eq!(store.tree("abc", &layout), Some(layer.tree()));
    assert_eq!(store.layer("abc", &layout), Some(layer.clone()));

    let mark = layer.path.join("unsettled");
    let (this, other) = (std::fs::read_link(&mark).unwrap(), "00000000-0000-0000-0000-000000000000");
    std::fs::remove_file(&mark).unwrap();
    std::os::unix::fs::symlink(other, &mark).unwrap();
    assert_eq!((store.tree("abc", &layout), store.layer("abc", &layout)), (None, None));
    assert_eq!(store.layers().unwrap(), []);
    store.settle().unwrap();
    assert!(mark.is_symlink(), "what an earlier boot left is not settled");

    assert_eq!(commit("second").record.source, "second");
    assert_eq!(std::fs::read_to_string(store.tree("abc", &layout).unwrap().join("file")).unwrap(), "second");
    assert_eq!(std::fs::read_link(&mark).unwrap(), this);
    store.settle().unwrap();
    assert!(!mark.is_symlink());
    assert!(store.layer("abc", &layout).is_some());
}
