//! A snapshot whenever a box starts, and what changed since: for code that is not trusted.

use super::change::LockedBox;
use super::comparison::Comparison;
use super::diff::{self, Diff, DiffSpec};
use super::error::{BoxesError, BoxesResult};
use super::session::SessionError;
use super::{BoxDir, list, running};
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::progress::Progress;

/// The snapshot's name.
pub const SNAPSHOT: &str = "before";

/// Makes the snapshot anew. A box that has no room for one goes on without, and says so.
pub(super) fn before(locked: &mut LockedBox, progress: &dyn Progress) -> BoxesResult<()> {
    if locked.record.snapshot(SNAPSHOT).is_some() {
        locked.remove_snapshot(SNAPSHOT)?;
    }
    match locked.create_snapshot(SNAPSHOT) {
        Err(BoxesError::TooManyLayers { layers, .. }) => {
            progress.note(&format!(
                "no snapshot `{SNAPSHOT}`: the box has {layers} layers already; `devbox reset` begins anew"
            ));
            Ok(())
        }
        made => made,
    }
}

/// What the project's box changed since; nothing where it still runs, or has no such snapshot. The caller must be
/// single-threaded.
pub fn changes(paths: &Paths, loaded: &LoadedProfile, progress: &dyn Progress) -> Result<Option<Diff>, SessionError> {
    let Some(id) = list::find_by_project(paths, &loaded.project)? else { return Ok(None) };
    if !running::wait_until_stopped(paths, &BoxDir::new(paths, &id), running::STOPPING_TIME)? {
        return Ok(None);
    }
    let comparison = Comparison::open(paths, &id, progress)?;
    let (record, mut spec) = (&comparison.record, comparison.spec());
    let Some(snapshot) = record.snapshot(SNAPSHOT) else { return Ok(None) };
    let Some(newer) = spec.own.len().checked_sub(snapshot.layers.len()) else { return Ok(None) };
    let older = spec.own.split_off(newer);
    let base = older.into_iter().chain(spec.base).collect();
    Ok(Some(diff::diff(&DiffSpec { base, ..spec }, &record.id_map)?))
}
