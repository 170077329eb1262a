//! `devbox config`.

use serde_json::json;

use crate::cli::args::Format;
use crate::cli::{Outcome, print, print_json};
use crate::paths::Paths;
use crate::ui;

/// Prints where everything lies.
pub fn run(format: Format) -> Outcome {
    let paths = Paths::from_environment()?;
    let config = paths.config.join("config.toml");
    let profiles = paths.config.join("profiles");
    let rows = [
        ("config", &config),
        ("profiles", &profiles),
        ("data", &paths.data),
        ("cache", &paths.cache),
        ("runtime", &paths.runtime),
    ];
    if format == Format::Json {
        let map: serde_json::Map<_, _> =
            rows.iter().map(|(key, path)| ((*key).to_owned(), json!(path.to_string_lossy()))).collect();
        return print_json(&map);
    }
    let rows: Vec<Vec<String>> =
        rows.iter().map(|(key, path)| vec![(*key).to_owned(), path.to_string_lossy().into_owned()]).collect();
    print(&ui::table(&rows))
}
