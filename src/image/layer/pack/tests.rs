//! Trees that were packed and unpacked again are what they were.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::image::layer::Compression;
use crate::image::layer::{Owners, UnpackOptions, Whiteouts, unpack_layer};

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

/// Makes files with their parents; `name/` is a directory. All times are the same.
fn tree(root: &Path, files: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(root).unwrap();
    for (name, text) in files {
        let path = root.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }
    }
    root.to_owned()
}

/// What there is below `root`, as text: whatever should survive being packed.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut places = vec![root.to_owned()];
    while let Some(path) = places.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap();
        let kind = meta.file_type();
        let number = numbers.len();
        let first = *numbers.entry(meta.ino()).or_insert(number);
        let mut line = format!(
            "{name:?} {:o} {}:{} {}.{:09} #{first}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if kind.is_char_device() && meta.rdev() == 0 {
            line = format!("{name:?} gone");
        } else if kind.is_symlink() {
            line += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if kind.is_file() {
            line += &format!(" {} {}", meta.len(), crate::image::digest::of_bytes(&fs::read(&path).unwrap()));
        }
        if kind.is_file() || kind.is_dir() {
            let mut names = vec![0; 4096];
            let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap();
            let mut names: Vec<_> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
            names.sort();
            for name in names {
                let mut value = vec![0; 4096];
                let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
                line += &format!(" {}={:?}", String::from_utf8_lossy(name), &value[..length]);
            }
        }
        lines.push(line);
        if kind.is_dir() {
            let mut below: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            places.extend(below.into_iter().rev());
        }
    }
    lines
}

fn pack(spec: &PackSpec, compression: Compression) -> (Vec<u8>, PackReport) {
    let mut blob = Vec::new();
    let report = pack_layer(spec, compression, &mut blob, None).unwrap();
    assert_eq!(report.blob, Digest::of_bytes(&blob));
    assert_eq!(report.blob_bytes, blob.len() as u64);
    (blob, report)
}

fn unpack(blob: &[u8], root: &Path) -> crate::image::layer::UnpackReport {
    fs::create_dir(root).unwrap();
    let handle = crate::sys::fs::open_directory(root).unwrap();
    let owners = if rustix::process::getuid().is_root() { Owners::Keep } else { Owners::Squash };
    let options = UnpackOptions { owners, whiteouts: Whiteouts::Convert, ..UnpackOptions::default() };
    unpack_layer(blob, handle.as_fd(), options).unwrap()
}

/// The names in an archive, each followed by `-> target` for links.
fn names(blob: &[u8]) -> Vec<String> {
    let mut child = std::process::Command::new("tar")
        .args(["-tv", "--numeric-owner", "--full-time", "--quoting-style=literal", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let blob = blob.to_vec();
    let feeding = std::thread::spawn(move || input.write_all(&blob));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_tree_survives() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("layer");
    let long = "directory-with-a-long-name/".repeat(9);
    tree(
        &root,
        &[("bin/tool", "program"), ("empty", ""), ("etc/", ""), (&format!("{long}file"), "deep"), ("b/a", "1")],
    );
    let at = |name: &str| root.join(name);
    fs::write(at("etc/zeros"), vec![0; 3 << 20]).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\xfe")), "x").unwrap();
    fs::write(root.join(OsStr::from_bytes(&[b"long-not-utf8-\xff".as_slice(), &[b'y'; 200]].concat())), "y").unwrap();
    fs::write(at("new\nline"), "n").unwrap();
    fs::hard_link(at("bin/tool"), at("bin/again")).unwrap();
    fs::hard_link(at("bin/tool"), root.join(&long).join("again")).unwrap();
    symlink("../etc", at("bin/etc")).unwrap();
    symlink("x".repeat(300), at("bin/far")).unwrap();
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    fs::set_permissions(at("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(at("etc"), fs::Permissions::from_mode(0o1777)).unwrap();
    set(&at("empty"), "user.text", b"line\nline\n12 a=b\n");
    set(&at("empty"), "user.bytes", &[0, 10, 255, 61]);
    set(&at("etc"), "user.on a directory", b"");
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::lchown(at("empty"), Some(1000), Some(65_533)).unwrap();
        std::os::unix::fs::lchown(at("bin/etc"), Some(7), Some(8)).unwrap();
        let capability = [&[1, 0, 0, 2][..], &[0, 4, 0, 0], &[0; 12]].concat();
        set(&at("b/a"), "security.capability", &capability);
    }
    set_time(&at("b/a"), -100, 250_000_000);
    set_time(&at("bin/etc"), 1_000_000_000, 123_456_789);
    set_time(&at("bin"), 1, 0);
    whiteout(&at("bin/gone"));
    set(&at("etc"), "user.overlay.opaque", b"y");

    // Below, so that the marks mean something.
    let below = tree(&scratch.path().join("below"), &[("bin/gone", ""), ("etc/hidden", ""), ("same", "")]);
    let spec = PackSpec { layers: vec![root.clone()], below: vec![below], ..PackSpec::default() };
    let before = listing(&root);
    let mut diff_ids = Vec::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let (blob, report) = pack(&spec, compression);
        let place = scratch.path().join(format!("{compression:?}"));
        let unpacked = unpack(&blob, &place);
        assert_eq!(unpacked.diff_id, report.diff_id.to_string());
        assert_eq!(unpacked.xattrs_skipped + unpacked.owners_lost, 0);
        // The root itself is no part of the changes.
        assert_eq!(listing(&place)[1..], before[1..], "{compression:?}");
        assert_eq!(pack(&spec, compression).0, blob, "the same bytes again");
        diff_ids.push(report.diff_id);
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
    let (again, _) = pack(&PackSpec { layers: vec![scratch.path().join("Zstd")], ..spec.clone() }, Compression::Gzip);
    assert_eq!(again, pack(&spec, Compression::Gzip).0, "what was unpacked is packed as what it was unpacked from");
}

#[test]
fn several_layers_become_one() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let top = tree(&at("top"), &[("a/new", "2"), ("a/changed", "2"), ("made/again/x", ""), ("opened/x", "")]);
    whiteout(&top.join("a/short-lived"));
    whiteout(&top.join("a/old"));
    whiteout(&top.join("gone"));
    set(&top.join("made/again"), "user.overlay.opaque", b"y");
    let frozen = tree(&at("frozen"), &[("a/changed", "1"), ("a/short-lived", "1"), ("a/kept", "1"), ("gone", "1")]);
    whiteout(&frozen.join("opened"));
    let base = tree(
        &at("base"),
        &[("a/old", "0"), ("a/same", "0"), ("gone/deep", "0"), ("made/again/y", ""), ("opened/y", ""), ("run/", "")],
    );
    for directory in ["top/a", "frozen/a"] {
        tree(&at(directory), &[("sub/", "")]);
    }
    let spec = PackSpec { layers: vec![top, frozen], below: vec![base], ..PackSpec::default() };
    let (blob, report) = pack(&spec, Compression::None);
    assert_eq!(
        names(&blob),
        [
            ".wh.gone",
            "a/",
            "a/changed",
            "a/kept",
            "a/new",
            "a/.wh.old",
            "a/sub/",
            "made/",
            "made/again/",
            "made/again/.wh..wh..opq",
            "made/again/x",
            "opened/",
            "opened/.wh..wh..opq",
            "opened/x",
        ]
    );
    assert_eq!(report.contents.entries, 14);
    unpack(&blob, &at("unpacked"));
    assert_eq!(fs::read_to_string(at("unpacked/a/changed")).unwrap(), "2");

    let leave_out = ["/a/sub", "/opened", "/gone"].map(PathBuf::from).into();
    let everything = PackSpec { content: Content::Everything, leave_out, ..spec };
    let (blob, _) = pack(&everything, Compression::None);
    assert_eq!(
        names(&blob),
        [
            "./",
            "a/",
            "a/changed",
            "a/kept",
            "a/new",
            "a/same",
            "gone/",
            "gone/deep",
            "made/",
            "made/again/",
            "made/again/x",
            "opened/",
            "opened/y",
            "run/"
        ]
    );
}

#[test]
fn what_no_layer_can_hold_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let root = tree(&scratch.path().join("layer"), &[(".wh.passwd", ""), ("a/.wh..wh..opq", ""), ("file", "")]);
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    set(&root.join("file"), "user.a=b", b"");
    let (blob, report) = pack(&PackSpec { layers: vec![root], ..PackSpec::default() }, Compression::None);
    // Without anything below the root is new.
    assert_eq!(names(&blob), ["./", "file", "a/"]);
    let Contents { sockets_skipped, names_skipped, xattrs_skipped, .. } = report.contents;
    assert_eq!((sockets_skipped, names_skipped, xattrs_skipped), (1, 2, 1));
}

#[test]
fn times_are_no_later_than_wanted() {
    let scratch = tempfile::tempdir().unwrap();
    let root = tree(&scratch.path().join("layer"), &[("new", ""), ("old", "")]);
    set_time(&root.join("old"), 5, 7);
    let spec = PackSpec { layers: vec![root], latest: Some(1000), ..PackSpec::default() };
    let (blob, _) = pack(&spec, Compression::None);
    unpack(&blob, &scratch.path().join("unpacked"));
    let time = |name: &str| fs::symlink_metadata(scratch.path().join("unpacked").join(name)).unwrap();
    assert_eq!((time("new").mtime(), time("new").mtime_nsec()), (1000, 0));
    assert_eq!((time("old").mtime(), time("old").mtime_nsec()), (5, 7));
}

#[test]
fn content_is_found_where_the_metadata_leads() {
    let scratch = tempfile::tempdir().unwrap();
    let data = tree(&scratch.path().join("data"), &[("bin/tool", "the program")]);
    let root = tree(&scratch.path().join("layer"), &[("usr/bin/tool", "")]);
    set(&root.join("usr/bin/tool"), "user.overlay.metacopy", b"");
    set(&root.join("usr/bin/tool"), "user.overlay.redirect", b"/bin/tool");
    let spec = PackSpec { layers: vec![root], data_only: vec![data], ..PackSpec::default() };
    unpack(&pack(&spec, Compression::Gzip).0, &scratch.path().join("unpacked"));
    assert_eq!(fs::read_to_string(scratch.path().join("unpacked/usr/bin/tool")).unwrap(), "the program");

    let lost = PackSpec { data_only: Vec::new(), ..spec };
    let error = pack_layer(&lost, Compression::Gzip, std::io::sink(), None).unwrap_err();
    assert_eq!(error.to_string(), "the content of `usr/bin/tool` cannot be read");
}

#[test]
fn a_full_disk_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = tree(&scratch.path().join("layer"), &[]);
    fs::write(root.join("large"), vec![7; 30 << 20]).unwrap();
    let error = pack_layer(&PackSpec { layers: vec![root], ..PackSpec::default() }, Compression::None, Full, None);
    assert!(matches!(error.unwrap_err(), PackError::Write { source } if source.raw_os_error() == Some(28)));
}
