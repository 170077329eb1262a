//! One file per command.

use std::path::Path;

use super::args::Target;
use crate::boxes::events::{EventKind, EventLog};
use crate::boxes::{BoxDir, BoxId, list as boxes_list};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::Profile;
use crate::text::sanitize;
use crate::ui;

pub mod check;
pub mod clone;
pub mod completions;
pub mod config;
pub mod devcontainer;
pub mod df;
pub mod diff;
pub mod docker;
pub mod doctor;
pub mod editor;
pub mod export;
pub mod freeze;
pub mod gc;
pub mod help;
pub mod image;
pub mod import;
pub mod init;
pub mod limits;
pub mod list;
pub mod lock;
pub mod logs;
pub mod man;
pub mod net;
pub mod open_editor;
pub mod packages;
pub mod port;
pub mod profile;
pub mod reset;
pub mod rm;
pub mod root;
pub mod session;
pub mod shim;
pub mod snapshot;
pub mod ssh;
pub mod stats;
pub mod status;
pub mod stop;
pub mod update;

/// The box that is meant: the named one, or that of the project in `folder`.
fn find(paths: &Paths, folder: &Path, target: &Target) -> Result<BoxId, Error> {
    if let Some(name) = &target.name {
        return Ok(boxes_list::find_by_name(paths, name)?);
    }
    let project = project(paths, folder)?;
    boxes_list::find_by_project(paths, &project)?.ok_or_else(|| {
        Error::new(format!("the project `{}` has no box yet", project.display()))
            .hint("`devbox enter` makes it; `devbox list` shows the boxes there are")
    })
}

/// Notes in the box's log what was done to it.
///
/// It is done by then: a log that cannot be written to is said, and changes no exit status.
fn note(directory: &BoxDir, event: EventKind, details: serde_json::Value) {
    let details = match details {
        serde_json::Value::Object(details) => details,
        _ => serde_json::Map::new(),
    };
    let noted = EventLog::open(&directory.events()).and_then(|log| log.append(event, details));
    if let Err(error) = noted {
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        ui::say(&format!("devbox: {}", sanitize(&text)));
    }
}

/// Nobody answered when asked for `what`.
fn unanswered(what: &str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::Interrupted => Error::new("interrupted").with_status(130),
        _ => Error::new(format!("cannot ask for {what}: {error}")),
    }
}

/// The folder of the project. A broken profile must not keep its box from being stopped or removed.
pub(super) fn project(paths: &Paths, folder: &Path) -> Result<std::path::PathBuf, Error> {
    match Profile::load(paths, folder) {
        Ok(loaded) => Ok(loaded.project),
        Err(_) => Ok(crate::profile::load::find(folder, &paths.home)?.project),
    }
}
