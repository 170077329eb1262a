//! The id map of a box: which ids inside stand for which ids on the host. Pure.

use serde::{Deserialize, Serialize};

/// How many ids a box in range or root mode has: enough for every id that a distribution gives out, `nobody` included.
pub const RANGE_SIZE: u32 = 65_536;

/// How the ids of a box come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdMode {
    /// The invoking user and a subuid range, mapped by `newuidmap` and `newgidmap`.
    Range,
    /// The invoking user alone; changes of owner are answered by a seccomp filter.
    Single,
    /// The invoking user is the host's root: the box's ids are the host's.
    Root,
}

impl std::fmt::Display for IdMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Range => "range",
            Self::Single => "single",
            Self::Root => "root",
        })
    }
}

/// `count` consecutive ids, from `inside` in the box and from `outside` on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdExtent {
    /// First id in the box.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdExtent {
    /// `count` ids from `inside` stand for those from `outside`.
    #[must_use]
    pub const fn new(inside: u32, outside: u32, count: u32) -> Self {
        Self { inside, outside, count }
    }
}

/// The whole map of a box, as written to `/proc/PID/uid_map` and `gid_map`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMap {
    /// Where the map came from.
    pub mode: IdMode,
    /// The id in the box that stands for the invoking user: 0, or the uid of the profile's `user`.
    pub user: u32,
    /// User ids.
    pub uids: Vec<IdExtent>,
    /// Group ids.
    pub gids: Vec<IdExtent>,
}

impl IdMap {
    /// The invoking user is `user` in the box; every other id of the box is taken from the ranges, in order.
    ///
    /// With `user` 0 this is `0 -> uid`, `1.. -> range`; else root and the others are served from the range.
    #[must_use]
    pub fn range(user: u32, uid: u32, gid: u32, subuids: &[(u32, u32)], subgids: &[(u32, u32)]) -> Self {
        Self { mode: IdMode::Range, user, uids: around(user, uid, subuids), gids: around(user, gid, subgids) }
    }

    /// Only the invoking user exists.
    #[must_use]
    pub fn single(user: u32, uid: u32, gid: u32) -> Self {
        Self {
            mode: IdMode::Single,
            user,
            uids: vec![IdExtent::new(user, uid, 1)],
            gids: vec![IdExtent::new(user, gid, 1)],
        }
    }

    /// The first 65,536 ids of the host as they are.
    #[must_use]
    pub fn root() -> Self {
        let same = vec![IdExtent::new(0, 0, RANGE_SIZE)];
        Self { mode: IdMode::Root, user: 0, uids: same.clone(), gids: same }
    }

    /// A map under which installing works, and leaves files with the owners that this map expects: in single mode with
    /// a named user there is no root, but all files belong to the invoking user whoever makes them.
    #[must_use]
    pub fn for_installing(&self) -> Self {
        let as_root = |extents: &[IdExtent]| extents.iter().map(|e| IdExtent::new(0, e.outside, e.count)).collect();
        match self.mode {
            IdMode::Single => Self { mode: self.mode, user: 0, uids: as_root(&self.uids), gids: as_root(&self.gids) },
            IdMode::Range | IdMode::Root => self.clone(),
        }
    }

    /// This map as seen from inside `outer`: for a namespace within that of another box. `None`: `outer` lacks an id.
    #[must_use]
    pub fn within(&self, outer: &Self) -> Option<Self> {
        Some(Self { uids: within(&self.uids, &outer.uids)?, gids: within(&self.gids, &outer.gids)?, ..self.clone() })
    }

    /// The host's id of the box's uid, if it has one.
    #[must_use]
    pub fn uid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// The host's id of the box's gid, if it has one.
    #[must_use]
    pub fn gid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// Names the owners that files of a layer have on the host when it is unpacked under this map: layers unpacked
    /// under different layouts cannot stand in for each other. File-name safe, for example `range-100000` or `single`.
    #[must_use]
    pub fn layout(&self) -> String {
        let user = if self.user == 0 { String::new() } else { format!("-user{}", self.user) };
        match self.mode {
            IdMode::Range => {
                let probe = u32::from(self.user == 0);
                format!("range-{}{user}", self.uid_outside(probe).unwrap_or_default())
            }
            // Whoever the user is inside, every file belongs to the invoking user.
            IdMode::Single => "single".to_owned(),
            IdMode::Root => format!("root{user}"),
        }
    }
}

/// Lays the ranges around the invoking user's single id.
fn around(user: u32, own: u32, ranges: &[(u32, u32)]) -> Vec<IdExtent> {
    let mut extents = Vec::with_capacity(ranges.len() + 2);
    let mut next = 0_u32;
    let mut user_done = false;
    for &(mut start, mut count) in ranges {
        while count > 0 && next < RANGE_SIZE {
            if next == user {
                extents.push(IdExtent::new(user, own, 1));
                user_done = true;
                next += 1;
                continue;
            }
            let limit = if next < user { user } else { RANGE_SIZE };
            let take = count.min(limit - next);
            extents.push(IdExtent::new(next, start, take));
            next += take;
            start += take;
            count -= take;
        }
    }
    if !user_done {
        extents.push(IdExtent::new(user, own, 1));
    }
    extents
}

fn outside(extents: &[IdExtent], inside: u32) -> Option<u32> {
    extents
        .iter()
        .find(|extent| inside >= extent.inside && inside - extent.inside < extent.count)
        .map(|extent| extent.outside + (inside - extent.inside))
}

/// Extents whose `outside` is the `inside` of `outer`: each is cut where one of `outer` ends.
fn within(extents: &[IdExtent], outer: &[IdExtent]) -> Option<Vec<IdExtent>> {
    let mut found = Vec::new();
    for extent in extents {
        let mut done = 0;
        while done < extent.count {
            let wanted = extent.outside + done;
            let holder = outer.iter().find(|o| wanted >= o.outside && wanted - o.outside < o.count)?;
            let offset = wanted - holder.outside;
            let count = (holder.count - offset).min(extent.count - done);
            found.push(IdExtent::new(extent.inside + done, holder.inside + offset, count));
            done += count;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_map_within_another() {
        let plain = IdMap::range(0, 1000, 1000, &[(100_000, 65_536)], &[(100_000, 65_536)]);
        let named = IdMap::range(1000, 1000, 1000, &[(100_000, 65_536)], &[(100_000, 65_536)]);
        for (map, outer) in [(&plain, &plain), (&plain, &named), (&named, &plain)] {
            let nested = map.within(outer).unwrap();
            for id in [0, 1, 999, 1000, 1001, 65_534] {
                let through = nested.uid_outside(id).and_then(|id| outer.uid_outside(id));
                assert_eq!(through, map.uid_outside(id), "{id}");
            }
        }
        assert_eq!(plain.within(&IdMap::single(0, 1000, 1000)), None);
    }

    use super::*;

    #[test]
    fn range_puts_the_user_at_zero() {
        let map = IdMap::range(0, 1000, 1001, &[(100_000, 65_536)], &[(200_000, 65_536)]);
        assert_eq!(map.uids, [IdExtent::new(0, 1000, 1), IdExtent::new(1, 100_000, 65_535)]);
        assert_eq!(map.gids, [IdExtent::new(0, 1001, 1), IdExtent::new(1, 200_000, 65_535)]);
        assert_eq!(map.layout(), "range-100000");
    }

    #[test]
    fn range_puts_a_named_user_in_the_middle() {
        let map = IdMap::range(1000, 5, 6, &[(100_000, 65_536)], &[(100_000, 65_536)]);
        assert_eq!(
            map.uids,
            [IdExtent::new(0, 100_000, 1000), IdExtent::new(1000, 5, 1), IdExtent::new(1001, 101_000, 64_535)]
        );
        assert_eq!(map.uid_outside(0), Some(100_000));
        assert_eq!(map.uid_outside(1000), Some(5));
        assert_eq!(map.uid_outside(65_535), Some(165_534));
        assert_eq!(map.layout(), "range-100000-user1000");
    }

    #[test]
    fn installing_needs_a_root() {
        let single = IdMap::single(1000, 7, 8);
        assert_eq!(single.for_installing(), IdMap::single(0, 7, 8));
        assert_eq!(single.for_installing().layout(), single.layout());
        let range = IdMap::range(1000, 5, 6, &[(100_000, 65_536)], &[(100_000, 65_536)]);
        assert_eq!(range.for_installing(), range);
    }

    #[test]
    fn several_and_short_ranges_are_laid_end_to_end() {
        let map = IdMap::range(0, 7, 7, &[(10, 5), (100, 5)], &[]);
        assert_eq!(map.uids, [IdExtent::new(0, 7, 1), IdExtent::new(1, 10, 5), IdExtent::new(6, 100, 5)]);
        assert_eq!(map.gids, [IdExtent::new(0, 7, 1)]);
        assert_eq!(map.uid_outside(11), None);
    }

    #[test]
    fn large_ids_do_not_overflow() {
        let map = IdMap::range(0, 4_000_000_000, 4_000_000_000, &[(4_294_000_000, 65_536)], &[(4_294_000_000, 1)]);
        assert_eq!(map.uid_outside(0), Some(4_000_000_000));
        assert_eq!(map.uid_outside(65_535), Some(4_294_065_534));
    }
}
