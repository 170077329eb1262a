//! Layers: an archive is unpacked below a directory, and changes nothing beside it.
//!
//! Checksums are mended first, which no fuzzer would guess. To be run as an ordinary user, in case that something is found.
#![no_main]

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use devbox::image::layer::{Owners, UnpackOptions, Whiteouts, unpack_layer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let archive = sealed(bytes);
    let outer = tempfile::Builder::new().prefix("fuzz.").tempdir_in("/dev/shm").expect("a directory");
    let root = outer.path().join("root");
    fs::create_dir(&root).expect("a directory");
    fs::write(outer.path().join("beside"), "as it was").expect("write a file");
    let directory = File::open(&root).expect("a directory");
    let options = UnpackOptions { owners: Owners::Squash, whiteouts: Whiteouts::Convert, ..UnpackOptions::default() };
    if let Err(error) = unpack_layer(archive.as_slice(), directory.as_fd(), options) {
        assert!(!error.to_string().contains('\u{1b}'));
    }
    let mut names: Vec<_> =
        fs::read_dir(outer.path()).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["beside", "root"]);
    assert_eq!(fs::read_to_string(outer.path().join("beside")).expect("a file"), "as it was");
    open_up(&root);
});

/// Every block that looks like a header gets the checksum of one.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    for header in archive.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    archive
}

/// Directories of any mode must go away with the temporary one.
fn open_up(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o700)).expect("an own directory");
    for entry in fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            open_up(&entry.path());
        }
    }
}
