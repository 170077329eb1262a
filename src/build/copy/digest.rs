//! The digest of what a `COPY` or `ADD` copies: two sources with the same digest make the same files.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::select::{Mounted, Selected};
use super::walk::{Entry, Fate, Visitor, walk};
use super::write::{Owner, attributes};
use crate::image::digest::{self, Hasher};
use crate::sys::fs::Root;
use crate::sys::{Context, SysResult};

/// Knows, or computes, the digest of a file's content and attributes.
pub trait FileDigests {
    /// The hexadecimal digest of the regular file `leaf`.
    fn digest(&mut self, leaf: &Entry<'_>) -> SysResult<String>;
}

/// Reads every file.
#[derive(Debug, Clone, Copy)]
pub struct Reading;

impl FileDigests for Reading {
    fn digest(&mut self, leaf: &Entry<'_>) -> SysResult<String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let call = || format!("read `{}`", leaf.relative.display());
        let file = rustix::fs::openat(leaf.parent, leaf.name, flags, Mode::empty()).call(call)?;
        let extended = attributes(file.as_fd())?;
        let content = digest::of_reader(File::from(file), |_| ()).call(call)?;
        if extended.is_empty() {
            return Ok(content);
        }
        let mut both = Hasher::default();
        field(&mut both, content.as_bytes());
        for (name, value) in extended {
            field(&mut both, &name);
            field(&mut both, &value);
        }
        Ok(both.hexadecimal())
    }
}

/// Adds a field that cannot be mistaken for two.
pub fn field(digest: &mut Hasher, bytes: &[u8]) {
    digest.update(&(bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

/// The hexadecimal digest of all that `selected` names: names, kinds, modes, owners if they are kept, contents.
pub fn of_selected(
    source: Mounted<'_>,
    selected: &[Selected],
    fate: &dyn Fn(&Selected, &Path, bool) -> Fate,
    owner: Owner,
    files: &mut dyn FileDigests,
) -> SysResult<String> {
    let mut digester = Digester { digest: Hasher::default(), owner, files };
    for one in selected {
        field(&mut digester.digest, one.called.as_os_str().as_bytes());
        walk(Root::new(source.0), one, &|path, is_directory| fate(one, path, is_directory), &mut digester)?;
    }
    Ok(digester.digest.hexadecimal())
}

struct Digester<'a> {
    digest: Hasher,
    owner: Owner,
    files: &'a mut dyn FileDigests,
}

impl Digester<'_> {
    fn add(&mut self, entry: &Entry<'_>) {
        field(&mut self.digest, entry.relative.as_os_str().as_bytes());
        let owner = if self.owner == Owner::Kept { (entry.stat.st_uid, entry.stat.st_gid) } else { (0, 0) };
        let mode = if entry.kind() == FileType::Symlink { 0 } else { entry.stat.st_mode };
        field(&mut self.digest, format!("{:?} {mode:o} {owner:?}", entry.kind()).as_bytes());
    }
}

impl Visitor for Digester<'_> {
    type Error = crate::sys::SysError;

    fn enter(&mut self, directory: &Entry<'_>) -> SysResult<()> {
        self.add(directory);
        Ok(())
    }

    fn leave(&mut self, _: &Entry<'_>) -> SysResult<()> {
        Ok(())
    }

    fn leaf(&mut self, leaf: &Entry<'_>) -> SysResult<()> {
        self.add(leaf);
        match leaf.kind() {
            FileType::RegularFile => {
                let digest = self.files.digest(leaf)?;
                field(&mut self.digest, digest.as_bytes());
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(leaf.parent, leaf.name, Vec::new())
                    .call(|| format!("readlink `{}`", leaf.relative.display()))?;
                field(&mut self.digest, target.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }
}
