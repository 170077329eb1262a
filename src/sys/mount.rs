//! Mounts, by the descriptor-based interface (Linux 5.2; `mount_setattr` 5.12).
//!
//! A mount is made detached, changed while nobody can see it, and then attached to a place that was resolved before.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use super::{Context, SysError, SysResult};

/// Attributes that a mount can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Setuid bits and file capabilities mean nothing.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes cannot be opened.
    pub const NO_DEVICES: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Programs cannot be executed.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);
}

impl std::ops::BitOr for Attributes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A mount that is not attached anywhere yet (or a handle to one that is).
#[derive(Debug)]
pub struct Mount {
    fd: OwnedFd,
    what: String,
}

/// One parameter of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A word by itself.
    Flag(&'static str),
    /// `key=value`.
    Value(&'static str, String),
}

impl Parameter {
    /// A tmpfs of `bytes`: as many files as bytes in the kernel's own proportion, a page for each, for an empty file takes
    /// no byte of the limit, and yet memory of the kernel.
    #[must_use]
    pub fn tmpfs_room(bytes: u64) -> [Self; 2] {
        let files = (bytes / 4096).max(1024);
        [Self::Value("size", bytes.to_string()), Self::Value("nr_inodes", files.to_string())]
    }
}

impl Mount {
    /// Makes a new instance of the file system `kind`. The error carries the kernel's own explanation when it gave one.
    pub fn new(kind: &str, parameters: &[Parameter], attributes: Attributes) -> SysResult<Self> {
        let call = || format!("mount `{kind}`");
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(call)?;
        let explain = |errno: Errno, operation: String| {
            let reason = explanation(&context);
            SysError::new(if reason.is_empty() { operation } else { format!("{operation} ({reason})") }, errno)
        };
        for parameter in parameters {
            let (result, shown) = match parameter {
                Parameter::Flag(key) => (rustix::mount::fsconfig_set_flag(&context, *key), (*key).to_owned()),
                Parameter::Value(key, value) => {
                    (rustix::mount::fsconfig_set_string(&context, *key, value), format!("{key}={value}"))
                }
            };
            result.map_err(|errno| explain(errno, format!("mount `{kind}` with `{shown}`")))?;
        }
        rustix::mount::fsconfig_create(&context).map_err(|errno| explain(errno, call()))?;
        let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes.0).unwrap_or(0));
        let fd = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| explain(errno, call()))?;
        Ok(Self { fd, what: kind.to_owned() })
    }

    /// A copy of what is mounted at the place behind `source` (an `O_PATH` handle), with everything mounted below it
    /// when `recursive`.
    pub fn copy(source: BorrowedFd<'_>, what: &str, recursive: bool) -> SysResult<Self> {
        let mut flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let fd = rustix::mount::open_tree(source, "", flags).call(|| format!("open_tree `{what}`"))?;
        Ok(Self { fd, what: what.to_owned() })
    }

    /// A mount that was made elsewhere: a detached one of another process, or one that is in use.
    #[must_use]
    pub fn received(fd: OwnedFd, what: &str) -> Self {
        Self { fd, what: what.to_owned() }
    }

    /// Adds attributes, to the mounts below too when `recursive`.
    pub fn restrict(&self, attributes: Attributes, recursive: bool) -> SysResult<()> {
        set_attributes(self.fd.as_fd(), attributes.0, recursive, &self.what)
    }

    /// Attaches the mount to the place behind `target`.
    pub fn attach(&self, target: BorrowedFd<'_>, shown: &Path) -> SysResult<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.fd, "", target, "", flags)
            .call(|| format!("move_mount `{}` `{}`", self.what, shown.display()))
    }

    /// The root of the mount, as a directory handle.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_attributes(fd: BorrowedFd<'_>, set: u64, recursive: bool, what: &str) -> SysResult<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the descriptor is open, the path is a NUL-terminated empty string, and the structure is as long as said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    if result == -1 {
        return Err(SysError::last(format!("mount_setattr `{what}`")));
    }
    Ok(())
}

/// What the kernel wrote into the context's log: "e overlay: ..." becomes "overlay: ...".
fn explanation(context: &OwnedFd) -> String {
    let mut lines = Vec::new();
    let mut buffer = [0_u8; 1024];
    while let Ok(size) = rustix::io::read(context, &mut buffer) {
        if size == 0 || lines.len() == 8 {
            break;
        }
        let line = String::from_utf8_lossy(&buffer[..size]);
        lines.push(
            line.trim_end()
                .trim_start_matches(|c: char| c.is_ascii_alphabetic() && c.is_lowercase())
                .trim_start()
                .to_owned(),
        );
    }
    lines.join("; ")
}

/// Nothing that is mounted or unmounted from here on is seen outside this mount namespace, nor the other way round.
pub fn make_everything_private() -> SysResult<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .call(|| "mount --make-rprivate `/`".to_owned())
}

/// Makes the directory behind `root` the root of this mount namespace and lets go of the old one.
pub fn pivot_into(root: BorrowedFd<'_>) -> SysResult<()> {
    rustix::process::fchdir(root).call(|| "fchdir `new root`".to_owned())?;
    // With "." for both, the old root ends up mounted on top of the new one, from where it is detached: no directory
    // for it is needed (pivot_root(2), NOTES).
    rustix::process::pivot_root(".", ".").call(|| "pivot_root `.` `.`".to_owned())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "umount `old root`".to_owned())?;
    rustix::process::chdir("/").call(|| "chdir `/`".to_owned())
}
