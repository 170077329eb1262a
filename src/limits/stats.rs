//! What a running box uses: read from its cgroup, or summed over its processes where it has none.

use std::fs;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use super::group::field;
use super::members;
use super::state::State;

/// Where the figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The kernel counts for the box.
    Cgroup,
    /// The sum of its processes: memory is what they do not share, and there is no more than that.
    Processes,
}

/// What a box uses at one moment. Counters grow from the start of the box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Where the figures come from.
    pub source: Source,
    /// Processor time, in microseconds.
    pub cpu_us: u64,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// How much it may have.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// How many there may be.
    pub pids_limit: Option<u64>,
    /// Read from disks.
    pub read_bytes: Option<u64>,
    /// Written to disks.
    pub written_bytes: Option<u64>,
    /// Received by the box's own network.
    pub received_bytes: Option<u64>,
    /// Sent by it.
    pub sent_bytes: Option<u64>,
    /// Pressure: the share of the last ten seconds, in percent, in which some process waited for a processor.
    pub cpu_pressure: Option<f64>,
    /// For memory.
    pub memory_pressure: Option<f64>,
    /// For a disk.
    pub io_pressure: Option<f64>,
}

/// Looks at the box. `None`: it has just ended.
#[must_use]
pub fn sample(state: &State) -> Option<Sample> {
    let mut sample = match &state.group {
        Some(group) => of_group(group)?,
        None => of_processes(state.init)?,
    };
    if state.own_network {
        let text = fs::read_to_string(format!("/proc/{}/net/dev", state.init)).unwrap_or_default();
        (sample.received_bytes, sample.sent_bytes) = parse_network(&text).unzip();
    }
    Some(sample)
}

fn of_group(group: &Path) -> Option<Sample> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let pressure = |name: &str| parse_pressure(&read(name)?);
    let (read_bytes, written_bytes) = read("io.stat").map(|text| parse_io(&text)).unzip();
    Some(Sample {
        source: Source::Cgroup,
        cpu_us: field(&read("cpu.stat")?, "usage_usec")?,
        memory_bytes: number("memory.current"),
        memory_limit_bytes: number("memory.max"),
        pids: number("pids.current").unwrap_or_default(),
        pids_limit: number("pids.max"),
        read_bytes,
        written_bytes,
        received_bytes: None,
        sent_bytes: None,
        cpu_pressure: pressure("cpu.pressure"),
        memory_pressure: pressure("memory.pressure"),
        io_pressure: pressure("io.pressure"),
    })
}

fn of_processes(init: i32) -> Option<Sample> {
    let (mut ticks, mut pages, mut threads) = (0, 0, 0);
    for process in members::of(init) {
        ticks += process.ticks;
        threads += process.threads;
        let memory = fs::read_to_string(format!("/proc/{}/statm", process.pid));
        pages += memory.map(|text| parse_memory(&text)).unwrap_or_default();
    }
    let tick_us = 1_000_000 / configured(SysconfVar::CLK_TCK, 100);
    let page_bytes = configured(SysconfVar::PAGE_SIZE, 4096);
    (threads > 0).then(|| Sample {
        source: Source::Processes,
        cpu_us: ticks * tick_us,
        memory_bytes: Some(pages * page_bytes),
        memory_limit_bytes: None,
        pids: threads,
        pids_limit: None,
        read_bytes: None,
        written_bytes: None,
        received_bytes: None,
        sent_bytes: None,
        cpu_pressure: None,
        memory_pressure: None,
        io_pressure: None,
    })
}

fn configured(variable: SysconfVar, usual: u64) -> u64 {
    let value = sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value > 0).unwrap_or(usual)
}

/// Resident pages that are not shared.
fn parse_memory(text: &str) -> u64 {
    let mut numbers = text.split(' ').skip(1).map(|number| number.parse::<u64>().unwrap_or_default());
    let resident = numbers.next().unwrap_or_default();
    resident.saturating_sub(numbers.next().unwrap_or_default())
}

/// Bytes read and written, of all disks.
fn parse_io(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let numbers = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        numbers.sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Bytes received and sent, of all interfaces but the loopback one.
fn parse_network(text: &str) -> Option<(u64, u64)> {
    let lines = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    let counted = lines.filter_map(|(_, rest)| {
        let numbers: Vec<&str> = rest.split_whitespace().collect();
        Some((numbers.first()?.parse::<u64>().ok()?, numbers.get(8)?.parse::<u64>().ok()?))
    });
    text.contains("lo:").then(|| counted.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
}

/// `some avg10=1.23 avg60=..`: the first number.
fn parse_pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words() {
        assert_eq!(parse_memory("1000 300 120 5 0 40 0\n"), 180);
        assert_eq!(parse_io("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n"), (11, 22));
        let network =
            "Inter-| Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n";
        assert_eq!(parse_network(network), Some((100, 200)));
        assert_eq!(parse_network(""), None);
        assert_eq!(parse_pressure("some avg10=1.25 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00"), Some(1.25));
    }

    #[test]
    fn this_process_uses_something() {
        let sample = of_processes(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(sample.pids >= 1 && sample.memory_bytes.unwrap() > 0);
        assert_eq!(of_processes(i32::MAX), None);
    }
}
