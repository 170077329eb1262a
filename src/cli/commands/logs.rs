//! `devbox logs` and `devbox log`.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::boxes::BoxDir;
use crate::boxes::events::{self, Event};
use crate::boxes::follow::{Follower, Woken};
use crate::cli::args::{Format, Logs};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::Paths;
use crate::sandbox::denied::line::{Denied, Line};
use crate::text::{sanitize, sanitize_json};
use crate::ui;

/// Prints the events of a box, the oldest first.
pub fn run(folder: &Path, args: &Logs) -> Outcome {
    show(folder, args, BoxDir::events, event)
}

/// Prints the system calls that a box was refused, the oldest first.
pub fn denied(folder: &Path, args: &Logs) -> Outcome {
    show(folder, args, BoxDir::denied, refusal)
}

/// Prints the lines of a log of a box, each of which is a `T`, as `text` shows it.
pub fn show<T: DeserializeOwned + Serialize>(
    folder: &Path,
    args: &Logs,
    log: fn(&BoxDir) -> PathBuf,
    text: fn(&T) -> String,
) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let directory = BoxDir::new(&paths, &id);
    let log = log(&directory);
    if args.follow {
        return follow(Follower::of(&directory, &log)?, args.format, text);
    }
    let lines: Vec<T> = events::read_lines(&log)?;
    if args.format == Format::Json {
        return print_json(&lines);
    }
    print(&lines.iter().map(text).collect::<String>())
}

/// Prints what comes, until the box or the reader is gone.
fn follow<T: DeserializeOwned + Serialize>(
    mut follower: Follower<T>,
    format: Format,
    text: fn(&T) -> String,
) -> Outcome {
    let mut woken = Woken::Changed;
    loop {
        let lines = follower.read()?;
        let output = match format {
            Format::Text => lines.iter().map(text).collect::<String>(),
            Format::Json => json_lines(&lines)?,
        };
        match ui::print(&output) {
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
fn json_lines<T: Serialize>(lines: &[T]) -> Result<String, Error> {
    let mut text = String::new();
    for line in lines {
        let line = serde_json::to_string(line).map_err(|error| Error::new(error.to_string()))?;
        text.push_str(&sanitize_json(&line));
        text.push('\n');
    }
    Ok(text)
}

fn event(event: &Event) -> String {
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

fn refusal(line: &Line) -> String {
    let mut words = vec![line.time.clone()];
    if let Some(Denied { call, arguments, errno }) = &line.denied {
        let arguments: Vec<String> = arguments.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        words.extend([format!("{call}({})", arguments.join(", ")), errno.clone()]);
    }
    words.extend(line.process.as_ref().map(|process| format!("by {} ({})", process.command, process.pid)));
    words.extend(line.more.map(|more| format!("... and {more} more")));
    format!("{}\n", sanitize(&words.join("  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_wrote_cannot_steer_a_terminal() {
        let line = r#"{"time":"t","denied":{"call":"mount","arguments":[{"name":"source","value":"\u001b[2J\n"}],"errno":"EPERM"},
            "process":{"pid":3,"command":"\u202esh"},"more":2}"#;
        let line: Line = serde_json::from_str(line).unwrap();
        assert_eq!(refusal(&line), "t  mount(source=\\u{1b}[2J\\u{a})  EPERM  by \\u{202e}sh (3)  ... and 2 more\n");
        assert_eq!(refusal(&Line { time: "t".to_owned(), more: Some(9), ..Line::default() }), "t  ... and 9 more\n");
    }
}
