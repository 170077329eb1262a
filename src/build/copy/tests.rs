use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::digest::{Reading, of_selected};
use super::mode::ModeChange;
use super::select::{Mounted, select};
use super::walk::Fate;
use super::write::{CopyError, Destination, Options, Owner, copy};
use crate::sys::fs::open_path;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["from", "to"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), content).unwrap();
    }

    fn copy(&self, sources: &[&str], to: &str, options: &Options) -> Result<(), CopyError> {
        let (from, target) = (open_path(&self.at("from")).unwrap(), open_path(&self.at("to")).unwrap());
        let selected: Vec<_> =
            sources.iter().flat_map(|source| select(Mounted(from.as_fd()), source, &|_| false).unwrap()).collect();
        let destination = Destination {
            path: Path::new("/").join(to.trim_matches('/')),
            is_directory: to.ends_with('/') || selected.len() > 1,
        };
        let fate = |_: &super::select::Selected, path: &Path, _: bool| {
            if path.ends_with("excluded") { Fate::Dropped } else { Fate::Kept }
        };
        copy(Mounted(from.as_fd()), &selected, &fate, Mounted(target.as_fd()), &destination, options)
    }

    fn digest(&self, source: &str) -> String {
        let from = open_path(&self.at("from")).unwrap();
        let selected = select(Mounted(from.as_fd()), source, &|_| false).unwrap();
        of_selected(Mounted(from.as_fd()), &selected, &|_, _, _| Fate::Kept, Owner::Set(0, 0), &mut Reading).unwrap()
    }
}

fn plain() -> Options {
    Options { owner: Owner::Kept, mode: None, single_owner: true, parents: false }
}

#[test]
fn destinations() {
    let table: [(&[&str], &str, &[&str]); 9] = [
        (&["a"], "/b", &["to/b"]),
        (&["a"], "/b/", &["to/b/a"]),
        (&["a"], "/there", &["to/there/a"]),
        (&["a", "c"], "/x/y/", &["to/x/y/a", "to/x/y/c"]),
        (&["d"], "/new", &["to/new/inner/f"]),
        (&["d"], "/there/", &["to/there/inner/f"]),
        (&["d", "a"], "/there/", &["to/there/inner/f", "to/there/a"]),
        (&["link"], "/x", &["to/x"]),
        (&["."], "/", &["to/a", "to/d/inner/f", "to/link"]),
    ];
    for (sources, to, expected) in table {
        let place = Place::new();
        for path in ["from/a", "from/c", "from/d/inner/f", "from/d/excluded"] {
            place.file(path, path);
        }
        symlink("a", place.at("from/link")).unwrap();
        std::fs::create_dir(place.at("to/there")).unwrap();
        place.copy(sources, to, &plain()).unwrap();
        for path in expected {
            assert!(place.at(path).symlink_metadata().is_ok(), "{sources:?} {to}: {path}");
        }
        assert!(!place.at("to/there/excluded").exists());
    }
}

#[test]
fn attributes_come_along() {
    let place = Place::new();
    place.file("from/d/f", "content");
    std::fs::hard_link(place.at("from/d/f"), place.at("from/d/g")).unwrap();
    symlink("nowhere", place.at("from/d/l")).unwrap();
    std::fs::set_permissions(place.at("from/d/f"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(place.at("from/d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in ["from/d/f", "from/d"] {
        std::fs::File::open(place.at(path)).unwrap().set_modified(time).unwrap();
    }
    place.copy(&["d"], "/d", &plain()).unwrap();
    let meta = |path: &str| place.at(path).symlink_metadata().unwrap();
    assert_eq!((meta("to/d/f").mode() & 0o7777, meta("to/d/f").mtime()), (0o640, 1_000_000_000));
    assert_eq!((meta("to/d").mode() & 0o7777, meta("to/d").mtime()), (0o700, 1_000_000_000));
    assert_eq!(meta("to/d/f").ino(), meta("to/d/g").ino());
    assert_eq!(std::fs::read_link(place.at("to/d/l")).unwrap(), Path::new("nowhere"));

    let options = Options { mode: ModeChange::parse("u=rwX,go=rX"), ..plain() };
    place.copy(&["d"], "/e", &options).unwrap();
    assert_eq!((meta("to/e/f").mode() & 0o7777, meta("to/e").mode() & 0o7777), (0o644, 0o755));
}

#[test]
fn parents_are_kept_from_the_pivot() {
    let place = Place::new();
    place.file("from/a/b/c/f", "");
    place.copy(&["a/./b/c/f"], "/x/", &Options { parents: true, ..plain() }).unwrap();
    assert!(place.at("to/x/b/c/f").is_file());
    place.copy(&["a/b/c"], "/y/", &Options { parents: true, ..plain() }).unwrap();
    assert!(place.at("to/y/a/b/c/f").is_file());
}

#[test]
fn hostile_links_in_the_tree_stay_inside() {
    let place = Place::new();
    place.file("from/f", "new");
    place.file("from/d/f", "new");
    place.file("victim", "old");
    symlink("../victim", place.at("to/up")).unwrap();
    symlink(place.at("victim"), place.at("to/absolute")).unwrap();
    symlink("/../../outside/deep", place.at("to/dangling")).unwrap();
    std::fs::create_dir(place.at("to/dir")).unwrap();
    symlink("../../victim", place.at("to/dir/f")).unwrap();
    symlink("../..", place.at("to/out")).unwrap();
    for to in ["/up", "/absolute", "/dangling", "/dir", "/out/victim", "/out/"] {
        place.copy(&["f"], to, &plain()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(place.at("victim")).unwrap(), "old");
    assert!(!place.at("outside").exists() && !place.at("f").exists());
    assert_eq!(std::fs::read_to_string(place.at("to/outside/deep")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(place.at("to/dir/f")).unwrap(), "new");
    // A link below the destination is not followed.
    std::fs::create_dir_all(place.at("to/lib")).unwrap();
    symlink("/", place.at("to/lib/d")).unwrap();
    place.file("from/e/d/f", "x");
    assert!(matches!(place.copy(&["e"], "/lib", &plain()), Err(CopyError::NotADirectory { .. })));
    symlink("round", place.at("to/round")).unwrap();
    assert!(matches!(place.copy(&["f"], "/round", &plain()), Err(CopyError::Loop { .. })));
    assert!(
        matches!(place.copy(&["f"], "/f/g", &plain()), Err(CopyError::NotADirectory { .. } | CopyError::System(_)))
            || place.at("to/f").is_dir()
    );
}

#[test]
fn the_digest_tells_content_and_mode_and_nothing_else() {
    let place = Place::new();
    place.file("from/d/f", "content");
    let first = place.digest("d");
    std::fs::File::open(place.at("from/d/f")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(place.digest("d"), first);
    std::fs::set_permissions(place.at("from/d/f"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let second = place.digest("d");
    assert_ne!(second, first);
    place.file("from/d/f", "Content");
    let third = place.digest("d");
    assert_ne!(third, second);
    place.file("from/d/g", "");
    assert_ne!(place.digest("d"), third);
}

#[test]
fn owners_that_cannot_be_set_are_noted() {
    const OVERRIDE: &str = crate::image::layer::owner::OVERRIDE;
    let noted = |path: &std::path::Path| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(path, OVERRIDE, &mut value[..]).ok()?;
        Some(String::from_utf8_lossy(&value[..length]).into_owned())
    };
    let place = Place::new();
    place.file("from/d/a", "x");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(place.at("from/d/a"), permissions).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(place.at("from/d/a"), OVERRIDE, b"5:6:0600", flags).unwrap();
    for (owner, expected) in [
        (Owner::Kept, Some("5:6:0600".to_owned())),
        (Owner::Set(0, 0), None),
        (Owner::Set(7, 8), Some("7:8:0644".to_owned())),
    ] {
        let to = format!("/{owner:?}");
        place.copy(&["d"], &to, &Options { owner, ..plain() }).unwrap();
        let (directory, file) = (place.at(&format!("to{to}")), place.at(&format!("to{to}/a")));
        assert_eq!(noted(&file), expected, "{owner:?}");
        assert_eq!(noted(&directory).is_some(), owner == Owner::Set(7, 8), "{owner:?}");
    }
}
