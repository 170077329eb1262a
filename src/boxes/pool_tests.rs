use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::boxes::testing::Home;

#[test]
fn a_new_layer_is_like_the_one_below() {
    let scratch = tempfile::tempdir().unwrap();
    let map = Home::map();
    let first = scratch.path().join("first");
    make_layer(&first, &map, None).unwrap();
    assert!(is_untouched(&first, &map, None));
    assert_eq!(fs::metadata(first.join("fs")).unwrap().mode() & 0o7777, 0o755);
    fs::set_permissions(first.join("fs"), fs::Permissions::from_mode(0o1711)).unwrap();
    assert!(!is_untouched(&first, &map, None), "a changed `/` is a change");
    let second = scratch.path().join("second");
    make_layer(&second, &map, Some(&first.join("fs"))).unwrap();
    assert_eq!(fs::metadata(second.join("fs")).unwrap().mode() & 0o7777, 0o1711);
    assert!(is_untouched(&second, &map, Some(&first.join("fs"))));
    fs::write(second.join("fs/x"), "").unwrap();
    assert!(!is_untouched(&second, &map, Some(&first.join("fs"))));
    assert_eq!(serde_json::from_slice::<IdMap>(&fs::read(second.join(MAP_FILE)).unwrap()).unwrap(), map);
}

#[test]
fn remains_of_a_killed_attempt_are_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let holder = scratch.path().join("upper");
    for with_tree in [false, true] {
        fs::create_dir(scratch.path().join("upper.new")).unwrap();
        if with_tree {
            fs::create_dir(scratch.path().join("upper.new/fs")).unwrap();
            fs::write(scratch.path().join("upper.new/map.json"), "{").unwrap();
        }
        make_layer(&holder, &Home::map(), None).unwrap();
        assert!(is_untouched(&holder, &Home::map(), None));
        fs::remove_dir_all(&holder).unwrap();
    }
}

#[test]
fn collects_what_nobody_names() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    make_layer(&directory::pool(&home.paths.data).join("orphan"), &Home::map(), None).unwrap();
    fs::create_dir(home.paths.boxes().join(".new-abc")).unwrap();
    assert_eq!(collect(&home.paths).unwrap(), Collection::Done(1));
    assert_eq!(home.layers_in_pool(), 1);
    assert!(!home.paths.boxes().join(".new-abc").exists());
    assert_eq!(shop.sees(), ["a"]);
}

#[test]
fn a_broken_record_holds_the_collection() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    let text = fs::read(shop.directory.record()).unwrap();
    fs::write(shop.directory.record(), "{").unwrap();
    make_layer(&directory::pool(&home.paths.data).join("orphan"), &Home::map(), None).unwrap();
    assert_eq!(collect(&home.paths).unwrap(), Collection::Held(shop.record.id.clone()));
    fs::remove_file(shop.directory.record()).unwrap();
    assert_eq!(collect(&home.paths).unwrap(), Collection::Held(shop.record.id.clone()));
    assert_eq!(home.layers_in_pool(), 2);
    fs::write(shop.directory.record(), text).unwrap();
    assert_eq!(collect(&home.paths).unwrap(), Collection::Done(1));
}
