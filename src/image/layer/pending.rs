//! Directories whose times and modes are set at the end: as many as an archive names, in little memory.
//!
//! What is more than [`CHUNK`] lies in a file without a name on the file system of the tree, and is read again from its
//! end. One record after another: inode, mode, seconds, nanoseconds, length of the path (8 bytes each), path.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, Timespec};

/// Directories that are kept in memory.
const CHUNK: usize = 16 << 10;
/// Bytes of a record without its path.
const FIXED: usize = 5 * 8;

/// What is set on a directory when nothing is put into it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub path: Vec<u8>,
    pub inode: u64,
    pub mode: u32,
    pub modified: Timespec,
}

/// All of them, in the order of the archive.
pub(super) struct Directories<'a> {
    root: BorrowedFd<'a>,
    /// The last ones.
    recent: Vec<Pending>,
    /// Those before; `None`: there are none, or the file system has no files without a name.
    spilled: Option<File>,
    /// Where each chunk in the file begins, and at the end where the next one would.
    chunks: Vec<u64>,
    chunk: usize,
}

impl<'a> Directories<'a> {
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, recent: Vec::new(), spilled: None, chunks: vec![0], chunk: CHUNK }
    }

    pub fn push(&mut self, pending: Pending) -> io::Result<()> {
        self.recent.push(pending);
        if self.recent.len() >= self.chunk { self.spill() } else { Ok(()) }
    }

    /// The last ones that are left, in order; empty: there are no more.
    pub fn take_last(&mut self) -> io::Result<Vec<Pending>> {
        if !self.recent.is_empty() {
            return Ok(std::mem::take(&mut self.recent));
        }
        let [.., start, end] = self.chunks[..] else { return Ok(Vec::new()) };
        let Some(file) = &self.spilled else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start)?;
        self.chunks.pop();
        let mut rest = bytes.as_slice();
        std::iter::from_fn(|| read(&mut rest))
            .map(|found| found.ok_or_else(|| io::ErrorKind::InvalidData.into()))
            .collect()
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.spilled.is_none() {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(self.root, ".", flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => self.spilled = Some(file.into()),
                // Then memory must do.
                Err(_) => self.chunk = usize::MAX,
            }
        }
        let Some(file) = &self.spilled else { return Ok(()) };
        let mut bytes = Vec::new();
        for Pending { path, inode, mode, modified } in self.recent.drain(..) {
            let seconds = modified.tv_sec.cast_unsigned();
            let nanoseconds = modified.tv_nsec.unsigned_abs();
            for field in [inode, u64::from(mode), seconds, nanoseconds, path.len() as u64] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            bytes.extend_from_slice(&path);
        }
        let start = self.chunks.last().copied().unwrap_or_default();
        file.write_all_at(&bytes, start)?;
        self.chunks.push(start + bytes.len() as u64);
        Ok(())
    }
}

/// The next record; `None` at the end, `Some(None)` if it is cut off.
fn read(bytes: &mut &[u8]) -> Option<Option<Pending>> {
    if bytes.is_empty() {
        return None;
    }
    let mut record = || {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let field = |number: usize| fixed[8 * number..][..8].try_into().map(u64::from_le_bytes).ok();
        let (path, rest) = rest.split_at_checked(usize::try_from(field(4)?).ok()?)?;
        *bytes = rest;
        let modified = Timespec { tv_sec: field(2)?.cast_signed(), tv_nsec: field(3)?.try_into().ok()? };
        Some(Pending { path: path.to_vec(), inode: field(0)?, mode: field(1)?.try_into().ok()?, modified })
    };
    let found = record();
    if found.is_none() {
        *bytes = &[];
    }
    Some(found)
}

/// Inodes, most of which follow each other.
#[derive(Default)]
pub(super) struct Inodes(HashMap<u64, u64>);

impl Inodes {
    /// Adds one; whether it was not there.
    pub fn insert(&mut self, inode: u64) -> bool {
        let word = self.0.entry(inode / 64).or_default();
        let bit = 1 << (inode % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn everything_comes_back_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let all: Vec<Pending> = (0..1000_u32)
            .map(|number| Pending {
                path: vec![b'a'; number as usize % 300],
                inode: u64::from(number) << 40,
                mode: number,
                modified: Timespec { tv_sec: i64::from(number) - 500, tv_nsec: 999_999_999 },
            })
            .collect();
        let mut directories = Directories { chunk: 64, ..Directories::new(root.as_fd()) };
        all.iter().for_each(|pending| directories.push(pending.clone()).unwrap());
        assert!(directories.recent.len() < 64);
        let mut found = Vec::new();
        loop {
            let last = directories.take_last().unwrap();
            if last.is_empty() {
                break;
            }
            found.extend(last.into_iter().rev());
        }
        found.reverse();
        assert_eq!(found, all);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut inodes = Inodes::default();
        assert!(inodes.insert(63) && inodes.insert(64) && !inodes.insert(63) && inodes.insert(u64::MAX));
    }
}
