//! The capabilities of a box's root: those that a root in a container needs, all of them over the box's own namespaces.
//!
//! Left out on purpose: `CAP_SYS_ADMIN` (mounts), `CAP_NET_ADMIN` (addresses, firewalls), `CAP_SYS_RESOURCE`,
//! `CAP_DAC_READ_SEARCH` (files by handle), and whatever the kernel learns in the future.

use caps::Capability;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::profile::security::{Changes, KEPT};
use crate::sys::{Context, SysError};

/// The capabilities could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum CapsError {
    /// The kernel refused a step.
    #[error("cannot drop capabilities")]
    Refused {
        /// The call and its answer.
        #[from]
        source: SysError,
    },
    /// Every step succeeded, and yet the kernel tells of other capabilities than those asked for.
    #[error("the {set} capabilities are {found:#x}, not {wanted:#x}")]
    Different {
        /// Which set: "effective", "bounding" ...
        set: &'static str,
        /// One bit per capability.
        found: u64,
        /// One bit per capability.
        wanted: u64,
    },
}

/// As [`reduce_to`], with what a box's root keeps.
pub fn apply() -> Result<(), CapsError> {
    reduce_to(&KEPT)
}

/// What the root of a box keeps, changed as its profile says. Behind a packet filter it has no `CAP_NET_RAW`, for a packet
/// that a program writes as a whole goes past the filter, and no `CAP_NET_ADMIN`.
#[must_use]
pub fn of_box(behind_filter: bool, changes: &Changes) -> Vec<Capability> {
    let more = changes.more.iter().filter_map(|name| name.parse().ok());
    let mut capabilities: Vec<Capability> = KEPT.to_vec();
    capabilities.extend(more.filter(|more| !KEPT.contains(more)));
    capabilities.retain(|capability| {
        let passes_filter = matches!(capability, Capability::CAP_NET_RAW | Capability::CAP_NET_ADMIN);
        !(changes.less.contains(&capability.to_string()) || behind_filter && passes_filter)
    });
    capabilities
}

/// Reduces the calling thread to `kept`, for itself and for all it will start, and checks what the kernel made of it.
///
/// The caller has every capability in its user namespace. Permitted, effective and bounding become `kept`;
/// inheritable and ambient become empty, so that a program run as another user than root starts with none. The seccomp
/// filter can be installed after this only with no-new-privileges, because `CAP_SYS_ADMIN` is gone.
///
/// # Errors
/// When the kernel refuses a step, or a set is not as asked for afterwards: nothing may be run in the box then.
pub fn reduce_to(kept: &[Capability]) -> Result<(), CapsError> {
    let wanted = kept.iter().fold(CapabilitySet::empty(), |set, cap| set | bit(u32::from(cap.index())));
    // CAP_SETPCAP is needed for this, so the bounding set comes first.
    for index in known() {
        if !wanted.contains(bit(index)) {
            remove_capability_from_bounding_set(bit(index))
                .call(|| format!("drop capability {index} from the bounding set"))?;
        }
    }
    clear_ambient_capability_set().call(|| "clear the ambient capabilities".into())?;
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).call(|| format!("set capabilities to {:#x}", wanted.bits()))?;
    verify(wanted)
}

fn verify(wanted: CapabilitySet) -> Result<(), CapsError> {
    let now = capabilities(None).call(|| "read the capabilities".into())?;
    let bounding = known()
        .filter(|index| bounded(*index) == Some(true))
        .fold(CapabilitySet::empty(), |set, index| set | bit(index));
    // The ambient set is always a part of the inheritable set.
    for (set, found, wanted) in [
        ("effective", now.effective, wanted),
        ("permitted", now.permitted, wanted),
        ("inheritable", now.inheritable, CapabilitySet::empty()),
        ("bounding", bounding, wanted),
    ] {
        if found != wanted {
            return Err(CapsError::Different { set, found: found.bits(), wanted: wanted.bits() });
        }
    }
    Ok(())
}

/// The capabilities of the running kernel, which may know more than any list of ours.
///
/// Asks the kernel and not `/proc/sys/kernel/cap_last_cap`, because a box may be without `/proc` at this point.
fn known() -> impl Iterator<Item = u32> {
    (0..u64::BITS).take_while(|index| bounded(*index).is_some())
}

/// Whether a capability is in the bounding set; nothing for one that the kernel does not know (EINVAL).
fn bounded(index: u32) -> Option<bool> {
    capability_is_in_bounding_set(bit(index)).ok()
}

fn bit(index: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << index)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn keeps_nothing_that_reaches_beyond_a_box() {
        for dangerous in [
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_SYS_MODULE,
            Capability::CAP_SYS_RAWIO,
            Capability::CAP_SYS_BOOT,
            Capability::CAP_SYS_TIME,
            Capability::CAP_SYS_RESOURCE,
            Capability::CAP_DAC_READ_SEARCH,
            Capability::CAP_SYSLOG,
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
        ] {
            assert!(!KEPT.contains(&dangerous), "{dangerous}");
        }
    }

    #[test]
    fn the_profile_changes_the_list() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let changes =
            Changes { more: names(&["CAP_SYS_NICE", "CAP_NET_ADMIN", "CAP_KILL"]), less: names(&["CAP_MKNOD"]) };
        let open = of_box(false, &changes);
        assert_eq!(open.len(), KEPT.len() + 1);
        assert!(open.contains(&Capability::CAP_SYS_NICE) && open.contains(&Capability::CAP_NET_ADMIN));
        assert!(!open.contains(&Capability::CAP_MKNOD));
        let filtered = of_box(true, &changes);
        assert!(!filtered.contains(&Capability::CAP_NET_ADMIN) && !filtered.contains(&Capability::CAP_NET_RAW));
        assert_eq!(of_box(false, &Changes::default()), KEPT);
    }

    #[test]
    fn knows_every_capability_of_this_kernel() {
        let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert_eq!(known().last(), Some(last));
    }

    /// Runs itself once more as the root of a user namespace, in a process of its own.
    #[test]
    fn root_of_a_namespace_is_reduced() {
        const AGAIN: &str = "DEVBOX_TEST_IN_NAMESPACE";
        if crate::paths::variable(AGAIN).is_some() {
            return inside();
        }
        let inside = Command::new("unshare")
            .args(["-r", "-u", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "sandbox::caps::tests::root_of_a_namespace_is_reduced"])
            .env(AGAIN, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&inside.stdout);
        assert!(output.contains("1 passed"), "{output}{}", String::from_utf8_lossy(&inside.stderr));
    }

    fn inside() {
        let wanted: u64 = KEPT.iter().map(|cap| 1_u64 << cap.index()).sum();
        let full = (1_u64 << (known().last().unwrap() + 1)) - 1;
        assert_eq!(status("thread-self", "CapEff"), full, "the namespace does not give every capability");
        rustix::system::sethostname(b"allowed").unwrap();
        assert!(matches!(verify(bit(0)), Err(CapsError::Different { set: "effective", .. })));
        apply().unwrap();
        apply().unwrap();
        for (set, value) in [("CapEff", wanted), ("CapPrm", wanted), ("CapBnd", wanted), ("CapInh", 0), ("CapAmb", 0)] {
            assert_eq!(status("thread-self", set), value, "{set}");
        }
        let program = Command::new("cat").arg("/proc/self/status").output().unwrap();
        let program = String::from_utf8(program.stdout).unwrap();
        assert_eq!(field(&program, "CapEff"), wanted, "a program started as root does not get them back");
        assert_eq!(field(&program, "CapBnd"), wanted);
        assert!(rustix::system::sethostname(b"refused").is_err(), "CAP_SYS_ADMIN is gone");
    }

    fn status(process: &str, name: &str) -> u64 {
        field(&std::fs::read_to_string(format!("/proc/{process}/status")).unwrap(), name)
    }

    fn field(status: &str, name: &str) -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        u64::from_str_radix(value, 16).unwrap()
    }
}
