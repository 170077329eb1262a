//! `devbox status`.

use std::path::Path;

use serde_json::json;

use crate::boxes::{BoxDir, limits, running, security, state};
use crate::cli::args::{Format, StatusArgs};
use crate::cli::{Outcome, print, print_json};
use crate::limits::state::State;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

/// Shows one box.
pub fn run(folder: &Path, args: &StatusArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let directory = BoxDir::new(&paths, &id);
    let record = state::load(&directory)?;
    let state = if running::probe(&paths, &directory) { "running" } else { "stopped" };
    let held = State::load(&directory.runtime());
    let may = security::load(&directory.runtime()).filter(|_| state == "running");
    let reached = limits::reached(&directory)?;
    if args.format == Format::Json {
        return print_json(&json!({
            "name": record.name,
            "id": record.id.as_str(),
            "state": state,
            "limits": held.as_ref().map(|held| limits::values(&held.limits)),
            "reached_limit": reached,
            "security": may,
            "project": record.project.to_string_lossy(),
            "created": record.created,
            "ids": record.id_map.mode,
            "base": record.base_id,
            "directory": directory.path().to_string_lossy(),
            "snapshots": record.snapshots.iter().map(|snapshot| &snapshot.name).collect::<Vec<_>>(),
        }));
    }
    let row = |key: &str, value: &str| vec![key.to_owned(), sanitize(value).into_owned()];
    let snapshots: Vec<&str> = record.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
    let state = reached.map_or_else(|| state.to_owned(), |reached| format!("{state}; {reached}"));
    let limits = held.map(|held| limits::line(&held.limits)).filter(|line| !line.is_empty());
    let mut rows = vec![row("name", &record.name), row("state", &state)];
    rows.extend(limits.map(|line| row("limits", &line)));
    let may = may.map(|may| security::line(&may, record.id_map.mode)).filter(|line| !line.is_empty());
    rows.extend(may.map(|line| row("security", &line)));
    rows.extend([
        row("project", &record.project.to_string_lossy()),
        row("created", &record.created),
        row("ids", &format!("{} mode", record.id_map.mode)),
        row("base", &record.base_id),
        row("snapshots", if snapshots.is_empty() { "none".to_owned() } else { snapshots.join(" ") }.as_str()),
        row("directory", &directory.path().to_string_lossy()),
    ]);
    print(&ui::table(&rows))
}
