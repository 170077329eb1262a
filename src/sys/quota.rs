//! Projects of files, and their quotas: what neither crate wraps (`ioctl_xfs_fsgetxattr(2)`, `quotactl_fd(2)`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::ioctl::{self, Getter, Setter, opcode};

use super::{Context, SysError, SysResult};

/// Quotas of projects, of the three kinds.
const PROJECTS: u32 = 2;
const GET: u32 = 0x80_0007;
const SET: u32 = 0x80_0008;
/// Of `dqblk`: the limits of blocks count.
const BLOCK_LIMITS: u32 = 1;
/// In which limits are set.
const BLOCK_BYTES: u64 = 1024;
/// Of a directory: what is made in it is of its project.
const INHERIT: u32 = 0x200;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// The project that what is made in a directory belongs to. 0: none.
pub fn project(directory: BorrowedFd<'_>) -> SysResult<u32> {
    let attributes = attributes(directory)?;
    Ok(if attributes.flags & INHERIT == 0 { 0 } else { attributes.project })
}

/// Makes a directory, and what is made in it from now on, part of `project`; 0: of none. Needs to be done by its owner, or root, of the host.
pub fn set_project(directory: BorrowedFd<'_>, project: u32) -> SysResult<()> {
    let known = attributes(directory)?;
    let flags = if project == 0 { known.flags & !INHERIT } else { known.flags | INHERIT };
    let wanted = Attributes { flags, project, ..known };
    // SAFETY: the request takes this structure, as `linux/fs.h` has it.
    unsafe { ioctl::ioctl(directory, Setter::<{ opcode::write::<Attributes>(b'X', 32) }, _>::new(wanted)) }
        .call(|| "ioctl `FS_IOC_FSSETXATTR`".to_owned())
}

fn attributes(directory: BorrowedFd<'_>) -> SysResult<Attributes> {
    // SAFETY: the request fills this structure, as `linux/fs.h` has it.
    unsafe { ioctl::ioctl(directory, Getter::<{ opcode::read::<Attributes>(b'X', 31) }, Attributes>::new()) }
        .call(|| "ioctl `FS_IOC_FSGETXATTR`".to_owned())
}

/// What belongs to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// On the disk.
    pub bytes: u64,
    /// Files, directories and whatever else has an inode.
    pub files: u64,
}

/// What belongs to `project` on the file system of `file`. Needs the host's root.
pub fn used(file: impl AsFd, project: u32) -> SysResult<Used> {
    let mut found = empty();
    match control(file, GET, project, &mut found) {
        Ok(()) => Ok(Used { bytes: found.dqb_curspace, files: found.dqb_curinodes }),
        // Some file systems know only those that something belongs to.
        Err(Errno::NOENT) => Ok(Used::default()),
        Err(errno) => Err(SysError::new("quotactl `Q_GETQUOTA`", errno)),
    }
}

/// What belongs to `project` may take this much, in bytes; 0: as much as there is. Needs the host's root.
pub fn set_limit(file: impl AsFd, project: u32, bytes: u64) -> SysResult<()> {
    let mut wanted = empty();
    wanted.dqb_bhardlimit = bytes.div_ceil(BLOCK_BYTES);
    wanted.dqb_valid = BLOCK_LIMITS;
    control(file, SET, project, &mut wanted).map_err(|errno| SysError::new("quotactl `Q_SETQUOTA`", errno))
}

fn empty() -> libc::dqblk {
    // SAFETY: a structure of integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn control(file: impl AsFd, command: u32, project: u32, argument: &mut libc::dqblk) -> Result<(), Errno> {
    let command = command << 8 | PROJECTS;
    // SAFETY: both commands are made with a `dqblk`, which lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_quotactl_fd, file.as_fd().as_raw_fd(), command, project, std::ptr::from_mut(argument))
    };
    if result == 0 { Ok(()) } else { Err(SysError::last("").errno) }
}
