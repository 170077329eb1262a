//! Going through the trees: what each name of the merged layers becomes in the archive.
//!
//! In every directory the files come first and the directories after them, each sorted by their bytes. So only one
//! directory is open at a time, however deep the trees are.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, Timespec};
use rustix::io::Errno;

use super::header::{Attributes, Kind, blocks};
use super::{Archive, Content, Contents, PackError, PackSpec};
use crate::image::layer::error::printable;
use crate::image::layer::ids::Ids;
use crate::image::layer::owner::{OVERRIDE, Owner};
use crate::image::layer::stack::{Merged, Node, Shares, Stack, file_type};
use crate::sys::fs::proc_path;
use crate::sys::{Context, SysResult};

/// Bytes of a file that are read at once.
const CHUNK: usize = 1 << 18;
/// Longest list of names, and longest value, of extended attributes: the kernel's limit.
const MAX_XATTR_BYTES: usize = 1 << 16;

/// A directory still to be packed.
struct Task {
    path: PathBuf,
    /// The packed layers that have it.
    own: Shares,
    /// The layers below that have it.
    below: Shares,
    /// What the layers below have in it is hidden.
    hides: bool,
}

/// A file with several names, by device and inode.
type Links = HashMap<(u64, u64), Vec<u8>>;

pub(super) struct Walk<'a, 'b> {
    spec: &'a PackSpec,
    stack: &'a Stack,
    archive: &'a mut Archive<'b>,
    links: Links,
    contents: Contents,
    /// All files belong to one user here; whom they should belong to is written at them.
    is_single: bool,
    /// For the content of files.
    buffer: Vec<u8>,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub fn new(spec: &'a PackSpec, stack: &'a Stack, archive: &'a mut Archive<'b>) -> Self {
        let is_single = Ids::of_this_namespace().is_single();
        let (links, contents) = (Links::new(), Contents::default());
        Self { spec, stack, archive, links, contents, is_single, buffer: vec![0; CHUNK] }
    }

    pub fn run(mut self) -> Result<Contents, PackError> {
        let own = self.spec.layers.len();
        let all = own + self.spec.below.len();
        let own = if self.spec.content == Content::Everything { 0..all } else { 0..own };
        let below = self.spec.layers.len()..all;
        let root = Task { path: PathBuf::new(), own: own.collect(), below: below.collect(), hides: false };
        let mut tasks = vec![root];
        while let Some(task) = tasks.pop() {
            let at = tasks.len();
            self.directory(&task, &mut tasks)?;
            tasks[at..].reverse();
        }
        self.archive.finish()?;
        Ok(self.contents)
    }

    fn directory(&mut self, task: &Task, tasks: &mut Vec<Task>) -> Result<(), PackError> {
        let shown = || format!("open `/{}`", printable(task.path.as_os_str().as_bytes()));
        let own = self.stack.directory(&task.own, &task.path).call(shown)?;
        let below = self.stack.directory(&task.below, &task.path).call(shown)?;
        self.directory_itself(task, &own, &below)?;
        for name in own.names().call(|| format!("list `/{}`", task.path.display()))? {
            let path = task.path.join(&name);
            let is_left_out = self.spec.leave_out.contains(&Path::new("/").join(&path));
            let under = below.look_up(&name);
            match (is_left_out, self.spec.content) {
                (true, Content::Changes) => {}
                // What lies below is all that is packed of it.
                (true, Content::Everything) => self.node(&below, path, &name, below.look_up(&name), under, tasks)?,
                (false, _) => self.node(&own, path, &name, own.look_up(&name), under, tasks)?,
            }
        }
        Ok(())
    }

    /// The entry of the directory. The root has one if everything is packed, or if it has changed.
    fn directory_itself(&mut self, task: &Task, own: &Merged<'_>, below: &Merged<'_>) -> Result<(), PackError> {
        let path = task.path.as_os_str().as_bytes();
        let Some(directory) = own.top() else { return Ok(()) };
        let stat = stat(directory, path)?;
        let is_known = self.spec.content == Content::Changes && path.is_empty();
        if !(is_known && below.top().is_some_and(|below| is_same(below, &stat))) {
            let xattrs = self.xattrs(&proc_path(directory).join("."), path)?;
            self.entry(path, Kind::Directory, &self.attributes(&stat, xattrs))?;
        }
        if task.hides {
            let mark = task.path.join(".wh..wh..opq");
            self.entry(mark.as_os_str().as_bytes(), Kind::File(0), &Attributes::none())?;
        }
        Ok(())
    }

    /// Packs `found`, what `name` in `directory` stands for, or leaves it to a task if it is a directory.
    fn node(
        &mut self,
        directory: &Merged<'_>,
        path: PathBuf,
        name: &OsStr,
        found: Node,
        under: Node,
        tasks: &mut Vec<Task>,
    ) -> Result<(), PackError> {
        let bytes = path.as_os_str().as_bytes();
        let is_change = self.spec.content == Content::Changes;
        if name.as_bytes().starts_with(b".wh.") && !matches!(found, Node::Absent | Node::Whiteout) {
            self.contents.names_skipped += 1;
            return Ok(());
        }
        match found {
            Node::Absent => Ok(()),
            // What nobody has below need not be hidden.
            Node::Whiteout if !is_change || matches!(under, Node::Absent | Node::Whiteout) => Ok(()),
            Node::Whiteout => {
                let parent = path.parent().unwrap_or(Path::new(""));
                let mark = parent.join(OsStr::from_bytes(&[b".wh.", name.as_bytes()].concat()));
                self.entry(mark.as_os_str().as_bytes(), Kind::File(0), &Attributes::none())
            }
            Node::Leaf { part, stat } => self.leaf(directory, part, name, bytes, &stat),
            Node::Directory { shares, cut, .. } => {
                let below = if let Node::Directory { shares, .. } = under { shares } else { Shares::new() };
                let hides = is_change && cut && !below.is_empty();
                let below = if hides { Shares::new() } else { below };
                tasks.push(Task { path, own: shares, below, hides });
                Ok(())
            }
        }
    }

    fn leaf(
        &mut self,
        directory: &Merged<'_>,
        part: usize,
        name: &OsStr,
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), PackError> {
        let kind = file_type(stat);
        if kind == FileType::Socket {
            self.contents.sockets_skipped += 1;
            return Ok(());
        }
        let number = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&number).cloned()
        {
            return self.entry(path, Kind::HardLink(&first), &self.attributes(stat, Vec::new()));
        }
        match kind {
            FileType::RegularFile => {
                let xattrs = self.xattrs(&directory.path(part, name), path)?;
                let Some(file) = directory.content(part, name) else {
                    return Err(PackError::NoContent { path: printable(path) });
                };
                self.file(path, file, &self.attributes(stat, xattrs))?;
            }
            FileType::Symlink => {
                let target = directory.link_target(part, name);
                let target = target.ok_or_else(|| PackError::NoContent { path: printable(path) })?;
                self.entry(path, Kind::Symlink(target.to_bytes()), &self.attributes(stat, Vec::new()))?;
            }
            FileType::Fifo => self.entry(path, Kind::Fifo, &self.attributes(stat, Vec::new()))?,
            other => {
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                let is_block = other == FileType::BlockDevice;
                let kind = if is_block { Kind::BlockDevice(major, minor) } else { Kind::CharacterDevice(major, minor) };
                self.entry(path, kind, &self.attributes(stat, Vec::new()))?;
            }
        }
        if stat.st_nlink > 1 {
            self.links.insert(number, path.to_vec());
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], mut file: File, attributes: &Attributes) -> Result<(), PackError> {
        // Not that of the name's: it may have the metadata only.
        let size = u64::try_from(stat(&file, path)?.st_size).unwrap_or(0);
        self.entry(path, Kind::File(size), attributes)?;
        self.contents.size_bytes += size;
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let count = match file.read(&mut self.buffer[..most]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.call(|| format!("read `/{}`", printable(path)))?,
            };
            if count == 0 {
                return Err(PackError::Changed { path: printable(path) });
            }
            self.archive.write(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.archive.pad()
    }

    fn entry(&mut self, path: &[u8], kind: Kind<'_>, attributes: &Attributes) -> Result<(), PackError> {
        let header =
            blocks(path, kind, attributes).map_err(|source| PackError::Header { path: printable(path), source })?;
        self.contents.entries += 1;
        self.contents.newest = self.contents.newest.max(Some(attributes.modified.tv_sec));
        self.archive.write(&header)
    }

    fn attributes(&self, stat: &Stat, mut xattrs: Vec<(String, Vec<u8>)>) -> Attributes {
        let mut owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
        if self.is_single {
            let found = xattrs.extract_if(.., |(name, _)| name == OVERRIDE).last();
            owner = found.and_then(|(_, value)| Owner::parse(&value)).unwrap_or(owner);
        }
        let mut modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
        if let Some(latest) = self.spec.latest.filter(|latest| modified.tv_sec >= *latest) {
            modified = Timespec { tv_sec: latest, tv_nsec: 0 };
        }
        let mode = if file_type(stat) == FileType::Symlink { 0o777 } else { stat.st_mode & 0o7777 };
        Attributes { mode, uid: owner.uid, gid: owner.gid, modified, xattrs }
    }

    /// The attributes that a layer may have: those of users and the capabilities of programs, without overlayfs' own.
    /// `file` is not followed if it is a link.
    fn xattrs(&mut self, file: &Path, path: &[u8]) -> Result<Vec<(String, Vec<u8>)>, PackError> {
        let shown = || format!("read the extended attributes of `/{}`", printable(path));
        let length = match rustix::fs::llistxattr(file, &mut self.buffer[..MAX_XATTR_BYTES]) {
            Err(Errno::NOTSUP) | Ok(0) => return Ok(Vec::new()),
            other => other.call(shown)?,
        };
        let names = self.buffer[..length].to_vec();
        let mut kept = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !is_marks(name)) {
            let is_wanted = name == b"security.capability" || name.starts_with(b"user.");
            // A record of a tar ends its name with `=`.
            let text = std::str::from_utf8(name).ok().filter(|name| is_wanted && !name.contains('='));
            let Some(name) = text else {
                self.contents.xattrs_skipped += 1;
                continue;
            };
            let value = match rustix::fs::lgetxattr(file, name, &mut self.buffer[..MAX_XATTR_BYTES]) {
                // It went away meanwhile.
                Err(Errno::NODATA) => continue,
                other => self.buffer[..other.call(shown)?].to_vec(),
            };
            let value = if name == "security.capability" { plain_capability(value) } else { value };
            kept.push((name.to_owned(), value));
        }
        kept.sort();
        Ok(kept)
    }
}

/// Whether an extended attribute is a mark of the file system that stacks the layers.
fn is_marks(name: &[u8]) -> bool {
    [&b"user.overlay."[..], b"user.fuseoverlayfs.", b"trusted.overlay."].iter().any(|prefix| name.starts_with(prefix))
}

/// A capability of revision 3 names the root of the namespace that gave it, as a number of this machine's; revision 2
/// is the same without. <https://man7.org/linux/man-pages/man7/capabilities.7.html>
fn plain_capability(mut value: Vec<u8>) -> Vec<u8> {
    if value.len() == 24 && value[3] == 3 {
        value[3] = 2;
        value.truncate(20);
    }
    value
}

fn stat(file: &impl std::os::fd::AsFd, path: &[u8]) -> SysResult<Stat> {
    rustix::fs::fstat(file).call(|| format!("stat `/{}`", printable(path)))
}

/// Whether a directory has the owner and the permissions of `stat`.
fn is_same(directory: &OwnedFd, stat: &Stat) -> bool {
    let attributes = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    rustix::fs::fstat(directory).is_ok_and(|other| attributes(&other) == attributes(stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_the_root_they_were_given_by() {
        let two = [&[1, 0, 0, 2][..], &[7; 16]].concat();
        let three = [&[1, 0, 0, 3][..], &[7; 16], &[9; 4]].concat();
        assert_eq!(plain_capability(three), two);
        assert_eq!(plain_capability(two.clone()), two);
        assert_eq!(plain_capability(vec![]), Vec::<u8>::new());
    }
}
