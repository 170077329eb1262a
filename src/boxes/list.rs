//! Finding boxes. A broken box is listed with the reason and never hides the others.

use std::path::{Path, PathBuf};

use super::directory::BoxDir;
use super::error::{BoxesError, BoxesResult};
use super::id::{BoxId, nearest, project_digest};
use super::pool::entries;
use super::running;
use super::state::{self, BoxRecord};
use crate::paths::Paths;
use crate::profile::LoadedProfile;

/// A box on this machine.
#[derive(Debug)]
pub struct Listed {
    /// Its id.
    pub id: BoxId,
    /// Where it lies.
    pub directory: BoxDir,
    /// What is remembered about it, or why that cannot be read.
    pub record: BoxesResult<BoxRecord>,
}

impl Listed {
    /// Whether the box runs.
    #[must_use]
    pub fn is_running(&self, paths: &Paths) -> bool {
        running::probe(paths, &self.directory)
    }

    /// Whether the project's folder is still there. `false` for a broken box.
    #[must_use]
    pub fn has_project(&self) -> bool {
        self.record.as_ref().is_ok_and(|record| record.project.is_dir())
    }

    fn name(&self) -> &str {
        self.record.as_ref().map_or(self.id.as_str(), |record| &record.name)
    }

    fn candidate(&self) -> (BoxId, PathBuf) {
        let project = self.record.as_ref().map(|record| record.project.clone()).unwrap_or_default();
        (self.id.clone(), project)
    }
}

/// The ids of all boxes, sorted. Other things in the directory are left alone.
pub fn ids(paths: &Paths) -> BoxesResult<Vec<BoxId>> {
    Ok(entries(&paths.boxes())?.into_iter().filter_map(|name| BoxId::parse(&name).ok()).collect())
}

/// Every box, sorted by id.
pub fn list(paths: &Paths) -> BoxesResult<Vec<Listed>> {
    Ok(ids(paths)?.into_iter().filter_map(|id| look_at(paths, id)).collect())
}

/// `None` when the box has just gone.
fn look_at(paths: &Paths, id: BoxId) -> Option<Listed> {
    let directory = BoxDir::new(paths, &id);
    let record = state::load(&directory);
    (record.is_ok() || directory.exists()).then_some(Listed { id, directory, record })
}

/// The box of the folder `project` (canonical). Several boxes of one folder are [`BoxesError::Ambiguous`].
pub fn find_by_project(paths: &Paths, project: &Path) -> BoxesResult<Option<BoxId>> {
    let digest = project_digest(project);
    let ids = entries(&paths.boxes())?.into_iter().filter_map(|name| BoxId::parse(&name).ok());
    let mut fits: Vec<Listed> = ids
        .filter(|id| id.project_digest() == digest)
        .filter_map(|id| look_at(paths, id))
        // A broken box is taken for the folder's: a second one would hide it.
        .filter(|listed| listed.record.as_ref().map_or(true, |record| record.project == project))
        .collect();
    if fits.len() > 1 {
        return Err(ambiguous(&project.display().to_string(), &fits));
    }
    Ok(fits.pop().map(|listed| listed.id))
}

/// The box of `loaded`'s project, which may not be there yet.
pub fn of_profile(paths: &Paths, loaded: &LoadedProfile) -> BoxesResult<BoxId> {
    let known = find_by_project(paths, &loaded.project)?;
    Ok(known.unwrap_or_else(|| BoxId::new(&loaded.profile.name, &loaded.project)))
}

/// The box with the id or the name `untrusted_name`.
pub fn find_by_name(paths: &Paths, untrusted_name: &str) -> BoxesResult<BoxId> {
    let mut fits = list(paths)?;
    fits.retain(|listed| listed.id.as_str() == untrusted_name || listed.name() == untrusted_name);
    if let Some(exact) = fits.iter().find(|listed| listed.id.as_str() == untrusted_name) {
        return Ok(exact.id.clone());
    }
    match fits.as_slice() {
        [] => Err(no_such_box(paths, untrusted_name)),
        [listed] => Ok(listed.id.clone()),
        several => Err(ambiguous(untrusted_name, several)),
    }
}

fn ambiguous(name: &str, fits: &[Listed]) -> BoxesError {
    BoxesError::Ambiguous { name: name.to_owned(), candidates: fits.iter().map(Listed::candidate).collect() }
}

pub(super) fn no_such_box(paths: &Paths, name: &str) -> BoxesError {
    let all = list(paths).unwrap_or_default();
    BoxesError::NoSuchBox { name: name.to_owned(), suggestion: nearest(name, all.iter().map(Listed::name)) }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
