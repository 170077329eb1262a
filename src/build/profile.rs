//! `[build]` of a profile: the image that a project's box stands on.

use std::path::Path;

use super::builder::build;
use super::error::{At, BuildError};
use super::events::Listener;
use super::request::{ContextSource, Request};
use crate::base::BaseSpec;
use crate::image::platform::Platform;
use crate::paths::Paths;
use crate::profile::LoadedProfile;

/// Builds the image of the profile, if it has one: at once where nothing has changed. The caller must be
/// single-threaded.
pub fn prepare(paths: &Paths, loaded: &LoadedProfile, listener: &mut dyn Listener) -> Result<(), BuildError> {
    let (Some(wanted), BaseSpec::Image(name)) = (&loaded.profile.build, &loaded.profile.base) else { return Ok(()) };
    let context = inside(&loaded.project, &wanted.context)?;
    let file = wanted.containerfile.as_ref().map(|file| inside(&loaded.project, file)).transpose()?;
    let request = Request {
        context: ContextSource::Directory(context),
        file,
        target: wanted.target.clone(),
        arguments: wanted.args.clone().into_iter().collect(),
        secrets: Vec::new(),
        agents: Vec::new(),
        contexts: Vec::new(),
        labels: Vec::new(),
        no_cache: false,
        platform: Platform::host(),
        epoch_seconds: None,
    };
    build(paths, &loaded.registries, &request, std::slice::from_ref(name), listener)?;
    Ok(())
}

/// A path of the project, symlinks followed. One that leads out of it would show the box what it must not see.
fn inside(project: &Path, path: &Path) -> Result<std::path::PathBuf, BuildError> {
    let path = project.join(path);
    let real = std::fs::canonicalize(&path).at("open", &path)?;
    if real.starts_with(project) { Ok(real) } else { Err(BuildError::Outside { path }) }
}
