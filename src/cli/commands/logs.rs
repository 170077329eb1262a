//! `devbox logs`.

use std::path::Path;

use crate::boxes::{BoxDir, events};
use crate::cli::args::{Format, Logs};
use crate::cli::{Outcome, print, print_json};
use crate::paths::Paths;
use crate::text::sanitize;

/// Prints the events of a box, the oldest first.
pub fn run(folder: &Path, args: &Logs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let events = events::read_events(&BoxDir::new(&paths, &id).events())?;
    if args.format == Format::Json {
        return print_json(&events);
    }
    let mut text = String::new();
    for event in events {
        let kind = serde_json::to_value(event.event).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or("unknown").replace('_', " ");
        let details: Vec<String> = event
            .details
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        text.push_str(format!("{}  {kind}  {}", event.time, sanitize(&details.join(" "))).trim_end());
        text.push('\n');
    }
    print(&text)
}
