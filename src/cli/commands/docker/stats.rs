//! `docker stats`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Outcome;
use crate::cli::args::docker::Stats;
use crate::docker::container::{self, Container, Digits};
use crate::docker::size;
use crate::error::Error;
use crate::limits::state::State;
use crate::limits::stats::{Sample, sample};
use crate::paths::Paths;
use crate::ui;

/// Two looks are needed to tell a rate.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two rows of the same container.
const INTERVAL: Duration = Duration::from_secs(1);

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

/// What one container uses; `None`: it does not run.
type Look = (Container, Option<Sample>);

/// Shows what running containers use, each second, until none runs.
pub fn run(paths: &Paths, args: &Stats) -> Outcome {
    let once = args.no_stream == Some(true);
    let named: Vec<Container> =
        args.names.iter().map(|name| container::find(paths, name)).collect::<Result<_, _>>().map_err(Error::from)?;
    let look = || -> Result<(Instant, Vec<Look>), Error> {
        let chosen = if named.is_empty() { container::list(paths)? } else { named.clone() };
        let sampled = |container: Container| {
            let state = State::load(&container.box_directory(paths).runtime());
            (container, state.and_then(|state| sample(&state)))
        };
        Ok((Instant::now(), chosen.into_iter().map(sampled).collect()))
    };
    let mut before = look()?;
    let (mut pause, mut drawn) = (PAUSE, 0);
    loop {
        let runs = |looks: &[Look]| looks.iter().any(|(_, sample)| sample.is_some());
        if runs(&before.1) {
            std::thread::sleep(pause);
        }
        let now = look()?;
        let rows: Vec<Value> = now
            .1
            .iter()
            .filter(|(_, sample)| sample.is_some() || args.all || !named.is_empty())
            .map(|(container, sample)| {
                let earlier = before.1.iter().find(|(other, _)| other.id == container.id);
                let cpu_us = match (earlier.and_then(|(_, sample)| sample.as_ref()), sample) {
                    (Some(earlier), Some(now)) => now.cpu_us.saturating_sub(earlier.cpu_us),
                    _ => 0,
                };
                let passed_us = now.0.duration_since(before.0).as_micros().max(1);
                row(container, sample.as_ref(), cpu_us as f64 * 100.0 / passed_us as f64, args.no_trunc)
            })
            .collect();
        let text = super::text_of_rows(&args.format, &rows, &COLUMNS)?;
        let is_drawn = !once && std::io::stdout().is_terminal();
        match if is_drawn { ui::redraw(&text, &mut drawn) } else { ui::print(&text) } {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            result => result.map_err(|error| Error::new(format!("cannot write to standard output: {error}")))?,
        }
        if once || !runs(&now.1) {
            return Ok(0);
        }
        (before, pause) = (now, INTERVAL);
    }
}

fn row(container: &Container, sample: Option<&Sample>, cpu_percent: f64, no_trunc: bool) -> Value {
    let memory = sample.and_then(|now| now.memory_bytes).map_or("--".to_owned(), size::in_memory);
    let pids = sample.map_or("--".to_owned(), |now| now.pids.to_string());
    let id = container.listed_id(Digits::all_if(no_trunc));
    json!({
        "BlockIO": "-- / --",
        "CPUPerc": format!("{cpu_percent:.2}%"),
        "Container": id,
        "ID": id,
        "MemPerc": "--",
        "MemUsage": format!("{memory} / --"),
        "Name": container.name,
        "NetIO": "-- / --",
        "PIDs": pids,
    })
}
