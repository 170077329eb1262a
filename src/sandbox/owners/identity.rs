//! `getuid`, `setuid` and their kin: ids that a process was given, and carries along.
//!
//! ```text
//! soft limit RLIMIT_LOCKS of a process      infinite         all ids are the box's one
//!                                           MARK + 3         those of the table's fourth row
//! ```
//!
//! The kernel has no use for that limit (since 2.4.25). All threads of a process share it, children inherit it, `execve` keeps it, and who
//! has the same ids reads and writes it from outside. A program that writes another number there pretends something else, to nobody but
//! its own box.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::caller::Caller;
use super::credentials::{Credentials, Ids, MAX_GROUPS, Table};
use crate::sys::process;
use crate::sys::seccomp::{Answer, Notification};

/// Users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Users,
    Groups,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Real,
    Effective,
    /// All three, at these addresses.
    Three([u64; 3]),
    Set(u32),
    SetTwo([Option<u32>; 2]),
    SetThree([Option<u32>; 3]),
    SetFile(u32),
}

/// A question for ids, or a change of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Ids(Kind, Asked),
    /// So many supplementary groups at most, at this address.
    Groups(i32, u64),
    SetGroups(i32, u64),
    /// Whether capabilities are to stay.
    KeepCapabilities(bool),
}

impl Request {
    fn of(call: &Notification) -> Option<Self> {
        use Kind::{Groups, Users};
        let [a, b, c, ..] = call.arguments;
        let id = |value: u64| Some(value as u32).filter(|id| *id != u32::MAX);
        let (two, three) = ([id(a), id(b)], [id(a), id(b), id(c)]);
        let ids = |kind, asked| Some(Self::Ids(kind, asked));
        match i64::from(call.number) {
            libc::SYS_getuid => ids(Users, Asked::Real),
            libc::SYS_getgid => ids(Groups, Asked::Real),
            libc::SYS_geteuid => ids(Users, Asked::Effective),
            libc::SYS_getegid => ids(Groups, Asked::Effective),
            libc::SYS_getresuid => ids(Users, Asked::Three([a, b, c])),
            libc::SYS_getresgid => ids(Groups, Asked::Three([a, b, c])),
            libc::SYS_setuid => ids(Users, Asked::Set(a as u32)),
            libc::SYS_setgid => ids(Groups, Asked::Set(a as u32)),
            libc::SYS_setreuid => ids(Users, Asked::SetTwo(two)),
            libc::SYS_setregid => ids(Groups, Asked::SetTwo(two)),
            libc::SYS_setresuid => ids(Users, Asked::SetThree(three)),
            libc::SYS_setresgid => ids(Groups, Asked::SetThree(three)),
            libc::SYS_setfsuid => ids(Users, Asked::SetFile(a as u32)),
            libc::SYS_setfsgid => ids(Groups, Asked::SetFile(a as u32)),
            libc::SYS_getgroups => Some(Self::Groups(a as i32, b)),
            libc::SYS_setgroups => Some(Self::SetGroups(a as i32, b)),
            libc::SYS_prctl if a as i32 == libc::PR_SET_KEEPCAPS && b <= 1 => Some(Self::KeepCapabilities(b == 1)),
            _ => None,
        }
    }
}

/// Who is who in the box.
#[derive(Debug)]
pub struct Identities(Table);

impl Identities {
    /// Where every process begins as `id`.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self(Table::new(id))
    }

    /// What the process of a thread was given; `None`: nothing, all its ids are the box's one.
    #[must_use]
    pub fn of(&self, thread: u32) -> Option<&Credentials> {
        let limit = process::limit_of(Pid::from_raw(thread.cast_signed())?, Resource::Locks).ok()?;
        self.0.find(limit.current)
    }

    /// Gives the process of a thread other credentials.
    pub fn give(&mut self, thread: u32, credentials: Credentials) -> Result<(), Errno> {
        let mark = self.0.mark(credentials).map_err(|_| Errno::NOMEM)?;
        let pid = Pid::from_raw(thread.cast_signed()).ok_or(Errno::SRCH)?;
        let maximum = process::limit_of(pid, Resource::Locks).map_err(|error| error.errno)?.maximum;
        // A process that has lowered its hard limit carries no mark.
        if mark.zip(maximum).is_some_and(|(mark, most)| mark > most) {
            return Err(Errno::PERM);
        }
        let limit = Rlimit { current: mark.or(maximum), maximum };
        prlimit(Some(pid), Resource::Locks, limit).map(drop)
    }

    /// What `caller` is answered if it asks for ids, or changes them.
    pub fn answer(&mut self, caller: &Caller<'_>) -> Option<Answer> {
        let call = caller.call;
        let request = Request::of(call)?;
        let known = self.of(call.thread).cloned();
        let is_known = known.is_some();
        let now = known.unwrap_or_else(|| self.0.base().clone());
        Some(match request {
            Request::Ids(kind, asked) => match get(&now, kind, asked, caller) {
                // The kernel says the same.
                _ if !is_known && is_question(asked) => Answer::Continue,
                Some(told) => told.map_or(Answer::Continue, Answer::Return),
                None => self.set(call.thread, &now, kind, asked),
            },
            Request::Groups(..) if !is_known => Answer::Continue,
            Request::Groups(room, address) => tell_groups(&now.groups, room, address, caller),
            Request::SetGroups(count, address) => {
                let read =
                    if self.is_privileged(&now) { read_groups(count, address, caller) } else { Err(Errno::PERM) };
                let given = read.and_then(|groups| self.give(call.thread, Credentials { groups, ..now }));
                given.map_or_else(failed, |()| Answer::Return(0))
            }
            Request::KeepCapabilities(keeps) => {
                // The kernel keeps them whatever becomes of this.
                self.give(call.thread, Credentials { keeps, ..now }).ok();
                Answer::Continue
            }
        })
    }

    fn is_privileged(&self, credentials: &Credentials) -> bool {
        // Where the box's one id is not root's, it may nevertheless install packages.
        credentials.is_privileged(self.0.base().uid.effective)
    }

    fn set(&mut self, thread: u32, now: &Credentials, kind: Kind, asked: Asked) -> Answer {
        let privileged = self.is_privileged(now);
        let old = ids_of(now, kind);
        let new = match asked {
            Asked::Set(u32::MAX) => return failed(Errno::INVAL),
            Asked::Set(id) => old.set(id, privileged),
            Asked::SetTwo([real, effective]) => old.set_two(real, effective, privileged),
            Asked::SetThree(wanted) => old.set_three(wanted, privileged),
            Asked::SetFile(id) => Some(if id == u32::MAX { old } else { old.set_file(id, privileged) }),
            Asked::Real | Asked::Effective | Asked::Three(_) => Some(old),
        };
        let Some(new) = new else { return failed(Errno::PERM) };
        let answer = if let Asked::SetFile(_) = asked { Answer::Return(old.file.into()) } else { Answer::Return(0) };
        if new == old {
            return answer;
        }
        let credentials = match kind {
            Kind::Users => now.clone().of_user(new),
            Kind::Groups => Credentials { gid: new, ..now.clone() },
        };
        self.give(thread, credentials).map_or_else(failed, |()| answer)
    }
}

fn ids_of(credentials: &Credentials, kind: Kind) -> Ids {
    match kind {
        Kind::Users => credentials.uid,
        Kind::Groups => credentials.gid,
    }
}

fn failed(errno: Errno) -> Answer {
    Answer::Fail(u16::try_from(errno.raw_os_error()).unwrap_or(libc::EIO as u16))
}

fn is_question(asked: Asked) -> bool {
    matches!(asked, Asked::Real | Asked::Effective | Asked::Three(_))
}

/// What a question is answered with: `None` if it is none, `Some(None)` if the caller cannot be told.
fn get(now: &Credentials, kind: Kind, asked: Asked, caller: &Caller<'_>) -> Option<Option<i64>> {
    let ids = ids_of(now, kind);
    match asked {
        Asked::Real => Some(Some(ids.real.into())),
        Asked::Effective => Some(Some(ids.effective.into())),
        Asked::Three(addresses) => {
            let values = [ids.real, ids.effective, ids.saved];
            let mut told = addresses.into_iter().zip(values);
            Some(told.all(|(address, id)| caller.write(address, &id.to_ne_bytes()).is_ok()).then_some(0))
        }
        _ => None,
    }
}

fn tell_groups(groups: &[u32], room: i32, address: u64, caller: &Caller<'_>) -> Answer {
    let Ok(room) = usize::try_from(room) else { return failed(Errno::INVAL) };
    let bytes: Vec<u8> = groups.iter().flat_map(|id| id.to_ne_bytes()).collect();
    if room > 0 && room < groups.len() {
        return failed(Errno::INVAL);
    }
    if room > 0 && !bytes.is_empty() && caller.write(address, &bytes).is_err() {
        return failed(Errno::FAULT);
    }
    Answer::Return(groups.len() as i64)
}

fn read_groups(count: i32, address: u64, caller: &Caller<'_>) -> Result<Vec<u32>, Errno> {
    let count = usize::try_from(count).ok().filter(|count| *count <= MAX_GROUPS).ok_or(Errno::INVAL)?;
    let mut bytes = vec![0; count * size_of::<u32>()];
    caller.read(address, &mut bytes)?;
    let (ids, _) = bytes.as_chunks();
    let mut groups: Vec<u32> = ids.iter().map(|id| u32::from_ne_bytes(*id)).collect();
    // As the kernel keeps them.
    groups.sort_unstable();
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_understood() {
        let request = |number, arguments| {
            Request::of(&Notification { id: 1, thread: 2, number: number as i32, arch: 0, arguments })
        };
        let none = u64::from(u32::MAX);
        for (number, arguments, expected) in [
            (libc::SYS_getuid, [9; 6], Some(Request::Ids(Kind::Users, Asked::Real))),
            (libc::SYS_getegid, [9; 6], Some(Request::Ids(Kind::Groups, Asked::Effective))),
            (libc::SYS_getresuid, [1, 2, 3, 9, 9, 9], Some(Request::Ids(Kind::Users, Asked::Three([1, 2, 3])))),
            (libc::SYS_setgid, [none, 9, 9, 9, 9, 9], Some(Request::Ids(Kind::Groups, Asked::Set(u32::MAX)))),
            (libc::SYS_setuid, [0xff_0000_0007, 9, 9, 9, 9, 9], Some(Request::Ids(Kind::Users, Asked::Set(7)))),
            (
                libc::SYS_setreuid,
                [5, none, 9, 9, 9, 9],
                Some(Request::Ids(Kind::Users, Asked::SetTwo([Some(5), None]))),
            ),
            (
                libc::SYS_setresgid,
                [u64::MAX, 5, 6, 9, 9, 9],
                Some(Request::Ids(Kind::Groups, Asked::SetThree([None, Some(5), Some(6)]))),
            ),
            (libc::SYS_setgroups, [none, 16, 9, 9, 9, 9], Some(Request::SetGroups(-1, 16))),
            (libc::SYS_prctl, [libc::PR_SET_KEEPCAPS as u64, 1, 9, 9, 9, 9], Some(Request::KeepCapabilities(true))),
            (libc::SYS_prctl, [libc::PR_SET_KEEPCAPS as u64, 2, 9, 9, 9, 9], None),
            (libc::SYS_mount, [9; 6], None),
        ] {
            assert_eq!(request(number, arguments), expected, "{number}");
        }
    }
}
