//! `devbox stats`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::boxes::{BoxDir, BoxId, list, running, state};
use crate::cli::Outcome;
use crate::cli::args::{Format, StatsArgs};
use crate::error::Error;
use crate::limits::state::State;
use crate::limits::stats::{Sample, Source, sample};
use crate::paths::Paths;
use crate::text::{sanitize, sanitize_json};
use crate::ui;

/// Two looks are needed to tell a rate; `--once` waits so long for the second.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// One box at one moment.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: String,
    /// A session of `run --rm`, beside the box.
    temporary: bool,
    /// Of one processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    #[serde(flatten)]
    sample: Sample,
}

/// The last look at what runs, by its runtime directory.
type Last = BTreeMap<PathBuf, (Instant, u64)>;

/// Shows what boxes use, again and again on a terminal.
pub fn run(args: &StatsArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let chosen = args.names.iter().map(|name| list::find_by_name(&paths, name)).collect::<Result<Vec<_>, _>>()?;
    let again = !args.once && (args.format == Format::Json || std::io::stdout().is_terminal());
    let mut last = Last::new();
    let mut names = BTreeMap::new();
    look(&paths, &chosen, &mut last, &mut names)?;
    let mut pause = FIRST_PAUSE;
    let mut drawn = 0;
    loop {
        std::thread::sleep(pause);
        let rows = look(&paths, &chosen, &mut last, &mut names)?;
        let text = match args.format {
            Format::Text => table(&rows),
            Format::Json => json_lines(&rows)?,
        };
        let printed = match args.format {
            Format::Text if again => ui::redraw(&text, &mut drawn),
            _ => ui::print(&text),
        };
        match printed {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            result => result.map_err(|error| Error::new(format!("cannot write to standard output: {error}")))?,
        }
        if !again {
            return Ok(0);
        }
        pause = Duration::from_secs(args.interval.into());
    }
}

/// Looks at the running boxes, or at those of `chosen` that run. `names` are the names that are known.
fn look(
    paths: &Paths,
    chosen: &[BoxId],
    last: &mut Last,
    names: &mut BTreeMap<String, String>,
) -> Result<Vec<Row>, Error> {
    let ids = if chosen.is_empty() { list::ids(paths)? } else { chosen.to_vec() };
    let mut rows = Vec::new();
    for id in ids {
        let directory = BoxDir::new(paths, &id);
        let id = id.as_str().to_owned();
        let (own, temporary) = running::runtimes(paths, &directory);
        for runtime in std::iter::once(&own).chain(&temporary) {
            let Some(sample) = State::load(runtime).and_then(|state| sample(&state)) else { continue };
            let (now, used) = (Instant::now(), sample.cpu_us);
            let before = last.insert(runtime.clone(), (now, used));
            // A box that was started anew begins at nothing.
            let before = before.filter(|(_, before)| *before <= used);
            let cpu_percent = before.map(|(then, before)| {
                let passed = now.duration_since(then).as_micros().max(1);
                ((used - before) as f64 * 1000.0 / passed as f64).round() / 10.0
            });
            let name = names.entry(id.clone()).or_insert_with(|| {
                // One that cannot be read is shown by its id.
                state::load(&directory).map_or_else(|_| id.clone(), |record| record.name)
            });
            let temporary = *runtime != own;
            rows.push(Row { name: name.clone(), id: id.clone(), temporary, cpu_percent, sample });
        }
    }
    Ok(rows)
}

fn json_lines(rows: &[Row]) -> Result<String, Error> {
    let mut text = String::new();
    for row in rows {
        let line = serde_json::to_string(row).map_err(|error| Error::new(error.to_string()))?;
        text.push_str(&sanitize_json(&line));
        text.push('\n');
    }
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no box runs\n".to_owned();
    }
    let head = ["NAME", "CPU %", "MEMORY", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT", "PRESSURE cpu mem io"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(line));
    let mut text = ui::table(&lines);
    if rows.iter().any(|row| row.sample.source == Source::Processes) {
        text.push_str("* no cgroup: the sum of the processes, without what they share\n");
    }
    text
}

fn line(row: &Row) -> Vec<String> {
    let sample = &row.sample;
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), ui::size);
    let within =
        |used: String, most: Option<String>| most.map_or_else(|| used.clone(), |most| format!("{used} / {most}"));
    let mark = if sample.source == Source::Processes { "*" } else { "" };
    let pressures = [sample.cpu_pressure, sample.memory_pressure, sample.io_pressure];
    vec![
        format!("{}{}{mark}", sanitize(&row.name), if row.temporary { " (--rm)" } else { "" }),
        row.cpu_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}")),
        within(size(sample.memory_bytes), sample.memory_limit_bytes.map(ui::size)),
        within(sample.pids.to_string(), sample.pids_limit.map(|most| most.to_string())),
        size(sample.read_bytes),
        size(sample.written_bytes),
        size(sample.received_bytes),
        size(sample.sent_bytes),
        pressures.map(|share| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.0}%"))).join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: Source) -> Row {
        let limited = source == Source::Cgroup;
        let sample = Sample {
            source,
            cpu_us: 5,
            memory_bytes: Some(64 << 20),
            memory_limit_bytes: limited.then_some(256 << 20),
            pids: 3,
            pids_limit: limited.then_some(40),
            read_bytes: limited.then_some(0),
            written_bytes: limited.then_some(4096),
            received_bytes: None,
            sent_bytes: None,
            cpu_pressure: limited.then_some(12.4),
            memory_pressure: limited.then_some(0.0),
            io_pressure: None,
        };
        Row { name: "shop".into(), id: "shop-1".into(), temporary: false, cpu_percent: Some(50.2), sample }
    }

    #[test]
    fn a_table() {
        let text = table(&[row(Source::Cgroup), row(Source::Processes)]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[1],
            ["shop", "50.2", "64.00 MiB / 256.00 MiB", "3 / 40", "0 B", "4.00 KiB", "-", "-", "12% 0% -"]
        );
        assert_eq!(lines[2], ["shop*", "50.2", "64.00 MiB", "3", "-", "-", "-", "-", "- - -"]);
        assert!(lines[3][0].starts_with("* no cgroup"));
        assert_eq!(table(&[]), "no box runs\n");
    }

    #[test]
    fn json_has_an_object_a_line() {
        let text = json_lines(&[row(Source::Cgroup), row(Source::Processes)]).unwrap();
        assert_eq!(text.lines().count(), 2);
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((value["source"].as_str(), value["memory_bytes"].as_u64()), (Some("cgroup"), Some(64 << 20)));
    }
}
