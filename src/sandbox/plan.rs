//! From what is wanted to what is to be done. Pure.

use std::path::{Path, PathBuf};

use super::guard::{Guarded, Guards};
use super::spec::{Lifetime, MountOp, Network, Rlimits, RootSpec, SandboxSpec};
use crate::base::RootLayers;
use crate::limits::{self, Key};
use crate::profile::Security;
use crate::userns::idmap::IdMap;

/// Kernel interfaces that are hidden: they tell of the host, or reach its hardware (the OCI runtime's default list, and what is
/// the host's root's alone, who a box of the host's root is).
pub const MASKED: [&str; 19] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/pagetypeinfo",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Kernel interfaces that can be read only.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a box is made from.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The host name inside.
    pub hostname: String,
    /// Who is who.
    pub id_map: IdMap,
    /// The base.
    pub base: RootLayers,
    /// Read-only layers of the box above the base, the topmost first.
    pub layers: Vec<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// overlayfs's scratch directory.
    pub work: PathBuf,
    /// The writable layer need not outlive a crash of the machine.
    pub is_volatile: bool,
    /// Nothing can be written to the root file system, but to what is mounted on it.
    pub is_read_only: bool,
    /// Where the root is put together.
    pub staging: PathBuf,
    /// The box has a network namespace of its own.
    pub network: Network,
    /// When the box stops.
    pub lifetime: Lifetime,
    /// What its processes may do.
    pub security: Security,
    /// What it may use.
    pub limits: limits::Plan,
    /// The project's folder on the host, and where it appears.
    pub project: Option<(PathBuf, PathBuf, Access)>,
    /// Paths of the project that are hidden, or read-only.
    pub guarded: Vec<Guarded>,
    /// Further binds, in order.
    pub binds: Vec<MountOp>,
    /// Files on the box's `/run`.
    pub own: Vec<(PathBuf, Vec<u8>)>,
    /// Files mounted over what the box has: `hosts`, `resolv.conf`.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

impl Wanted {
    /// Of `base` and the layer that is written in the directory `place` (`upper/fs`, and `work` beside it), without a project
    /// and without what a profile says. What becomes of the layer is settled by who wanted it, after the end.
    #[must_use]
    pub fn without_project(hostname: &str, id_map: &IdMap, base: &RootLayers, place: &Path, runtime: &Path) -> Self {
        Self {
            hostname: hostname.to_owned(),
            id_map: id_map.clone(),
            base: base.clone(),
            layers: Vec::new(),
            upper: place.join("upper/fs"),
            work: place.join("work"),
            is_volatile: true,
            is_read_only: false,
            staging: runtime.join("root"),
            network: Network::Own,
            lifetime: Lifetime::Session,
            security: Security::default(),
            limits: limits::Plan::default(),
            project: None,
            guarded: Vec::new(),
            binds: Vec::new(),
            own: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// What may be done with the project's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// The whole plan.
#[must_use]
pub fn plan(wanted: Wanted) -> SandboxSpec {
    let tty_group = wanted.id_map.gid_outside(5).is_some();
    let own_network = wanted.network == Network::Own;
    let limit = |key: Key| wanted.limits.limits.get(key);
    let mut mounts = vec![
        MountOp::Proc { target: "/proc".into() },
        MountOp::Sys { target: "/sys".into(), own_network },
        MountOp::Dev { target: "/dev".into(), tty_group, shm_bytes: limit(Key::Shm) },
        MountOp::Tmpfs { target: "/tmp".into(), mode: 0o1777, size_bytes: limit(Key::Memory) },
        MountOp::Tmpfs { target: "/run".into(), mode: 0o755, size_bytes: limit(Key::Memory) },
    ];
    mounts.extend(wanted.own.into_iter().map(|(target, content)| MountOp::Write { target, content, mode: 0o644 }));
    mounts.extend(wanted.files.into_iter().map(|(target, content)| MountOp::File { target, content, mode: 0o644 }));
    let mut guards = None;
    if let Some((source, target, access)) = wanted.project {
        let read_only = access == Access::ReadOnly;
        mounts.push(MountOp::Bind { source: source.clone(), target: target.clone(), read_only, optional: false });
        // Mounts inside the project come after it, and what is hidden comes last: nothing may uncover it.
        mounts.extend(wanted.binds);
        let guard = |guarded: &Guarded| MountOp::Guard { folder: target.clone(), guarded: guarded.clone() };
        mounts.extend(wanted.guarded.iter().map(guard));
        if !wanted.guarded.is_empty() {
            guards = Some(Guards { source, target, paths: wanted.guarded });
        }
    } else {
        mounts.extend(wanted.binds);
    }
    mounts.extend(READ_ONLY.iter().map(|path| MountOp::ReadOnly { target: Path::new(path).into() }));
    mounts.extend(MASKED.iter().map(|path| MountOp::Mask { target: Path::new(path).into() }));
    // Last: places to mount on are made in it.
    mounts.extend(wanted.is_read_only.then_some(MountOp::ReadOnlyRoot));

    let lower = wanted.layers.into_iter().chain(wanted.base.lower).collect();
    SandboxSpec {
        hostname: wanted.hostname,
        id_map: wanted.id_map,
        root: RootSpec {
            lower,
            data_only: wanted.base.data_only,
            host_directories: wanted.base.host_directories,
            read_only_binds: wanted.base.read_only_binds,
            fuse_overlayfs: wanted.base.fuse_overlayfs,
            upper: wanted.upper,
            work: wanted.work,
            is_volatile: wanted.is_volatile,
            staging: wanted.staging,
        },
        mounts,
        guards,
        network: wanted.network,
        lifetime: wanted.lifetime,
        rlimits: Rlimits { files: limit(Key::Files), processes: wanted.limits.process_limit },
        limits: wanted.limits,
        security: wanted.security,
        bus: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::sandbox::guard::Protection;

    #[test]
    fn masks_come_after_everything_that_could_uncover_them() {
        let bind = MountOp::Bind { source: "/a".into(), target: "/p/.git".into(), read_only: false, optional: false };
        let env = Guarded { path: ".env".into(), protection: Protection::Hidden };
        let spec = plan(Wanted {
            hostname: "shop".into(),
            id_map: IdMap::single(0, 1000, 1000),
            base: RootLayers { lower: vec!["/base".into()], ..RootLayers::default() },
            layers: vec!["/top".into(), "/generated".into()],
            upper: "/u".into(),
            work: "/w".into(),
            is_volatile: false,
            is_read_only: true,
            staging: "/s".into(),
            network: Network::Own,
            lifetime: Lifetime::Session,
            security: Security::default(),
            limits: limits::Plan {
                limits: Limits { values: [(Key::Shm, 4096), (Key::Files, 99)].into(), require: false },
                ..limits::Plan::default()
            },
            project: Some(("/p".into(), "/p".into(), Access::ReadOnly)),
            guarded: vec![env.clone()],
            binds: vec![bind.clone()],
            own: Vec::new(),
            files: vec![("/etc/hosts".into(), b"x".to_vec())],
        });
        assert_eq!(spec.root.lower, [Path::new("/top"), Path::new("/generated"), Path::new("/base")]);
        let position = |wanted: &MountOp| spec.mounts.iter().position(|op| op == wanted).unwrap();
        let mask = position(&MountOp::Guard { folder: "/p".into(), guarded: env });
        assert!(position(&bind) < mask);
        assert!(spec.mounts.contains(&MountOp::Bind {
            source: "/p".into(),
            target: "/p".into(),
            read_only: true,
            optional: false
        }));
        assert!(spec.mounts.contains(&MountOp::Dev { target: "/dev".into(), tty_group: false, shm_bytes: Some(4096) }));
        assert!(spec.mounts.contains(&MountOp::Mask { target: "/proc/kcore".into() }));
        assert_eq!(spec.mounts.last(), Some(&MountOp::ReadOnlyRoot));
        assert_eq!(spec.rlimits, Rlimits { files: Some(99), processes: None });
    }
}
