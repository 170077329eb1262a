use std::fs;

use super::*;
use crate::boxes::remove::remove_box;
use crate::boxes::testing::Home;
use crate::progress::Silent;

#[test]
fn a_broken_box_hides_nothing() {
    let home = Home::new();
    assert!(list(&home.paths).unwrap().is_empty(), "no directory is no boxes");
    drop((home.create("a", "/a"), home.create("b", "/b"), home.create("c", "/c")));
    let broken = BoxDir::new(&home.paths, &BoxId::new("b", Path::new("/b")));
    fs::write(broken.record(), "{").unwrap();
    let empty = BoxDir::new(&home.paths, &BoxId::new("c", Path::new("/c")));
    fs::remove_file(empty.record()).unwrap();
    fs::write(home.paths.boxes().join("notes.txt"), "").unwrap();
    fs::create_dir(home.paths.boxes().join("not a box")).unwrap();
    fs::write(home.paths.boxes().join("d-0123456789ab"), "").unwrap();
    let boxes = list(&home.paths).unwrap();
    let shown: Vec<_> = boxes.iter().map(|it| (it.id.as_str().split('-').next().unwrap(), it.record.is_ok())).collect();
    assert_eq!(shown, [("a", true), ("b", false), ("c", false), ("d", false)]);
    assert!(boxes.iter().all(|it| !it.is_running(&home.paths) && !it.has_project()));
    // Each can be removed.
    for listed in boxes {
        remove_box(&home.paths, &listed.id, "test", &Silent).unwrap();
        assert!(!listed.directory.exists());
    }
}

#[test]
fn finds_by_project_and_by_name() {
    let home = Home::new();
    drop((home.create("shop", "/p"), home.create("shop", "/q"), home.create("till", "/q")));
    let shop = BoxId::new("shop", Path::new("/p"));
    assert_eq!(find_by_project(&home.paths, Path::new("/p")).unwrap(), Some(shop.clone()));
    assert_eq!(find_by_project(&home.paths, Path::new("/nowhere")).unwrap(), None);
    assert!(matches!(find_by_project(&home.paths, Path::new("/q")), Err(BoxesError::Ambiguous { .. })));
    assert_eq!(find_by_name(&home.paths, shop.as_str()).unwrap(), shop);
    assert_eq!(find_by_name(&home.paths, "till").unwrap(), BoxId::new("till", Path::new("/q")));
    let message = find_by_name(&home.paths, "shop").unwrap_err().to_string();
    // One line, for a sentence is shown as one.
    assert!(message.starts_with("several boxes fit `shop`: `shop-") && message.contains("` of `/q`"), "{message}");
    assert!(!message.contains('\n'), "{message:?}");
    let message = find_by_name(&home.paths, "shp").unwrap_err().to_string();
    assert_eq!(message, "there is no box `shp`; did you mean `shop`?");
    for bad in ["", "../..", "a\nb", &"x".repeat(300)] {
        assert!(matches!(find_by_name(&home.paths, bad), Err(BoxesError::NoSuchBox { .. })));
    }
}

#[test]
fn a_broken_box_is_still_the_folders() {
    let home = Home::new();
    drop(home.create("shop", "/p"));
    let id = BoxId::new("shop", Path::new("/p"));
    fs::write(BoxDir::new(&home.paths, &id).record(), "").unwrap();
    assert_eq!(find_by_project(&home.paths, Path::new("/p")).unwrap(), Some(id));
}
