//! Carries out mount operations. The only interpreter of [`MountOp`]: it reads no option and takes no decision.
//!
//! Targets are resolved beneath the root's handle: an image's symlinks cannot lead a mount out of the box.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use super::dev;
use super::guard::{self, Covered, Protection};
use super::overlay::Stack;
use super::spec::MountOp;
use crate::sys::fs::{Root, is_directory, open_path};
use crate::sys::mount::{Attributes, Mount, Parameter};
use crate::sys::{SysError, SysResult};

/// Where the content of mounted files lies: on the box's own `/run`, which is a tmpfs.
const FILES: &str = "/run/devbox";

/// Performs one operation on the root file system `root`.
pub fn perform(root: Root<'_>, operation: &MountOp) -> SysResult<()> {
    match operation {
        MountOp::Proc { target } => {
            let mount = Mount::new("proc", &[], strict())?;
            mount.attach(root.create_directory(target)?.as_fd(), target)
        }
        MountOp::Sys { target, own_network } => {
            let place = root.create_directory(target)?;
            let mount = if *own_network {
                Mount::new("sysfs", &[], strict() | Attributes::READ_ONLY)?
            } else {
                // A new sysfs shows the network namespace, which must be our own for that: the host's is borrowed.
                let copy = Mount::copy(open_path(Path::new("/sys"))?.as_fd(), "/sys", true)?;
                copy.restrict(strict() | Attributes::READ_ONLY, true)?;
                copy
            };
            mount.attach(place.as_fd(), target)
        }
        MountOp::Dev { target, tty_group, shm_bytes } => dev::mount(root, target, *tty_group, *shm_bytes),
        MountOp::Tmpfs { target, mode, size_bytes } => {
            let mut parameters = vec![Parameter::Value("mode", format!("{mode:o}"))];
            parameters.extend((*size_bytes).into_iter().flat_map(Parameter::tmpfs_room));
            let mount = Mount::new("tmpfs", &parameters, Attributes::NO_SUID | Attributes::NO_DEVICES)?;
            mount.attach(root.create_directory(target)?.as_fd(), target)
        }
        MountOp::Bind { source, target, read_only, optional } => {
            let from = match open_path(source) {
                Err(error) if *optional && error.errno == Errno::NOENT => return Ok(()),
                other => other?,
            };
            let place = if is_directory(&from)? { root.create_directory(target)? } else { root.create_file(target)? };
            let mount = Mount::copy(from.as_fd(), &source.to_string_lossy(), true)?;
            let mut attributes = Attributes::NO_DEVICES | Attributes::NO_SUID;
            if *read_only {
                attributes = attributes | Attributes::READ_ONLY;
            }
            mount.restrict(attributes, true)?;
            mount.attach(place.as_fd(), target)
        }
        MountOp::Device { source, target } => dev::add(root, source, target),
        MountOp::Layers { lower, writable, source, target } => {
            let stack = Stack { lower: lower.clone(), data_only: Vec::new(), writable: writable.clone() }.mount()?;
            let part = Root::new(stack.root()).open(source)?;
            let place = if is_directory(&part)? { root.create_directory(target)? } else { root.create_file(target)? };
            let mount = Mount::copy(part.as_fd(), &source.to_string_lossy(), false)?;
            mount.restrict(Attributes::NO_DEVICES | Attributes::NO_SUID, false)?;
            mount.attach(place.as_fd(), target)
        }
        MountOp::File { target, content, mode } => {
            let name = target.to_string_lossy().trim_start_matches('/').replace('/', "-");
            let copy = Path::new(FILES).join(name);
            root.write_file(&copy, content, *mode)?;
            let mount = Mount::copy(root.open(&copy)?.as_fd(), &copy.to_string_lossy(), false)?;
            mount.attach(root.create_file(target)?.as_fd(), target)
        }
        MountOp::Write { target, content, mode } => root.write_file(target, content, *mode),
        MountOp::Guard { folder, guarded } => {
            let target = folder.join(&guarded.path);
            let led_to = existing(root, &target)?;
            let null = root.open(Path::new("/dev/null"))?;
            let covered = guard::cover(root.open(folder)?.as_fd(), null.as_fd(), guarded, false)?;
            match led_to {
                Some(place) if covered == Covered::Link && guarded.protection == Protection::Hidden => {
                    guard::hide(place.as_fd(), null.as_fd(), &target)
                }
                _ => Ok(()),
            }
        }
        MountOp::Mask { target } => {
            let Some(place) = existing(root, target)? else { return Ok(()) };
            guard::hide(place.as_fd(), root.open(Path::new("/dev/null"))?.as_fd(), target)
        }
        MountOp::ReadOnlyRoot => {
            let mount = Mount::received(root.open(Path::new("/"))?, "/");
            mount.restrict(Attributes::READ_ONLY, false)
        }
        MountOp::ReadOnly { target } => {
            let Some(place) = existing(root, target)? else { return Ok(()) };
            let mount = Mount::copy(place.as_fd(), &target.to_string_lossy(), true)?;
            mount.restrict(Attributes::READ_ONLY, true)?;
            mount.attach(place.as_fd(), target)
        }
    }
}

fn strict() -> Attributes {
    Attributes::NO_SUID | Attributes::NO_EXEC | Attributes::NO_DEVICES
}

/// Only absence may be passed over: hiding something must not fail silently for another reason.
fn existing(root: Root<'_>, target: &Path) -> Result<Option<std::os::fd::OwnedFd>, SysError> {
    match root.open(target) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}
