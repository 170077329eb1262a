//! Open files and directories.

use std::collections::BTreeMap;
use std::fs::File;

use super::answer::Fault;
use crate::wire::Reader;

/// As many may be open at once.
pub const MAX_HANDLES: usize = 512;

/// Something that is open.
#[derive(Debug)]
pub enum Handle {
    /// A file; whether what is written goes to its end.
    File(File, bool),
    /// A directory, where it has been read to.
    Directory(std::fs::ReadDir, Vec<u8>),
}

/// What is open, by number.
#[derive(Debug, Default)]
pub struct Handles(BTreeMap<u32, Handle>);

impl Handles {
    /// Keeps `handle` under the lowest free number.
    pub fn insert(&mut self, handle: Handle) -> Result<u32, Fault> {
        if self.0.len() >= MAX_HANDLES {
            return Err(rustix::io::Errno::MFILE.into());
        }
        let number = (0..).find(|number| !self.0.contains_key(number)).unwrap_or(u32::MAX);
        self.0.insert(number, handle);
        Ok(number)
    }

    fn number(reader: &mut Reader<'_>) -> Result<u32, Fault> {
        let text = reader.string()?;
        Ok(u32::from_be_bytes(text.try_into().map_err(|_| Fault::Malformed)?))
    }

    /// What the request names.
    pub fn get(&mut self, reader: &mut Reader<'_>) -> Result<&mut Handle, Fault> {
        let number = Self::number(reader)?;
        self.0.get_mut(&number).ok_or(Fault::Malformed)
    }

    /// The file that the request names.
    pub fn file(&mut self, reader: &mut Reader<'_>) -> Result<(&File, bool), Fault> {
        match self.get(reader)? {
            Handle::File(file, append) => Ok((file, *append)),
            Handle::Directory(..) => Err(Fault::Malformed),
        }
    }

    /// Closes what the request names.
    pub fn remove(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let number = Self::number(reader)?;
        self.0.remove(&number).map(drop).ok_or(Fault::Malformed)
    }
}
