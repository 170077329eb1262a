//! Making boxes: new ones, and copies that share the frozen layers of their source.

use std::path::{Path, PathBuf};

use super::change::LockedBox;
use super::directory::{BoxDir, fresh_name, prepare};
use super::error::{BoxesError, BoxesResult, IoContext};
use super::id::{BoxId, check_name};
use super::lock::{BoxLock, Sharing};
use super::pool::{self, NEW_BOX_PREFIX, discard, lock_pool, make_layer};
use super::state::{self, BoxRecord, RECORD_VERSION, write_json};
use crate::paths::{Paths, create_private};
use crate::progress::Progress;
use crate::userns::idmap::IdMap;

/// What a new box is made of.
#[derive(Debug, Clone)]
pub struct NewBox {
    /// What the user calls it: the profile's name or the folder's, sanitised.
    pub name: String,
    /// The project's folder, canonical.
    pub project: PathBuf,
    /// Who will own its files.
    pub id_map: IdMap,
    /// `RootLayers::id` of its base.
    pub base_id: String,
}

/// Makes an empty box and holds its lock as `who`. The box appears at once and complete, or not at all.
///
/// When another command was faster the error is [`BoxesError::Exists`]: open that box instead.
pub fn create(paths: &Paths, new: NewBox, who: &str) -> BoxesResult<LockedBox> {
    prepare(paths)?;
    let _pool = lock_pool(&paths.data, Sharing::Shared)?;
    make(paths, new, Vec::new(), who)
}

/// Makes a box for the folder `project` (canonical) that begins with everything that `source` holds now, its
/// snapshots excepted. Nothing is copied: both stand on the same frozen layers. `source` must not run.
pub fn clone(source: &mut LockedBox, untrusted_name: &str, project: &Path, who: &str) -> BoxesResult<LockedBox> {
    check_name(untrusted_name)?;
    let paths = source.paths.clone();
    let id = BoxId::new(untrusted_name, project);
    if BoxDir::new(&paths, &id).exists() {
        return Err(BoxesError::Exists { id });
    }
    source.freeze()?;
    // From here to the new record nobody may collect layers: the source could lose them meanwhile.
    let _pool = lock_pool(&paths.data, Sharing::Shared)?;
    let new = NewBox {
        name: untrusted_name.to_owned(),
        project: project.to_owned(),
        id_map: source.record.id_map.clone(),
        base_id: source.record.base_id.clone(),
    };
    make(&paths, new, source.record.layers.clone(), who)
}

fn make(paths: &Paths, new: NewBox, layers: Vec<String>, who: &str) -> BoxesResult<LockedBox> {
    let id = BoxId::new(&new.name, &new.project);
    let directory = BoxDir::new(paths, &id);
    let like = layers.first().map(|layer| pool::tree(&paths.data, layer));
    let record = BoxRecord {
        version: RECORD_VERSION,
        id: id.clone(),
        name: new.name,
        project: new.project,
        created: state::now(),
        id_map: new.id_map,
        base_id: new.base_id,
        layers,
        snapshots: Vec::new(),
        pending: None,
    };
    let temporary = paths.boxes().join(format!("{NEW_BOX_PREFIX}{}", fresh_name()?));
    let made = furnish(&temporary, &record, like.as_deref(), who)
        .and_then(|lock| appear(&temporary, &directory).map(|()| LockedBox::made(paths, directory, record, lock)));
    if made.is_err() {
        discard(&paths.data, &temporary)?;
    }
    made
}

/// Everything that a box consists of, in a directory that nobody knows yet.
fn furnish(temporary: &Path, record: &BoxRecord, like: Option<&Path>, who: &str) -> BoxesResult<BoxLock> {
    for part in ["work", "generated", "log"] {
        create_private(&temporary.join(part))?;
    }
    make_layer(&temporary.join("upper"), &record.id_map, like)?;
    write_json(&temporary.join("box.json"), record)?;
    BoxLock::try_acquire(&temporary.join("lock"), Sharing::Exclusive, who)
}

fn appear(temporary: &Path, directory: &BoxDir) -> BoxesResult<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, temporary, CWD, directory.path(), RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Err(BoxesError::Exists { id: directory.id().clone() }),
        // File systems without `RENAME_NOREPLACE`: a directory does not replace one that holds something.
        Err(rustix::io::Errno::INVAL) => match std::fs::rename(temporary, directory.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                Err(BoxesError::Exists { id: directory.id().clone() })
            }
            result => result.at("rename", temporary),
        },
        result => result.at("rename", temporary),
    }
}

/// Opens the box of a project, or makes it, whoever else does the same at this moment.
pub fn open_or_create(paths: &Paths, new: NewBox, who: &str, progress: &dyn Progress) -> BoxesResult<LockedBox> {
    let id = match super::list::find_by_project(paths, &new.project)? {
        Some(id) => id,
        None => match create(paths, new, who) {
            Err(BoxesError::Exists { id }) => id,
            made => return made,
        },
    };
    LockedBox::open(paths, &id, who, progress)
}

#[cfg(test)]
#[path = "clone_tests.rs"]
mod tests;
