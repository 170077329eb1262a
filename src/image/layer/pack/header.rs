//! What a tar says of one file: headers in ustar's form, and PAX records for what that cannot say. Pure.

use rustix::fs::Timespec;
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Directory,
    /// A regular file of so many bytes, which follow.
    File(u64),
    /// A symbolic link to this.
    Symlink(&'a [u8]),
    /// A further name of the file at this path.
    HardLink(&'a [u8]),
    Fifo,
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// What is known of a file besides its name and content.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    /// Permissions with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Timespec,
    /// Names and values, sorted.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Of what has none: whiteouts.
    pub fn none() -> Self {
        Self { mode: 0, uid: 0, gid: 0, modified: Timespec { tv_sec: 0, tv_nsec: 0 }, xattrs: Vec::new() }
    }
}

/// The blocks in front of the content of the file at `path`, which is relative to the root. That of the root itself
/// is empty.
pub(super) fn blocks(path: &[u8], kind: Kind<'_>, attributes: &Attributes) -> Result<Vec<u8>, tar_core::HeaderError> {
    let mut entry = EntryBuilder::new_ustar();
    // A time before 1970 has no place in the header.
    let in_header = u64::try_from(attributes.modified.tv_sec).unwrap_or(0);
    entry.mode(attributes.mode)?.uid(attributes.uid.into())?.gid(attributes.gid.into())?.mtime(in_header)?;
    let modified = attributes.modified;
    if modified.tv_nsec != 0 || modified.tv_sec < 0 {
        entry.add_pax("mtime", time(modified));
    }
    for (name, value) in &attributes.xattrs {
        entry.add_pax(&format!("SCHILY.xattr.{name}"), value);
    }
    let (entry_type, target, size) = match kind {
        Kind::Directory => (EntryType::Directory, None, 0),
        Kind::File(size) => (EntryType::Regular, None, size),
        Kind::Symlink(target) => (EntryType::Symlink, Some(target), 0),
        Kind::HardLink(target) => (EntryType::Link, Some(target), 0),
        Kind::Fifo => (EntryType::Fifo, None, 0),
        Kind::CharacterDevice(..) => (EntryType::Char, None, 0),
        Kind::BlockDevice(..) => (EntryType::Block, None, 0),
    };
    if let Kind::CharacterDevice(major, minor) | Kind::BlockDevice(major, minor) = kind {
        entry.device(major, minor)?;
    }
    entry.entry_type(entry_type).size(size)?;
    if let Some(target) = target {
        entry.link_name(target);
    }
    match (path, kind) {
        ([], _) => entry.path("./"),
        (path, Kind::Directory) => entry.path([path, b"/"].concat()),
        (path, _) => entry.path(path),
    };
    Ok(entry.finish_bytes())
}

/// Seconds with as many digits behind the point as are needed.
fn time(time: Timespec) -> String {
    // 13 seconds before 1970 and 0.75 forward is -12.25.
    let total = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let sign = if total < 0 { "-" } else { "" };
    let (seconds, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{seconds}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        for (seconds, nanoseconds, expected) in [
            (12, 500_000_000, "12.5"),
            (12, 1, "12.000000001"),
            (100, 0, "100"),
            (-1, 0, "-1"),
            (-13, 750_000_000, "-12.25"),
            (-1, 500_000_000, "-0.5"),
            (0, 0, "0"),
        ] {
            assert_eq!(time(Timespec { tv_sec: seconds, tv_nsec: nanoseconds }), expected);
        }
    }

    #[test]
    fn short_and_plain_needs_one_block() {
        let attributes = Attributes { mode: 0o755, uid: 1000, ..Attributes::none() };
        for (path, kind, attributes, blocks_expected) in [
            (b"bin/tool".to_vec(), Kind::File(3), attributes.clone(), 1),
            ([b'x'; 99].to_vec(), Kind::Directory, attributes.clone(), 1),
            ([b'x'; 100].to_vec(), Kind::Directory, attributes.clone(), 3),
            (b"link".to_vec(), Kind::Symlink(&[b'y'; 101]), attributes.clone(), 3),
            (b"large".to_vec(), Kind::File(1 << 33), attributes.clone(), 3),
            (b"far".to_vec(), Kind::Fifo, Attributes { uid: 4_000_000, ..attributes }, 3),
        ] {
            let blocks = blocks(&path, kind, &attributes).unwrap();
            assert_eq!(blocks.len(), blocks_expected * 512, "{kind:?}");
        }
    }
}
