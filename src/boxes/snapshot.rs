//! Snapshots: freezing the writable layer, and going back.
//!
//! The `plan_*` functions are pure: from a record they make the change that [`super::change`] carries out.

use super::change::{AfterStep, LockedBox};
use super::directory::fresh_name;
use super::error::{BoxesError, BoxesResult};
use super::id::{check_name, nearest};
use super::state::{self, BoxRecord, Pending, Snapshot, UpperFate};

/// Layers of one box: overlayfs stacks 500, and each costs two descriptors while they are compared.
pub const MAX_LAYERS: usize = 200;

/// Whether `reset` keeps the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepSnapshots {
    /// They stay, and can be restored.
    Yes,
    /// They go as well.
    No,
}

/// A change that changes nothing.
fn unchanged(record: &BoxRecord) -> Pending {
    Pending {
        upper: UpperFate::Keep,
        layers: record.layers.clone(),
        snapshots: record.snapshots.clone(),
        base_id: record.base_id.clone(),
    }
}

/// The writable layer becomes the layer `fresh` of the pool, on top of the others; with `None` (nothing was written to
/// it) it stays.
pub fn plan_freeze(record: &BoxRecord, fresh: Option<String>) -> BoxesResult<Pending> {
    let mut pending = unchanged(record);
    if let Some(layer) = fresh {
        if record.layers.len() >= MAX_LAYERS {
            return Err(BoxesError::TooManyLayers { name: record.name.clone(), layers: record.layers.len() });
        }
        pending.layers.insert(0, layer.clone());
        pending.upper = UpperFate::Freeze(layer);
    }
    Ok(pending)
}

/// As [`plan_freeze`], and the result is remembered as the snapshot `untrusted_name`, made at `now` (RFC 3339).
pub fn plan_create(record: &BoxRecord, untrusted_name: &str, now: &str, fresh: Option<String>) -> BoxesResult<Pending> {
    check_name(untrusted_name)?;
    if record.snapshot(untrusted_name).is_some() {
        return Err(BoxesError::SnapshotExists { name: record.name.clone(), snapshot: untrusted_name.to_owned() });
    }
    let mut pending = plan_freeze(record, fresh)?;
    pending.snapshots.push(Snapshot {
        name: untrusted_name.to_owned(),
        created: now.to_owned(),
        layers: pending.layers.clone(),
        base_id: pending.base_id.clone(),
    });
    Ok(pending)
}

/// The box becomes what it was; the writable layer is dropped.
pub fn plan_restore(record: &BoxRecord, name: &str) -> BoxesResult<Pending> {
    let snapshot = find(record, name)?;
    Ok(Pending {
        upper: UpperFate::Drop,
        layers: snapshot.layers.clone(),
        snapshots: record.snapshots.clone(),
        base_id: snapshot.base_id.clone(),
    })
}

/// The snapshot is forgotten. The box stays as it is.
pub fn plan_remove(record: &BoxRecord, name: &str) -> BoxesResult<Pending> {
    find(record, name)?;
    let mut pending = unchanged(record);
    pending.snapshots.retain(|snapshot| snapshot.name != name);
    Ok(pending)
}

/// Back to the base: no layers, no hooks done.
#[must_use]
pub fn plan_reset(record: &BoxRecord, keep: KeepSnapshots) -> Pending {
    let snapshots = match keep {
        KeepSnapshots::Yes => record.snapshots.clone(),
        KeepSnapshots::No => Vec::new(),
    };
    Pending { upper: UpperFate::Drop, layers: Vec::new(), snapshots, ..unchanged(record) }
}

fn find<'a>(record: &'a BoxRecord, name: &str) -> BoxesResult<&'a Snapshot> {
    record.snapshot(name).ok_or_else(|| BoxesError::NoSuchSnapshot {
        name: record.name.clone(),
        snapshot: name.to_owned(),
        suggestion: nearest(name, record.snapshots.iter().map(|snapshot| snapshot.name.as_str())),
    })
}

/// Each of these waits for nothing, and costs the same whatever the box holds. The box must not run.
impl LockedBox {
    /// Makes a snapshot of the box as it is.
    pub fn create_snapshot(&mut self, untrusted_name: &str) -> BoxesResult<()> {
        self.create_snapshot_with(untrusted_name, &mut |_| Ok(()))
    }

    pub(super) fn create_snapshot_with(&mut self, untrusted_name: &str, after: AfterStep<'_>) -> BoxesResult<()> {
        self.require_stopped()?;
        let fresh = self.layer_to_freeze()?;
        self.perform(plan_create(&self.record, untrusted_name, &state::now(), fresh)?, after)
    }

    /// Moves what was written since the last snapshot into a layer of its own, so that it can be shared.
    pub(super) fn freeze(&mut self) -> BoxesResult<()> {
        self.require_stopped()?;
        if let Some(layer) = self.layer_to_freeze()? {
            self.perform(plan_freeze(&self.record, Some(layer))?, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// Returns to a snapshot. What was written since is dropped.
    pub fn restore_snapshot(&mut self, name: &str) -> BoxesResult<()> {
        self.perform(plan_restore(&self.record, name)?, &mut |_| Ok(()))
    }

    /// Forgets a snapshot.
    pub fn remove_snapshot(&mut self, name: &str) -> BoxesResult<()> {
        let pending = plan_remove(&self.record, name)?;
        // The writable layer and the layers below it stay: this is sound while the box runs.
        self.perform_running(pending)
    }

    /// Returns to the base.
    pub fn reset(&mut self, keep: KeepSnapshots) -> BoxesResult<()> {
        self.perform(plan_reset(&self.record, keep), &mut |_| Ok(()))
    }

    fn layer_to_freeze(&self) -> BoxesResult<Option<String>> {
        self.is_changed().then(fresh_name).transpose()
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
