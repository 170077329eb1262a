//! Trees of layers, mounted for as long as a piece of work reads or writes them: by the kernel, or by `fuse-overlayfs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::copy::select::Mounted;
use super::error::{At, BuildError};
use crate::base::OverlayDriver;
use crate::base::driver::find_fuse_overlayfs;
use crate::sandbox::fuse::{self, Served};
use crate::sandbox::overlay::{Stack, Writable};
use crate::sys::SysResult;
use crate::sys::fs::open_directory;
use crate::sys::mount::Mount;
use crate::text::with_causes;
use crate::userns::idmap::IdMap;
use crate::userns::stage::run_mapped_mounting;

/// Files to be mounted or copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// A directory of the host, already filtered.
    Directory(PathBuf),
    /// Layers of a stage or an image, the topmost first.
    Layers(Vec<PathBuf>),
}

/// Who mounts, for which ids, and where there is room for it.
#[derive(Debug)]
pub struct Trees<'a> {
    /// `fuse-overlayfs`; without it the kernel mounts.
    program: Option<PathBuf>,
    map: &'a IdMap,
    scratch: &'a Path,
}

impl<'a> Trees<'a> {
    /// Trees to be stacked by `driver`. `scratch` is a directory of the caller's.
    pub fn new(driver: OverlayDriver, map: &'a IdMap, scratch: &'a Path) -> Result<Self, BuildError> {
        let program = match driver {
            OverlayDriver::Kernel => None,
            OverlayDriver::Fuse => Some(find_fuse_overlayfs()?),
        };
        let trees = Self { program, map, scratch };
        for path in empty(scratch).into_iter().chain([trees.staging()]) {
            std::fs::create_dir_all(&path).at("create", &path)?;
        }
        Ok(trees)
    }

    /// An empty directory that every process may cover in a mount namespace of its own.
    fn staging(&self) -> PathBuf {
        self.scratch.join("staging")
    }

    /// Calls `work`, as the root of a namespace with the ids, with `trees` to be read. The caller must be
    /// single-threaded.
    pub fn read<T, F>(&self, trees: &[Tree], work: F) -> Result<T, BuildError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(&[Mounted<'_>]) -> Result<T, String>,
    {
        run_mapped_mounting(self.map, || self.with(Vec::new(), trees, work)).map_err(BuildError::Stage)
    }

    /// As [`Self::read`], and with the merged tree of `lower`, whose writes go to `writable`.
    pub fn write<T, F>(&self, lower: &[PathBuf], writable: Writable, others: &[Tree], work: F) -> Result<T, BuildError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Mounted<'_>, &[Mounted<'_>]) -> Result<T, String>,
    {
        let own = Stack { writable: Some(writable), ..self.stack(lower) };
        run_mapped_mounting(self.map, || {
            let own = Held::Stack(self.mount(&own).map_err(|error| with_causes(&error))?);
            self.with(vec![own], others, |all| match all {
                [own, others @ ..] => work(*own, others),
                [] => Err("no tree was mounted".to_owned()),
            })
        })
        .map_err(BuildError::Stage)
    }

    fn with<T>(
        &self,
        mut held: Vec<Held>,
        trees: &[Tree],
        work: impl FnOnce(&[Mounted<'_>]) -> Result<T, String>,
    ) -> Result<T, String> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        for tree in trees {
            held.push(match tree {
                Tree::Directory(path) => Held::Directory(open_directory(path).map_err(|error| with_causes(&error))?),
                Tree::Layers(layers) => {
                    Held::Stack(self.mount(&self.stack(layers)).map_err(|error| with_causes(&error))?)
                }
            });
        }
        let roots: Vec<Mounted<'_>> = held.iter().map(|held| Mounted(held.root())).collect();
        let mut result = work(&roots);
        drop(roots);
        // What was written is on its way until the program has ended.
        for served in held.into_iter().filter_map(Held::served) {
            let said = served.finish().map_err(|error| with_causes(&error))?;
            if let Err(text) = &mut result {
                match said {
                    Some(said) => *text = format!("{text}: `fuse-overlayfs`: {said}"),
                    None if text.contains("ENOTCONN") => text.push_str(": `fuse-overlayfs` ended"),
                    None => {}
                }
            }
        }
        result
    }

    /// `lower` as one tree that cannot be written to.
    #[must_use]
    pub fn stack(&self, lower: &[PathBuf]) -> Stack {
        let lower = lower.iter().cloned().chain(empty(self.scratch)).collect();
        Stack { lower, data_only: Vec::new(), writable: None }
    }

    fn mount(&self, stack: &Stack) -> SysResult<Stacked> {
        match &self.program {
            None => stack.mount().map(Stacked::Kernel),
            Some(program) => {
                let staging = self.staging();
                let wanted = fuse::Wanted { program, stack, host_directories: &[], map: self.map, staging: &staging };
                Served::mount(&wanted).map(Stacked::Fuse)
            }
        }
    }
}

/// Two empty directories below `scratch`: overlayfs wants that many layers where nothing is written, and the program one.
fn empty(scratch: &Path) -> [PathBuf; 2] {
    ["empty", "nothing"].map(|name| scratch.join(name))
}

/// A mounted stack.
enum Stacked {
    Kernel(Mount),
    Fuse(Served),
}

/// A tree that is open.
enum Held {
    Directory(OwnedFd),
    Stack(Stacked),
}

impl Held {
    fn root(&self) -> BorrowedFd<'_> {
        match self {
            Self::Directory(handle) => handle.as_fd(),
            Self::Stack(Stacked::Kernel(mount)) => mount.root(),
            Self::Stack(Stacked::Fuse(served)) => served.root(),
        }
    }

    fn served(self) -> Option<Served> {
        match self {
            Self::Stack(Stacked::Fuse(served)) => Some(served),
            Self::Stack(Stacked::Kernel(_)) | Self::Directory(_) => None,
        }
    }
}
