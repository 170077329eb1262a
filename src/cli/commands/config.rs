//! `devbox config`.

use std::path::Path;
use std::process::Command as Process;

use serde_json::json;

use crate::cli::args::Format;
use crate::cli::args::profile::{Config, ConfigArgs};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::{Paths, create_private, variable};
use crate::profile::validate::{Origin, parse_config};
use crate::profile::{ProfileError, load};
use crate::text::sanitize;
use crate::ui;

/// Shows every place, or does something with the user's `config.toml`.
pub fn run(args: &ConfigArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let file = paths.config.join("config.toml");
    match args.command {
        None => places(&paths, &file, args.format),
        Some(Config::Path) => print(&format!("{}\n", sanitize(&file.to_string_lossy()))),
        Some(Config::Edit) => edit(&paths, &file),
        Some(Config::Show) => {
            require(&file)?;
            print(&ui::foreign_text(&load::read(&file)?.text))
        }
    }
}

fn places(paths: &Paths, config: &Path, format: Format) -> Outcome {
    let profiles = paths.config.join("profiles");
    let rows = [
        ("config", config),
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
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(key, path)| vec![(*key).to_owned(), sanitize(&path.to_string_lossy()).into_owned()])
        .collect();
    print(&ui::table(&rows))
}

fn require(file: &Path) -> Result<(), Error> {
    if load::exists(file)? {
        return Ok(());
    }
    Err(Error::new(format!("there is no `{}`", file.display())).hint("`devbox config edit` makes it"))
}

/// Leaves an editor with the file. What it wrote is checked at once, not at the next start of a box.
fn edit(paths: &Paths, file: &Path) -> Outcome {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let Some(name) = ["VISUAL", "EDITOR"].into_iter().find(is_set) else {
        return Err(
            Error::new("no editor is set").hint("set `EDITOR`, or open the file that `devbox config path` names")
        );
    };
    create_private(&paths.config)?;
    // The shell splits the value, which may hold options: `code --wait`.
    let script = format!("exec ${{{name}}} \"$1\"");
    let status = Process::new("/bin/sh")
        .args(["-c", &script, "devbox"])
        .arg(file)
        .status()
        .map_err(|error| Error::new(format!("cannot start the editor: {error}")))?;
    if !status.success() {
        return Err(Error::new(format!("the editor of `{name}` failed: {status}")));
    }
    if load::exists(file)? {
        let text = load::read(file)?.text;
        parse_config(&Origin { file, text: &text, folder: &paths.config, home: &paths.home })
            .map_err(ProfileError::from)?;
    }
    Ok(0)
}
