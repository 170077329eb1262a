//! Who stacks the layers of a box: the kernel's overlayfs, or the program `fuse-overlayfs`. The one place that decides.
//!
//! The kernel is the default. `fuse-overlayfs` is taken where the user says so (`[overlay] driver` of `config.toml`),
//! for a box whose layers it wrote, and for the `host` base of an ordinary user below Linux 6.16 (see [`super::host`]).
//!
//! The program says that a directory hides what is below it in a way of its own, which the kernel does not understand;
//! the other way round it does. So what it wrote stays with it: the identity of its bases ends in [`FUSE_MARK`].

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::paths;

/// Who stacks the layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayDriver {
    /// The kernel's overlayfs.
    #[default]
    Kernel,
    /// The `fuse-overlayfs` program.
    Fuse,
}

/// How the identity of a base ends (`RootLayers::id`) that `fuse-overlayfs` stacks.
const FUSE_MARK: &str = "+fuse";

impl OverlayDriver {
    /// Who wrote the layers above the base `base_id`.
    #[must_use]
    pub fn of_base(base_id: &str) -> Self {
        if base_id.ends_with(FUSE_MARK) { Self::Fuse } else { Self::Kernel }
    }

    /// The identity of a base that it stacks.
    pub(super) fn mark(self, base_id: &mut String) {
        if self == Self::Fuse {
            base_id.push_str(FUSE_MARK);
        }
    }
}

/// `fuse-overlayfs` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FuseError {
    /// No program.
    #[error("the program `fuse-overlayfs` is not installed")]
    NotInstalled,
    /// No device.
    #[error("`/dev/fuse` does not exist")]
    NoDevice,
    /// A device that is closed to us.
    #[error("`/dev/fuse` may not be opened for reading and writing")]
    Denied,
}

impl FuseError {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotInstalled => "install the package `fuse-overlayfs`",
            Self::NoDevice => "`sudo modprobe fuse`; in a container, start it with `--device /dev/fuse`",
            Self::Denied => "`sudo chmod 0666 /dev/fuse`",
        }
    }
}

/// Finds the program, absolute, on `PATH`, and tries the device.
pub fn find_fuse_overlayfs() -> Result<PathBuf, FuseError> {
    let path = paths::variable("PATH").unwrap_or_default();
    // A relative entry of `PATH` would depend on the folder we are in.
    let program = which::which_in("fuse-overlayfs", Some(path), "/").ok().filter(|found| found.is_absolute());
    let program = program.ok_or(FuseError::NotInstalled)?;
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(program),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(FuseError::Denied),
        // ENODEV or ENXIO: the node is there, the module is not.
        Err(_) => Err(FuseError::NoDevice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_tells_who_stacks_it() {
        for driver in [OverlayDriver::Kernel, OverlayDriver::Fuse] {
            let mut id = "host-range-0a1b".to_owned();
            driver.mark(&mut id);
            assert_eq!(OverlayDriver::of_base(&id), driver, "{id}");
        }
    }
}
