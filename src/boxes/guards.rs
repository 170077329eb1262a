//! What is guarded in a project, and the placeholders that it takes.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::directory::BoxDir;
use super::repositories;
use super::session::SessionError;
use crate::profile::LoadedProfile;
use crate::progress::Progress;
use crate::sandbox::guard::placeholder::{self, Placeholders};
use crate::sandbox::guard::{Guarded, Guards, Protection};
use crate::sys::fs::open_directory;
use crate::sys::{SysError, SysResult};

/// What is guarded in the project.
pub(super) fn guarded(loaded: &LoadedProfile) -> Vec<Guarded> {
    let project = &loaded.profile.project;
    let guarded = |protection| move |path: &PathBuf| Guarded { path: path.clone(), protection };
    // What is hidden in a directory that is protected is mounted along with it.
    let hidden = project.mask.iter().map(guarded(Protection::Hidden));
    let nested = if repositories::is_guarded(project.protect.iter()) {
        repositories::nested(&loaded.project)
    } else {
        Vec::new()
    };
    let mut all: Vec<Guarded> = hidden.chain(project.protect.iter().map(guarded(Protection::ReadOnly))).collect();
    all.extend(nested.iter().map(guarded(Protection::ReadOnly)));
    // The next start of the box does what it says.
    if !all.is_empty() || loaded.profile.network.egress.is_some() {
        all.extend(
            loaded
                .profile
                .build
                .as_ref()
                .and_then(|build| build.file_in(&loaded.project))
                .as_ref()
                .map(guarded(Protection::ReadOnly)),
        );
    }
    all
}

/// Makes what is missing of that. What cannot be made is said: the host could make it nevertheless.
pub(super) fn placeholders(
    loaded: &LoadedProfile,
    directory: &BoxDir,
    guards: Option<&Guards>,
    progress: &dyn Progress,
) -> Result<Option<(Placeholders, PathBuf)>, SessionError> {
    let failed = |source: SysError| SessionError::Placeholders { path: loaded.project.clone(), source };
    // What a killed supervisor left.
    placeholder::sweep(directory.path(), &loaded.project).map_err(failed)?;
    let Some(guards) = guards else { return Ok(None) };
    let project = open_directory(&loaded.project).map_err(failed)?;
    let mut placeholders = Placeholders::new(directory.path()).map_err(failed)?;
    for guarded in &guards.paths {
        if let Err(error) = placeholders.reserve(project.as_fd(), guarded) {
            let path = guarded.path.display();
            progress.note(&format!("`{path}` cannot be reserved, and will be guarded only once it is there: {error}"));
        }
    }
    Ok(Some((placeholders, loaded.project.clone())))
}

/// Removes the placeholders that killed supervisors of a box have left in its project.
pub fn sweep(directory: &BoxDir) -> SysResult<()> {
    match super::state::load(directory) {
        Ok(record) => placeholder::sweep(directory.path(), &record.project),
        // Nobody knows any more whose project it was.
        Err(_) => Ok(()),
    }
}
