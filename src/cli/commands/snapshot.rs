//! `devbox snapshot`.

use std::path::Path;

use serde_json::json;

use crate::boxes::change::LockedBox;
use crate::boxes::events::EventKind;
use crate::boxes::{BoxDir, remove, state};
use crate::cli::args::{Format, Snapshot, SnapshotArgs, StatusArgs};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::Paths;
use crate::process::in_background;
use crate::progress::Silent;
use crate::text::sanitize;
use crate::ui;
use crate::userns::idmap::IdMap;

/// The four of them.
pub fn run(folder: &Path, command: &Snapshot) -> Outcome {
    match command {
        Snapshot::List(args) => list(folder, args),
        Snapshot::Create(args) => {
            change(folder, args, "create", EventKind::Snapshot, |locked| Ok(locked.create_snapshot(&args.snapshot)?))
        }
        Snapshot::Restore(args) => {
            change(folder, args, "restore", EventKind::Restored, |locked| Ok(locked.restore_snapshot(&args.snapshot)?))
        }
        Snapshot::Rm(args) => {
            change(folder, args, "rm", EventKind::SnapshotRemoved, |locked| Ok(locked.remove_snapshot(&args.snapshot)?))
        }
    }
}

fn change(
    folder: &Path,
    args: &SnapshotArgs,
    what: &str,
    event: EventKind,
    operation: impl FnOnce(&mut LockedBox) -> Result<(), Error>,
) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let mut locked = LockedBox::open(&paths, &id, &format!("devbox snapshot {what}"), &ui::Terminal::default())?;
    operation(&mut locked)?;
    super::note(&locked.directory, event, json!({ "name": args.snapshot }));
    let map = locked.record.id_map.clone();
    drop(locked);
    empty_trash_later(&paths, &map)
}

/// Deletes what was dropped in a process of its own: however much that is, the command is done.
///
/// Should that process be killed, the next one finds the rest.
pub(super) fn empty_trash_later(paths: &Paths, map: &IdMap) -> Outcome {
    in_background(&[], || remove::empty_trash(paths, map, &Silent).unwrap_or_default())
        .map_err(|error| Error::new(error.to_string()))?;
    Ok(0)
}

fn list(folder: &Path, args: &StatusArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &args.target)?;
    let record = state::load(&BoxDir::new(&paths, &id))?;
    if args.format == Format::Json {
        return print_json(&record.snapshots);
    }
    if record.snapshots.is_empty() {
        return print("no snapshots\n");
    }
    let mut rows = vec![["NAME", "CREATED"].map(str::to_owned).to_vec()];
    rows.extend(record.snapshots.iter().map(|s| vec![sanitize(&s.name).into_owned(), s.created.clone()]));
    print(&ui::table(&rows))
}
