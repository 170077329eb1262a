//! `devbox reset`.

use std::path::Path;

use serde_json::json;

use crate::boxes::change::LockedBox;
use crate::boxes::events::EventKind;
use crate::boxes::snapshot::KeepSnapshots;
use crate::cli::Outcome;
use crate::cli::args::Reset;
use crate::paths::Paths;
use crate::ui;

/// Returns a box to its base.
pub fn run(folder: &Path, args: &Reset) -> Outcome {
    let paths = Paths::from_environment()?;
    let progress = ui::Terminal::default();
    let id = super::find(&paths, folder, &args.target)?;
    let mut locked = LockedBox::open(&paths, &id, "devbox reset", &progress)?;
    locked.reset(if args.all { KeepSnapshots::No } else { KeepSnapshots::Yes })?;
    super::note(&locked.directory, EventKind::Reset, json!({ "snapshots": if args.all { "removed" } else { "kept" } }));
    let map = locked.record.id_map.clone();
    drop(locked);
    super::snapshot::empty_trash_later(&paths, &map)
}
