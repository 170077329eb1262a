//! What the checks look at: read once, by the probes of the modules that own each feature.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::base::host;
use crate::boxes::shares::{self, host::Lack};
use crate::limits;
use crate::paths::{self, Paths};
use crate::sandbox::net;
use crate::sys::clone::{Forked, Namespaces, clone, exit_now};
use crate::sys::process::{self, Ended};
use crate::userns::mapper::Offer;

/// The state of this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// The answer to a clone with all the namespaces of a box: `None` when it works.
    pub namespaces: Option<String>,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, where a distribution has it.
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, where a distribution has it.
    pub apparmor_restricts: Option<u64>,
    /// The AppArmor profile that confines this process.
    pub apparmor_profile: Option<String>,
    /// This process runs under a seccomp filter already.
    pub seccomp: bool,
    /// This program.
    pub program: PathBuf,
    /// Ids on offer.
    pub offer: Offer,
    /// The user's name.
    pub user: String,
    /// A free range of subordinate ids.
    pub free_range: u64,
    /// `newuidmap` and `newgidmap`: where, and whether they have the privilege they need.
    pub mappers: Vec<(String, Option<(PathBuf, bool)>)>,
    /// What carries the host base.
    pub host_base: host::Probe,
    /// Network helpers.
    pub network: net::plan::Found,
    /// Where a box's cgroup can be made, and what it can limit.
    pub cgroup: limits::host::Found,
    /// What can be shared by name.
    pub shares: Vec<(&'static str, Result<(), Lack>)>,
    /// The data directory.
    pub data: Disk,
    /// Programs called `devbox` on PATH that are not this one.
    pub others: Vec<PathBuf>,
}

/// A directory's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory.
    pub path: PathBuf,
    /// The kind of file system, from `statfs`.
    pub magic: i64,
    /// Programs cannot be executed on it.
    pub noexec: bool,
    /// Bytes that this user can still write.
    pub free_bytes: u64,
    /// Somebody else owns it.
    pub foreign: bool,
}

impl Machine {
    /// Looks.
    pub fn look(paths: &Paths) -> Self {
        let offer = Offer::probe();
        let path = paths::variable("PATH").unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        let name = nix::unistd::User::from_uid(offer.uid.into()).ok().flatten();
        let existing = paths.data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned();
        let same = |one: &Path| {
            let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
            identity(one) == identity(&program)
        };
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            namespaces: try_namespaces(),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            apparmor_profile: apparmor_profile(),
            seccomp: std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Seccomp:\t2")),
            user: name.map_or_else(|| offer.uid.to_string(), |user| user.name),
            free_range: free_range(),
            mappers: ["newuidmap", "newgidmap"].map(|name| (name.to_owned(), mapper(name))).to_vec(),
            host_base: host::probe(&existing),
            network: net::probe(&path.to_string_lossy()),
            cgroup: limits::host::probe(),
            shares: shares::survey(offer.mode()),
            data: disk(&existing, offer.uid),
            others: which::which_all("devbox").map(|all| all.filter(|one| !same(one)).collect()).unwrap_or_default(),
            program,
            offer,
        }
    }
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The profile in `NAME (enforce)`; other modes, and other security modules, confine nothing or are not AppArmor's.
fn apparmor_profile() -> Option<String> {
    let label = std::fs::read_to_string("/proc/self/attr/apparmor/current").ok()?;
    Some(label.trim_end().strip_suffix(" (enforce)")?.to_owned())
}

/// The call that a start makes.
fn try_namespaces() -> Option<String> {
    let all = Namespaces::USER
        | Namespaces::MOUNT
        | Namespaces::PID
        | Namespaces::NET
        | Namespaces::IPC
        | Namespaces::UTS
        | Namespaces::CGROUP;
    match clone(all) {
        // AppArmor's restriction lets the namespaces be made, and takes the capabilities in them away.
        Ok(Forked::Child) => exit_now(i32::from(nix::unistd::sethostname("devbox-doctor").is_err())),
        Ok(Forked::Parent { pid }) => match process::wait(pid) {
            Ok(Ended::Exited(0)) => None,
            Ok(Ended::Exited(1)) => Some("the new namespaces come without capabilities".to_owned()),
            Ok(other) => Some(format!("the child ended with {other:?}")),
            Err(error) => Some(error.to_string()),
        },
        Err(error) => Some(error.to_string()),
    }
}

/// The first id behind all ranges that are given away.
fn free_range() -> u64 {
    let text = std::fs::read_to_string("/etc/subuid").unwrap_or_default()
        + &std::fs::read_to_string("/etc/subgid").unwrap_or_default();
    let ends = text.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    });
    ends.max().unwrap_or(100_000).max(100_000)
}

fn mapper(name: &str) -> Option<(PathBuf, bool)> {
    let path = which::which(name).ok()?;
    let setuid = std::fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o4000 != 0 && meta.uid() == 0);
    let capability = rustix::fs::getxattr(&path, "security.capability", &mut [0_u8; 64][..]).is_ok_and(|size| size > 0);
    Some((path, setuid || capability))
}

fn disk(path: &Path, uid: u32) -> Disk {
    let stat = rustix::fs::statvfs(path);
    Disk {
        path: path.to_owned(),
        magic: rustix::fs::statfs(path).map(|stat| stat.f_type).unwrap_or_default(),
        noexec: stat.as_ref().is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC)),
        free_bytes: stat.as_ref().map(|stat| stat.f_bavail * stat.f_frsize).unwrap_or(u64::MAX),
        foreign: path.ends_with("devbox") && std::fs::metadata(path).is_ok_and(|meta| meta.uid() != uid),
    }
}
