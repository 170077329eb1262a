//! What is to be done for a box: complete before anything is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bus::BusProxy;
use super::guard::{Guarded, Guards};
use super::overlay::Writable;
use crate::limits::Plan;
use crate::profile::Security;
use crate::userns::idmap::{IdMap, IdMode};

/// Everything about a box's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The host name inside.
    pub hostname: String,
    /// Who is who.
    pub id_map: IdMap,
    /// The root file system.
    pub root: RootSpec,
    /// What is mounted on it, in this order.
    pub mounts: Vec<MountOp>,
    /// What is guarded in the project, for as long as the box runs.
    pub guards: Option<Guards>,
    /// The network.
    pub network: Network,
    /// When the box stops.
    pub lifetime: Lifetime,
    /// Limits that each process inherits from init.
    pub rlimits: Rlimits,
    /// What its processes may do beyond, or short of, what every box may.
    pub security: Security,
    /// What all of them together may use.
    pub limits: Plan,
    /// The way to the host's session bus, if the box has one.
    pub bus: Option<BusProxy>,
}

impl SandboxSpec {
    /// Whether the box has one id only, and its profile wants others shown.
    #[must_use]
    pub fn emulates_ids(&self) -> bool {
        self.id_map.mode == IdMode::Single && self.security.emulate_ids
    }
}

/// Resource limits: what needs no cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    /// Open files of each process.
    pub files: Option<u64>,
    /// Processes of each user of the box; where no cgroup counts those of all.
    pub processes: Option<u64>,
}

/// The layers of a root file system, and what is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    /// Read-only directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Data-only directories.
    pub data_only: Vec<PathBuf>,
    /// Host directories overlaid at their own path; with `fuse_overlayfs` they are the lowest layer.
    pub host_directories: Vec<PathBuf>,
    /// Host directories bound read-only at their own path.
    pub read_only_binds: Vec<PathBuf>,
    /// The program that stacks the layers, absolute; absent: the kernel does.
    pub fuse_overlayfs: Option<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// overlayfs's scratch directory, on the same file system as `upper`.
    pub work: PathBuf,
    /// What is written need not survive a crash of the machine, see [`super::overlay::Writable`].
    pub is_volatile: bool,
    /// An empty directory on which the root is put together before it becomes the root.
    pub staging: PathBuf,
}

/// One step of furnishing the root file system. Targets are absolute paths in the box, resolved beneath its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountOp {
    /// A new procfs of the box's pid namespace.
    Proc {
        /// Where.
        target: PathBuf,
    },
    /// A read-only sysfs: of the box's network namespace, or the host's where it shares that.
    Sys {
        /// Where.
        target: PathBuf,
        /// The box has its own network namespace.
        own_network: bool,
    },
    /// A minimal `/dev` with its own devpts, shm and message queues.
    Dev {
        /// Where.
        target: PathBuf,
        /// Group 5 (tty) exists in the box and owns terminals.
        tty_group: bool,
        /// The most that `/dev/shm` may hold; `None`: half of the memory.
        shm_bytes: Option<u64>,
    },
    /// An empty tmpfs.
    Tmpfs {
        /// Where.
        target: PathBuf,
        /// Permission bits of its root.
        mode: u32,
        /// The most that it may hold; `None`: the kernel's default, half of the memory.
        size_bytes: Option<u64>,
    },
    /// A part of a tree of layers.
    Layers {
        /// The layers, the topmost first; two at least unless something can be written.
        lower: Vec<PathBuf>,
        /// Where writes go.
        writable: Option<Writable>,
        /// The part: a path in the tree, resolved beneath its root.
        source: PathBuf,
        /// Where.
        target: PathBuf,
    },
    /// A host directory or file.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Where.
        target: PathBuf,
        /// Nothing can be written through it.
        read_only: bool,
        /// A source that is not there is passed over.
        optional: bool,
    },
    /// A device of the host that the box may use.
    Device {
        /// Absolute path on the host.
        source: PathBuf,
        /// Where.
        target: PathBuf,
    },
    /// A file of ours, mounted over `target`; its content lies on the box's `/run`.
    File {
        /// Where.
        target: PathBuf,
        /// The content.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// A file of ours written to where a tmpfs is mounted already.
    Write {
        /// Where.
        target: PathBuf,
        /// The content.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// Something in the project that the box must not see, or not change.
    Guard {
        /// The project's folder in the box.
        folder: PathBuf,
        /// What.
        guarded: Guarded,
    },
    /// Something of the kernel's that is hidden, if it is there.
    Mask {
        /// What.
        target: PathBuf,
    },
    /// The root file system itself becomes read-only. What is mounted on it stays as it is.
    ReadOnlyRoot,
    /// Something that is mounted already becomes read-only, if it is there.
    ReadOnly {
        /// What.
        target: PathBuf,
    },
}

/// The network of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A namespace of its own, with a helper program or with a loopback interface only.
    Own,
    /// The host's.
    Host,
}

/// When a box stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// With its last session.
    Session,
    /// When it is told to.
    Keep,
}
