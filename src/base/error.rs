//! What can be wrong with a base.

use std::path::PathBuf;

use crate::image::store::StoreError;
use crate::process::ProcessError;
use crate::transfer::TransferError;
use crate::userns::stage::StageError;

/// A base could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The host base could not be made.
    #[error(transparent)]
    Host(#[from] super::host::HostError),
    /// The image could not be fetched.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The image has no layers.
    #[error("the image `{image}` is empty: there is no root file system in it")]
    EmptyImage {
        /// The image.
        image: String,
    },
    /// `fuse-overlayfs` is to stack the layers, and cannot.
    #[error("cannot stack the layers with `fuse-overlayfs`")]
    Fuse(#[from] super::driver::FuseError),
    /// The base is not there or cannot be read.
    #[error("cannot read the base `{}`", path.display())]
    Read {
        /// The directory or archive.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A path that must be a file.
    #[error("the base archive `{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A path that must be a directory.
    #[error("the base `{}` is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The archive changed while it was being read.
    #[error("the base archive `{}` changed while it was unpacked", path.display())]
    Changed {
        /// The archive.
        path: PathBuf,
    },
    /// The archive could not be unpacked.
    #[error("cannot unpack the base archive `{}`", path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// The error chain, or why the namespace could not be made.
        source: StageError,
    },
    /// The content is an image, not a root file system.
    #[error("`{}` holds an image with layers, not a root file system", path.display())]
    Image {
        /// The archive or directory.
        path: PathBuf,
    },
    /// The content does not look like a root file system.
    #[error("`{}` does not hold a root file system: there is no `bin/sh`, no `usr` and no `etc` in it", path.display())]
    NotARoot {
        /// The archive or directory.
        path: PathBuf,
    },
    /// `/` as a directory base.
    #[error("the base directory is the host's own root")]
    HostRoot,
    /// A directory base in which devbox keeps its own files, or the other way round.
    #[error("the base directory `{}` and devbox' own directory `{}` lie in each other", path.display(), data.display())]
    Overlaps {
        /// The base.
        path: PathBuf,
        /// `$XDG_DATA_HOME/devbox`.
        data: PathBuf,
    },
    /// Not `distribution:release`.
    #[error("`{}` does not name a distribution: `name:release` is expected, for example `debian:bookworm`", name.escape_debug())]
    DistroName {
        /// What was given.
        name: String,
    },
    /// A distribution that cannot be bootstrapped.
    #[error("`{name}` cannot be bootstrapped: debian and ubuntu can (others as an archive)")]
    DistroUnknown {
        /// The distribution.
        name: String,
    },
    /// The program that bootstraps is missing.
    #[error("`{distro}` needs the program `{program}` on this machine")]
    ProgramMissing {
        /// The distribution asked for.
        distro: String,
        /// Its name.
        program: &'static str,
    },
    /// The host has no package source for this distribution.
    #[error("this machine has no apt source for `{distro}`")]
    NoSource {
        /// The distribution asked for.
        distro: String,
    },
    /// With one user id, a program that pretends to have more is needed.
    #[error("`{distro}` needs the program `{program}` on this machine to be made with a single user id")]
    SingleId {
        /// The distribution asked for.
        distro: String,
        /// Name of the missing program and of its package.
        program: &'static str,
    },
    /// The bootstrapping program failed.
    #[error("cannot make `{distro}`")]
    Bootstrap {
        /// The distribution asked for.
        distro: String,
        /// The program, how it ended, and its last lines.
        source: ProcessError,
    },
    /// The layer store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BaseError {
    /// What to do about it, when there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Image { .. } => {
                "unpack the image to a root file system first, for example with `docker export` of a \
                                   container made from it"
                    .to_owned()
            }
            Self::Fuse(error) => error.remedy().to_owned(),
            Self::HostRoot => "use `base = \"host\"`: it never shows the box your private files".to_owned(),
            // A part of every Debian.
            Self::ProgramMissing { program: "setpriv", .. } => "install the package `util-linux`".to_owned(),
            Self::ProgramMissing { program, .. } => {
                format!("install the package `{program}`, for example with `sudo apt-get install {program}`")
            }
            Self::NoSource { distro } => {
                let release = distro.split_once(':').map_or(distro.as_str(), |(_, release)| release);
                format!(
                    "add a source for the suite `{release}` (with `Signed-By:` naming its keyring) below \
                     `/etc/apt/sources.list.d/`; it may say `Enabled: no` if this machine is not to use it itself"
                )
            }
            Self::SingleId { program, .. } => format!(
                "install the package `{program}`, or have a subuid range added (`usermod --add-subuids 100000-165535 \
                 --add-subgids 100000-165535 USER`, package `uidmap`), or use an archive made elsewhere as the base"
            ),
            _ => return None,
        })
    }
}
