//! What one entry of an archive asks for. Pure; everything in it is untrusted.

use rustix::fs::Timespec;
use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, PaxExtensions, SparseEntry};

use super::error::EntryError;

/// What an entry is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    /// A character or block device.
    Device,
    /// Something that is no file: a volume label.
    Nothing,
}

/// The regions of a sparse file that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    pub map: Vec<(u64, u64)>,
    pub real_size: u64,
}

/// One entry, detached from the buffer it was parsed from.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub untrusted_path: Vec<u8>,
    pub untrusted_target: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub modified: Timespec,
    /// Bytes of content in the archive, without padding.
    pub stored_size: u64,
    pub sparse: Option<Sparse>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Detaches `parsed`. `sparse` is the map and the logical size, if it is a sparse file.
    pub fn new(parsed: &ParsedEntry<'_>, sparse: Option<(Vec<SparseEntry>, u64)>) -> Result<Self, EntryError> {
        let kind = kind(parsed);
        let (mut stored_size, mut checked) = (parsed.size, None);
        if let (Some((map, real_size)), Kind::File) = (sparse, kind) {
            let total = check_sparse(&map, real_size).ok_or(EntryError::Sparse)?;
            // The parser takes a PAX `size` for the content, although in sparse format 1.0 it counts the map as well.
            let pax_size = parsed.pax.is_some_and(|pax| PaxExtensions::new(pax).get("size").is_some());
            if total != stored_size && !(pax_size && total < stored_size) {
                return Err(EntryError::Sparse);
            }
            stored_size = total;
            checked =
                Some(Sparse { map: map.iter().map(|region| (region.offset, region.length)).collect(), real_size });
        }
        // Only files have content: old archives give the size of the file for its links.
        if !matches!(kind, Kind::File | Kind::Nothing) {
            stored_size = 0;
        }
        Ok(Self {
            untrusted_path: parsed.path.to_vec(),
            untrusted_target: parsed.link_target.as_ref().map(|target| target.to_vec()).unwrap_or_default(),
            kind,
            mode: parsed.mode & 0o7777,
            uid: parsed.uid,
            gid: parsed.gid,
            modified: modified(parsed),
            stored_size,
            sparse: checked,
            xattrs: parsed.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        })
    }
}

fn kind(parsed: &ParsedEntry<'_>) -> Kind {
    match parsed.entry_type {
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Other(b'V' | b'M') => Kind::Nothing,
        // Before POSIX a directory was a file whose name ends in a slash.
        EntryType::Regular if parsed.path.ends_with(b"/") => Kind::Directory,
        // Unknown types are files (POSIX).
        _ => Kind::File,
    }
}

/// The sum of the regions, which must lie in order inside the file.
fn check_sparse(map: &[SparseEntry], real_size: u64) -> Option<u64> {
    let (mut end, mut total) = (0_u64, 0_u64);
    for region in map {
        if region.offset < end {
            return None;
        }
        end = region.offset.checked_add(region.length)?;
        total = total.checked_add(region.length)?;
    }
    (end <= real_size).then_some(total)
}

/// The modification time: seconds with a fraction from PAX, or whole seconds. GNU tar writes times before 1970 as
/// negative base-256 numbers, which arrive here as large unsigned ones.
fn modified(parsed: &ParsedEntry<'_>) -> Timespec {
    let exact = parsed.pax.and_then(|pax| PaxExtensions::new(pax).get("mtime")).and_then(parse_time);
    exact.unwrap_or(Timespec { tv_sec: parsed.mtime.cast_signed(), tv_nsec: 0 })
}

/// `-12.25` is 12.25 seconds before 1970: 13 whole seconds before, and 0.75 forward.
fn parse_time(text: &str) -> Option<Timespec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let mut seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let mut nanoseconds: i64 = digits.parse().ok()?;
    if negative && nanoseconds > 0 {
        seconds = seconds.checked_sub(1)?;
        nanoseconds = 1_000_000_000 - nanoseconds;
    }
    Some(Timespec { tv_sec: seconds, tv_nsec: nanoseconds })
}

/// A name in an archive as a path below its root: no leading slash, no empty and no `.` components. `None` when it has
/// a `..`; the root itself is the empty path.
pub(super) fn beneath(untrusted: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(untrusted.len());
    for component in untrusted.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    Some(path)
}

/// Directory and last component of a path that [`beneath`] gave.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath() {
        for (untrusted, path) in [
            ("usr/bin/env", Some("usr/bin/env")),
            ("./usr//bin/./env/", Some("usr/bin/env")),
            ("/etc/passwd", Some("etc/passwd")),
            ("./", Some("")),
            ("/", Some("")),
            ("a/..b/...", Some("a/..b/...")),
            ("..", None),
            ("a/../../etc", None),
            ("a/..", None),
        ] {
            assert_eq!(beneath(untrusted.as_bytes()).as_deref(), path.map(str::as_bytes), "{untrusted}");
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, expected) in [
            ("12", Some((12, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.1234567891", Some((12, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-12.25", Some((-13, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("", None),
            ("12.x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_time(text).map(|time| (time.tv_sec, time.tv_nsec)), expected, "{text}");
        }
    }

    #[test]
    fn sparse_maps_fit() {
        let map = |regions: &[(u64, u64)]| -> Vec<SparseEntry> {
            regions.iter().map(|&(offset, length)| SparseEntry { offset, length }).collect()
        };
        for (regions, size, total) in [
            (vec![(0, 10), (20, 5), (100, 0)], 100, Some(15)),
            (vec![], 100, Some(0)),
            (vec![(90, 11)], 100, None),
            (vec![(0, 10), (5, 5)], 100, None),
            (vec![(u64::MAX, 2)], u64::MAX, None),
        ] {
            assert_eq!(check_sparse(&map(&regions), size), total, "{regions:?}");
        }
    }
}
