use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use super::*;
use crate::image::digest;

/// A tar archive written byte by byte.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

struct Item<'a> {
    kind: u8,
    path: &'a [u8],
    link: &'a [u8],
    mode: u32,
    owner: (u32, u32),
    time: u64,
    content: &'a [u8],
}

impl Default for Item<'_> {
    fn default() -> Self {
        Self { kind: b'0', path: b"", link: b"", mode: 0o644, owner: (0, 0), time: 1_000_000_000, content: b"" }
    }
}

fn octal(field: &mut [u8], value: u64) {
    let text = format!("{value:0width$o}", width = field.len() - 1);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    fn header(item: &Item<'_>, size: u64) -> [u8; 512] {
        let mut header = [0; 512];
        header[..item.path.len().min(100)].copy_from_slice(&item.path[..item.path.len().min(100)]);
        octal(&mut header[100..108], item.mode.into());
        octal(&mut header[108..116], item.owner.0.into());
        octal(&mut header[116..124], item.owner.1.into());
        octal(&mut header[124..136], size);
        octal(&mut header[136..148], item.time);
        header[156] = item.kind;
        header[157..157 + item.link.len()].copy_from_slice(item.link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        header
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn item(mut self, item: &Item<'_>) -> Self {
        self.0.extend_from_slice(&Self::header(item, item.content.len() as u64));
        self.content(item.content)
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.item(&Item { path: path.as_bytes(), content: content.as_bytes(), ..Item::default() })
    }

    fn directory(self, path: &str) -> Self {
        self.item(&Item { kind: b'5', path: path.as_bytes(), mode: 0o755, ..Item::default() })
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.item(&Item { kind: b'2', path: path.as_bytes(), link: target.as_bytes(), ..Item::default() })
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.item(&Item { kind: b'1', path: path.as_bytes(), link: target.as_bytes(), ..Item::default() })
    }

    /// Records for the next entry.
    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (body + 1..).find(|length| body + length.to_string().len() == *length).unwrap();
            write!(text, "{length} {key}=").unwrap();
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.item(&Item { kind: b'x', path: b"pax", content: &text, ..Item::default() })
    }

    fn done(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A root to unpack into, with a secret beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.root()).unwrap();
        std::fs::create_dir(place.outside()).unwrap();
        std::fs::write(place.outside().join("secret"), "secret").unwrap();
        place
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.0.path().join("outside")
    }

    fn unpack_with(&self, archive: &[u8], whiteouts: Whiteouts) -> Result<UnpackReport, UnpackError> {
        let owners = if rustix::process::getuid().is_root() { Owners::Keep } else { Owners::Squash };
        let root = crate::sys::fs::open_directory(&self.root()).unwrap();
        unpack_layer(archive, root.as_fd(), UnpackOptions { owners, whiteouts, advance: None })
    }

    fn unpack(&self, tar: Tar) -> Result<UnpackReport, UnpackError> {
        self.unpack_with(&tar.done(), Whiteouts::Literal)
    }

    fn layer(&self, tar: Tar) -> Result<UnpackReport, UnpackError> {
        self.unpack_with(&tar.done(), Whiteouts::Convert)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    fn stat(&self, path: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.root().join(path)).unwrap()
    }

    fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = [0_u8; 256];
        let count = rustix::fs::lgetxattr(self.root().join(path), name, &mut value).ok()?;
        Some(value[..count].to_vec())
    }

    fn is_whiteout(&self, path: &str) -> bool {
        std::fs::symlink_metadata(self.root().join(path))
            .is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
    }

    /// Nothing beside the root was made or changed.
    fn check_outside(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["outside", "root"]);
        assert_eq!(std::fs::read_dir(self.outside()).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(self.outside().join("secret")).unwrap(), "secret");
        assert_eq!(std::fs::metadata(self.outside().join("secret")).unwrap().nlink(), 1);
    }
}

fn entry_error(result: Result<UnpackReport, UnpackError>) -> (String, EntryError) {
    match result.unwrap_err() {
        UnpackError::Entry { path, source } => (path, source),
        other => panic!("{other:?}"),
    }
}

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
    assert_eq!(report.blob, format!("sha256:{}", digest::of_bytes(&bytes)));
    assert_eq!(report.diff_id, report.blob);
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
    if !rustix::process::getuid().is_root() {
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
    if !rustix::process::getuid().is_root() {
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
        assert_eq!(report.blob, format!("sha256:{}", digest::of_bytes(&compressed)));
        assert_eq!(report.diff_id, format!("sha256:{}", digest::of_bytes(&whole)));
        assert_eq!(report.blob_bytes, compressed.len() as u64);
        assert_eq!(place.read("a").len(), 600_000);
        assert_eq!(place.read("b"), "y");
    }
    // What follows the end marker belongs to the digests.
    let padded = [whole, vec![0; 300_000]].concat();
    let report = Place::new().unpack_with(&padded, Whiteouts::Literal).unwrap();
    assert_eq!(report.blob, format!("sha256:{}", digest::of_bytes(&padded)));
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
