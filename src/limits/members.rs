//! The processes of a box, as the host sees them: init and its descendants.

use std::fs;

/// No more are looked at.
const MOST_PROCESSES: usize = 100_000;

/// A part of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// In the host's pid namespace.
    pub pid: i32,
    /// It has ended, and nobody has waited for it yet.
    pub has_ended: bool,
    /// Processor time, that of children that were waited for included.
    pub ticks: u64,
    /// Its own.
    pub threads: u64,
}

/// Every process of the box of `init`, as they are met: those that begin meanwhile may be missing. Empty: it has ended.
pub fn of(init: i32) -> impl Iterator<Item = Process> {
    let mut waiting = vec![init];
    std::iter::from_fn(move || {
        loop {
            let pid = waiting.pop()?;
            // One that ended meanwhile counts no more.
            if let Some(process) = read(pid) {
                waiting.extend(children(pid, process.threads));
                return Some(process);
            }
        }
    })
    .take(MOST_PROCESSES)
}

fn read(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn children(pid: i32, threads: u64) -> Vec<i32> {
    let of_thread =
        |thread: &str| fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
    let text = if threads == 1 {
        of_thread(&pid.to_string())
    } else {
        let all = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        all.map(|thread| of_thread(&thread.file_name().to_string_lossy())).collect()
    };
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn parse_stat(text: &str) -> Option<Process> {
    let pid = text.split(' ').next()?.parse().ok()?;
    // The name in parentheses may hold anything; the next field is the third.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |position: usize| fields.get(position - 3)?.parse::<u64>().ok();
    let times: Option<Vec<u64>> = (14..=17).map(number).collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    Some(Process { pid, has_ended, ticks: times?.iter().sum(), threads: number(20)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 200 0 0 10 20 3 4 20 0 5 0 999 0 0";
        let process = Process { pid: 7, has_ended: false, ticks: 37, threads: 5 };
        assert_eq!(parse_stat(stat), Some(process));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), Some(Process { has_ended: true, ..process }));
        assert_eq!(parse_stat("7 (x"), None);
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(of(i32::try_from(std::process::id()).unwrap()).any(|process| process.pid == pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of(pid).count(), 0);
    }
}
