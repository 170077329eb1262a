use std::io::Seek;
use std::os::unix::fs::symlink;

use tar_core::builder::HeaderBuilder;

use super::*;

/// Files, symlinks (`->`) and hard links (`=>`).
fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in entries {
        let mut header = HeaderBuilder::new_ustar();
        header.path(*path).unwrap().mode(0o644).unwrap();
        let (kind, target) = match content.split_at_checked(2) {
            Some(("->", target)) => (EntryType::Symlink, Some(target)),
            Some(("=>", target)) => (EntryType::Link, Some(target)),
            _ => (EntryType::Regular, None),
        };
        if let Some(target) = target {
            header.link_name(target).unwrap();
        }
        let size = if target.is_some() { 0 } else { content.len() };
        header.size(size as u64).unwrap().entry_type(kind);
        bytes.extend_from_slice(header.finish().as_bytes());
        bytes.extend_from_slice(&content.as_bytes()[..size]);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn open(bytes: &[u8]) -> Result<Bundle, LoadError> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    Bundle::from_file(file, &store, UnpackLimits::default())
}

fn text(bundle: &Bundle, name: &str) -> Option<String> {
    bundle.read(name, 100_000).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn names_are_found_in_archives() {
    let large = "x".repeat(70_000);
    let archive = tar(&[
        ("./a", "one"),
        ("d/b", &large),
        ("d/link", "->../a"),
        ("hard", "=>d/b"),
        ("out", "->../../etc/passwd"),
        ("loop", "->loop"),
        ("a", "two"),
        ("../evil", "x"),
        ("/c", "three"),
    ]);
    for bytes in
        [archive.clone(), zstd::encode_all(archive.as_slice(), 1).unwrap(), archive[..archive.len() - 1024].to_vec()]
    {
        let bundle = open(&bytes).unwrap();
        for (name, expected) in [
            ("a", Some("two")),
            ("d/b", Some(large.as_str())),
            ("d/link", Some("two")),
            ("hard", Some(large.as_str())),
            ("c", Some("three")),
            ("out", None),
            ("loop", None),
            ("evil", None),
            ("d", None),
        ] {
            assert_eq!(text(&bundle, name).as_deref(), expected, "{name}");
        }
        let mut rest = String::new();
        bundle.find("c").unwrap().unwrap().reader(3).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ee");
        assert!(matches!(bundle.read("d/b", 10).unwrap_err(), LoadError::TooLarge { limit: 10, .. }));
    }
}

#[test]
fn what_is_no_archive() {
    for bytes in [&b""[..], b"hello", &[b'x'; 2000], &tar(&[("a", "b")])[..300]] {
        let error = open(bytes).unwrap_err();
        assert!(matches!(error, LoadError::Tar { .. } | LoadError::Truncated { .. }), "{error:?}");
    }
    let cut = open(&tar(&[("a", "bcd")])[..513]);
    assert!(cut.is_err() || cut.unwrap().read("a", 10).is_err());
}

#[test]
fn a_directory_is_not_left() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = Store::open(&at("store")).unwrap();
    std::fs::create_dir(at("image")).unwrap();
    std::fs::write(at("secret"), "secret").unwrap();
    std::fs::write(at("image/a"), "one").unwrap();
    symlink("../secret", at("image/up")).unwrap();
    symlink(at("secret"), at("image/absolute")).unwrap();
    symlink("a", at("image/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("image/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let bundle = Bundle::open(&at("image"), &store, UnpackLimits::default()).unwrap();
    for (name, expected) in
        [("a", Some("one")), ("link", Some("one")), ("up", None), ("absolute", None), ("fifo", None), ("missing", None)]
    {
        assert_eq!(text(&bundle, name).as_deref(), expected, "{name}");
    }
}

#[test]
fn names_as_links_have_them() {
    for (name, above, expected) in [
        ("a/./b//c", "", Some("a/b/c")),
        ("../x.tar", "layer", Some("x.tar")),
        ("/x", "layer", Some("x")),
        ("../../x", "layer", None),
        ("", "", None),
        (".", "", None),
    ] {
        assert_eq!(normal(name.as_bytes(), above).as_deref(), expected, "{name}");
    }
    assert_eq!(normal(b"\xff", ""), None);
}
