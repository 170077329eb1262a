use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::paths::Paths;

pub(crate) fn paths(root: &Path) -> Paths {
    Paths {
        home: root.to_owned(),
        data: root.join("data"),
        config: root.join("config"),
        cache: root.join("cache"),
        runtime: root.join("run"),
    }
}

fn record(project: PathBuf) -> BoxRecord {
    BoxRecord {
        version: RECORD_VERSION,
        id: BoxId::new("shop", &project),
        name: "shop".to_owned(),
        project,
        created: now(),
        id_map: IdMap::root(),
        base_id: "host-1".to_owned(),
        layers: vec!["aa".to_owned()],
        snapshots: vec![Snapshot {
            name: "s".to_owned(),
            created: now(),
            layers: vec!["bb".to_owned()],
            base_id: String::new(),
        }],
        pending: Some(Pending {
            upper: UpperFate::Freeze("cc".to_owned()),
            layers: vec!["cc".to_owned(), "aa".to_owned()],
            snapshots: Vec::new(),
            base_id: String::new(),
        }),
    }
}

#[test]
fn records_survive() {
    let scratch = tempfile::tempdir().unwrap();
    for project in [&b"/home/me/shop"[..], b"/home/\xff\xfe/\n"] {
        let record = record(PathBuf::from(OsString::from_vec(project.to_vec())));
        let directory = BoxDir::new(&paths(scratch.path()), &record.id);
        std::fs::create_dir_all(directory.path()).unwrap();
        save(&directory, &record).unwrap();
        assert_eq!(load(&directory).unwrap(), record);
        let layers: Vec<_> = record.referenced_layers().collect();
        assert_eq!(layers, ["aa", "bb", "cc", "aa"]);
        assert!(!directory.path().join("box.json.new").exists());
    }
}

#[test]
fn bad_records_are_explained() {
    let good = serde_json::to_value(record(PathBuf::from("/p"))).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed.to_string()
    };
    for (text, message) in [
        (String::new(), "`/x/box.json` is damaged"),
        ("{\"version\":1}".to_owned(), "`/x/box.json` is damaged"),
        (with("version", 2.into()), "`/x/box.json` has format 2; this devbox knows formats up to 1"),
        (with("id", "../../etc-0123456789ab".into()), "`/x/box.json` is damaged"),
        (with("layers", serde_json::json!(["../../home"])), "layer `../../home` of the box `shop` is missing"),
        (with("layers", serde_json::json!([""])), "layer `` of the box `shop` is missing"),
    ] {
        assert_eq!(parse_record(text.as_bytes(), Path::new("/x/box.json")).unwrap_err().to_string(), message, "{text}");
    }
    // Keys of a newer minor format are no reason to refuse.
    assert!(parse_record(with("colour", "red".into()).as_bytes(), Path::new("/x")).is_ok());
}

#[test]
fn a_record_of_another_box_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let record = record(PathBuf::from("/p"));
    let other = BoxDir::new(&paths(scratch.path()), &BoxId::new("other", Path::new("/p")));
    std::fs::create_dir_all(other.path()).unwrap();
    save(&other, &record).unwrap();
    assert!(matches!(load(&other).unwrap_err(), BoxesError::Misplaced { .. }));
}

#[test]
fn times_are_utc() {
    let time = now();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}
