//! The state of a box where it meets the kernel: killed commands, real overlays, files that belong to subuids.
//!
//! Work in a mapped namespace forks, and so needs a process with one thread: this file has a `main` of its own. It says
//! why when there is nothing to see.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a test")]

use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use devbox::boxes::change::LockedBox;
use devbox::boxes::clone::{self, NewBox};
use devbox::boxes::diff::{DiffSpec, diff};
use devbox::boxes::remove::{empty_trash, remove_box};
use devbox::boxes::snapshot::KeepSnapshots;
use devbox::paths::Paths;
use devbox::progress::Silent;
use devbox::sys::clone::{Forked, fork};
use devbox::sys::process::wait;
use devbox::userns::idmap::{IdMap, IdMode};
use devbox::userns::mapper::Offer;
use devbox::userns::stage::run_mapped;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

fn main() {
    let offer = Offer::probe();
    killed_commands_lose_nothing(&offer);
    println!("test killed_commands_lose_nothing ... ok");
    the_diff_agrees_with_the_kernel(&offer);
    println!("test the_diff_agrees_with_the_kernel ... ok");
    if offer.mode() == IdMode::Range {
        for user in [0, 1000] {
            subuids_are_no_obstacle(&offer, user);
            times(&offer, user);
        }
    } else {
        eprintln!("N/A subuids_are_no_obstacle: {} mode", offer.mode());
    }
    println!("test subuids_are_no_obstacle ... ok");
    // As the runner of the other tests says it: a failure is a panic before this line.
    println!("\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
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

/// A command is killed at each of its first changes in the box's directory, many times; the next one finds every snapshot complete.
fn killed_commands_lose_nothing(offer: &Offer) {
    const ROUNDS: u64 = 60;
    let scratch = tempfile::tempdir().unwrap();
    let paths = paths(scratch.path());
    let id = create(&paths, &offer.map(0)).record.id.clone();
    let open = || LockedBox::open(&paths, &id, "test", &Silent).unwrap();
    for round in 0..ROUNDS {
        let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, open().directory.path(), WatchFlags::ALL_EVENTS).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        match fork().unwrap() {
            Forked::Child => {
                let mut shop = open();
                for number in 0.. {
                    let name = format!("{round}-{number}");
                    fs::write(shop.directory.upper().join(&name), "").unwrap();
                    shop.create_snapshot(&name).unwrap();
                    if number % 3 == 2 {
                        shop.remove_snapshot(&name).unwrap();
                        shop.reset(KeepSnapshots::Yes).unwrap();
                    }
                }
            }
            Forked::Parent { pid, .. } => {
                for _ in 0..round {
                    events.next().unwrap();
                }
                nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
                wait(pid).unwrap();
            }
        }
        let mut shop = open();
        assert_eq!(shop.record.pending, None);
        let names: Vec<_> = shop.record.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
        for name in names.iter().rev().take(3) {
            shop.restore_snapshot(name).unwrap();
            let top = &shop.directory.frozen_layers(&shop.record)[0];
            assert!(top.join(name).exists(), "{name}");
        }
        if names.len() > 50 {
            shop.reset(KeepSnapshots::No).unwrap();
        } else {
            shop.reset(KeepSnapshots::Yes).unwrap();
        }
    }
    remove_box(&paths, &id, "test", &Silent).unwrap();
    empty_trash(&paths, &offer.map(0), &Silent).unwrap();
    for directory in ["boxes", "store/box-layers", "trash"] {
        assert_eq!(fs::read_dir(paths.data.join(directory)).unwrap().count(), 0, "{directory}");
    }
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

/// The same changes, made through a real mount, are what the diff says.
fn the_diff_agrees_with_the_kernel(offer: &Offer) {
    let scratch = tempfile::tempdir().unwrap();
    let [base, upper, work, merged] = ["base", "upper", "work", "merged"].map(|name| scratch.path().join(name));
    for directory in [&base, &upper, &work, &merged] {
        fs::create_dir(directory).unwrap();
    }
    for file in ["a", "d/x", "e/x", "f/g/h", "same"] {
        fs::create_dir_all(base.join(file).parent().unwrap()).unwrap();
        fs::write(base.join(file), "1").unwrap();
    }
    // An ordinary user has one id in this namespace, and extended attributes of the `user.` name space.
    let (unshare, options, owner) = match offer.mode() {
        IdMode::Root => ("-m", "xino=off", "chown 5 same"),
        IdMode::Range | IdMode::Single => ("-Urm", "userxattr", "true"),
    };
    let script = format!(
        "mount -t overlay overlay -o {options},lowerdir=$1,upperdir=$2,workdir=$3 $4 || exit 77
        cd $4 && rm a && rm -r d && mkdir d && echo > d/y && rm -r e && echo > e && mv f/g f/i && chmod 700 f && {owner}"
    );
    let output = std::process::Command::new("unshare")
        .args([unshare, "sh", "-c", &script, "sh"])
        .args([&base, &upper, &work, &merged])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if matches!(output.status.code(), Some(1 | 77)) {
        eprintln!("SKIP the_diff_agrees_with_the_kernel: no overlay here: {}", said.trim());
        return;
    }
    assert!(output.status.success(), "{said}");
    let spec = DiffSpec { own: vec![upper], base: vec![base], ..DiffSpec::default() };
    let found = diff(&spec, &offer.map(0)).unwrap();
    let shown: Vec<_> =
        found.changes.iter().map(|it| format!("{:?} {} {:?}", it.kind, it.path.display(), it.aspects)).collect();
    let mut expected = vec![
        "Removed /a []",
        "Removed /d/x []",
        "Added /d/y []",
        "Changed /e [Type]",
        "Changed /f [Mode]",
        "Removed /f/g []",
        "Added /f/i []",
        "Added /f/i/h []",
    ];
    expected.extend((offer.mode() == IdMode::Root).then_some("Changed /same [Owner]"));
    assert_eq!(shown, expected);
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
