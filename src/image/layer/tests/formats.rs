//! Formats, names, times, sizes: everything that a tar can be.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::*;
use crate::image::digest;

#[test]
fn an_ordinary_archive() {
    let place = Place::new();
    let tar = Tar::default()
        .item(&Item { kind: b'5', path: b"./", mode: 0o700, time: 5, ..Item::default() })
        .directory("./bin/")
        .file("./bin/sh", "#!")
        .symlink("./lib", "usr/lib")
        .directory("./usr/lib/")
        .link("./bin/dash", "./bin/sh")
        .item(&Item { kind: b'6', path: b"pipe", mode: 0o622, ..Item::default() })
        .file("lib/x", "through a symlink")
        .file("/absolute", "is relative");
    let bytes = tar.clone().done();
    let report = place.unpack(tar).unwrap();
    assert_eq!((report.entries, report.size_bytes), (9, 30));
    assert_eq!(report.blob, Some(format!("sha256:{}", digest::of_bytes(&bytes))));
    assert_eq!(Some(report.diff_id), report.blob);
    assert_eq!(report.blob_bytes, bytes.len() as u64);
    assert_eq!(place.read("bin/dash"), "#!");
    assert_eq!(place.stat("bin/sh").ino(), place.stat("bin/dash").ino());
    assert_eq!(place.read("usr/lib/x"), "through a symlink");
    assert_eq!(place.read("absolute"), "is relative");
    assert_eq!(place.stat("").mode() & 0o7777, 0o700);
    assert_eq!(place.stat("").mtime(), 5);
    assert_eq!(place.stat("bin").mtime(), 1_000_000_000);
    assert_eq!(place.stat("lib").mtime(), 1_000_000_000);
    assert!(place.stat("pipe").file_type().is_fifo());
    assert_eq!(place.stat("pipe").mode() & 0o7777, 0o622);
    place.check_outside();
}

#[test]
fn names_of_all_kinds() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let mut prefixed = Tar::header(&Item { path: b"file", ..Item::default() }, 0);
    prefixed[345..348].copy_from_slice(b"pre");
    seal(&mut prefixed);
    let mut tar = Tar::default()
        .item(&Item { path: b"latin\xe9", ..Item::default() })
        .pax(&[("path", b"pax\xff\xfe")])
        .file("other", "x")
        .pax(&[("path", long.as_bytes()), ("mtime", b"12.5")])
        .file("cut", "long by pax")
        .item(&Item {
            kind: b'L',
            path: b"././@LongLink",
            content: format!("g/{long}\0").as_bytes(),
            ..Item::default()
        })
        .file("cut", "long by gnu")
        .file("control\x1b[31m\nname", "x");
    tar.0.extend_from_slice(&prefixed);
    place.unpack(tar).unwrap();
    let exists = |name: &[u8]| place.root().join(Path::new(std::ffi::OsStr::from_bytes(name))).exists();
    assert!(exists(b"latin\xe9") && exists(b"pax\xff\xfe") && exists(b"pre/file"));
    assert_eq!(place.read(&long), "long by pax");
    assert_eq!((place.stat(&long).mtime(), place.stat(&long).mtime_nsec()), (12, 500_000_000));
    assert_eq!(place.read(&format!("g/{long}")), "long by gnu");
    assert!(exists(b"control\x1b[31m\nname"));

    let (shown, error) = entry_error(Place::new().unpack(Tar::default().pax(&[("path", &[b'x'; 300])]).file("f", "")));
    assert_eq!(shown, "x".repeat(300));
    assert!(error.to_string().contains("ENAMETOOLONG"), "{error}");
    let (shown, _) = entry_error(Place::new().unpack(Tar::default().pax(&[("path", b"a\0b")]).file("f", "")));
    assert_eq!(shown, "a\\0b");
    let endless = "d/".repeat(4000);
    let result = Place::new().unpack(Tar::default().pax(&[("path", endless.as_bytes())]).file("f", ""));
    assert!(matches!(result.unwrap_err(), UnpackError::Damaged { .. }));
    let (shown, _) = entry_error(Place::new().unpack(Tar::default().file("../\x1b[31mred\n", "")));
    assert_eq!(shown, "../\\u{1b}[31mred\\n");
}

#[test]
fn times_of_directories_come_last() {
    let place = Place::new();
    let tar = Tar::default()
        .pax(&[("mtime", b"-1.25")])
        .directory("old")
        .file("old/new", "x")
        .pax(&[("mtime", b"1234567890.123456789")])
        .symlink("link", "x");
    place.unpack(tar).unwrap();
    assert_eq!((place.stat("old").mtime(), place.stat("old").mtime_nsec()), (-2, 750_000_000));
    assert_eq!((place.stat("link").mtime(), place.stat("link").mtime_nsec()), (1_234_567_890, 123_456_789));
}

/// "head" at 0, "tail" at 100,000, 100,100 bytes in all.
fn check_sparse(place: &Place, name: &str) {
    let content = std::fs::read(place.root().join(name)).unwrap();
    assert_eq!(content.len(), 100_100, "{name}");
    assert_eq!(&content[..6], b"head\0\0");
    assert_eq!(&content[100_000..100_006], b"tail\0\0");
    assert!(content[4..100_000].iter().all(|byte| *byte == 0));
    assert!(place.stat(name).blocks() < 64, "{name} has no hole");
}

fn old_sparse(path: &[u8], regions: &[(u64, u64)], real_size: u64, content: &[u8]) -> Tar {
    let mut header = Tar::header(&Item { kind: b'S', path, ..Item::default() }, content.len() as u64);
    header[257..265].copy_from_slice(b"ustar  \0");
    for (at, (offset, length)) in regions.iter().enumerate() {
        octal(&mut header[386 + at * 24..398 + at * 24], *offset);
        octal(&mut header[398 + at * 24..410 + at * 24], *length);
    }
    octal(&mut header[483..495], real_size);
    seal(&mut header);
    Tar(header.to_vec()).content(content)
}

#[test]
fn sparse_files_of_all_forms() {
    let place = Place::new();
    place.unpack(old_sparse(b"old", &[(0, 4), (100_000, 4)], 100_100, b"headtail")).unwrap();
    check_sparse(&place, "old");
    let common: &[(&str, &[u8])] = &[("GNU.sparse.size", b"100100"), ("GNU.sparse.name", b"pax")];
    let forms: [Vec<(&str, &[u8])>; 2] = [
        vec![
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"4"),
            ("GNU.sparse.offset", b"100000"),
            ("GNU.sparse.numbytes", b"4"),
        ],
        vec![("GNU.sparse.map", b"0,4,100000,4")],
    ];
    for form in forms {
        let place = Place::new();
        let records: Vec<(&str, &[u8])> = common.iter().copied().chain(form).collect();
        place.unpack(Tar::default().pax(&records).file("GNUSparseFile.0/pax", "headtail")).unwrap();
        check_sparse(&place, "pax");
    }
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"pax"),
        ("GNU.sparse.realsize", b"100100"),
    ];
    let mut stored = b"2\n0\n4\n100000\n4\n".to_vec();
    stored.resize(512, 0);
    stored.extend_from_slice(b"headtail");
    let item = Item { path: b"GNUSparseFile.0/pax", content: &stored, ..Item::default() };
    let size = stored.len().to_string();
    for with_size in [false, true] {
        let place = Place::new();
        let mut records = records.to_vec();
        if with_size {
            records.push(("size", size.as_bytes()));
        }
        place.unpack(Tar::default().pax(&records).item(&item).file("next", "x")).unwrap();
        check_sparse(&place, "pax");
        assert_eq!(place.read("next"), "x");
    }
}

#[test]
fn sparse_maps_that_lie() {
    for (regions, real_size, content) in [
        (vec![(0, 4), (100, 5)], 100, "headtail!"),
        (vec![(0, 4)], 100, "headtail"),
        (vec![(0, 9)], 100, "headtail"),
        (vec![(50, 4), (0, 4)], 100, "headtail"),
    ] {
        let (shown, error) =
            entry_error(Place::new().unpack(old_sparse(b"s", &regions, real_size, content.as_bytes())));
        assert_eq!(shown, "s");
        assert!(matches!(error, EntryError::Sparse), "{error:?}");
    }
    // Larger than any file: the file system says so, and nothing was allocated.
    let huge = i64::MAX.to_string();
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.map", b""), ("GNU.sparse.size", huge.as_bytes())];
    let (shown, error) = entry_error(Place::new().unpack(Tar::default().pax(&records).file("huge", "")));
    assert_eq!(shown, "huge");
    assert!(matches!(error, EntryError::System(_)), "{error:?}");
    // A map without end.
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"1"),
        ("size", b"99999999999"),
    ];
    let mut tar = Tar::default().pax(&records).file("endless", "");
    tar.0.resize(tar.0.len() + (16 << 20), b'1');
    assert!(matches!(Place::new().unpack(tar).unwrap_err(), UnpackError::Damaged { .. }));
}

#[test]
fn cut_archives_are_errors() {
    let whole = Tar::default().directory("a").file("a/b", &"x".repeat(700)).file("c", "y").done();
    for length in 0..whole.len() - 1024 {
        if length % 512 > 2 && length % 512 < 510 && length % 97 != 0 {
            continue;
        }
        let error = Place::new().unpack_with(&whole[..length], Whiteouts::Literal).unwrap_err();
        match &error {
            UnpackError::Truncated { bytes, .. } => assert_eq!(*bytes, length as u64),
            UnpackError::NotTar => assert!((1..512).contains(&length), "{length}"),
            other => panic!("{length}: {other:?}"),
        }
    }
    let cut = Place::new().unpack_with(&whole[..1100], Whiteouts::Literal).unwrap_err();
    assert_eq!(cut.to_string(), "the archive is cut short: it ends after 1 entries, 1100 bytes, in or behind `a/b`");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&whole).unwrap();
    for compressed in [gzip.finish().unwrap(), zstd::encode_all(&whole[..], 3).unwrap()] {
        Place::new().unpack_with(&compressed, Whiteouts::Literal).unwrap();
        for length in [10, compressed.len() / 2, compressed.len() - 1] {
            let error = Place::new().unpack_with(&compressed[..length], Whiteouts::Literal).unwrap_err();
            assert!(matches!(error, UnpackError::Truncated { .. }), "{length}: {error:?}");
        }
    }
    // A size that is not there.
    let mut tar = Tar(Tar::header(&Item { path: b"big", ..Item::default() }, 0o77_777_777_777).to_vec());
    tar.0.extend_from_slice(b"only this");
    let error = Place::new().unpack(tar).unwrap_err();
    assert!(matches!(error, UnpackError::Truncated { entries: 0, .. }), "{error:?}");
}

#[test]
fn what_is_no_archive() {
    let place = Place::new();
    assert!(matches!(place.unpack_with(&[b'x'; 600], Whiteouts::Literal), Err(UnpackError::NotTar)));
    assert!(matches!(place.unpack_with(b"short", Whiteouts::Literal), Err(UnpackError::NotTar)));
    let error = place.unpack_with(b"\xfd7zXZ\0....", Whiteouts::Literal).unwrap_err();
    assert_eq!(error.to_string(), "the archive is compressed with xz; plain, gzip and zstd archives are read");
    assert!(matches!(place.unpack_with(b"", Whiteouts::Literal), Err(UnpackError::Truncated { .. })));
    assert_eq!(place.unpack(Tar::default()).unwrap().entries, 0);
    let damaged = [Tar::default().file("a", "x").0, vec![b'x'; 512]].concat();
    let error = place.unpack_with(&damaged, Whiteouts::Literal).unwrap_err();
    assert!(matches!(error, UnpackError::Damaged { entries: 1, bytes: 1024, .. }), "{error:?}");
}

#[test]
fn compressions_and_their_digests() {
    let whole = Tar::default().file("a", &"x".repeat(600_000)).file("b", "y").done();
    let (first, second) = whole.split_at(100_000);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let skippable = [&b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd(&whole)].concat();
    for compressed in [
        whole.clone(),
        gzip(&whole),
        [gzip(first), gzip(second)].concat(),
        zstd(&whole),
        [zstd(first), zstd(second)].concat(),
        skippable,
    ] {
        let place = Place::new();
        let report = place.unpack_with(&compressed, Whiteouts::Literal).unwrap();
        assert_eq!(report.blob, Some(format!("sha256:{}", digest::of_bytes(&compressed))));
        assert_eq!(report.diff_id, format!("sha256:{}", digest::of_bytes(&whole)));
        assert_eq!(report.blob_bytes, compressed.len() as u64);
        assert_eq!(place.read("a").len(), 600_000);
        assert_eq!(place.read("b"), "y");
    }
    // What follows the end marker belongs to the digests.
    let padded = [whole, vec![0; 300_000]].concat();
    let report = Place::new().unpack_with(&padded, Whiteouts::Literal).unwrap();
    assert_eq!(report.blob, Some(format!("sha256:{}", digest::of_bytes(&padded))));
}

#[test]
fn readers_that_fail_are_reported() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("connection lost"))
        }
    }
    let place = Place::new();
    let root = crate::sys::fs::open_directory(&place.root()).unwrap();
    let options = UnpackOptions { owners: Owners::Squash, ..UnpackOptions::default() };
    let start = Tar::default().file("a", "x").0;
    let error = unpack_layer(start.chain(Failing), root.as_fd(), options).unwrap_err();
    assert!(matches!(error, UnpackError::Read { .. }), "{error:?}");
}
