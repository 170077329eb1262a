//! `devbox clone`.

use std::path::Path;

use serde_json::json;

use crate::boxes::change::LockedBox;
use crate::boxes::clone;
use crate::boxes::events::EventKind;
use crate::cli::args::{CloneArgs, Target};
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::validate;
use crate::text::sanitize;
use crate::ui;

/// Makes a box for another folder from this project's. Nothing is copied.
pub fn run(folder: &Path, args: &CloneArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &Target { name: None })?;
    let shown = args.folder.display();
    let target = std::fs::canonicalize(folder.join(&args.folder)).map_err(|error| {
        Error::new(format!("cannot find `{shown}`: {error}")).hint("make the folder that gets the new box first")
    })?;
    if !target.is_dir() {
        return Err(Error::new(format!("`{shown}` is not a folder")));
    }
    let name = args.name.clone().unwrap_or_else(|| validate::default_name(&target));
    let mut source = LockedBox::open(&paths, &id, "devbox clone", &ui::Terminal::default())?;
    let made = clone::clone(&mut source, &name, &target, "devbox clone")?;
    super::note(&made.directory, EventKind::Cloned, json!({ "from": id.as_str() }));
    print(&format!("made the box `{}` for `{}`\n", sanitize(&made.record.name), sanitize(&target.to_string_lossy())))
}
