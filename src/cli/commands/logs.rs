//! `devbox logs`.

use std::os::fd::AsFd;
use std::path::Path;

use crate::boxes::BoxDir;
use crate::boxes::events::{self, Event};
use crate::boxes::follow::{Follower, Woken};
use crate::cli::args::{Format, Logs};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

/// Prints the events of a box, the oldest first.
pub fn run(folder: &Path, args: &Logs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let directory = BoxDir::new(&paths, &id);
    if args.follow {
        return follow(&directory, args.format);
    }
    let events = events::read_events(&directory.events())?;
    if args.format == Format::Json {
        return print_json(&events);
    }
    print(&events.iter().map(line).collect::<String>())
}

/// Prints what comes, until the box or the reader is gone.
fn follow(directory: &BoxDir, format: Format) -> Outcome {
    let mut follower = Follower::new(directory)?;
    let mut woken = Woken::Changed;
    loop {
        let text = match format {
            Format::Text => follower.read()?.iter().map(line).collect::<String>(),
            Format::Json => json_lines(&follower.read()?)?,
        };
        match ui::print(&text) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            result => result.map_err(|error| Error::new(format!("cannot write to standard output: {error}")))?,
        }
        // After the last reading: what a box that is being removed wrote at its end is shown, too.
        if woken != Woken::Changed {
            return Ok(0);
        }
        woken = follower.wait(std::io::stdout().as_fd())?;
    }
}

/// One object a line: a list that never ends would never be valid.
fn json_lines(events: &[Event]) -> Result<String, Error> {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event).map_err(|error| Error::new(error.to_string()))?);
        text.push('\n');
    }
    Ok(text)
}

fn line(event: &Event) -> String {
    let kind = serde_json::to_value(event.event).ok();
    let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("unknown").replace('_', " ");
    let details: Vec<String> = event
        .details
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let line = format!("{}  {kind}  {}", sanitize(&event.time), sanitize(&details.join(" ")));
    format!("{}\n", line.trim_end())
}
