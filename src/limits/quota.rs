//! A limit on what a box writes, kept by the file system: a project quota, which only the host's root can set.
//!
//! The writable layer becomes a project of its own while it is empty, so that everything in it is counted from the beginning, and
//! the kernel refuses what would exceed the limit (`EDQUOT`). A layer that was frozen keeps the project's number, which nobody writes to any more; the
//! number is free again when the layer is removed. overlayfs's scratch directory is part of it, for files are not
//! renamed from one project to another.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::disk::effective;
use crate::sys::quota::{self, Used};
use crate::sys::{SysResult, fs as sys_fs};

/// devbox's numbers of projects are those whose first byte is this.
const OURS: u32 = 0xdb << 24;
/// How many numbers are tried for one that is free.
const TRIES: u32 = 256;

/// The quota of one box's writable layer.
#[derive(Debug)]
pub struct Quota {
    upper: OwnedFd,
    project: u32,
}

impl Quota {
    /// Holds what is in `upper`, with overlayfs's directory `work` beside it, to `limit` bytes. Whether that can be had here:
    /// not without project quotas, nor by others than the host's root, nor when something was written before.
    #[must_use]
    pub fn hold(upper: &Path, work: &Path, limit: u64) -> bool {
        let begun = || {
            if Self::known(upper).is_none() {
                begin(upper, work)?;
            }
            let quota = Self::known(upper)?;
            let used = quota::used(&quota.upper, quota.project).ok()?.bytes;
            quota.set(effective(limit, used)).ok()?;
            Self::of(upper)
        };
        is_root() && begun().is_some()
    }

    /// Ends what [`Self::hold`] began. It stays a project: files are not renamed from one to another.
    pub fn release(upper: &Path) {
        if let Some(quota) = is_root().then(|| Self::known(upper)).flatten() {
            // Who may not do it has not begun it.
            quota.set(0).ok();
        }
    }

    /// That of a box's writable layer, if the file system enforces it.
    #[must_use]
    pub fn of(upper: &Path) -> Option<Self> {
        // Then it says that it is not larger than that.
        let size = |path: &Path| rustix::fs::statvfs(path).map(|stat| stat.f_blocks);
        let is_smaller = size(upper).ok()? < size(upper.parent()?).ok()?;
        is_smaller.then(|| Self::known(upper)).flatten()
    }

    /// Changes the limit; 0: none.
    pub fn set(&self, bytes: u64) -> SysResult<()> {
        quota::set_limit(&self.upper, self.project, bytes)
    }

    fn known(upper: &Path) -> Option<Self> {
        let upper = sys_fs::open_directory(upper).ok()?;
        let project = quota::project(upper.as_fd()).ok()?;
        is_ours(project).then_some(Self { upper, project })
    }
}

/// Makes a layer that nothing was written to a project of its own.
fn begin(upper: &Path, work: &Path) -> Option<()> {
    if fs::read_dir(upper).ok()?.next().is_some() {
        return None;
    }
    let upper = sys_fs::open_directory(upper).ok()?;
    // Somebody else's counts already.
    if quota::project(upper.as_fd()).ok()? != 0 {
        return None;
    }
    let project = free_project(&upper)?;
    let mut directories = vec![work.to_owned()];
    directories.extend(fs::read_dir(work).ok()?.flatten().map(|entry| entry.path()));
    for directory in directories {
        quota::set_project(sys_fs::open_directory(&directory).ok()?.as_fd(), project).ok()?;
    }
    quota::set_project(upper.as_fd(), project).ok()
}

/// A number that nothing belongs to, near that of the directory, which other directories do not have at the same time.
fn free_project(directory: &OwnedFd) -> Option<u32> {
    let inode = fs::File::from(directory.try_clone().ok()?).metadata().ok()?.ino() as u32;
    (0..TRIES)
        .map(|tried| OURS | inode.wrapping_add(tried) & !(0xff << 24))
        .find(|project| quota::used(directory, *project).is_ok_and(|used| used == Used::default()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_ours(project: u32) -> bool {
    project & 0xff << 24 == OURS
}
