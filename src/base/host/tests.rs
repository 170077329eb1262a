//! The host base of a small made-up host.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;

use super::*;
use crate::progress::Silent;

const BIG: usize = 10_000;

/// Its redirect does not fit into an inode of ext4.
const SMALL_AND_DEEP: &str = "usr/share/a/name-that-is-long/and-another-one-that-is-longer/small";

struct Fake {
    scratch: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { scratch: tempfile::tempdir().unwrap() };
        for (path, size, mode) in [
            ("usr/bin/tool", BIG, 0o755),
            ("usr/bin/su", BIG, 0o4755),
            ("usr/bin/small", 10, 0o555),
            ("usr/bin/secret", BIG, 0o750),
            ("usr/bin/readonly", BIG, 0o444),
            ("usr/share/a/b/deep", BIG, 0o644),
            ("usr/share/a/b/empty", 0, 0o644),
            (SMALL_AND_DEEP, 10, 0o644),
            ("usr/share/both", BIG, 0o644),
            ("usr/closed/inside", BIG, 0o644),
            ("usr/home/ann/letter", BIG, 0o644),
            ("usr/lost+found/x", 5, 0o644),
            ("usr/ours/store", 5, 0o644),
            ("opt/share/both", BIG + 1, 0o644),
            ("opt/share/only", BIG, 0o644),
            ("etc/conf", BIG, 0o644),
            ("etc/shadow", 50, 0o640),
            ("etc/sudoers", 50, 0o440),
            ("etc/key", 50, 0o600),
            ("etc/machine-id", 33, 0o444),
            ("etc/ssh/ssh_host_key.pub", 50, 0o644),
            ("etc/ssh/ssh_config", 50, 0o644),
            ("var/lib/dpkg/status", BIG, 0o644),
            ("var/lib/dpkg/lock", 0, 0o644),
            ("var/lib/apt/extended_states", 5, 0o644),
            ("var/lib/apt/lists/list", BIG, 0o644),
            ("var/lib/other/data", BIG, 0o644),
            ("var/log/messages", 50, 0o644),
            ("var/mail/ann", 50, 0o644),
            ("var/mail/bob/new", 50, 0o644),
            ("var/spool/job/x", 50, 0o644),
            ("home/ann/file", 50, 0o644),
            ("root/file", 50, 0o644),
            ("tmp/file", 50, 0o644),
            ("run/file", 50, 0o644),
            ("data/file", 50, 0o644),
            ("stray", 50, 0o644),
        ] {
            fake.write(path, size, mode);
        }
        fake.text("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/usr/home/ann:/bin/sh\n");
        fake.text("etc/group", "root:x:0:\nsudo:x:27:ann\n");
        symlink("usr/bin", fake.at("bin")).unwrap();
        symlink("/etc/conf", fake.at("usr/share/link")).unwrap();
        symlink("/run", fake.at("var/run")).unwrap();
        std::fs::set_permissions(fake.at("usr/share/a"), PermissionsExt::from_mode(0o555)).unwrap();
        std::fs::set_permissions(fake.at("usr/closed"), PermissionsExt::from_mode(0o750)).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            fake.at("usr/share/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        fake
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join("host").join(path)
    }

    fn write(&self, path: &str, size: usize, mode: u32) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A file without write permission is replaced, as package managers do.
        std::fs::remove_file(&path).unwrap_or_default();
        std::fs::write(&path, "x".repeat(size)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
        File::open(&path).unwrap().set_modified(old).unwrap_or_default();
    }

    fn text(&self, path: &str, text: &str) {
        std::fs::write(self.at(path), text).unwrap();
    }

    fn source(&self, wanted: OverlayDriver) -> Source {
        Source {
            root: self.scratch.path().join("host"),
            store: self.scratch.path().join("store"),
            // Given as on a host whose root is `/`.
            private: vec!["/usr/ours".into()],
            wanted: Some(wanted),
            copy_limit: Some(entry::COPY_LIMIT),
        }
    }

    fn prepare(&self) -> RootLayers {
        self.source(OverlayDriver::Kernel).prepare(&map(), &Silent).unwrap()
    }

    fn names_in_store(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.scratch.path().join("store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // Directories without write permission stop `TempDir`.
        refresh::remove_tree(self.scratch.path()).ok();
    }
}

fn map() -> IdMap {
    IdMap::single(0, rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn attribute(path: &Path, name: &str) -> Option<String> {
    let mut buffer = [0_u8; 256];
    let size = rustix::fs::lgetxattr(path, name, &mut buffer[..]).ok()?;
    Some(String::from_utf8(buffer[..size].to_vec()).unwrap())
}

fn redirect(path: &Path) -> Option<String> {
    attribute(path, "user.overlay.redirect")
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_metadata_layer_stands_in_for_the_host() {
    let fake = Fake::new();
    let layers = fake.prepare();
    let [_, layer] = &layers.lower[..] else { panic!("{layers:?}") };
    assert_eq!(layers.data_only, ["usr", "opt", "var/lib/apt/lists"].map(|path| fake.at(path)));
    for (path, expected) in [
        ("usr/bin/tool", Some("/bin/tool")),
        ("usr/bin/su", Some("/bin/su")),
        ("usr/bin/readonly", Some("/bin/readonly")),
        ("usr/share/a/b/deep", Some("/share/a/b/deep")),
        ("usr/share/both", Some("/share/both")),
        ("opt/share/only", Some("/share/only")),
        ("opt/share/both", None),
        ("usr/bin/small", Some("/bin/small")),
        ("usr/share/a/b/empty", None),
        (SMALL_AND_DEEP, None),
        ("var/lib/apt/lists/list", Some("/list")),
    ] {
        let (made, host) = (layer.join(path), fake.at(path));
        let (own, theirs) = (made.metadata().unwrap(), host.metadata().unwrap());
        assert_eq!(redirect(&made).as_deref(), expected, "{path}");
        assert_eq!(attribute(&made, "user.overlay.metacopy").is_some(), expected.is_some(), "{path}");
        assert_eq!(own.len(), theirs.len(), "{path}");
        assert_eq!(mode(&made), mode(&host), "{path}");
        assert_eq!((own.mtime(), own.mtime_nsec()), (theirs.mtime(), theirs.mtime_nsec()), "{path}");
        if expected.is_some() {
            assert_eq!(own.blocks() / 16, 0, "{path} has no data");
        } else {
            assert_eq!(std::fs::read(&made).unwrap(), std::fs::read(&host).unwrap(), "{path}");
        }
    }
    assert_eq!(mode(&layer.join("usr/share/a")), 0o555);
    assert_eq!(std::fs::read_link(layer.join("usr/share/link")).unwrap(), Path::new("/etc/conf"));
    for path in [
        "usr/bin/secret",
        "usr/home/ann",
        "usr/lost+found",
        "usr/ours",
        "usr/share/pipe",
        "etc",
        "var/lib/apt/extended_states",
    ] {
        assert!(layer.join(path).symlink_metadata().is_err(), "{path}");
    }
    assert_eq!(std::fs::read_dir(layer.join("usr/closed")).unwrap().count(), 0, "private, so empty");
}

#[test]
fn the_copied_layer_has_the_rest() {
    let fake = Fake::new();
    let layer = fake.prepare().lower.swap_remove(0);
    for path in ["etc/conf", "etc/passwd", "etc/ssh/ssh_config", "var/lib/dpkg/status", "var/lib/apt/extended_states"] {
        assert_eq!(std::fs::read(layer.join(path)).unwrap(), std::fs::read(fake.at(path)).unwrap(), "{path}");
        assert_eq!(redirect(&layer.join(path)), None);
    }
    for path in [
        "etc/key",
        "etc/ssh/ssh_host_key.pub",
        "var/lib/dpkg/lock",
        "var/lib/other/data",
        "var/log/messages",
        "var/mail/ann",
        "var/mail/bob",
        "var/spool/job",
        "home/ann",
        "root/file",
        "tmp/file",
        "run/file",
        "data",
        "stray",
    ] {
        assert!(layer.join(path).symlink_metadata().is_err(), "{path}");
    }
    for (path, expected) in
        [("root", 0o700), ("tmp", 0o1777), ("home", 0o755), ("etc/shadow", 0o640), ("etc/sudoers", 0o440)]
    {
        assert_eq!(mode(&layer.join(path)), expected, "{path}");
    }
    let shadow = std::fs::read_to_string(layer.join("etc/shadow")).unwrap();
    assert!(shadow.starts_with("root:*:") && shadow.contains("\nann:*:"), "{shadow}");
    assert_eq!(std::fs::read(layer.join("etc/machine-id")).unwrap(), b"");
    assert_eq!(std::fs::read_link(layer.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(std::fs::read_link(layer.join("var/run")).unwrap(), Path::new("/run"));
    assert!(layer.join("var/lib/other").is_dir() && layer.join("var/log").is_dir());
}

#[test]
fn nothing_is_made_again_without_a_change() {
    let fake = Fake::new();
    let first = fake.prepare();
    let names = fake.names_in_store();
    assert_eq!(fake.prepare(), first);
    assert_eq!(fake.names_in_store(), names);
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn changes_of_the_host_are_followed_in_place() {
    let fake = Fake::new();
    let first = fake.prepare();
    fake.write("usr/bin/tool", BIG * 2, 0o700);
    fake.write("usr/bin/small", BIG, 0o755);
    fake.write("usr/bin/new", BIG, 0o755);
    fake.write("usr/share/new/x/y", BIG, 0o644);
    std::fs::remove_file(fake.at("usr/share/link")).unwrap();
    fake.write("usr/share/link/now-a-directory", BIG, 0o644);
    std::fs::set_permissions(fake.at("usr/share/a"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_dir_all(fake.at("usr/share/a/b")).unwrap();
    fake.write("usr/share/a/b", BIG, 0o644);
    std::fs::set_permissions(fake.at("usr/closed"), PermissionsExt::from_mode(0o755)).unwrap();
    let second = fake.prepare();
    assert_eq!(second, first);
    let layer = &second.lower[1];
    assert!(layer.join("usr/bin/tool").symlink_metadata().is_err(), "private now");
    for (path, expected) in [
        ("usr/bin/small", "/bin/small"),
        ("usr/bin/new", "/bin/new"),
        ("usr/share/new/x/y", "/share/new/x/y"),
        ("usr/share/link/now-a-directory", "/share/link/now-a-directory"),
        ("usr/share/a/b", "/share/a/b"),
        ("usr/closed/inside", "/closed/inside"),
    ] {
        assert_eq!(redirect(&layer.join(path)).as_deref(), Some(expected), "{path}");
    }
    let index = index::load(&layer.parent().unwrap().join("index")).unwrap();
    let indexed: Vec<_> = index.iter().map(|stamp| stamp.path.to_str().unwrap()).collect();
    assert!(indexed.contains(&"usr/share/new/x") && !indexed.contains(&"usr/share/a/b"), "{indexed:?}");
}

#[test]
fn a_file_in_front_of_a_redirect_makes_the_layer_anew() {
    let fake = Fake::new();
    let first = fake.prepare();
    fake.write("usr/share/only", BIG + 7, 0o644);
    fake.write("usr/bin/other", BIG, 0o644);
    let second = fake.prepare();
    assert_ne!(second.lower[1], first.lower[1]);
    assert_eq!(redirect(&second.lower[1].join("opt/share/only")), None);
    assert_eq!(std::fs::read(second.lower[1].join("opt/share/only")).unwrap().len(), BIG);
}

#[test]
fn a_directory_left_half_done_is_done_again() {
    let fake = Fake::new();
    let layer = fake.prepare().lower.swap_remove(1);
    fake.write("usr/share/new/x", BIG, 0o644);
    // A refresh that was killed made the directory and wrote no index.
    std::fs::create_dir(layer.join("usr/share/new")).unwrap();
    std::fs::create_dir(fake.scratch.path().join("store").join("tmp-single+left")).unwrap();
    fake.write("usr/bin/other", BIG, 0o644);
    let layers = fake.prepare();
    assert_eq!(layers.lower[1], layer);
    assert_eq!(redirect(&layer.join("usr/share/new/x")).as_deref(), Some("/share/new/x"));
    assert!(!fake.names_in_store().contains(&"tmp-single+left".to_owned()));
}

#[test]
fn a_layer_counts_as_not_on_disk_before_it_is_changed() {
    let fake = Fake::new();
    let layers = fake.prepare();
    let (store, layout) = (fake.scratch.path().join("store"), map().layout());
    let saved = || State::load(&store, &layout).unwrap();
    let observed = |seconds: i64| {
        let mut observed = Observed::now(&fake.source(OverlayDriver::Kernel).root, &[]);
        observed.now += seconds;
        observed
    };
    let mut state = saved();
    assert!(!state.note_durable(&observed(10)), "too early");
    assert!(state.note_durable(&observed(1000)));
    state.save(&store, &layout).unwrap();
    assert!(!saved().note_durable(&observed(1000)), "noted already");

    fake.write("usr/bin/new", BIG, 0o755);
    let in_the_way = layers.lower[1].parent().unwrap().join("index.new");
    std::fs::create_dir(&in_the_way).unwrap();
    fake.source(OverlayDriver::Kernel).prepare(&map(), &Silent).unwrap_err();
    assert!(saved().note_durable(&observed(1000)), "not on disk for sure any more");

    std::fs::remove_dir(&in_the_way).unwrap();
    let again = fake.prepare();
    assert_eq!(again, layers);
    assert_eq!(redirect(&again.lower[1].join("usr/bin/new")).as_deref(), Some("/bin/new"));
}

#[test]
fn a_held_generation_stays_until_it_is_let_go() {
    let fake = Fake::new();
    let first = fake.prepare();
    let held = hold(&first).unwrap();
    fake.text("etc/new", "1");
    let second = fake.prepare();
    assert_ne!(first.lower[0], second.lower[0]);
    assert_eq!(first.lower[1], second.lower[1]);
    assert!(first.lower[0].join("etc/conf").exists(), "held");
    assert!(!first.lower[0].join("etc/new").exists() && second.lower[0].join("etc/new").exists());
    drop(held);
    fake.text("etc/newer", "1");
    let third = fake.prepare();
    assert!(!first.lower[0].exists() && !second.lower[0].exists());
    assert_eq!(hold(&first).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    hold(&third).unwrap();
}

#[test]
fn a_new_copied_layer_shares_what_has_not_changed() {
    let fake = Fake::new();
    symlink("conf", fake.at("etc/link")).unwrap();
    symlink("conf", fake.at("etc/changed-link")).unwrap();
    let source = fake.source(OverlayDriver::Kernel);
    let old = fake.prepare().lower.swap_remove(0);
    let host = Host::look(&source.root, &source.private, b"").unwrap();
    fake.text("etc/conf", "changed");
    std::fs::remove_file(fake.at("etc/changed-link")).unwrap();
    symlink("other", fake.at("etc/changed-link")).unwrap();
    let new = fake.scratch.path().join("new");
    std::fs::create_dir(&new).unwrap();
    build::copied(&host, &new, Below::Metadata, false, Some((&old, i64::MAX)), &Silent).unwrap();
    let inode = |layer: &Path, path: &str| layer.join(path).symlink_metadata().unwrap().ino();
    for path in ["var/lib/dpkg/status", "etc/link"] {
        assert_eq!(inode(&old, path), inode(&new, path), "{path}");
    }
    assert_eq!(std::fs::read_link(new.join("etc/changed-link")).unwrap(), Path::new("other"));
    assert_eq!(std::fs::read_link(old.join("etc/changed-link")).unwrap(), Path::new("conf"));
    assert_eq!(std::fs::read(new.join("etc/conf")).unwrap(), b"changed");
    assert_eq!(std::fs::read(old.join("etc/conf")).unwrap().len(), BIG);
}

#[test]
fn without_a_metadata_layer_directories_are_named() {
    let fake = Fake::new();
    for (driver, map) in [(OverlayDriver::Fuse, map()), (OverlayDriver::Kernel, IdMap::root())] {
        let layers = fake.source(driver).prepare(&map, &Silent).unwrap();
        assert_eq!(layers.lower.len(), 1);
        assert_eq!(layers.driver, driver);
        assert!(layers.data_only.is_empty());
        assert_eq!(layers.host_directories, [fake.at("usr"), fake.at("opt")]);
        assert!(layers.lower[0].join("var/lib/apt/lists/list").exists());
        assert!(layers.lower[0].join("etc/conf").exists() && !layers.lower[0].join("etc/key").exists());
    }
}

#[test]
fn the_progress_begins_and_ends() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn begin(&self, what: &str, _: Option<u64>) {
            self.0.lock().unwrap().push(what.to_owned());
        }
        fn advance(&self, _: u64) {}
        fn end(&self) {
            self.0.lock().unwrap().push("end".to_owned());
        }
        fn note(&self, _: &str) {}
    }
    let heard = Heard::default();
    Fake::new().source(OverlayDriver::Kernel).prepare(&map(), &heard).unwrap();
    assert_eq!(heard.0.into_inner().unwrap(), ["preparing the host base", "end"]);
}
