//! Turning the entries of an archive into files.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, sync_channel};

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::entry::{Entry, Kind, beneath};
use super::error::{EntryError, UnpackError, printable};
use super::ids::Ids;
use super::limits::UnpackLimits;
use super::owner::{OVERRIDE, Owner as Remembered};
use super::pending::{Directories, Implied, Inodes, Pending};
use super::source::{self, Compression, detect};
use super::tree::{Owner, Tree, times};
pub use super::whiteout::Whiteouts;
use super::whiteout::{Meaning, parse};
use crate::image::digest::Hasher;
use crate::sys::{Context, SysError};

/// What becomes of the owners in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owners {
    /// Files get them, as ids of the namespace that the process is in.
    #[default]
    Keep,
    /// Everything belongs to the process, because only one id is mapped; what should not is noted ([`super::owner`]).
    Remember,
    /// Everything belongs to the process.
    Squash,
}

/// How to unpack.
#[derive(Clone, Copy, Default)]
pub struct UnpackOptions<'a> {
    /// What becomes of owners.
    pub owners: Owners,
    /// What becomes of whiteouts.
    pub whiteouts: Whiteouts,
    /// How large it may become.
    pub limits: UnpackLimits,
    /// Is told how many bytes of the (compressed) archive are done.
    pub advance: Option<&'a dyn Fn(u64)>,
    /// Whether the report names the digest of a compressed archive, too: who has computed it need not do it again.
    pub names_blob: bool,
}

/// What was unpacked, and what was left out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct UnpackReport {
    /// `sha256:<hex>` of the archive as it was read, if it was asked for.
    pub blob: Option<String>,
    /// `sha256:<hex>` of the uncompressed archive.
    pub diff_id: String,
    /// Size of the archive as it was read.
    pub blob_bytes: u64,
    /// Files, directories, links and whiteouts made.
    pub entries: u64,
    /// Bytes of all regular files.
    pub size_bytes: u64,
    /// Whiteouts and opaque directories made.
    pub whiteouts: u64,
    /// The layer hides everything below it. overlayfs cannot say that of its root: the caller must not stack it.
    pub hides_everything: bool,
    /// Devices left out. A box has its own `/dev`; a device node in a layer could only be a hole.
    pub devices_skipped: u64,
    /// Extended attributes left out: not allowed in this namespace, on this file system, or in any layer.
    pub xattrs_skipped: u64,
    /// Files that belong to root because their owner does not exist in the namespace.
    pub owners_lost: u64,
    /// Directories that the archive has no entry for. They are root's with mode 0755, which need not be what lower layers
    /// say. Not for another process.
    #[serde(skip)]
    pub implied: Implied,
}

/// Unpacks the archive that `reader` gives into the directory `root`, which should be empty.
///
/// The process should be root of the user namespace whose ids the files are to get, and alone with the directory. On
/// an error the directory holds a part of the archive, for the caller to remove.
pub fn unpack_layer(
    mut reader: impl Read + Send,
    root: BorrowedFd<'_>,
    options: UnpackOptions<'_>,
) -> Result<UnpackReport, UnpackError> {
    let (compression, magic) = detect(&mut reader)?;
    let (pieces_in, pieces) = sync_channel(4);
    let (used, used_out) = channel();
    let count = AtomicU64::new(0);
    let (unpacked, blob) = std::thread::scope(|scope| {
        let whole = magic.chain(reader);
        let count = &count;
        let hasher = (options.names_blob || compression == Compression::None).then(Hasher::default);
        let pumping =
            scope.spawn(move || source::pump(whole, compression, hasher, options.limits, &pieces_in, &used_out, count));
        let archive = Archive::new(pieces, used, compression);
        let unpacked = Unpacker::new(root, options).run(archive, count);
        (unpacked, pumping.join())
    });
    let (mut report, diff) = unpacked?;
    let blob = blob.map_err(|_| UnpackError::Read {
        bytes: count.load(Ordering::Relaxed),
        source: std::io::Error::other("the decompressor failed"),
    })?;
    let blob = blob.map(|hasher| hasher.digest().to_string());
    report.diff_id = diff.or_else(|| blob.clone()).unwrap_or_default();
    report.blob = blob.filter(|_| options.names_blob);
    report.blob_bytes = count.into_inner();
    Ok(report)
}

struct Unpacker<'a> {
    ids: Ids,
    tree: Tree<'a>,
    root: BorrowedFd<'a>,
    options: UnpackOptions<'a>,
    directories: Directories<'a>,
    /// Directories that the archive has an entry for.
    stated: Inodes,
    report: UnpackReport,
}

impl<'a> Unpacker<'a> {
    fn new(root: BorrowedFd<'a>, options: UnpackOptions<'a>) -> Self {
        let default_owner = (options.owners == Owners::Keep).then_some((Uid::ROOT, Gid::ROOT));
        Self {
            ids: Ids::of_this_namespace(),
            tree: Tree::new(root, default_owner),
            root,
            options,
            directories: Directories::new(root),
            stated: Inodes::default(),
            report: UnpackReport::default(),
        }
    }

    /// The report without what only the pump knows, and the digest of the tar if that differs from the blob's.
    fn run(mut self, mut archive: Archive, count: &AtomicU64) -> Result<(UnpackReport, Option<String>), UnpackError> {
        if self.options.owners == Owners::Keep {
            rustix::fs::fchown(self.root, Some(Uid::ROOT), Some(Gid::ROOT)).call(|| "chown `.`".to_owned())?;
        }
        rustix::fs::fchmod(self.root, Mode::from_raw_mode(0o755)).call(|| "chmod `.`".to_owned())?;
        while let Some(entry) = archive.next()? {
            self.unpack(&entry, &mut archive)?;
            if let Some(advance) = self.options.advance {
                advance(count.load(Ordering::Relaxed));
            }
        }
        archive.drain()?;
        self.report.implied = self.implied()?;
        self.finish_directories()?;
        Ok((self.report, archive.into_digest().map(|hasher| hasher.digest().to_string())))
    }

    fn unpack(&mut self, entry: &Entry, archive: &mut Archive) -> Result<(), UnpackError> {
        let at = |source| UnpackError::Entry { path: printable(&entry.untrusted_path), source };
        let path = beneath(&entry.untrusted_path).ok_or(EntryError::Escapes).map_err(at)?;
        if self.options.whiteouts == Whiteouts::Convert && self.whiteout(&path).map_err(at)? {
            return archive.skip(entry.stored_size);
        }
        if path.is_empty() && !matches!(entry.kind, Kind::Directory | Kind::Nothing) {
            return Err(at(EntryError::Root));
        }
        match entry.kind {
            Kind::File => {
                let fd = self.tree.file(&path).map_err(at)?;
                match &entry.sparse {
                    Some(sparse) => {
                        for &(offset, length) in &sparse.map {
                            write(archive, &fd, &entry.untrusted_path, offset, length)?;
                        }
                        rustix::fs::ftruncate(&fd, sparse.real_size)
                            .call(|| format!("truncate to {} bytes", sparse.real_size))
                            .map_err(|error| at(error.into()))?;
                        self.report.size_bytes = self.report.size_bytes.saturating_add(sparse.real_size);
                    }
                    None => {
                        write(archive, &fd, &entry.untrusted_path, 0, entry.stored_size)?;
                        self.report.size_bytes += entry.stored_size;
                    }
                }
                self.file_attributes(&fd, entry).map_err(|error| at(error.into()))?;
            }
            Kind::Directory => self.directory(path, entry).map_err(at)?,
            Kind::Symlink if entry.untrusted_target.is_empty() => return Err(at(EntryError::NoTarget)),
            Kind::Symlink => {
                let owner = self.owner(entry);
                self.report.xattrs_skipped += entry.xattrs.len() as u64;
                self.tree
                    .symlink(&path, &entry.untrusted_target)
                    .and_then(|()| self.tree.attributes(&path, owner, None, entry.modified))
                    .map_err(at)?;
            }
            Kind::HardLink => self.hard_link(&path, &entry.untrusted_target).map_err(at)?,
            Kind::Fifo => {
                let owner = self.owner(entry);
                self.report.xattrs_skipped += entry.xattrs.len() as u64;
                self.tree
                    .fifo(&path)
                    .and_then(|()| self.tree.attributes(&path, owner, Some(entry.mode), entry.modified))
                    .map_err(at)?;
            }
            Kind::Device => {
                self.report.devices_skipped += 1;
                return Ok(());
            }
            Kind::Nothing => return archive.skip(entry.stored_size),
        }
        self.report.entries += 1;
        Ok(())
    }

    /// Whether `path` was a whiteout, which has been dealt with.
    fn whiteout(&mut self, path: &[u8]) -> Result<bool, EntryError> {
        let (directory, _) = super::entry::split(path);
        match parse(path) {
            Meaning::Plain => return Ok(false),
            Meaning::Ignored => return Ok(true),
            Meaning::Invalid => return Err(EntryError::Whiteout),
            Meaning::Opaque if directory.is_empty() => self.report.hides_everything = true,
            Meaning::Opaque => self.tree.opaque(path)?,
            Meaning::Gone(name) => {
                let mut gone = directory.to_vec();
                if !gone.is_empty() {
                    gone.push(b'/');
                }
                gone.extend_from_slice(name);
                self.tree.whiteout(&gone)?;
            }
        }
        self.report.whiteouts += 1;
        self.report.entries += 1;
        Ok(true)
    }

    fn directory(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), EntryError> {
        let fd = if path.is_empty() { self.tree.root()? } else { self.tree.directory(&path)? };
        if let Some((uid, gid)) = self.owner(entry) {
            rustix::fs::fchown(&fd, Some(uid), Some(gid)).call(|| "chown".to_owned())?;
        }
        self.xattrs(&fd, entry)?;
        let inode = rustix::fs::fstat(&fd).call(|| "stat".to_owned())?.st_ino;
        self.stated.insert(inode);
        let pending = Pending { path, inode, mode: entry.mode, modified: entry.modified };
        Ok(self.directories.push(pending).call(|| "write".to_owned())?)
    }

    fn hard_link(&mut self, path: &[u8], untrusted_target: &[u8]) -> Result<(), EntryError> {
        if untrusted_target.is_empty() {
            return Err(EntryError::NoTarget);
        }
        let target =
            beneath(untrusted_target).ok_or_else(|| EntryError::LinkEscapes { target: printable(untrusted_target) })?;
        self.tree.hard_link(path, &target)
    }

    /// Owner before mode, because a change of owner takes setuid bits and file capabilities away.
    fn file_attributes(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<(), SysError> {
        if let Some((uid, gid)) = self.owner(entry) {
            rustix::fs::fchown(fd, Some(uid), Some(gid)).call(|| "chown".to_owned())?;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).call(|| "chmod".to_owned())?;
        self.xattrs(fd, entry)?;
        rustix::fs::futimens(fd, &times(entry.modified)).call(|| "utimensat".to_owned())
    }

    /// The owner to set. Ids that the namespace does not have become root's, and are counted.
    fn owner(&mut self, entry: &Entry) -> Option<Owner> {
        if self.options.owners != Owners::Keep {
            return None;
        }
        let (uid, gid) = (self.ids.uid(entry.uid), self.ids.gid(entry.gid));
        if uid.is_none() || gid.is_none() {
            self.report.owners_lost += 1;
        }
        Some((Uid::from_raw(uid.unwrap_or(0)), Gid::from_raw(gid.unwrap_or(0))))
    }

    /// Writes down an owner that the file cannot get where all belong to one user: what is made of the file later has it then.
    fn remember_owner(&self, fd: &OwnedFd, entry: &Entry) -> Result<(), SysError> {
        let (Ok(uid), Ok(gid)) = (u32::try_from(entry.uid), u32::try_from(entry.gid)) else { return Ok(()) };
        let owner = Remembered { uid, gid };
        if self.options.owners != Owners::Remember || owner == Remembered::default() {
            return Ok(());
        }
        match rustix::fs::fsetxattr(fd, OVERRIDE, owner.value(entry.mode).as_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => Ok(()),
            Err(errno) => Err(SysError::new("setxattr", errno)),
        }
    }

    /// Sets the attributes that a layer may have: those of users and the capabilities of programs. Never overlayfs'
    /// own, with which an archive could make files of other layers appear under names of its choice; nor the owner that a
    /// file could not get, which the entry itself has.
    fn xattrs(&mut self, fd: &OwnedFd, entry: &Entry) -> Result<(), SysError> {
        self.remember_owner(fd, entry)?;
        for (name, value) in &entry.xattrs {
            let allowed = name == b"security.capability"
                || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && name != b"user.overlay")
                    && name != OVERRIDE.as_bytes();
            if !allowed {
                self.report.xattrs_skipped += 1;
                continue;
            }
            match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::NOTSUP | Errno::ACCESS) => self.report.xattrs_skipped += 1,
                Err(errno) => return Err(SysError::new(format!("setxattr `{}`", printable(name)), errno)),
            }
        }
        Ok(())
    }

    /// The directories that no entry is about. Before they get their modes, which may forbid to look.
    fn implied(&mut self) -> Result<Implied, UnpackError> {
        let mut left = Implied::default();
        for record in self.tree.take_implied().records() {
            let (inode, path) = record.call(|| "read".to_owned())?;
            // What was replaced later is there no more.
            if !self.stated.contains(inode) && self.tree.has_directory(&path, inode) {
                left.push(self.root, inode, &path).call(|| "write".to_owned())?;
            }
        }
        Ok(left)
    }

    /// Times and modes last: making a file changes its directory's time, and a mode may forbid it. The last entry of a
    /// directory counts; children come before their parents.
    fn finish_directories(&mut self) -> Result<(), UnpackError> {
        let mut done = Inodes::default();
        loop {
            let last = self.directories.take_last().call(|| "read".to_owned())?;
            if last.is_empty() {
                return Ok(());
            }
            for Pending { path, inode, mode, modified } in last.into_iter().rev() {
                if done.insert(inode) {
                    self.tree.finish_directory(&path, inode, mode, modified)?;
                }
            }
        }
    }
}

/// Writes the next `length` bytes of the archive's content to `fd` at `offset`.
fn write(
    archive: &mut Archive,
    fd: &OwnedFd,
    untrusted_path: &[u8],
    mut offset: u64,
    length: u64,
) -> Result<(), UnpackError> {
    let end = offset + length;
    while offset < end {
        let mut piece = archive.content(end - offset)?;
        while !piece.is_empty() {
            let written = match rustix::io::pwrite(fd.as_fd(), piece, offset) {
                Err(Errno::INTR) => continue,
                other => other
                    .call(|| "write".to_owned())
                    .map_err(|error| UnpackError::Entry { path: printable(untrusted_path), source: error.into() })?,
            };
            offset += written as u64;
            piece = &piece[written..];
        }
    }
    Ok(())
}
