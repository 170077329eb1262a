use super::*;
use crate::boxes::list;
use crate::boxes::remove::remove_box;
use crate::boxes::snapshot::KeepSnapshots;
use crate::boxes::testing::Home;
use crate::progress::Silent;

#[test]
fn a_clone_begins_with_everything_and_goes_its_own_way() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    shop.create_snapshot("one").unwrap();
    shop.put("b");
    let copy = clone(&mut shop, "shop", Path::new("/q"), "test").unwrap();
    assert_eq!(
        (shop.sees(), copy.sees()),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(home.layers_in_pool(), 2, "nothing was copied");
    copy.put("c");
    shop.put("d");
    assert_eq!((shop.sees().concat(), copy.sees().concat()), ("abd".to_owned(), "abc".to_owned()));
    // What one drops stays as long as the other needs it.
    shop.reset(KeepSnapshots::No).unwrap();
    assert_eq!(copy.sees(), ["a", "b", "c"]);
    assert_eq!(home.layers_in_pool(), 2);
    let id = copy.record.id.clone();
    drop(copy);
    remove_box(&home.paths, &id, "test", &Silent).unwrap();
    assert_eq!(home.layers_in_pool(), 0);
}

#[test]
fn a_box_is_not_overwritten() {
    let home = Home::new();
    let mut shop = home.create("shop", "/p");
    shop.put("a");
    for (name, message) in [
        ("shop", format!("the box `{}` exists already", shop.record.id)),
        ("a/b", "the name `a/b` contains `/`".to_owned()),
    ] {
        assert_eq!(clone(&mut shop, name, Path::new("/p"), "test").unwrap_err().to_string(), message);
    }
    assert!(shop.is_changed(), "nothing was done");
    assert!(
        std::fs::read_dir(home.paths.boxes()).unwrap().all(|it| !it
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

#[test]
fn two_who_make_the_same_box_get_one() {
    let home = Home::new();
    let new = || NewBox {
        name: "shop".to_owned(),
        project: PathBuf::from("/p"),
        id_map: Home::map(),
        base_id: "base-1".to_owned(),
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            let home = &home;
            scope.spawn(move || {
                let shop = open_or_create(&home.paths, new(), "test", &Silent).unwrap();
                shop.put(&number.to_string());
            });
        }
    });
    let boxes = list::list(&home.paths).unwrap();
    assert_eq!(boxes.len(), 1);
    assert_eq!(home.open(&boxes[0].id).sees().len(), 8);
}
