//! `devbox shim`, and what happens when devbox is called by the name of a tool.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use super::session;
use crate::boxes::list as boxes_list;
use crate::cli::args::editor::Shim;
use crate::cli::{Outcome, print, print_json};
use crate::editor::shim;
use crate::error::{COULD_NOT_RUN, Error};
use crate::paths::{self, Paths};
use crate::profile::load;
use crate::text::sanitize;
use crate::ui;

/// `devbox shim`.
pub fn run(folder: &Path, command: Shim) -> Outcome {
    let paths = Paths::from_environment()?;
    let place = |directory: Option<PathBuf>| {
        directory.map_or_else(|| shim::default_directory(&paths), |directory| folder.join(directory))
    };
    match command {
        Shim::Add { names, place: chosen } => {
            let directory = place(chosen);
            shim::add(&directory, &names, &own_program()?)?;
            if !is_searched(&directory) {
                ui::say(&format!("devbox: `{}` is not in your PATH", sanitize(&directory.to_string_lossy())));
            }
            Ok(0)
        }
        Shim::List { place: chosen, listing } => {
            let directory = place(chosen);
            let names = shim::list(&directory)?;
            let path = |name: &String| directory.join(name);
            if listing.format == crate::cli::args::Format::Json {
                let all: Vec<_> =
                    names.iter().map(|name| serde_json::json!({ "name": name, "path": path(name) })).collect();
                return print_json(&all);
            }
            let lines = names.iter().map(|name| format!("{}\n", sanitize(&path(name).to_string_lossy())));
            print(&lines.collect::<String>())
        }
        Shim::Remove { names, place: chosen } => {
            shim::remove(&place(chosen), &names)?;
            Ok(0)
        }
    }
}

/// Runs `name` in the box of the current folder; in a box, or where there is none to run it in, says so or gives way.
pub fn call(name: &OsStr, arguments: Vec<OsString>) -> Outcome {
    call_tool(name, arguments)
        .map_err(|error| if error.status == crate::error::FAILED { error.with_status(COULD_NOT_RUN) } else { error })
}

fn call_tool(name: &OsStr, arguments: Vec<OsString>) -> Outcome {
    let search = paths::variable("PATH").unwrap_or_default();
    let real = shim::real_tool(name, &search, &running_program()?);
    let shown = sanitize(&name.to_string_lossy()).into_owned();
    if paths::variable("container").is_some_and(|value| value == "devbox") {
        let Some(real) = real else {
            return Err(Error::new(format!("there is no `{shown}` in this box")).with_status(127));
        };
        // Returns only when it failed.
        let error = std::process::Command::new(&real).args(arguments).exec();
        return Err(Error::new(format!("cannot run `{}`: {error}", real.display())).with_status(126));
    }
    let folder = crate::cli::current_folder().map_err(|error| Error::new(format!("no current folder: {error}")))?;
    let paths = Paths::from_environment()?;
    if load::find(&folder, &paths.home)?.file.is_none() && boxes_list::find_by_project(&paths, &folder)?.is_none() {
        let error = Error::new(format!(
            "`{shown}` runs in the box of a project, and `{}` is in none",
            sanitize(&folder.to_string_lossy())
        ))
        .hint("`devbox init` makes this folder a project");
        return Err(match real {
            Some(real) => error.hint(format!("`{}` is the host's own", sanitize(&real.to_string_lossy()))),
            None => error,
        });
    }
    session::tool(&folder, name, arguments)
}

/// The file that this process runs, symlinks resolved.
fn running_program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::new(format!("cannot tell where devbox lies: {error}")))
}

/// The path under which devbox is found, which stays when a new version takes its place.
fn own_program() -> Result<PathBuf, Error> {
    let running = running_program()?;
    let search = paths::variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search)
        .map(|directory| directory.join("devbox"))
        .find(|path| path.is_absolute() && path.canonicalize().is_ok_and(|real| real == running));
    Ok(found.unwrap_or(running))
}

fn is_searched(directory: &Path) -> bool {
    let search = paths::variable("PATH").unwrap_or_default();
    std::env::split_paths(&search).any(|searched| searched == directory)
}
