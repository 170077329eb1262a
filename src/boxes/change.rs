//! Changing a box so that a crash at any point is repaired by the next command.
//!
//! 1. the record is written with `pending`: what is to be done
//! 2. the writable layer moves into the pool or the trash (one rename)
//! 3. a new writable layer appears (one rename)
//! 4. the record is written as `pending` says, without it
//!
//! Cut before 1 is finished, the box is as before. Cut later, [`LockedBox::open`] does 2 to 4 again: each step looks
//! whether it is done already.

use std::io;
use std::path::PathBuf;

use super::directory::{BoxDir, pool, prepare};
use super::error::{BoxesError, BoxesResult, IoContext};
use super::id::BoxId;
use super::lock::{BoxLock, Sharing};
use super::pool::{self, collect, discard, make_layer, sync_directory};
use super::state::{self, BoxRecord, Pending, UpperFate};
use super::{list, running};
use crate::paths::{Paths, create_private};
use crate::progress::Progress;

/// A step of a change that is finished. Tests cut here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The record says what is to be done.
    Announced,
    /// The old writable layer is out of the way.
    UpperMoved,
    /// The new one is in place.
    UpperMade,
    /// The record says that it is done.
    Recorded,
    /// Layers that nobody needs are in the trash.
    Collected,
}

/// Every step, in order.
pub const STEPS: [Step; 5] = [Step::Announced, Step::UpperMoved, Step::UpperMade, Step::Recorded, Step::Collected];

/// Called after each step; an error ends the change there.
pub(crate) type AfterStep<'a> = &'a mut dyn FnMut(Step) -> io::Result<()>;

/// A box whose lock is held, and whose record is finished.
#[derive(Debug)]
pub struct LockedBox {
    /// devbox's directories.
    pub paths: Paths,
    /// Where it lies.
    pub directory: BoxDir,
    /// What is remembered about it. Write changes with [`Self::save`].
    pub record: BoxRecord,
    lock: BoxLock,
}

impl LockedBox {
    /// Waits for the box's lock, reads its record and finishes what an earlier command began. `who` is shown to those
    /// who wait meanwhile, for example "devbox snapshot create".
    pub fn open(paths: &Paths, id: &BoxId, who: &str, progress: &dyn Progress) -> BoxesResult<Self> {
        let directory = BoxDir::new(paths, id);
        let lock = match BoxLock::acquire(&directory.lock(), Sharing::Exclusive, who, progress) {
            Err(BoxesError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(list::no_such_box(paths, id.as_str()));
            }
            lock => lock?,
        };
        let record = state::load(&directory)?;
        let mut this = Self { paths: paths.clone(), directory, record, lock };
        this.repair()?;
        Ok(this)
    }

    /// Holds a box that was just made.
    pub(super) fn made(paths: &Paths, directory: BoxDir, record: BoxRecord, lock: BoxLock) -> Self {
        Self { paths: paths.clone(), directory, record, lock }
    }

    /// Writes the record.
    pub fn save(&self) -> BoxesResult<()> {
        state::save(&self.directory, &self.record)
    }

    /// Gives the lock up to be held on its own, for example until the box listens.
    #[must_use]
    pub fn into_parts(self) -> (BoxDir, BoxRecord, BoxLock) {
        (self.directory, self.record, self.lock)
    }

    /// An error if the box runs: its writable layer is in use. Waits for one whose last session has just ended.
    pub fn require_stopped(&self) -> BoxesResult<()> {
        if running::wait_until_stopped(&self.paths, &self.directory, running::STOPPING_TIME)? {
            return Ok(());
        }
        Err(BoxesError::Running { name: self.record.name.clone() })
    }

    /// Whether anything was written since the last snapshot, restore or reset; `true` when in doubt.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let like = self.top_layer(&self.record.layers);
        !pool::is_untouched(&self.directory.upper_holder(), &self.record.id_map, like.as_deref())
    }

    fn top_layer(&self, layers: &[String]) -> Option<PathBuf> {
        layers.first().map(|layer| pool::tree(self.directory.data(), layer))
    }

    /// Finishes an interrupted change and makes what somebody removed by hand.
    fn repair(&mut self) -> BoxesResult<()> {
        prepare(&self.paths)?;
        for directory in [self.directory.work(), self.directory.generated(), self.directory.log()] {
            create_private(&directory)?;
        }
        if self.record.pending.is_some() {
            self.finish(&mut |_| Ok(()))?;
        }
        self.require_layers(&self.record.layers, None)?;
        let holder = self.directory.upper_holder();
        if !self.directory.upper().exists() && std::fs::symlink_metadata(&holder).is_err() {
            make_layer(&holder, &self.record.id_map, self.top_layer(&self.record.layers).as_deref())?;
        }
        Ok(())
    }

    /// An error if one of `layers` is not in the pool, `but` excepted.
    fn require_layers(&self, layers: &[String], but: Option<&str>) -> BoxesResult<()> {
        let missing = layers.iter().find(|layer| {
            Some(layer.as_str()) != but && std::fs::symlink_metadata(pool(self.directory.data()).join(layer)).is_err()
        });
        match missing {
            Some(layer) => Err(BoxesError::MissingLayer { name: self.record.name.clone(), layer: layer.clone() }),
            None => Ok(()),
        }
    }

    /// Does what `pending` says. The box must not run.
    pub(super) fn perform(&mut self, pending: Pending, after: AfterStep<'_>) -> BoxesResult<()> {
        self.require_stopped()?;
        self.announce(pending)?;
        self.cut(after, Step::Announced)?;
        self.finish(after)
    }

    /// Does what `pending` says, which leaves the writable layer and those below it alone.
    pub(super) fn perform_running(&mut self, pending: Pending) -> BoxesResult<()> {
        self.announce(Pending { upper: UpperFate::Keep, layers: self.record.layers.clone(), ..pending })?;
        self.finish(&mut |_| Ok(()))
    }

    fn announce(&mut self, pending: Pending) -> BoxesResult<()> {
        let frozen = match &pending.upper {
            UpperFate::Freeze(layer) => Some(layer.as_str()),
            UpperFate::Keep | UpperFate::Drop => None,
        };
        self.require_layers(&pending.layers, frozen)?;
        let announced = BoxRecord { pending: Some(pending), ..self.record.clone() };
        state::save(&self.directory, &announced)?;
        self.record = announced;
        Ok(())
    }

    /// Steps 2 to 4.
    pub(super) fn finish(&mut self, after: AfterStep<'_>) -> BoxesResult<()> {
        let Some(pending) = self.record.pending.clone() else { return Ok(()) };
        let holder = self.directory.upper_holder();
        let data = self.directory.data().to_owned();
        match &pending.upper {
            UpperFate::Keep => {}
            UpperFate::Drop => discard(&data, &holder)?,
            UpperFate::Freeze(layer) => {
                let frozen = pool(&data).join(layer);
                if std::fs::symlink_metadata(&frozen).is_err() {
                    std::fs::rename(&holder, &frozen).at("rename", &holder)?;
                }
            }
        }
        self.cut(after, Step::UpperMoved)?;
        if std::fs::symlink_metadata(&holder).is_err() {
            make_layer(&holder, &self.record.id_map, self.top_layer(&pending.layers).as_deref())?;
        }
        self.cut(after, Step::UpperMade)?;
        if pending.upper != UpperFate::Keep {
            sync_directory(&pool(&data))?;
            sync_directory(self.directory.path())?;
        }
        let finished = BoxRecord {
            layers: pending.layers,
            snapshots: pending.snapshots,
            base_id: pending.base_id,
            pending: None,
            ..self.record.clone()
        };
        state::save(&self.directory, &finished)?;
        let before = std::mem::replace(&mut self.record, finished);
        self.cut(after, Step::Recorded)?;
        let needed: std::collections::HashSet<_> = self.record.referenced_layers().collect();
        if before.referenced_layers().any(|layer| !needed.contains(layer)) {
            collect(&self.paths)?;
        }
        self.cut(after, Step::Collected)
    }

    fn cut(&self, after: AfterStep<'_>, step: Step) -> BoxesResult<()> {
        after(step).at("finish changing", self.directory.path())
    }
}
