//! Names to offer on Tab, from the disk only.

use clap_complete::CompletionCandidate;

use crate::boxes::list;
use crate::paths::Paths;
use crate::profile::Profile;

fn paths() -> Option<Paths> {
    Paths::from_environment().ok()
}

/// Names of boxes.
#[must_use]
pub fn boxes() -> Vec<CompletionCandidate> {
    let listed = paths().and_then(|paths| list::list(&paths).ok()).unwrap_or_default();
    listed
        .into_iter()
        .filter_map(|listed| listed.record.ok())
        .map(|record| CompletionCandidate::new(record.name).help(Some(record.project.display().to_string().into())))
        .collect()
}

/// Tasks of the profile that applies here.
#[must_use]
pub fn tasks() -> Vec<CompletionCandidate> {
    let loaded = paths().and_then(|paths| Profile::load(&paths, &super::current_folder().ok()?).ok());
    loaded
        .map(|loaded| loaded.profile.tasks)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, line)| CompletionCandidate::new(name).help(Some(line.into())))
        .collect()
}

/// Snapshots of the box of this folder's project.
#[must_use]
pub fn snapshots() -> Vec<CompletionCandidate> {
    let find = || {
        let paths = paths()?;
        let project = Profile::load(&paths, &super::current_folder().ok()?).ok()?.project;
        let id = list::find_by_project(&paths, &project).ok()??;
        crate::boxes::state::load(&crate::boxes::BoxDir::new(&paths, &id)).ok()
    };
    let record = find();
    record
        .map(|record| record.snapshots)
        .unwrap_or_default()
        .into_iter()
        .map(|snapshot| CompletionCandidate::new(snapshot.name).help(Some(snapshot.created.into())))
        .collect()
}
