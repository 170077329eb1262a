//! What a start is to do about limits: the profile's wishes, and what this machine has for them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::device::{self, Device};
use super::host::{Found, Place, Unheld};
use super::{Key, Limits};
use crate::userns::idmap::IdMode;

/// The plan. Its default is a box without limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the box may use.
    pub limits: Limits,
    /// What the group is called after: unique among what runs.
    pub name: String,
    /// Where the group is made; `None`: there is none.
    pub place: Option<Place>,
    /// The disks of `io_read` and `io_write`.
    pub devices: Vec<Device>,
    /// What is known not to hold.
    pub unheld: Vec<Unheld>,
    /// `RLIMIT_NPROC` of the box's processes: each user of the box may have so many, where nothing counts all.
    pub process_limit: Option<u64>,
    /// Where the state is left for other commands: the box's runtime directory.
    pub runtime: Option<PathBuf>,
}

impl Plan {
    /// What `found` makes of `limits` for a box with such ids, whose files lie at `written`. `release` is `uname -r`.
    #[must_use]
    pub fn new(limits: Limits, found: Found, name: String, written: &[&Path], mode: IdMode, release: &str) -> Self {
        let mut unheld = found.unheld(&limits);
        let mut process_limit = None;
        if mode != IdMode::Root
            && counts_processes_per_box(release)
            && let Some(pids) = unheld.iter_mut().find(|unheld| unheld.key == Key::Pids)
        {
            process_limit = limits.get(Key::Pids);
            pids.reason.push_str("; instead, each user of the box may have that many");
        }
        let io = [Key::IoRead, Key::IoWrite].iter().any(|key| limits.get(*key).is_some());
        let devices = if io { device::behind(written) } else { Vec::new() };
        let place = found.place.ok().filter(|_| limits.need_group());
        Self { limits, name, place, devices, unheld, process_limit, runtime: None }
    }
}

/// Since Linux 5.14 a user namespace counts its own processes; before, all the user's processes count, and a shell in a box
/// could not start because of a browser outside. Root's are not counted.
fn counts_processes_per_box(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

#[cfg(test)]
mod tests {
    use super::super::host::Lack;
    use super::*;

    #[test]
    fn kernels() {
        for (release, counts) in [("5.13.19", false), ("5.14.0-x", true), ("6.1.0-40-amd64", true), ("4.19.0", false)] {
            assert_eq!(counts_processes_per_box(release), counts, "{release}");
        }
    }

    #[test]
    fn without_a_group_processes_are_counted_for_each_user() {
        let limits = || Limits { values: [(Key::Pids, 64), (Key::Memory, 1 << 30)].into(), require: false };
        let plan = |mode, release: &str| {
            let found = Found { place: Err(Lack::Old), controllers: [].into() };
            Plan::new(limits(), found, "x".into(), &[], mode, release)
        };
        let held = plan(IdMode::Single, "6.1");
        assert_eq!((held.process_limit, held.unheld.len(), held.place.is_none()), (Some(64), 2, true));
        assert_eq!(plan(IdMode::Root, "6.1").process_limit, None);
        assert_eq!(plan(IdMode::Range, "5.10").process_limit, None);
    }
}
