//! The state of a box whose files belong to subuids: frozen, compared and removed by the user who cannot touch them.
//!
//! Work in a mapped namespace forks, and so needs a process with one thread: this file has a `main` of its own. It says
//! why when there is nothing to see.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use devbox::boxes::change::LockedBox;
use devbox::boxes::clone::{self, NewBox};
use devbox::boxes::diff::{DiffSpec, diff};
use devbox::boxes::remove::{empty_trash, remove_box};
use devbox::boxes::snapshot::KeepSnapshots;
use devbox::paths::Paths;
use devbox::progress::Silent;
use devbox::userns::idmap::{IdMap, IdMode};
use devbox::userns::mapper::Offer;
use devbox::userns::stage::run_mapped;

fn main() {
    let offer = Offer::probe();
    if offer.mode() != IdMode::Range {
        println!("skipped: {} mode, these tests need a subuid range", offer.mode());
        return;
    }
    for user in [0, 1000] {
        subuids_are_no_obstacle(&offer, user);
        println!("subuids_are_no_obstacle, user {user} ... ok");
        times(&offer, user);
    }
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

fn create(paths: &Paths, map: &IdMap) -> LockedBox {
    let new = NewBox { name: "shop".to_owned(), project: "/p".into(), id_map: map.clone(), base_id: String::new() };
    clone::create(paths, new, "test").unwrap()
}

/// Owner and mode of the box's `/`.
fn root_of(shop: &LockedBox) -> (u32, u32) {
    let meta = fs::symlink_metadata(shop.directory.upper()).unwrap();
    (meta.uid(), meta.permissions().mode() & 0o7777)
}

fn subuids_are_no_obstacle(offer: &Offer, user: u32) {
    let scratch = tempfile::tempdir().unwrap();
    let paths = paths(scratch.path());
    let map = offer.map(user);
    let mut shop = create(&paths, &map);
    let root = map.uid_outside(0).unwrap();
    assert_eq!(root_of(&shop), (root, 0o755));
    assert!(!shop.is_changed());
    let upper = shop.directory.upper();
    let base = scratch.path().join("base");
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    let write = || {
        fs::create_dir_all(upper.join("a/locked/deep"))?;
        fs::write(upper.join("a/locked/file"), "x")?;
        chown(upper.join("a/locked"), Some(33), Some(33))?;
        fs::set_permissions(upper.join("a/locked"), fs::Permissions::from_mode(0o000))?;
        chown(&upper, Some(5), Some(5))?;
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o700))
    };
    run_mapped(&map, || write().map_err(|error: std::io::Error| error.to_string())).unwrap();
    shop.create_snapshot("one").unwrap();
    assert_eq!(root_of(&shop), (map.uid_outside(5).unwrap(), 0o700), "the new `/` is like the old one");
    let spec = DiffSpec {
        own: [vec![shop.directory.upper()], shop.directory.frozen_layers(&shop.record)].concat(),
        base: vec![base],
        ..DiffSpec::default()
    };
    let found = diff(&spec, &map).unwrap();
    let changed: Vec<_> = found.changes.iter().map(|it| it.path.to_str().unwrap()).collect();
    assert_eq!(changed, ["/a", "/a/locked", "/a/locked/deep", "/a/locked/file"]);
    assert!(found.skipped.is_empty());
    shop.reset(KeepSnapshots::No).unwrap();
    assert_eq!(root_of(&shop), (root, 0o755));
    let id = shop.record.id.clone();
    drop(shop);
    remove_box(&paths, &id, "test", &Silent).unwrap();
    // The map is that of the layer: the fallback could not remove anything.
    empty_trash(&paths, &IdMap::single(0, offer.uid, offer.gid), &Silent).unwrap();
    assert_eq!(fs::read_dir(paths.data.join("trash")).unwrap().count(), 0);
}

/// Not a test: what the operations cost.
fn times(offer: &Offer, user: u32) {
    let scratch = tempfile::tempdir().unwrap();
    let paths = paths(scratch.path());
    let map = offer.map(user);
    let mut shop = create(&paths, &map);
    let upper = shop.directory.upper();
    let fill = |count: usize| {
        run_mapped(&map, || {
            (0..count).try_for_each(|number| fs::write(upper.join(number.to_string()), "")).map_err(|it| it.to_string())
        })
        .unwrap();
    };
    for count in [10, 10_000] {
        fill(count);
        let start = std::time::Instant::now();
        shop.create_snapshot(&count.to_string()).unwrap();
        let snapshot = start.elapsed();
        fill(count);
        let start = std::time::Instant::now();
        shop.restore_snapshot(&count.to_string()).unwrap();
        let restore = start.elapsed();
        let start = std::time::Instant::now();
        shop.reset(KeepSnapshots::Yes).unwrap();
        println!("user {user}, {count} files: snapshot {snapshot:?}, restore {restore:?}, reset {:?}", start.elapsed());
    }
    let id = shop.record.id.clone();
    drop(shop);
    remove_box(&paths, &id, "test", &Silent).unwrap();
    let start = std::time::Instant::now();
    empty_trash(&paths, &map, &Silent).unwrap();
    println!("user {user}: emptying the trash of 40,020 files {:?}", start.elapsed());
}
