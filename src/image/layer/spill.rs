//! Records of what an archive names, as many as it names, in little memory.
//!
//! What is more than [`CHUNK_BYTES`] lies in a file without a name on the file system of the tree. One record after
//! another: numbers and the length of the path (8 bytes each), path. A chunk holds whole records.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

/// What is kept in memory.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a number.
const FIELD: usize = 8;

/// A record: numbers and a path.
pub(super) type Record<const N: usize> = ([u64; N], Vec<u8>);

/// Records of `N` numbers and a path each.
#[derive(Debug)]
pub(super) struct Spill<const N: usize> {
    /// The last ones.
    recent: Vec<u8>,
    /// Those before; `None`: there are none, or the file system has no files without a name.
    file: Option<File>,
    /// Where each chunk in the file begins, and at the end where the next one would.
    chunks: Vec<u64>,
    chunk_bytes: usize,
}

impl<const N: usize> Default for Spill<N> {
    fn default() -> Self {
        Self { recent: Vec::new(), file: None, chunks: vec![0], chunk_bytes: CHUNK_BYTES }
    }
}

impl<const N: usize> Spill<N> {
    /// Adds a record; `root` is a directory of the file system.
    pub fn push(&mut self, root: BorrowedFd<'_>, fields: [u64; N], path: &[u8]) -> io::Result<()> {
        for field in fields.into_iter().chain([path.len() as u64]) {
            self.recent.extend_from_slice(&field.to_le_bytes());
        }
        self.recent.extend_from_slice(path);
        if self.recent.len() >= self.chunk_bytes { self.spill(root) } else { Ok(()) }
    }

    fn spill(&mut self, root: BorrowedFd<'_>) -> io::Result<()> {
        if self.file.is_none() {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(root, ".", flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => self.file = Some(file.into()),
                // Then memory must do.
                Err(_) => self.chunk_bytes = usize::MAX,
            }
        }
        let Some(file) = &self.file else { return Ok(()) };
        let start = self.chunks.last().copied().unwrap_or_default();
        file.write_all_at(&self.recent, start)?;
        self.chunks.push(start + self.recent.len() as u64);
        self.recent.clear();
        Ok(())
    }

    /// The last chunk that is left, its records in order; empty: there are no more.
    pub fn take_last(&mut self) -> io::Result<Vec<Record<N>>> {
        let bytes = if self.recent.is_empty() {
            let Some(last) = self.chunks.len().checked_sub(2) else { return Ok(Vec::new()) };
            let bytes = self.stored(last)?;
            self.chunks.pop();
            bytes
        } else {
            std::mem::take(&mut self.recent)
        };
        let mut rest = bytes.as_slice();
        std::iter::from_fn(|| next(&mut rest)).collect()
    }

    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = io::Result<Record<N>>> {
        let (mut chunk, mut bytes, mut used) = (0, Vec::new(), 0);
        std::iter::from_fn(move || {
            while used == bytes.len() {
                if chunk == self.chunks.len() {
                    return None;
                }
                let read = if chunk + 1 == self.chunks.len() { Ok(self.recent.clone()) } else { self.stored(chunk) };
                chunk += 1;
                match read {
                    Ok(read) => (bytes, used) = (read, 0),
                    Err(error) => {
                        chunk = self.chunks.len();
                        return Some(Err(error));
                    }
                }
            }
            let mut rest = &bytes[used..];
            let record = next(&mut rest);
            used = bytes.len() - rest.len();
            record
        })
    }

    #[cfg(test)]
    pub fn bytes_in_memory(&self) -> usize {
        self.recent.capacity()
    }

    /// A chunk of the file.
    fn stored(&self, chunk: usize) -> io::Result<Vec<u8>> {
        let (Some(file), [start, end, ..]) = (&self.file, &self.chunks[chunk..]) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, *start)?;
        Ok(bytes)
    }
}

/// The next record; `None` at the end, an error if it is cut off.
fn next<const N: usize>(bytes: &mut &[u8]) -> Option<io::Result<Record<N>>> {
    if bytes.is_empty() {
        return None;
    }
    let mut record = || {
        let mut number = || {
            let (field, rest) = bytes.split_first_chunk::<FIELD>()?;
            *bytes = rest;
            Some(u64::from_le_bytes(*field))
        };
        let mut fields = [0; N];
        for field in &mut fields {
            *field = number()?;
        }
        let length = usize::try_from(number()?).ok()?;
        let (path, rest) = bytes.split_at_checked(length)?;
        let path = path.to_vec();
        *bytes = rest;
        Some((fields, path))
    };
    let found = record();
    if found.is_none() {
        *bytes = &[];
    }
    Some(found.ok_or_else(|| io::ErrorKind::InvalidData.into()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn everything_comes_back_from_both_ends() {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let all: Vec<Record<2>> = (0..1000_u64)
            .map(|number| ([number << 40, u64::MAX - number], vec![b'a'; number as usize % 300]))
            .collect();
        let mut spill = Spill { chunk_bytes: 4096, ..Spill::default() };
        for (fields, path) in &all {
            spill.push(root.as_fd(), *fields, path).unwrap();
            assert!(spill.recent.len() < 4096);
        }
        assert!(spill.chunks.len() > 10);
        assert_eq!(spill.records().collect::<io::Result<Vec<_>>>().unwrap(), all);
        let mut found = Vec::new();
        loop {
            let last = spill.take_last().unwrap();
            if last.is_empty() {
                break;
            }
            found.extend(last.into_iter().rev());
        }
        found.reverse();
        assert_eq!(found, all);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let none = Spill::<0>::default();
        assert_eq!(none.records().count(), 0);
    }

    #[test]
    fn a_record_that_is_cut_off_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let mut spill = Spill::<1>::default();
        spill.push(root.as_fd(), [7], b"path").unwrap();
        spill.recent.pop();
        assert!(spill.records().next().unwrap().is_err());
        assert!(spill.take_last().is_err());
    }
}
