//! What the directories of the host looked like when the metadata layer was made from them.
//!
//! One file: a line naming the format, then per directory its path and six numbers, NUL-separated. A directory that was
//! changed less than [`RACY_SECONDS`] before it was read is stored without times: another change within the same tick
//! of the clock would not show in them, so it is read again next time.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::walk::Stamp;

/// A change this recent may be followed by one with the same time.
pub(super) const RACY_SECONDS: i64 = 2;

const FORMAT: &[u8] = b"devbox host index 1";

/// The text of an index. `started` is when the walk began, in seconds since the epoch.
pub(super) fn write(stamps: &[Stamp], started: i64) -> Vec<u8> {
    let mut text = Vec::with_capacity(stamps.len() * 120);
    text.extend_from_slice(FORMAT);
    text.push(0);
    for stamp in stamps {
        let Stamp { path, device, inode, modified, changed } = stamp;
        text.extend_from_slice(path.as_os_str().as_bytes());
        let racy = modified.0.max(changed.0) >= started - RACY_SECONDS;
        let (modified, changed) = if racy { ((0, 0), (0, 0)) } else { (*modified, *changed) };
        // Writing to a vector cannot fail.
        let numbers = [modified.0, modified.1, changed.0, changed.1];
        write!(text, "\0{device} {inode}").unwrap_or_default();
        for number in numbers {
            write!(text, " {number}").unwrap_or_default();
        }
        text.push(0);
    }
    text
}

/// Reads an index. `None`: it is damaged, or of another format.
pub(super) fn parse(text: &[u8]) -> Option<Vec<Stamp>> {
    let mut fields = text.split(|byte| *byte == 0);
    if fields.next()? != FORMAT {
        return None;
    }
    let mut stamps = Vec::new();
    while let Some(path) = fields.next() {
        let Some(numbers) = fields.next() else {
            return path.is_empty().then_some(stamps);
        };
        let mut numbers = std::str::from_utf8(numbers).ok()?.split(' ');
        let device = numbers.next()?.parse().ok()?;
        let inode = numbers.next()?.parse().ok()?;
        let mut number = || numbers.next()?.parse::<i64>().ok();
        stamps.push(Stamp {
            path: PathBuf::from(OsStr::from_bytes(path)),
            device,
            inode,
            modified: (number()?, number()?),
            changed: (number()?, number()?),
        });
    }
    None
}

/// Loads an index file.
pub(super) fn load(path: &Path) -> Option<Vec<Stamp>> {
    parse(&std::fs::read(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_back() {
        let stamp = |path: &str, time: i64| Stamp {
            path: path.into(),
            device: 7,
            inode: u64::MAX,
            modified: (time, 5),
            changed: (time, 6),
        };
        let stamps = [stamp("usr", -5), stamp("usr/a b\n", 90), stamp("", 99)];
        let text = write(&stamps, 100);
        let read = parse(&text).unwrap();
        assert_eq!(read[..2], stamps[..2]);
        assert_eq!((read[2].modified, read[2].changed), ((0, 0), (0, 0)), "racy");
        assert_eq!(parse(&text[..text.len() - 1]), None, "truncated");
        assert_eq!(parse(&text[..text.len() - 9]), None, "truncated");
        assert_eq!(parse(b""), None);
    }
}
