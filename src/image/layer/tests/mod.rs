//! Archives written byte by byte, and places to unpack them into.

mod formats;
mod hostile;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

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
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory, where making and removing a great many files takes little time; or else on a disk.
    fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn within(directory: tempfile::TempDir) -> Self {
        let place = Self(directory);
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
        self.unpack_from(archive, UnpackOptions { whiteouts, names_blob: true, ..UnpackOptions::default() })
    }

    /// With the owners that this user may give.
    fn unpack_from(
        &self,
        archive: impl std::io::Read + Send,
        options: UnpackOptions,
    ) -> Result<UnpackReport, UnpackError> {
        let owners = if rustix::process::getuid().is_root() { Owners::Keep } else { Owners::Squash };
        let root = crate::sys::fs::open_directory(&self.root()).unwrap();
        unpack_layer(archive, root.as_fd(), UnpackOptions { owners, ..options })
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
