//! The root file system: layers stacked by overlayfs.
//!
//! Paths are handed to the kernel as `/proc/self/fd/N`. That has no length limit worth naming (an option string is
//! cut at 256 bytes), and `/proc/mounts` in the box tells nothing of the host's directories.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::fuse;
use super::spec::RootSpec;
use crate::sys::fs::{Root, open_directory, open_path, proc_path};
use crate::sys::mount::{Attributes, Mount, Parameter};
use crate::sys::{SysError, SysResult};

/// One overlay mount: what is stacked, and where writes go. Paths are the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Read-only directories, the topmost first. At least one, and two where nothing is written.
    pub lower: Vec<PathBuf>,
    /// Data-only directories.
    pub data_only: Vec<PathBuf>,
    /// Where writes go; without it the mount is read-only.
    pub writable: Option<Writable>,
}

/// The writable part of an overlay mount, both on one file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// The writable layer.
    pub upper: PathBuf,
    /// overlayfs's scratch directory.
    pub work: PathBuf,
    /// overlayfs's `volatile`: unmounting waits for no disk. After a crash of the machine the layer is of no use, and `work` can
    /// not be used again.
    pub is_volatile: bool,
}

impl Stack {
    /// Mounts the stack, detached.
    pub fn mount(&self) -> SysResult<Mount> {
        let mut handles = Vec::new();
        let mut parameters = Vec::new();
        let hand = |key: &'static str, path: &Path, handles: &mut Vec<OwnedFd>| -> SysResult<Parameter> {
            let handle = open_path(path)?;
            let value = proc_path(&handle).to_string_lossy().into_owned();
            handles.push(handle);
            Ok(Parameter::Value(key, value))
        };
        for lower in &self.lower {
            parameters.push(hand("lowerdir+", lower, &mut handles)?);
        }
        for data in &self.data_only {
            parameters.push(hand("datadir+", data, &mut handles)?);
        }
        if let Some(Writable { upper, work, is_volatile }) = &self.writable {
            parameters.push(hand("upperdir", upper, &mut handles)?);
            parameters.push(hand("workdir", &ensure(work)?, &mut handles)?);
            if *is_volatile {
                parameters.push(Parameter::Flag("volatile"));
            }
        }
        parameters.push(Parameter::Flag("userxattr"));
        match Mount::new("overlay", &parameters, Attributes::default()) {
            // Before Linux 6.8 there is no `lowerdir+`: all layers in one option, for which the short names of the
            // descriptors leave room for twelve.
            Err(error) if error.errno == Errno::INVAL && self.data_only.is_empty() => {
                let mut names = Vec::new();
                for parameter in &parameters {
                    if let Parameter::Value("lowerdir+", value) = parameter {
                        names.push(value.as_str());
                    }
                }
                let joined = Parameter::Value("lowerdir", names.join(":"));
                let mut old: Vec<Parameter> = vec![joined];
                old.extend(parameters.iter().filter(|p| !matches!(p, Parameter::Value("lowerdir+", _))).cloned());
                Mount::new("overlay", &old, Attributes::default())
                    .map_err(|second| if error.call.contains('(') { error } else { second })
            }
            other => other,
        }
    }
}

/// Puts the root file system together on `spec.staging` and returns a handle of its root. `fuse` is where
/// `fuse-overlayfs`, if it stacks the layers, is received from.
pub fn assemble(spec: &RootSpec, fuse: Option<&UnixStream>) -> SysResult<OwnedFd> {
    let root = match fuse {
        Some(fuse) => fuse::receive(fuse)?,
        None => Stack {
            lower: spec.lower.clone(),
            data_only: spec.data_only.clone(),
            writable: Some(Writable {
                upper: spec.upper.clone(),
                work: spec.work.join("root"),
                is_volatile: spec.is_volatile,
            }),
        }
        .mount()?,
    };
    root.attach(open_path(&spec.staging)?.as_fd(), &spec.staging)?;
    // The handle must be taken after attaching: it is a path on the mount now, not below it.
    let handle = open_directory(&spec.staging)?;

    // `fuse-overlayfs` has them already.
    for directory in spec.host_directories.iter().filter(|_| fuse.is_none()) {
        let relative = directory.strip_prefix("/").unwrap_or(directory);
        let mut lower: Vec<PathBuf> =
            spec.lower.iter().map(|layer| layer.join(relative)).filter(|path| is_real_directory(path)).collect();
        lower.push(directory.clone());
        let name: String = relative.to_string_lossy().replace('/', "-");
        // overlayfs takes no missing upper directory: the box was made with one, but the base may have gained a directory.
        let mount = Stack {
            lower,
            data_only: Vec::new(),
            writable: Some(Writable {
                upper: ensure(&spec.upper.join(relative))?,
                work: spec.work.join(name),
                is_volatile: spec.is_volatile,
            }),
        }
        .mount()?;
        let target = Root::new(handle.as_fd()).create_directory(directory)?;
        mount.attach(target.as_fd(), directory)?;
    }
    for directory in &spec.read_only_binds {
        let mount = Mount::copy(open_path(directory)?.as_fd(), &directory.to_string_lossy(), true)?;
        mount.restrict(Attributes::READ_ONLY | Attributes::NO_DEVICES, true)?;
        let target = Root::new(handle.as_fd()).create_directory(directory)?;
        mount.attach(target.as_fd(), directory)?;
    }
    Ok(handle)
}

fn ensure(path: &Path) -> SysResult<PathBuf> {
    std::fs::create_dir_all(path).map_err(|error| SysError::from_io(format!("mkdir `{}`", path.display()), &error))?;
    Ok(path.to_owned())
}

/// A layer that replaced the directory by something else (or removed it: a whiteout) has nothing to stack.
fn is_real_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}
