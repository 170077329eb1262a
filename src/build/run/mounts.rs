//! `RUN --mount`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::cache::{self, Cache};
use super::secrets::Secrets;
use crate::base::OverlayDriver;
use crate::build::copy::select::Mounted;
use crate::build::copy::walk::Fate;
use crate::build::copy::whole::copy_whole;
use crate::build::copy::write::Destination;
use crate::build::error::{At, BuildError};
use crate::build::layer::StepLayer;
use crate::build::trees::Tree;
use crate::paths::Paths;
use crate::sandbox::overlay::{Stack, Writable};
use crate::sandbox::spec::MountOp;
use crate::sys::fs::open_path;
use crate::text::with_causes;
use crate::userns::idmap::{IdMap, IdMode};

/// Something that is mounted while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where; absolute.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
}

/// What can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind {
        /// Whose.
        from: Tree,
        /// Which: a path in it.
        source: PathBuf,
        /// The command may write; what it writes is thrown away.
        writable: bool,
    },
    /// A directory that stays for the next build.
    Cache {
        /// What it is known by.
        id: String,
        /// What happens when two commands want it at once.
        sharing: Sharing,
        /// What it begins with.
        from: Option<(Tree, PathBuf)>,
        /// Permission bits of a new one.
        mode: u32,
        /// Owner and group of a new one, in the image.
        owner: (u32, u32),
        /// The command may not write.
        read_only: bool,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// The most that it may hold.
        size_bytes: Option<u64>,
    },
    /// A secret as a file, a variable or both.
    Secret {
        /// What the build knows it by.
        id: String,
        /// The content; `None`: the build was not given it.
        content: Option<Vec<u8>>,
        /// Without it the build fails.
        required: bool,
        /// It appears as a file.
        file: bool,
        /// It appears as this variable.
        variable: Option<String>,
        /// Permission bits.
        mode: u32,
        /// Owner and group, in the image.
        owner: (u32, u32),
    },
    /// The socket of an SSH agent.
    Ssh {
        /// What the build knows it by.
        id: String,
        /// The socket on the host; `None`: the build was not given it.
        socket: Option<PathBuf>,
        /// Without it the build fails.
        required: bool,
    },
}

/// What happens when two commands want one cache at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Both have it.
    Shared,
    /// The second one gets another.
    Private,
    /// The second one waits.
    Locked,
}

/// What a mount comes to.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What the sandbox does.
    pub operation: Option<MountOp>,
    /// Variables of the command.
    pub variables: Vec<(String, String)>,
    /// Held until the command has ended.
    pub lock: Option<File>,
}

/// Makes ready what is mounted. `number` tells the mounts of a step apart.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    layer: &StepLayer,
    mount: &Mount,
    number: usize,
    secrets: &Secrets,
) -> Result<Prepared, BuildError> {
    let target = mount.target.clone();
    match &mount.kind {
        MountKind::Bind { from, source, writable } => {
            let operation = bind(layer, from, source, *writable, number, target)?;
            Ok(Prepared { operation: Some(operation), ..Prepared::default() })
        }
        MountKind::Cache { id, sharing, from, mode, owner, read_only } => {
            let wanted = Cache { id, sharing: *sharing, from: from.as_ref(), mode: *mode, owner: *owner };
            let (source, lock) = cache::open(paths, map, layer, &wanted)?;
            let operation = MountOp::Bind { source, target, read_only: *read_only, optional: false };
            Ok(Prepared { operation: Some(operation), lock: Some(lock), ..Prepared::default() })
        }
        MountKind::Tmpfs { size_bytes } => {
            let operation = MountOp::Tmpfs { target, mode: 0o1777, size_bytes: *size_bytes };
            Ok(Prepared { operation: Some(operation), ..Prepared::default() })
        }
        MountKind::Secret { id, content, required, file, variable, .. } => {
            let Some(content) = content else {
                return if *required { Err(BuildError::NoSecret { id: id.clone() }) } else { Ok(Prepared::default()) };
            };
            let value = || String::from_utf8_lossy(content).into_owned();
            let source = secrets.path(number);
            Ok(Prepared {
                operation: file.then(|| MountOp::Bind { source, target, read_only: true, optional: false }),
                variables: variable.iter().map(|name| (name.clone(), value())).collect(),
                lock: None,
            })
        }
        MountKind::Ssh { id, socket, required } => {
            let Some(socket) = socket else {
                return if *required { Err(BuildError::NoAgent { id: id.clone() }) } else { Ok(Prepared::default()) };
            };
            let variables = vec![("SSH_AUTH_SOCK".to_owned(), target.to_string_lossy().into_owned())];
            let operation = MountOp::Bind { source: socket.clone(), target, read_only: false, optional: false };
            Ok(Prepared { operation: Some(operation), variables, lock: None })
        }
    }
}

fn bind(
    layer: &StepLayer,
    from: &Tree,
    source: &Path,
    writable: bool,
    number: usize,
    target: PathBuf,
) -> Result<MountOp, BuildError> {
    if let (Tree::Directory(directory), false) = (from, writable) {
        let root = open_path(directory)?;
        let real = Mounted(root.as_fd()).real_path(source);
        let missing = || BuildError::NoMountSource { path: source.to_owned() };
        let source = directory.join(real.ok_or_else(missing)?.strip_prefix("/").unwrap_or(Path::new("")));
        return Ok(MountOp::Bind { source, target, read_only: true, optional: false });
    }
    let trees = layer.trees()?;
    let name = format!("mount-{number}");
    if layer.driver() == OverlayDriver::Fuse {
        // The program serves the root file system of the command alone: this is a copy.
        let destination = Destination { path: Path::new("/").join(&name), is_directory: false };
        let is_single = layer.map().mode == IdMode::Single;
        trees.read(std::slice::from_ref(from), |roots| {
            let copy = |root| copy_whole(root, source, layer.scratch(), &destination, is_single, &|_| Fate::Kept);
            roots.iter().try_for_each(|root| copy(*root)).map_err(|error| with_causes(&error))
        })?;
        return Ok(MountOp::Bind { source: layer.scratch().join(name), target, read_only: !writable, optional: false });
    }
    let lower = match from {
        Tree::Directory(directory) => std::slice::from_ref(directory),
        Tree::Layers(layers) => layers,
    };
    let Stack { lower, .. } = trees.stack(lower);
    let writable = if writable {
        let make = |what: &str| -> Result<PathBuf, BuildError> {
            let path = layer.scratch().join(format!("{name}-{what}"));
            std::fs::create_dir(&path).at("create", &path)?;
            Ok(path)
        };
        Some(Writable { upper: make("upper")?, work: make("work")?, is_volatile: true })
    } else {
        None
    };
    Ok(MountOp::Layers { lower, writable, source: source.to_owned(), target })
}
