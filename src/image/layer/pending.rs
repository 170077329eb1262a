//! Directories that are looked at again when an archive is at its end: those whose times and modes are set then, and
//! those that it has no entry for. As many as there are, in little memory ([`super::spill`]).

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::Timespec;

use super::spill::Spill;

/// What is set on a directory when nothing is put into it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub path: Vec<u8>,
    pub inode: u64,
    pub mode: u32,
    pub modified: Timespec,
}

/// All of them, in the order of the archive: inode, mode, seconds and nanoseconds.
pub(super) struct Directories<'a> {
    root: BorrowedFd<'a>,
    spill: Spill<4>,
}

impl<'a> Directories<'a> {
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, spill: Spill::default() }
    }

    pub fn push(&mut self, pending: Pending) -> io::Result<()> {
        let Pending { path, inode, mode, modified } = pending;
        let (seconds, nanoseconds) = (modified.tv_sec.cast_unsigned(), modified.tv_nsec.unsigned_abs());
        self.spill.push(self.root, [inode, mode.into(), seconds, nanoseconds], &path)
    }

    /// The last ones that are left, in order; empty: there are no more.
    pub fn take_last(&mut self) -> io::Result<Vec<Pending>> {
        let pending = |([inode, mode, seconds, nanoseconds], path): ([u64; 4], Vec<u8>)| {
            let modified = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanoseconds.try_into().ok()? };
            Some(Pending { path, inode, mode: mode.try_into().ok()?, modified })
        };
        let last = self.spill.take_last()?.into_iter().map(pending);
        last.map(|found| found.ok_or_else(|| io::ErrorKind::InvalidData.into())).collect()
    }
}

/// Directories that an archive has no entry for, because lower layers have them: parents before children. Below the root,
/// without a leading slash.
#[derive(Debug, Default)]
pub struct Implied {
    /// With their inodes.
    spill: Spill<1>,
    count: u64,
}

impl Implied {
    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their paths; an error if they cannot be read again.
    pub fn paths(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        self.spill.records().map(|record| record.map(|(_, path)| path))
    }

    pub(super) fn push(&mut self, root: BorrowedFd<'_>, inode: u64, path: &[u8]) -> io::Result<()> {
        self.count += 1;
        self.spill.push(root, [inode], path)
    }

    #[cfg(test)]
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.spill.bytes_in_memory()
    }

    /// Inodes and paths.
    pub(super) fn records(&self) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> {
        self.spill.records().map(|record| record.map(|([inode], path)| (inode, path)))
    }
}

/// Inodes, most of which follow each other.
#[derive(Default)]
pub(super) struct Inodes(HashMap<u64, u64>);

impl Inodes {
    /// Adds one; whether it was not there.
    pub fn insert(&mut self, inode: u64) -> bool {
        let is_new = !self.contains(inode);
        *self.0.entry(inode / 64).or_default() |= 1 << (inode % 64);
        is_new
    }

    pub fn contains(&self, inode: u64) -> bool {
        self.0.get(&(inode / 64)).is_some_and(|word| word & 1 << (inode % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn directories_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let pending = |seconds| Pending {
            path: b"a/b".to_vec(),
            inode: u64::MAX,
            mode: 0o7777,
            modified: Timespec { tv_sec: seconds, tv_nsec: 999_999_999 },
        };
        let all = [pending(-500), pending(0), pending(i64::MAX)];
        let mut directories = Directories::new(root.as_fd());
        all.iter().for_each(|pending| directories.push(pending.clone()).unwrap());
        assert_eq!(directories.take_last().unwrap(), all);
        assert_eq!(directories.take_last().unwrap(), []);
        let mut inodes = Inodes::default();
        assert!(inodes.insert(63) && inodes.insert(64) && !inodes.insert(63) && inodes.insert(u64::MAX));
        assert!(inodes.contains(64) && !inodes.contains(65));
    }
}
