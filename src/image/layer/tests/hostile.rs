//! What archives must not be able to do, and what layers mean.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

#[test]
fn names_with_dots_are_refused() {
    for path in ["../evil", "a/../../evil", "/../evil", "..", "a/.."] {
        let place = Place::new();
        let (shown, error) = entry_error(place.unpack(Tar::default().directory("a").file(path, "x")));
        assert_eq!(shown, path);
        assert!(matches!(error, EntryError::Escapes), "{error:?}");
        place.check_outside();
    }
}

#[test]
fn symlinks_do_not_lead_out() {
    // An absolute target means the root's own directory of that name, which is not there.
    let place = Place::new();
    let outside = place.outside().display().to_string();
    let (shown, _) = entry_error(place.unpack(Tar::default().symlink("out", &outside).file("out/made", "x")));
    assert_eq!(shown, "out/made");
    place.check_outside();
    // Going up ends at the root.
    let place = Place::new();
    place.unpack(Tar::default().symlink("up", "../../../..").file("up/made", "x").directory("up/outside")).unwrap();
    assert_eq!(place.read("made"), "x");
    place.check_outside();
    // The same for directories on the way, and for the last component.
    let place = Place::new();
    place.unpack(Tar::default().symlink("up", "..").file("up/outside/secret", "x")).unwrap();
    assert_eq!(place.read("outside/secret"), "x");
    place.check_outside();
    let place = Place::new();
    let secret = format!("{outside}/secret");
    place.unpack(Tar::default().symlink("f", "../outside/secret").file("f", "mine").symlink("g", &secret)).unwrap();
    assert_eq!(place.read("f"), "mine");
    place.check_outside();
    let place = Place::new();
    place.unpack(Tar::default().symlink("d", "../outside").directory("d").file("d/made", "x")).unwrap();
    assert_eq!(place.read("d/made"), "x");
    place.check_outside();
    let place = Place::new();
    place.unpack(Tar::default().symlink("loop", "loop").file("loop/x", "x")).unwrap_err();
}

#[test]
fn a_directory_swapped_for_a_symlink_is_not_trusted() {
    let place = Place::new();
    let tar = Tar::default().directory("a").file("a/x", "1").symlink("a", "../outside").file("a/y", "2");
    entry_error(place.unpack(tar));
    place.check_outside();
    assert!(place.stat("a").file_type().is_symlink());
    // An existing target inside: the name leads there, not into the directory that was removed.
    let place = Place::new();
    let tar = Tar::default().directory("b").directory("a").file("a/x", "1").symlink("a", "b").file("a/y", "2");
    place.unpack(tar).unwrap();
    assert_eq!(place.read("b/y"), "2");
    // A directory higher up.
    let place = Place::new();
    let tar = Tar::default().file("a/b/c/x", "1").directory("o/b/c").symlink("a", "o").file("a/b/c/y", "2");
    place.unpack(tar).unwrap();
    assert_eq!(place.read("o/b/c/y"), "2");
    place.check_outside();
}

#[test]
fn hard_links_stay_inside() {
    let outside = Place::new().outside().display().to_string();
    for target in ["../outside/secret", "a/../../outside/secret"] {
        let place = Place::new();
        let (shown, error) = entry_error(place.unpack(Tar::default().link("h", target)));
        assert_eq!(shown, "h");
        assert!(matches!(error, EntryError::LinkEscapes { .. }), "{error:?}");
        place.check_outside();
    }
    let absolute = format!("{outside}/secret");
    for target in [absolute.as_str(), "missing", "none/missing", "out/secret", "up/outside/secret", "directory", "/"] {
        let place = Place::new();
        symlink(place.outside(), place.root().join("out")).unwrap();
        symlink("..", place.root().join("up")).unwrap();
        let (shown, error) = entry_error(place.unpack(Tar::default().directory("directory").link("h", target)));
        assert_eq!(shown, "h", "{target}");
        assert!(matches!(error, EntryError::LinkTarget { .. }), "{target}: {error:?}");
        place.check_outside();
    }
    // A link to a symlink is that symlink again, never what it points to.
    let place = Place::new();
    place.unpack(Tar::default().symlink("s", "../outside/secret").link("h", "s")).unwrap();
    assert!(place.stat("h").file_type().is_symlink());
    place.check_outside();
    // Targets without a name.
    assert!(matches!(entry_error(Place::new().unpack(Tar::default().link("h", ""))).1, EntryError::NoTarget));
    assert!(matches!(entry_error(Place::new().unpack(Tar::default().symlink("h", ""))).1, EntryError::NoTarget));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = Place::new();
    let tar = Tar::default()
        .file("twice", "old and long")
        .file("twice", "new")
        .file("shared", "shared")
        .link("other", "shared")
        .file("shared", "changed")
        .file("dir/deep/file", "x")
        .file("dir", "a file now")
        .file("file", "x")
        .directory("file")
        .file("file/inside", "y")
        .file("kept/file", "kept")
        .directory("kept")
        .file("same", "same")
        .link("same", "same")
        .symlink("dir2", "kept")
        .symlink("dir2", "file");
    place.unpack(tar).unwrap();
    assert_eq!(place.read("twice"), "new");
    assert_eq!(place.read("other"), "shared");
    assert_eq!(place.read("shared"), "changed");
    assert_eq!(place.read("dir"), "a file now");
    assert_eq!(place.read("file/inside"), "y");
    assert_eq!(place.read("kept/file"), "kept");
    assert_eq!(place.read("same"), "same");
    assert_eq!(place.read("dir2/inside"), "y");
    // A link that removes its own target.
    let (_, error) = entry_error(Place::new().unpack(Tar::default().file("d/x", "x").link("d", "d/x")));
    assert!(matches!(error, EntryError::LinkTarget { .. }));
    let (_, error) = entry_error(Place::new().unpack(Tar::default().file(".", "x")));
    assert!(matches!(error, EntryError::Root));
}

#[test]
fn devices_are_left_out() {
    for whiteouts in [Whiteouts::Literal, Whiteouts::Convert] {
        let place = Place::new();
        let tar = Tar::default().item(&Item { kind: b'3', path: b"null", ..Item::default() }).item(&Item {
            kind: b'4',
            path: b"disk",
            ..Item::default()
        });
        let report = place.unpack_with(&tar.done(), whiteouts).unwrap();
        assert_eq!((report.devices_skipped, report.entries), (2, 0));
        assert_eq!(std::fs::read_dir(place.root()).unwrap().count(), 0);
    }
}

#[test]
fn owners_and_modes() {
    if !crate::sys::testing::only_for_root() {
        return;
    }
    let place = Place::new();
    let item = |path, owner, mode, kind| Item { path, owner, mode, kind, ..Item::default() };
    let tar = Tar::default()
        .item(&item(b"sudo", (0, 27), 0o4755, b'0'))
        .item(&item(b"mail", (8, 8), 0o2775, b'5'))
        .item(&item(b"far", (70_000, 5), 0o644, b'0'))
        .item(&Item { link: b"x", ..item(b"link", (3, 4), 0o777, b'2') })
        .item(&item(b"closed", (0, 0), 0o000, b'5'))
        .file("closed/inside/x", "x");
    let report = place.unpack(tar).unwrap();
    let owner = |path| (place.stat(path).uid(), place.stat(path).gid(), place.stat(path).mode() & 0o7777);
    assert_eq!(owner("sudo"), (0, 27, 0o4755));
    assert_eq!(owner("mail"), (8, 8, 0o2775));
    assert_eq!(owner("far"), (0, 5, 0o644));
    assert_eq!((owner("link").0, owner("link").1), (3, 4));
    assert_eq!(owner("closed"), (0, 0, 0));
    assert_eq!(owner("closed/inside"), (0, 0, 0o755));
    assert_eq!(report.owners_lost, 1);
}

#[test]
fn attributes_of_overlayfs_are_left_out() {
    let place = Place::new();
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.user.fine", b"a\nb=c\0d"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc/shadow"),
            ("SCHILY.xattr.user.overlay.metacopy", b""),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
        ])
        .file("file", "x")
        .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y"), ("SCHILY.xattr.user.d", b"1")])
        .directory("directory")
        .pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")])
        .directory("./");
    let report = place.layer(tar).unwrap();
    assert_eq!(report.xattrs_skipped, 6);
    assert_eq!(place.xattr("file", "user.fine").unwrap(), b"a\nb=c\0d");
    for name in ["user.overlay.redirect", "user.overlay.metacopy", "trusted.overlay.opaque", "security.selinux"] {
        assert_eq!(place.xattr("file", name), None);
    }
    assert_eq!(place.xattr("directory", "user.overlay.opaque"), None);
    assert_eq!(place.xattr("directory", "user.d").unwrap(), b"1");
    assert_eq!(place.xattr("", "user.overlay.opaque"), None);
}

#[test]
fn file_capabilities_survive_the_change_of_owner() {
    if !crate::sys::testing::only_for_root() {
        return;
    }
    let place = Place::new();
    // Version 2, effective, cap_net_raw permitted: what `ping` has. It contains a newline byte on purpose.
    let value = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0";
    let tar = Tar::default().pax(&[("SCHILY.xattr.security.capability", value)]).item(&Item {
        path: b"ping",
        owner: (0, 5),
        mode: 0o755,
        ..Item::default()
    });
    place.unpack(tar).unwrap();
    assert_eq!(place.xattr("ping", "security.capability").unwrap(), value);
}

#[test]
fn whiteouts_of_layers() {
    let place = Place::new();
    let tar = Tar::default()
        .directory("etc")
        .file("etc/.wh.passwd", "")
        .directory("var")
        .file("var/.wh..wh..opq", "")
        .file("opt/.wh..wh..opq", "")
        .file("opt/new", "x")
        // Made in this layer: the whiteout is about lower ones.
        .file("usr/file", "x")
        .file("usr/.wh.file", "")
        .file("usr/dir/x", "x")
        .file("usr/.wh.dir", "")
        // The whiteout first, then something new of that name, which must hide what is below it.
        .file(".wh.srv", "")
        .directory("srv")
        .file(".wh.mnt", "")
        .file("mnt/deep/x", "x")
        .file(".wh.plain", "")
        .file("plain", "x")
        .file(".wh..wh.plnk/1.2", "");
    let report = place.layer(tar).unwrap();
    assert_eq!(report.whiteouts, 8);
    assert!(!report.hides_everything);
    assert!(place.is_whiteout("etc/passwd"));
    for (path, opaque) in [("etc", false), ("var", true), ("opt", true), ("usr", false), ("usr/dir", true)] {
        assert_eq!(place.xattr(path, "user.overlay.opaque").is_some(), opaque, "{path}");
    }
    for (path, opaque) in [("srv", true), ("mnt", true), ("mnt/deep", false)] {
        assert_eq!(place.xattr(path, "user.overlay.opaque").is_some(), opaque, "{path}");
    }
    assert_eq!(place.read("usr/file"), "x");
    assert_eq!(place.read("usr/dir/x"), "x");
    assert_eq!(place.read("mnt/deep/x"), "x");
    assert_eq!(place.read("plain"), "x");
    assert!(!place.root().join(".wh..wh.plnk").exists());

    assert!(Place::new().layer(Tar::default().file(".wh..wh..opq", "")).unwrap().hides_everything);
    for path in [".wh.", "a/.wh..", ".wh....", ".wh.a/b"] {
        let result = Place::new().layer(Tar::default().file(path, ""));
        if path == ".wh...." {
            result.unwrap();
        } else {
            assert!(matches!(entry_error(result).1, EntryError::Whiteout), "{path}");
        }
    }
    // The device of a whiteout comes from `.wh.` names only.
    let tar = Tar::default().file(".wh.a", "").link("b", "a");
    assert!(matches!(entry_error(Place::new().layer(tar)).1, EntryError::LinkTarget { .. }));
    // In a root file system these are names.
    let place = Place::new();
    place.unpack(Tar::default().file("etc/.wh.passwd", "x")).unwrap();
    assert_eq!(place.read("etc/.wh.passwd"), "x");
}

#[test]
fn damaged_archives_do_no_harm() {
    let whole = Tar::default()
        .directory("a")
        .directory("outside")
        .symlink("out", "../outside")
        .pax(&[("path", b"a/b"), ("SCHILY.xattr.user.x", b"1")])
        .file("f", "content")
        .link("h", "a/b")
        .file("out/x", "x")
        .done();
    Place::new().unpack_with(&whole, Whiteouts::Convert).unwrap();
    // A fixed sequence (xorshift), so that a failure can be seen again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut unpacked = 0;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        let block = random(bytes.len() / 512) * 512;
        for _ in 0..=random(4) {
            bytes[block + random(512)] = u8::try_from(random(256)).unwrap();
        }
        // Most changes would end at the checksum: mend it.
        let header: &mut [u8; 512] = (&mut bytes[block..block + 512]).try_into().unwrap();
        if header[257..262] == *b"ustar" {
            seal(header);
        }
        let place = Place::new();
        let result = place.unpack_with(&bytes, Whiteouts::Convert);
        place.check_outside();
        unpacked += u32::from(result.is_ok());
    }
    // Neither all nor none: the changes reach behind the checksum.
    assert!((1..300).contains(&unpacked), "{unpacked}");
}

#[test]
fn decompression_bombs_end() {
    let bytes = Tar::default().file("zeros", &"\0".repeat(4 << 20)).done();
    let limits = UnpackLimits { size_bytes: 1 << 20, ..UnpackLimits::default() };
    for archive in [zstd::encode_all(bytes.as_slice(), 1).unwrap(), bytes.clone()] {
        let place = Place::new();
        let root = crate::sys::fs::open_directory(&place.root()).unwrap();
        let options = UnpackOptions { owners: Owners::Squash, limits, ..UnpackOptions::default() };
        let error = unpack_layer(archive.as_slice(), root.as_fd(), options).unwrap_err();
        let UnpackError::Read { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), LimitError::Size { limit: 1 << 20 }.to_string());
        assert!(std::fs::metadata(place.root().join("zeros")).unwrap().len() <= 1 << 20);
        let mut made = 0;
        let count = |piece: &[u8]| {
            made += piece.len();
            Ok::<(), UnpackError>(())
        };
        assert!(decompress(archive.as_slice(), limits, count).is_err());
        assert!(made <= 1 << 20, "{made}");
    }
}

#[test]
fn a_frame_cannot_ask_for_a_large_window() {
    // Magic; no size, no checksum; a window of 2^(10 + n) bytes; an empty last block.
    let frame = |n: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, n << 3][..], &[1, 0, 0]].concat();
    let read = |frame: &[u8]| decompress(frame, UnpackLimits::default(), |_| Ok::<(), UnpackError>(()));
    assert!(read(&frame(17)).is_ok());
    for n in [18, 22, 31] {
        let UnpackError::Read { source, .. } = read(&frame(n)).unwrap_err() else { panic!("{n}") };
        assert!(source.to_string().contains("too much memory"), "{n}: {source}");
    }
}

#[test]
fn names_that_differ_in_case_are_different() {
    let place = Place::new();
    let tar = Tar::default()
        .file("README", "1")
        .file("readme", "2")
        .symlink("OUT", "../outside")
        .directory("out")
        .file("out/made", "3");
    place.unpack(tar).unwrap();
    assert_eq!((place.read("README"), place.read("readme")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(place.read("out/made"), "3");
    place.check_outside();
}

/// Endless zeros behind a beginning, and how many of its bytes were asked for.
struct Endless<'a> {
    begin: &'a [u8],
    read: u64,
}

impl std::io::Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.begin.read(buffer)?;
        let count = if count == 0 { buffer.len() } else { count };
        self.read += count as u64;
        Ok(count)
    }
}

#[test]
fn gigabytes_of_headers_are_refused_before_they_are_read() {
    // Extended headers, long names and long links, which a parser must hold as a whole.
    for kind in [b'x', b'g', b'L', b'K'] {
        let place = Place::new();
        let begin = Tar::header(&Item { kind, path: b"long", ..Item::default() }, 4 << 30);
        let mut archive = Endless { begin: &begin, read: 0 };
        let result = place.unpack_from(&mut archive, UnpackOptions::default());
        assert!(matches!(result, Err(UnpackError::Damaged { .. })), "{}: {result:?}", char::from(kind));
        assert!(archive.read < 32 << 20, "{}: {} bytes", char::from(kind), archive.read);
    }
}

#[test]
fn a_file_of_gigabytes_that_is_not_there_takes_no_space() {
    let place = Place::new();
    let mut bytes = Tar::header(&Item { path: b"large", ..Item::default() }, 8 << 30).to_vec();
    bytes.extend_from_slice(&[0; 4096]);
    let result = place.unpack_with(&bytes, Whiteouts::Literal);
    assert!(matches!(result, Err(UnpackError::Truncated { .. })), "{result:?}");
    assert!(place.stat("large").blocks() * 512 <= 1 << 20);
}

#[test]
fn directories_without_entries_take_little_memory_however_many_they_are() {
    let place = Place::in_memory();
    let path = |number: u32| format!("{number:0>30}");
    // 100,000 of them. What has an entry later is no more implied.
    let below = "/d".repeat(19);
    let tar = (0..5000).fold(Tar::default(), |tar, number| tar.symlink(&format!("{}{below}/x", path(number)), "y"));
    let tar = (0..100).fold(tar, |tar, number| tar.directory(&path(number)));
    let tar = tar.symlink("l", &path(600)).file("l/below/x", "");
    // Others are replaced, or cannot be looked into at the end.
    let tar = tar.file(&path(700), "file").file("closed/in/x", "");
    let report = place.unpack(tar.item(&Item { kind: b'5', path: b"closed", mode: 0, ..Item::default() })).unwrap();
    let implied: Vec<String> = report.implied.paths().map(|path| String::from_utf8(path.unwrap()).unwrap()).collect();
    let expected = (0..5000).filter(|number| *number != 700).flat_map(|number| {
        let all = (0..20).map(move |depth| format!("{}{}", path(number), "/d".repeat(depth)));
        all.skip(usize::from(number < 100))
    });
    assert!(implied.into_iter().eq(expected.chain(["closed/in".to_owned()])));
    assert_eq!(report.implied.len(), 4999 * 20 - 100 + 1);
    assert!(report.implied.bytes_in_memory() <= 2 << 20);
    std::fs::set_permissions(place.root().join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
}
