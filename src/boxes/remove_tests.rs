use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::boxes::clone::clone;
use crate::boxes::testing::Home;
use crate::progress::Silent;

#[test]
fn nothing_is_left() {
    let home = Home::new();
    let mut shop = home.create("shop", "/gone");
    for name in ["one", "two"] {
        shop.put(name);
        shop.create_snapshot(name).unwrap();
    }
    fs::create_dir(shop.directory.upper().join("locked")).unwrap();
    fs::set_permissions(shop.directory.upper().join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir_all(shop.directory.runtime()).unwrap();
    fs::write(shop.directory.runtime().join("s"), "").unwrap();
    let runtime = shop.directory.runtime();
    let id = shop.record.id.clone();
    drop(shop);
    remove_box(&home.paths, &id, "devbox rm", &Silent).unwrap();
    assert_eq!((home.layers_in_pool(), home.trash(), runtime.exists()), (0, 3, false));
    empty_trash(&home.paths, &Home::map(), &Silent).unwrap();
    assert_eq!(home.trash(), 0);
    assert!(fs::read_dir(home.paths.boxes()).unwrap().next().is_none());
    let message = remove_box(&home.paths, &id, "devbox rm", &Silent).unwrap_err().to_string();
    assert_eq!(message, format!("there is no box `{id}`"));
    empty_trash(&home.paths, &Home::map(), &Silent).unwrap();
}

#[test]
fn a_full_disk_does_not_keep_a_box() {
    let home = Home::new();
    let shop = home.create("shop", "/p");
    let id = shop.record.id.clone();
    // No file can be made beside the record.
    fs::create_dir(shop.directory.path().join("box.json.new")).unwrap();
    drop(shop);
    remove_box(&home.paths, &id, "devbox rm", &Silent).unwrap();
    empty_trash(&home.paths, &Home::map(), &Silent).unwrap();
    assert_eq!(home.trash(), 0);
}

#[test]
fn the_map_of_an_entry_is_known() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    let map = IdMap::range(0, 1000, 1000, &[(100_000, 65_536)], &[(100_000, 65_536)]);
    shop.record.id_map = map.clone();
    shop.save().unwrap();
    assert_eq!(map_of(shop.directory.path()), Some(map));
    assert_eq!(map_of(&shop.directory.upper_holder()), Some(Home::map()));
    fs::write(shop.directory.upper_holder().join(MAP_FILE), "{").unwrap();
    assert_eq!(map_of(&shop.directory.upper_holder()), None);
}

#[test]
fn a_removed_source_leaves_the_clone_its_layers() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    let copy = clone(&mut shop, "copy", Path::new("/q"), "test").unwrap();
    let id = shop.record.id.clone();
    drop(shop);
    remove_box(&home.paths, &id, "test", &Silent).unwrap();
    empty_trash(&home.paths, &Home::map(), &Silent).unwrap();
    assert_eq!(copy.sees(), ["a"]);
}
