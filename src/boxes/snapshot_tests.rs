use std::io;

use super::*;
use crate::boxes::change::{STEPS, Step};
use crate::boxes::lock::{BoxLock, Sharing};
use crate::boxes::running::socket_address;
use crate::boxes::testing::Home;
use crate::progress::Silent;

#[test]
fn goes_back_and_forth() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    shop.put("b");
    assert_eq!(shop.sees(), ["a", "b"]);
    shop.create_snapshot("two").unwrap();
    shop.put("c");
    shop.restore_snapshot("one").unwrap();
    assert_eq!(shop.sees(), ["a"]);
    shop.restore_snapshot("two").unwrap();
    assert_eq!(shop.sees(), ["a", "b"]);
    shop.put("d");
    shop.reset(KeepSnapshots::Yes).unwrap();
    assert!(shop.sees().is_empty());
    shop.restore_snapshot("two").unwrap();
    assert_eq!(shop.sees(), ["a", "b"]);
    shop.remove_snapshot("two").unwrap();
    assert_eq!(shop.sees(), ["a", "b"], "the box still stands on the layer");
    assert_eq!(home.layers_in_pool(), 2);
    shop.restore_snapshot("one").unwrap();
    assert_eq!(home.layers_in_pool(), 1);
    shop.reset(KeepSnapshots::No).unwrap();
    assert_eq!(home.layers_in_pool(), 0);
    let id = shop.record.id.clone();
    let record = shop.record.clone();
    drop(shop);
    assert_eq!(home.open(&id).record, record, "what is in memory is on the disk");
}

#[test]
fn an_unchanged_box_shares_its_layers() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.create_snapshot("empty").unwrap();
    assert_eq!(home.layers_in_pool(), 0);
    shop.put("a");
    for name in ["one", "two", "three"] {
        shop.create_snapshot(name).unwrap();
    }
    assert_eq!(home.layers_in_pool(), 1);
    shop.restore_snapshot("empty").unwrap();
    assert!(shop.sees().is_empty());
}

#[test]
fn names_and_limits() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.create_snapshot("before").unwrap();
    for (result, message) in [
        (shop.create_snapshot("before"), "the box `shop` has a snapshot `before` already"),
        (shop.create_snapshot("../x"), "the name `../x` contains `/`"),
        (shop.create_snapshot(".x"), "the name `.x` begins with `.`"),
        (shop.create_snapshot(""), "a name cannot be empty"),
        (shop.create_snapshot(&"x".repeat(300)), "the name is 300 bytes long; at most 64 are allowed"),
        (shop.restore_snapshot("befor"), "the box `shop` has no snapshot `befor`; did you mean `before`?"),
        (shop.remove_snapshot("zzz"), "the box `shop` has no snapshot `zzz`"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    let mut record = shop.record.clone();
    record.layers = vec!["aa".to_owned(); MAX_LAYERS];
    assert!(matches!(plan_freeze(&record, Some("x".to_owned())), Err(BoxesError::TooManyLayers { .. })));
    assert!(plan_freeze(&record, None).is_ok());
}

#[test]
fn a_running_box_is_left_alone() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.create_snapshot("one").unwrap();
    shop.put("a");
    std::fs::create_dir_all(shop.directory.runtime()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(socket_address(&shop.directory).unwrap().path()).unwrap();
    let supervisor =
        BoxLock::acquire(&shop.directory.running(), Sharing::Exclusive, "its supervisor", &Silent).unwrap();
    for result in [shop.create_snapshot("two"), shop.restore_snapshot("one"), shop.reset(KeepSnapshots::Yes)] {
        assert_eq!(result.unwrap_err().to_string(), "the box `shop` is running");
    }
    shop.remove_snapshot("one").unwrap();
    drop((supervisor, listener));
    assert_eq!((shop.sees(), shop.record.pending.as_ref()), (vec!["a".to_owned()], None));
}

/// A change, the state before and the state after it.
type Case = (&'static str, fn(&BoxRecord, Option<String>) -> Pending, &'static [&'static str]);

/// Cuts each change after each step; the next command must find the new state, complete.
#[test]
fn a_cut_change_is_finished_by_the_next_command() {
    let cases: [Case; 5] = [
        ("create", |record, fresh| plan_create(record, "new", "t", fresh).unwrap(), &["a", "b", "c"]),
        ("restore", |record, _| plan_restore(record, "one").unwrap(), &["a"]),
        ("remove", |record, _| plan_remove(record, "two").unwrap(), &["a", "b", "c"]),
        ("reset", |record, _| plan_reset(record, KeepSnapshots::Yes), &[]),
        ("reset --all", |record, _| plan_reset(record, KeepSnapshots::No), &[]),
    ];
    for (what, plan, sees) in cases {
        for (cut, cut_again) in STEPS.into_iter().flat_map(|cut| STEPS.map(|again| (cut, again))) {
            let home = Home::new();
            let mut shop = home.create("shop", "/p");
            for (file, snapshot) in [("a", "one"), ("b", "two")] {
                shop.put(file);
                shop.create_snapshot(snapshot).unwrap();
            }
            shop.put("c");
            let id = shop.record.id.clone();
            let fresh = shop.layer_to_freeze().unwrap();
            let pending = plan(&shop.record, fresh);
            let expected = (pending.layers.clone(), pending.snapshots.clone());
            let stop_at = |last: Step| {
                move |step| {
                    if step == last { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
                }
            };
            assert!(shop.perform(pending, &mut stop_at(cut)).is_err());
            // The repair is cut, too, if there is anything left to repair.
            let repaired = shop.finish(&mut stop_at(cut_again));
            assert_eq!(
                repaired.is_ok(),
                cut_again == Step::Announced || matches!(cut, Step::Recorded | Step::Collected)
            );
            drop(shop);
            let shop = home.open(&id);
            assert_eq!(shop.sees(), sees, "{what} cut after {cut:?}");
            assert_eq!((shop.record.layers.clone(), shop.record.snapshots.clone()), expected, "{what} {cut:?}");
            assert_eq!(shop.record.pending, None);
            assert!(!shop.is_changed() || what == "remove", "{what} {cut:?}");
            for snapshot in shop.record.snapshots.clone() {
                for layer in snapshot.layers {
                    assert!(crate::boxes::pool::tree(&home.paths.data, &layer).is_dir(), "{what} {cut:?}");
                }
            }
        }
    }
}

/// Cut before the record was written, nothing has happened.
#[test]
fn a_change_that_cannot_be_announced_changes_nothing() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    let record = shop.record.clone();
    // The temporary file cannot be made: as on a full disk.
    std::fs::create_dir(shop.directory.path().join("box.json.new")).unwrap();
    assert!(shop.create_snapshot("one").is_err());
    assert_eq!((shop.sees(), &shop.record), (vec!["a".to_owned()], &record));
    std::fs::remove_dir(shop.directory.path().join("box.json.new")).unwrap();
    let id = shop.record.id.clone();
    drop(shop);
    let shop = home.open(&id);
    assert_eq!((shop.sees(), &shop.record), (vec!["a".to_owned()], &record));
}

#[test]
fn a_missing_layer_is_named() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    shop.reset(KeepSnapshots::Yes).unwrap();
    let layer = shop.record.snapshots[0].layers[0].clone();
    std::fs::remove_dir_all(crate::boxes::directory::pool(&home.paths.data).join(&layer)).unwrap();
    shop.put("b");
    let message = shop.restore_snapshot("one").unwrap_err().to_string();
    assert_eq!(message, format!("layer `{layer}` of the box `shop` is missing"));
    assert_eq!(shop.sees(), ["b"], "and nothing was dropped");
    assert_eq!(STEPS[0], Step::Announced);
}
