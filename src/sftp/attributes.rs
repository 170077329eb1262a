//! Attributes of files, as the protocol writes them.

use rustix::fs::{AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, Uid};

use super::answer::Fault;
use crate::wire::{Reader, Truncated, Writer};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What is known, or to be changed, of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// In bytes.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Kind and mode.
    pub mode: Option<u32>,
    /// Of the last access and the last change, in seconds.
    pub times: Option<(u32, u32)>,
}

impl Attributes {
    /// Reads what a client wants a file to have.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Truncated> {
        let flags = reader.u32()?;
        let has = |flag: u32| flags & flag != 0;
        let size = has(SIZE).then(|| reader.u64()).transpose()?;
        let mut pair = |flag: u32| -> Result<Option<(u32, u32)>, Truncated> {
            Ok(if has(flag) { Some((reader.u32()?, reader.u32()?)) } else { None })
        };
        let owner = pair(OWNER)?;
        let mode = if has(PERMISSIONS) { Some(reader.u32()?) } else { None };
        let times = if has(TIMES) { Some((reader.u32()?, reader.u32()?)) } else { None };
        if has(EXTENDED) {
            for _ in 0..reader.u32()? {
                reader.string()?;
                reader.string()?;
            }
        }
        Ok(Self { size, owner, mode, times })
    }

    /// Appends them.
    #[must_use]
    pub fn write(self, written: Writer) -> Writer {
        let flag = |there: bool, flag: u32| if there { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.mode.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);
        let mut written = written.u32(flags);
        if let Some(size) = self.size {
            written = written.u64(size);
        }
        if let Some((first, second)) = self.owner {
            written = written.u32(first).u32(second);
        }
        if let Some(mode) = self.mode {
            written = written.u32(mode);
        }
        if let Some((first, second)) = self.times {
            written = written.u32(first).u32(second);
        }
        written
    }

    /// The mode for a new file, or `usual`.
    #[must_use]
    pub fn mode_or(self, usual: u32) -> Mode {
        Mode::from_raw_mode(self.mode.unwrap_or(usual) & 0o7777)
    }

    /// Gives them to the file at `path`, or to the symlink itself.
    pub fn apply(self, path: &[u8], links: AtFlags) -> Result<(), Fault> {
        if let Some(size) = self.size {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
            let file = rustix::fs::open(path, flags, Mode::empty())?;
            rustix::fs::ftruncate(file, size)?;
        }
        if let Some(mode) = self.mode {
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode & 0o7777), links)?;
        }
        if let Some(times) = self.times {
            rustix::fs::utimensat(CWD, path, &timestamps(times), links)?;
        }
        if let Some((user, group)) = self.owners() {
            rustix::fs::chownat(CWD, path, user, group, links)?;
        }
        Ok(())
    }

    /// Gives them to an open file.
    pub fn apply_to_file(self, file: &std::fs::File) -> Result<(), Fault> {
        if let Some(size) = self.size {
            rustix::fs::ftruncate(file, size)?;
        }
        if let Some(mode) = self.mode {
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
        }
        if let Some(times) = self.times {
            rustix::fs::futimens(file, &timestamps(times))?;
        }
        if let Some((user, group)) = self.owners() {
            rustix::fs::fchown(file, user, group)?;
        }
        Ok(())
    }

    /// The owners to give; the number that nobody has is the kernel's word for one that stays.
    fn owners(self) -> Option<(Option<Uid>, Option<Gid>)> {
        let given = |number: u32| (number != u32::MAX).then_some(number);
        self.owner.map(|(user, group)| (given(user).map(Uid::from_raw), given(group).map(Gid::from_raw)))
    }
}

impl From<&Stat> for Attributes {
    fn from(stat: &Stat) -> Self {
        let seconds = |time: i64| u32::try_from(time).unwrap_or(if time < 0 { 0 } else { u32::MAX });
        Self {
            size: Some(u64::try_from(stat.st_size).unwrap_or(0)),
            owner: Some((stat.st_uid, stat.st_gid)),
            mode: Some(stat.st_mode),
            times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
        }
    }
}

fn timestamps((access, change): (u32, u32)) -> Timestamps {
    let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Timestamps { last_access: time(access), last_modification: time(change) }
}

/// The line that `ls -l` would show. Numbers for users: names are the client's business.
#[must_use]
pub fn long_name(name: &[u8], stat: &Stat) -> String {
    let kind = match stat.st_mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let bits: String =
        (0..9).map(|bit| if stat.st_mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] }).collect();
    let date = jiff::Timestamp::from_second(stat.st_mtime)
        .map_or_else(|_| String::new(), |time| time.strftime("%b %e  %Y").to_string());
    let name = String::from_utf8_lossy(name);
    format!("{kind}{bits} {:4} {:<8} {:<8} {:>8} {date} {name}", stat.st_nlink, stat.st_uid, stat.st_gid, stat.st_size)
}
