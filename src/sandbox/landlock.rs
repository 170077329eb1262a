//! Landlock as a second wall around the mounts: a box's processes reach files by paths below the box's root, and no others.
//!
//! The one rule allows everything below `/`. The kernel looks for it from the file upwards, across mount points, so a file
//! of the host that got into the box by a descriptor (CVE-2024-21626), or by a mistake of ours or the kernel's, is refused: it has
//! the host's root above it. Pipes and other files without a path are not concerned. Mounts cannot be changed any more,
//! which nobody in a box can anyway; a profile that allows such calls does without this wall.
//!
//! It also keeps the box from abstract sockets that are not its own, which it can see on the host's network.

use std::os::fd::AsFd;
use std::path::Path;

use ::landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use rustix::io::Errno;

use crate::sys::fs::open_path;
use crate::sys::{SysError, SysResult};

/// The newest version whose rights are known here; an older kernel has fewer.
const NEWEST: ABI = ABI::V6;

/// Restricts the calling process, and all it starts, to what is below its root. Whether the kernel could: it has Landlock
/// since 5.13, and since 5.19 without forbidding to move files between directories.
///
/// The caller has `CAP_SYS_ADMIN`, or no new privileges.
pub fn restrict_to_root() -> SysResult<bool> {
    // Without this right, which is refused where it is not known, no package could be installed.
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::Refer);
    let Ok(ruleset) = ruleset else { return Ok(false) };
    let root = open_path(Path::new("/"))?;
    ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(|created| {
            created.no_new_privs(false).add_rule(PathBeneath::new(root.as_fd(), AccessFs::from_all(NEWEST)))
        })
        .and_then(|created| created.restrict_self())
        .map_err(|error| refused(&error))?;
    Ok(true)
}

fn refused(error: &RulesetError) -> SysError {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    let errno =
        causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).find_map(std::io::Error::raw_os_error);
    SysError::new(format!("landlock (`{error}`)"), errno.map_or(Errno::INVAL, Errno::from_raw_os_error))
}
