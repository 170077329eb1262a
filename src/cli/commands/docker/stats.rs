//! `docker stats`: one look.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::Outcome;
use crate::cli::args::docker::Stats;
use crate::docker::container::{self, Container, Digits};
use crate::docker::size;
use crate::error::Error;
use crate::limits::state::State;
use crate::limits::stats::{Sample, sample};
use crate::paths::Paths;

/// Two looks are needed to tell a rate.
const PAUSE: Duration = Duration::from_millis(200);

/// What a table shows.
const COLUMNS: [(&str, &str); 7] = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

/// Shows what running containers use.
pub fn run(paths: &Paths, args: &Stats) -> Outcome {
    let chosen: Vec<Container> = if args.names.is_empty() {
        container::list(paths)?
    } else {
        args.names.iter().map(|name| container::find(paths, name)).collect::<Result<_, _>>().map_err(Error::from)?
    };
    let look =
        |container: &Container| State::load(&container.box_directory(paths).runtime()).and_then(|state| sample(&state));
    let first: Vec<Option<Sample>> = chosen.iter().map(look).collect();
    let begun = Instant::now();
    if first.iter().any(Option::is_some) {
        std::thread::sleep(PAUSE);
    }
    let mut rows = Vec::new();
    for (container, before) in chosen.iter().zip(first) {
        let now = look(container);
        if now.is_none() && !args.all && args.names.is_empty() {
            continue;
        }
        let used = match (&before, &now) {
            (Some(before), Some(now)) => now.cpu_us.saturating_sub(before.cpu_us),
            _ => 0,
        };
        let cpu = used as f64 * 100.0 / begun.elapsed().as_micros().max(1) as f64;
        let number = |value: Option<u64>| value.map_or("--".to_owned(), size::in_memory);
        let memory = number(now.as_ref().and_then(|now| now.memory_bytes));
        let pids = now.as_ref().map_or("--".to_owned(), |now| now.pids.to_string());
        let id = container.listed_id(Digits::all_if(args.no_trunc));
        rows.push(json!({
            "BlockIO": "-- / --",
            "CPUPerc": format!("{cpu:.2}%"),
            "Container": id,
            "ID": id,
            "MemPerc": "--",
            "MemUsage": format!("{memory} / --"),
            "Name": container.name,
            "NetIO": "-- / --",
            "PIDs": pids,
        }));
    }
    super::rows(&args.format, &rows, &COLUMNS)
}
