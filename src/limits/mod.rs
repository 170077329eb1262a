//! What a box may use at most, and what it uses.
//!
//! Most limits are those of a cgroup of version 2 that the box gets for its life ([`group`]); where it can be made
//! is [`host`]'s question:
//!
//! ```text
//! <scope or delegated group>/
//!   supervisor/      our own process, and the network helper: outside of the limits (only in a scope)
//!   box/             the limits; written by whoever owns the box, out of the box's reach
//!     inside/        every process of the box; the root of the box's cgroup namespace
//! ```
//!
//! A box that was started without such limits gets its group when one is set ([`adoption`]).
//!
//! `files` is a resource limit that init gives itself, `shm` the size of a file system, and `disk` is a quota of
//! the file system where we may set one ([`quota`]), and watched elsewhere ([`disk`]). Without a usable cgroup these three hold all the same, and [`host::Found::unheld`] says of each other why it
//! does not. Called by `sandbox`, which starts the box, by `boxes` and by `cli`.

pub mod adoption;
pub mod amount;
pub mod device;
pub mod disk;
pub mod group;
pub mod host;
pub mod members;
pub mod plan;
pub mod quota;
pub mod scope;
pub mod state;
pub mod stats;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use plan::Plan;

use amount::{format_size, format_thousandths, parse_rate, parse_size, parse_thousandths};

/// What can be limited. The order is that of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Processors at a time, in thousandths.
    Cpus,
    /// The share of busy processors against other boxes: 1 to 10000, 100 is everybody's.
    CpuWeight,
    /// Bytes of memory; more kills.
    Memory,
    /// Bytes of memory; more slows down.
    MemoryHigh,
    /// Bytes of swap.
    Swap,
    /// Processes and threads.
    Pids,
    /// Bytes a second read from disks.
    IoRead,
    /// Bytes a second written to disks.
    IoWrite,
    /// Open files of one process.
    Files,
    /// Bytes of `/dev/shm`.
    Shm,
    /// Bytes of the box's writable layer.
    Disk,
}

/// The part of the kernel that holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Memory and swap.
    Memory,
    /// The number of processes.
    Pids,
    /// Block devices.
    Io,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Pids, Self::Io];

    /// As the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
        }
    }
}

/// How the value of a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of processors.
    Cpus,
    /// A whole number.
    Count,
    /// Bytes.
    Size,
    /// Bytes a second.
    Rate,
}

/// A limit that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no such key.
    #[error("there is no limit `{name}`")]
    Unknown {
        /// What was written.
        name: String,
    },
    /// The value cannot be read, or is out of range.
    #[error("`{value}` is no value for `{key}`: it is {}", .key.expected())]
    Value {
        /// Of what.
        key: Key,
        /// What was written.
        value: String,
    },
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Cpus,
        Self::CpuWeight,
        Self::Memory,
        Self::MemoryHigh,
        Self::Swap,
        Self::Pids,
        Self::IoRead,
        Self::IoWrite,
        Self::Files,
        Self::Shm,
        Self::Disk,
    ];

    /// As it is written in a profile.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::CpuWeight => "cpu_weight",
            Self::Memory => "memory",
            Self::MemoryHigh => "memory_high",
            Self::Swap => "swap",
            Self::Pids => "pids",
            Self::IoRead => "io_read",
            Self::IoWrite => "io_write",
            Self::Files => "files",
            Self::Shm => "shm",
            Self::Disk => "disk",
        }
    }

    /// What holds it, if that is the cgroup.
    #[must_use]
    pub const fn controller(self) -> Option<Controller> {
        match self {
            Self::Cpus | Self::CpuWeight => Some(Controller::Cpu),
            Self::Memory | Self::MemoryHigh | Self::Swap => Some(Controller::Memory),
            Self::Pids => Some(Controller::Pids),
            Self::IoRead | Self::IoWrite => Some(Controller::Io),
            Self::Files | Self::Shm | Self::Disk => None,
        }
    }

    /// How its value is written.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Cpus => Unit::Cpus,
            Self::CpuWeight | Self::Pids | Self::Files => Unit::Count,
            Self::IoRead | Self::IoWrite => Unit::Rate,
            Self::Memory | Self::MemoryHigh | Self::Swap | Self::Shm | Self::Disk => Unit::Size,
        }
    }

    /// The least and the most: below the least no shell would start.
    #[must_use]
    pub const fn range(self) -> (u64, u64) {
        match self {
            Self::Cpus => (10, 65_536_000),
            Self::CpuWeight => (1, 10_000),
            Self::Pids => (16, 4_194_304),
            Self::Files => (64, 1 << 30),
            Self::Memory | Self::MemoryHigh => (16 << 20, i64::MAX as u64),
            Self::Swap => (0, i64::MAX as u64),
            Self::Shm | Self::IoRead | Self::IoWrite => (4096, i64::MAX as u64),
            Self::Disk => (1 << 20, i64::MAX as u64),
        }
    }

    /// What a value looks like, for messages.
    #[must_use]
    pub fn expected(self) -> String {
        let (least, most) = self.range();
        match self.unit() {
            Unit::Cpus => "a number of processors such as `0.5` or `2`, at least 0.01".to_owned(),
            Unit::Count => format!("a whole number from {least} to {most}"),
            Unit::Size if least == 0 => "a size such as `512MiB`, or `0B`".to_owned(),
            Unit::Size => format!("a size such as `4GiB` or `512M`, at least {}", format_size(least)),
            Unit::Rate => format!("a rate such as `100MB/s`, at least {}/s", format_size(least)),
        }
    }

    /// The key called `name`.
    pub fn parse(name: &str) -> Result<Self, LimitError> {
        let found = Self::ALL.into_iter().find(|key| key.name() == name);
        found.ok_or_else(|| LimitError::Unknown { name: name.to_owned() })
    }

    /// A value of this key as it is written on a command line, and in a profile if it is a string there.
    pub fn parse_value(self, text: &str) -> Result<u64, LimitError> {
        let number = match self.unit() {
            Unit::Cpus => parse_thousandths(text),
            Unit::Count => text.parse().ok(),
            Unit::Size => parse_size(text),
            Unit::Rate => parse_rate(text),
        };
        self.check(number, || text.to_owned())
    }

    /// `value` if it is in range; `written` is what it was read from.
    pub fn check(self, value: Option<u64>, written: impl FnOnce() -> String) -> Result<u64, LimitError> {
        let (least, most) = self.range();
        value
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| LimitError::Value { key: self, value: written() })
    }

    /// The value as it is written.
    #[must_use]
    pub fn format(self, value: u64) -> String {
        match self.unit() {
            Unit::Cpus => format_thousandths(value),
            Unit::Count => value.to_string(),
            Unit::Size => format_size(value),
            Unit::Rate => format!("{}/s", format_size(value)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a box may use at most. What is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The values, in the unit of the key: thousandths, a count, bytes, bytes a second.
    #[serde(flatten)]
    pub values: BTreeMap<Key, u64>,
    /// A limit that does not hold is an error.
    #[serde(default)]
    pub require: bool,
}

impl Limits {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<u64> {
        self.values.get(&key).copied()
    }

    /// Whether a cgroup is needed.
    #[must_use]
    pub fn need_group(&self) -> bool {
        self.values.keys().any(|key| key.controller().is_some())
    }

    /// Takes over the values of `own` that are stricter: what the user's own configuration says is the most that a
    /// project's files can ask for.
    pub fn lower_to(&mut self, own: &Self) {
        for (key, most) in &own.values {
            self.values.entry(*key).and_modify(|value| *value = (*value).min(*most)).or_insert(*most);
        }
        self.require |= own.require;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        for (key, text, value) in [
            (Key::Cpus, "0.5", 500),
            (Key::CpuWeight, "50", 50),
            (Key::Memory, "256MiB", 256 << 20),
            (Key::Swap, "0B", 0),
            (Key::Pids, "64", 64),
            (Key::IoRead, "100MB/s", 100_000_000),
            (Key::Disk, "10GiB", 10 << 30),
        ] {
            assert_eq!(key.parse_value(text), Ok(value));
            assert_eq!(key.format(value), text);
            assert_eq!(Key::parse(key.name()), Ok(key));
        }
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        for (key, text, expected) in [
            (Key::Memory, "4", "`4` is no value for `memory`: it is a size such as `4GiB` or `512M`, at least 16MiB"),
            (Key::Pids, "1", "`1` is no value for `pids`: it is a whole number from 16 to 4194304"),
            (Key::IoWrite, "1MB", "`1MB` is no value for `io_write`: it is a rate such as `100MB/s`, at least 4KiB/s"),
        ] {
            assert_eq!(key.parse_value(text).unwrap_err().to_string(), expected);
        }
        assert_eq!(Key::parse("memroy").unwrap_err().to_string(), "there is no limit `memroy`");
    }

    #[test]
    fn the_users_own_limits_cannot_be_exceeded() {
        let limits = |values: &[(Key, u64)], require| Limits { values: values.iter().copied().collect(), require };
        let mut asked = limits(&[(Key::Pids, 5000), (Key::Cpus, 500)], false);
        asked.lower_to(&limits(&[(Key::Pids, 1000), (Key::Cpus, 4000), (Key::Disk, 1 << 30)], true));
        assert_eq!(asked, limits(&[(Key::Pids, 1000), (Key::Cpus, 500), (Key::Disk, 1 << 30)], true));
    }

    #[test]
    fn the_json_is_flat() {
        let limits = Limits { values: [(Key::MemoryHigh, 5)].into(), require: false };
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(text, r#"{"memory_high":5,"require":false}"#);
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    }
}
