//! A limit on what a box writes, watched: for file systems without quotas that an ordinary user could set.
//!
//! Counting a tree takes long, asking how full the file system is takes nothing. So the tree is counted when the file
//! system has filled enough since to make an excess possible. Others may have made room meanwhile: as long as its free
//! space changes at all, the tree is counted as often as costs a hundredth of a processor, and once a second at most. What is
//! written between two looks can exceed the limit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::userns::idmap::IdMap;
use crate::userns::stage::{StageError, run_mapped};
use crate::userns::walk::{Counter, walk};

/// Between two looks, far from the limit and near it.
const SLOW: Duration = Duration::from_secs(2);
const FAST: Duration = Duration::from_millis(200);
/// A count is trusted for so long, and for so many times what it took of a processor.
const RECOUNT: Duration = Duration::from_secs(1);
const RECOUNT_TIMES: u32 = 100;
/// What a fast disk takes between two slow looks; nearer to the limit, looks are fast.
const NEAR_BYTES: u64 = 8 << 30;
/// A box that begins above its limit, after that was lowered, may still be entered to make room, and grow by this.
const ROOM_BYTES: u64 = 64 << 20;

/// Watches the writable layer of one box.
#[derive(Debug)]
pub struct Watch {
    upper: PathBuf,
    map: IdMap,
    /// As it was set.
    asked: u64,
    /// As it is: see [`effective`].
    limit: u64,
    counted: u64,
    free_then: u64,
    when: Instant,
    /// What counting took of a processor: how long it had to wait for one says nothing about what it costs others.
    cost: Duration,
    next: Instant,
}

impl Watch {
    /// Counts what is there. The caller must be single-threaded, as for the other functions.
    pub fn new(upper: &Path, map: &IdMap, limit: u64) -> Result<Self, StageError> {
        let now = Instant::now();
        let mut watch = Self {
            upper: upper.to_owned(),
            map: map.clone(),
            asked: limit,
            limit,
            counted: 0,
            free_then: 0,
            when: now,
            cost: Duration::ZERO,
            next: now,
        };
        watch.count()?;
        watch.limit = effective(limit, watch.counted);
        Ok(watch)
    }

    /// What the limit is from now on.
    pub fn set_if_other(&mut self, limit: u64) {
        if limit != self.asked {
            (self.asked, self.limit) = (limit, limit);
        }
    }

    /// How long until the next look.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// The bytes of the layer if they exceed the limit. Looks only when it is time to.
    pub fn excess(&mut self) -> Result<Option<u64>, StageError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(None);
        }
        let free = free(&self.upper);
        let most = self.counted + self.free_then.saturating_sub(free);
        let stale = free != self.free_then && now.duration_since(self.when) > RECOUNT.max(self.cost * RECOUNT_TIMES);
        let mut pause = if self.limit.saturating_sub(most) < NEAR_BYTES { FAST } else { SLOW };
        if most > self.limit || stale {
            self.count()?;
            // Counting must not become all that there is to do.
            pause = pause.max(self.cost * 20);
        }
        self.next = Instant::now() + pause;
        Ok((self.counted > self.limit).then_some(self.counted))
    }

    fn count(&mut self) -> Result<(), StageError> {
        self.when = Instant::now();
        self.free_then = free(&self.upper);
        let before = children_time();
        self.counted = usage(&self.upper, &self.map)?;
        self.cost = children_time().saturating_sub(before);
        Ok(())
    }
}

/// What the children that were waited for took of a processor; [`usage`] works in such.
fn children_time() -> Duration {
    let spent = |usage: Usage| (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| spent(usage).unsigned_abs()))
}

/// The limit of a box that has `counted` bytes when it starts.
pub(super) fn effective(limit: u64, counted: u64) -> u64 {
    if counted > limit { counted + ROOM_BYTES } else { limit }
}

/// The bytes that the layer takes on the disk.
pub fn usage(upper: &Path, map: &IdMap) -> Result<u64, StageError> {
    run_mapped(map, || {
        let mut counter = Counter::default();
        let mut bytes = 0;
        let counted = walk(upper, &mut |entry| {
            bytes += counter.bytes(&entry.stat);
            Ok(())
        });
        counted.map(|_| bytes).map_err(|errno| format!("count `{}`: {errno}", upper.display()))
    })
}

/// Whether next to nothing can be written any more to the file system that `path` is on.
#[must_use]
pub fn is_full(path: &Path) -> bool {
    const NOTHING_BYTES: u64 = 1 << 20;
    // Some file systems do not count files.
    let is_full = |stat: rustix::fs::StatVfs| {
        stat.f_bavail * stat.f_frsize < NOTHING_BYTES || (stat.f_files > 0 && stat.f_favail == 0)
    };
    rustix::fs::statvfs(path).is_ok_and(is_full)
}

fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map(|stat| stat.f_bfree * stat.f_frsize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_too_large_already_can_be_entered() {
        assert_eq!(effective(10, 9), 10);
        assert_eq!(effective(10, 10), 10);
        assert_eq!(effective(10, 11), 11 + ROOM_BYTES);
    }
}
