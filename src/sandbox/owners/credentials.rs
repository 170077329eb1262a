//! Ids that a process has been given, and the rules by which it is given others: those of credentials(7). Pure.

use std::collections::BTreeMap;

/// The ids of one kind, users or groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ids {
    /// Who it is.
    pub real: u32,
    /// As whom it acts.
    pub effective: u32,
    /// As whom it may act again.
    pub saved: u32,
    /// As whom it looks at files, and makes them.
    pub file: u32,
}

impl Ids {
    /// The same for all purposes.
    #[must_use]
    pub const fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file: id }
    }

    /// `setuid`; `None`: it is not permitted.
    #[must_use]
    pub fn set(self, id: u32, privileged: bool) -> Option<Self> {
        if privileged {
            return Some(Self::all(id));
        }
        [self.real, self.saved].contains(&id).then_some(Self { effective: id, file: id, ..self })
    }

    /// `setreuid`; `None` for an id that stays.
    #[must_use]
    pub fn set_two(self, real: Option<u32>, effective: Option<u32>, privileged: bool) -> Option<Self> {
        let may = |id: Option<u32>, known: &[u32]| privileged || id.is_none_or(|id| known.contains(&id));
        if !may(real, &[self.real, self.effective]) || !may(effective, &[self.real, self.effective, self.saved]) {
            return None;
        }
        let acting = effective.unwrap_or(self.effective);
        let forgets = real.is_some() || effective.is_some_and(|id| id != self.real);
        Some(Self {
            real: real.unwrap_or(self.real),
            effective: acting,
            saved: if forgets { acting } else { self.saved },
            file: acting,
        })
    }

    /// `setresuid`; `None` for an id that stays.
    #[must_use]
    pub fn set_three(self, wanted: [Option<u32>; 3], privileged: bool) -> Option<Self> {
        let known = [self.real, self.effective, self.saved];
        if !privileged && wanted.iter().flatten().any(|id| !known.contains(id)) {
            return None;
        }
        let [real, effective, saved] = wanted;
        let effective = effective.unwrap_or(self.effective);
        Some(Self { real: real.unwrap_or(self.real), effective, saved: saved.unwrap_or(self.saved), file: effective })
    }

    /// `setfsuid`, which says nothing when it is not permitted.
    #[must_use]
    pub fn set_file(self, id: u32, privileged: bool) -> Self {
        let known = [self.real, self.effective, self.saved, self.file];
        if privileged || known.contains(&id) { Self { file: id, ..self } } else { self }
    }

    /// What `execve` makes of it, by a program that is to act as `owner`.
    #[must_use]
    pub fn execute(self, owner: Option<u32>) -> Self {
        let effective = owner.unwrap_or(self.effective);
        Self { effective, saved: effective, file: effective, ..self }
    }
}

/// All ids of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credentials {
    /// Of users.
    pub uid: Ids,
    /// Of groups.
    pub gid: Ids,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether its capabilities stay with it when it becomes another user (`PR_SET_KEEPCAPS`).
    pub keeps: bool,
    /// Whether they did: it may change its ids, whoever it is.
    pub capable: bool,
}

impl Credentials {
    /// The same for all purposes.
    #[must_use]
    pub fn all(id: u32) -> Self {
        Self { uid: Ids::all(id), gid: Ids::all(id), ..Self::default() }
    }

    /// Whether it may change its ids; `root` is who else may, besides root.
    #[must_use]
    pub fn is_privileged(&self, root: u32) -> bool {
        self.capable || [0, root].contains(&self.uid.effective)
    }

    /// The same for another user.
    #[must_use]
    pub fn of_user(self, uid: Ids) -> Self {
        let capable = self.capable || (self.keeps && self.uid.effective == 0);
        Self { uid, capable: capable && uid.effective != 0, ..self }
    }

    /// What `execve` makes of it, by a program that is to act as an owner and a group.
    #[must_use]
    pub fn execute(self, owner: Option<u32>, group: Option<u32>) -> Self {
        let (uid, gid) = (self.uid.execute(owner), self.gid.execute(group));
        Self { uid, gid, groups: self.groups, keeps: false, capable: false }
    }

    /// Whether `uid` and `gid` may become the owner of a file of `old`'s: root may all, an owner may give a file to a group of its own.
    #[must_use]
    pub fn may_give(&self, old: (u32, u32), new: (u32, u32)) -> bool {
        let is_in = |gid| self.gid.file == gid || self.groups.contains(&gid);
        self.uid.file == 0 || (self.uid.file == old.0 && new.0 == old.0 && (new.1 == old.1 || is_in(new.1)))
    }
}

/// A soft limit of a process begins with this if it stands for credentials of the table.
const MARK: u64 = 0x6964_7300_0000_0000;
/// So many different ones are remembered; they are never forgotten.
const MAX_SETS: usize = 4096;
/// So many groups each.
pub const MAX_GROUPS: usize = 1024;

/// All credentials that any process of the box has been given, each by a number that processes carry along.
#[derive(Debug)]
pub struct Table {
    /// Those of processes that were given none.
    base: Credentials,
    sets: Vec<Credentials>,
    numbers: BTreeMap<Credentials, u64>,
}

impl Table {
    /// Where every process begins as `id`, of its users and of its groups.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { base: Credentials::all(id), sets: Vec::new(), numbers: BTreeMap::new() }
    }

    /// Those of processes that were given none.
    #[must_use]
    pub fn base(&self) -> &Credentials {
        &self.base
    }

    /// What a mark that a process carries stands for; `None` if for nothing, whoever put it there.
    #[must_use]
    pub fn find(&self, untrusted: Option<u64>) -> Option<&Credentials> {
        let number = untrusted?.checked_sub(MARK)?;
        self.sets.get(usize::try_from(number).ok()?)
    }

    /// The mark for `wanted`; `Ok(None)` if a process needs none. An error when there are too many.
    pub fn mark(&mut self, wanted: Credentials) -> Result<Option<u64>, Full> {
        if wanted == self.base {
            return Ok(None);
        }
        if let Some(number) = self.numbers.get(&wanted) {
            return Ok(Some(MARK + number));
        }
        if self.sets.len() >= MAX_SETS {
            return Err(Full);
        }
        let number = self.sets.len() as u64;
        self.sets.push(wanted.clone());
        self.numbers.insert(wanted, number);
        Ok(Some(MARK + number))
    }
}

/// Nothing more is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, file: effective }
    }

    #[test]
    fn root_becomes_anybody_and_nobody_else_does() {
        let root = Ids::all(0);
        assert_eq!(root.set(7, true), Some(Ids::all(7)));
        assert_eq!(Ids::all(7).set(0, false), None);
        assert_eq!(ids(7, 8, 9).set(7, false), Some(ids(7, 7, 9)));
        assert_eq!(ids(7, 8, 9).set(9, false), Some(ids(7, 9, 9)));
        assert_eq!(ids(7, 8, 9).set(8, false), None, "as setuid(2) has it");
    }

    #[test]
    fn two_ids() {
        let (some, none) = (Some, None);
        for (from, real, effective, privileged, expected) in [
            (ids(0, 0, 0), some(5), some(6), true, Some(ids(5, 6, 6))),
            (ids(0, 0, 0), none, some(6), true, Some(ids(0, 6, 6))),
            (ids(0, 6, 0), none, some(0), false, Some(ids(0, 0, 0))),
            (ids(0, 6, 0), some(6), some(0), false, Some(ids(6, 0, 0))),
            (ids(5, 6, 7), none, some(7), false, Some(ids(5, 7, 7))),
            (ids(5, 6, 7), none, some(5), false, Some(ids(5, 5, 7))),
            (ids(5, 6, 7), some(7), none, false, None),
            (ids(5, 6, 7), none, some(8), false, None),
            (ids(5, 6, 7), none, none, false, Some(ids(5, 6, 7))),
        ] {
            assert_eq!(from.set_two(real, effective, privileged), expected, "{from:?} {real:?} {effective:?}");
        }
    }

    #[test]
    fn three_ids() {
        let from = ids(5, 6, 7);
        assert_eq!(from.set_three([Some(7), None, Some(5)], false), Some(ids(7, 6, 5)));
        assert_eq!(from.set_three([None, Some(7), None], false), Some(ids(5, 7, 7)));
        assert_eq!(from.set_three([None, None, Some(8)], false), None);
        assert_eq!(ids(0, 0, 0).set_three([Some(1), Some(2), Some(3)], true), Some(ids(1, 2, 3)));
    }

    #[test]
    fn files_and_programs() {
        let from = ids(5, 6, 7);
        assert_eq!(from.set_file(7, false), Ids { file: 7, ..from });
        assert_eq!(from.set_file(8, false), from);
        assert_eq!(from.set_file(8, true), Ids { file: 8, ..from });
        assert_eq!(from.execute(None), ids(5, 6, 6));
        assert_eq!(from.execute(Some(0)), ids(5, 0, 0));
    }

    #[test]
    fn capabilities_stay_until_a_program_is_executed() {
        let (root, user) = (Credentials::all(0), Ids::all(7));
        assert!(root.is_privileged(0) && root.is_privileged(7) && !root.clone().of_user(user).is_privileged(0));
        assert!(root.clone().of_user(user).is_privileged(7), "the box's one id");
        let kept = Credentials { keeps: true, ..root }.of_user(user);
        assert!(kept.is_privileged(0) && kept.clone().of_user(Ids::all(8)).is_privileged(0));
        let executed = kept.execute(None, Some(5));
        assert_eq!(executed, Credentials { gid: Ids::all(0).execute(Some(5)), ..Credentials::all(7) });
    }

    #[test]
    fn files_are_given_away_by_who_may() {
        let credentials = |id, groups| Credentials { groups, ..Credentials::all(id) };
        let user = credentials(7, vec![20]);
        for (who, old, new, expected) in [
            (&credentials(0, vec![]), (7, 7), (8, 9), true),
            (&user, (7, 7), (8, 7), false),
            (&user, (7, 7), (7, 20), true),
            (&user, (7, 7), (7, 21), false),
            (&user, (7, 21), (7, 21), true),
            (&user, (8, 7), (8, 7), false),
        ] {
            assert_eq!(who.may_give(old, new), expected, "{who:?} {old:?} {new:?}");
        }
    }

    #[test]
    fn marks_stand_for_what_was_given() {
        let mut table = Table::new(0);
        let user = Credentials::all;
        assert_eq!(table.mark(user(0)), Ok(None));
        let mark = table.mark(user(7)).unwrap();
        assert_eq!(table.mark(user(7)), Ok(mark));
        assert_eq!(table.find(mark), Some(&user(7)));
        for garbage in [None, Some(0), Some(1), Some(MARK - 1), Some(MARK + 1), Some(u64::MAX), Some(u64::MAX - 1)] {
            assert_eq!(table.find(garbage), None, "{garbage:?}");
        }
        for id in 8..8 + MAX_SETS as u32 - 1 {
            assert!(table.mark(user(id)).is_ok());
        }
        assert_eq!(table.mark(user(1)), Err(Full));
        assert_eq!(table.mark(user(7)), Ok(mark));
    }
}
