//! Paths of the project that a box must not see, or not change.
//!
//! ```text
//! project/          bound from the host
//!   .git/           pinned: mounted over itself, for what is a mount point cannot be renamed or removed
//!     hooks/        covered
//!   .env            covered
//!   .npmrc          not there: a placeholder is made in the project, and covered
//! ```
//!
//! Nothing in a box may mount or unmount, nor make a mount namespace in which these would not be mount points. But who is
//! outside may replace a file by rename, as editors and git do: the kernel takes the cover away with the old file. So a
//! [`keeper`] watches the folders from outside the box, and covers what is new. The project is what earlier boxes made
//! of it: no symlink in it is followed.

pub mod keeper;
pub mod placeholder;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::mount::{Attributes, Mount, Parameter};
use crate::sys::{Context, SysResult};

/// What a box may do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It seems to be empty, and cannot be changed.
    Hidden,
    /// It cannot be changed.
    ReadOnly,
}

/// A path below a folder, and what a box may do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// Relative, without `..`. A `/` at its end makes the placeholder a directory.
    pub path: PathBuf,
    /// What the box may do.
    pub protection: Protection,
}

/// Everything that is guarded in a box's project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// The project's folder on the host.
    pub source: PathBuf,
    /// Where it is in the box.
    pub target: PathBuf,
    /// What is guarded in it.
    pub paths: Vec<Guarded>,
}

/// What [`cover`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// Nothing was there.
    Missing,
    /// It is covered.
    Itself,
    /// A symlink on the way is covered: the path leads nowhere, and where it led can be reached by other names.
    Link,
}

/// Guards `guarded` below `folder`: pins the directories on the way, and covers the path itself. `null` is `/dev/null`.
///
/// With `again` what is a mount point already is left as it is.
pub fn cover(folder: BorrowedFd<'_>, null: BorrowedFd<'_>, guarded: &Guarded, again: bool) -> SysResult<Covered> {
    let mut on_the_way: Option<OwnedFd> = None;
    let mut names = guarded.path.iter().peekable();
    while let Some(name) = names.next() {
        let above = on_the_way.as_ref().map_or(folder, AsFd::as_fd);
        let Some((place, kind, mounted)) = look(above, name)? else { return Ok(Covered::Missing) };
        let last = names.peek().is_none();
        if last || kind != FileType::Directory {
            if !(again && mounted) {
                // A file instead of a directory is not secret; but no directory may take its place.
                let protection = if last { guarded.protection } else { Protection::ReadOnly };
                put_over(place.as_fd(), kind, protection, null, &guarded.path)?;
            }
            return Ok(if kind == FileType::Symlink { Covered::Link } else { Covered::Itself });
        }
        if !mounted {
            let pin = Mount::copy(place.as_fd(), &guarded.path.to_string_lossy(), true)?;
            pin.attach(place.as_fd(), &guarded.path)?;
        }
        let Some((pinned, ..)) = look(above, name)? else { return Ok(Covered::Missing) };
        on_the_way = Some(pinned);
    }
    Ok(Covered::Missing)
}

/// Hides what is behind `place`, whatever it is.
pub fn hide(place: BorrowedFd<'_>, null: BorrowedFd<'_>, shown: &Path) -> SysResult<()> {
    let (kind, _) = kind(place)?;
    put_over(place, kind, Protection::Hidden, null, shown)
}

fn put_over(
    place: BorrowedFd<'_>,
    kind: FileType,
    protection: Protection,
    null: BorrowedFd<'_>,
    shown: &Path,
) -> SysResult<()> {
    let strict = Attributes::NO_SUID | Attributes::NO_EXEC | Attributes::NO_DEVICES;
    let cover = match (protection, kind) {
        // Only what is no symlink can be mounted.
        (Protection::ReadOnly, FileType::Directory | FileType::RegularFile) => {
            let copy = Mount::copy(place, &shown.to_string_lossy(), true)?;
            copy.restrict(Attributes::READ_ONLY, true)?;
            copy
        }
        (Protection::Hidden, FileType::Directory) => {
            let parameters = [Parameter::Value("mode", "755".into()), Parameter::Value("size", "0".into())];
            Mount::new("tmpfs", &parameters, strict | Attributes::READ_ONLY)?
        }
        _ => {
            let copy = Mount::copy(null, "/dev/null", false)?;
            copy.restrict(Attributes::READ_ONLY, false)?;
            copy
        }
    };
    cover.attach(place, shown)
}

/// `name` in `folder`, itself when it is a symlink; what it is, and whether something is mounted there.
fn look(folder: BorrowedFd<'_>, name: &OsStr) -> SysResult<Option<(OwnedFd, FileType, bool)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.call(|| format!("open `{}`", name.display()))?,
    };
    let (kind, mounted) = kind(place.as_fd())?;
    Ok(Some((place, kind, mounted)))
}

fn kind(place: BorrowedFd<'_>) -> SysResult<(FileType, bool)> {
    let stat = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).call(|| "statx".to_owned())?;
    Ok((FileType::from_raw_mode(stat.stx_mode.into()), stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)))
}
