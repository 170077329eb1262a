//! `[build]` of a profile: the image that a project's box stands on.

use std::collections::BTreeMap;
use std::path::Path;

use super::builder::{self, build};
use super::error::{At, BuildError};
use super::events::Listener;
use super::request::{ContextSource, IMAGE_CONTEXT, Pull, Request};
use crate::base::BaseSpec;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::profile::lock::LockedBase;
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer::pull::pull;
use crate::userns::mapper::Offer;

/// Builds the image of the profile, if it has one: at once where nothing has changed. The caller must be
/// single-threaded.
pub fn prepare(paths: &Paths, loaded: &LoadedProfile, listener: &mut dyn Listener) -> Result<(), BuildError> {
    let (Some(mut request), BaseSpec::Image(name)) = (request(loaded)?, &loaded.profile.base) else { return Ok(()) };
    request.contexts = locked(loaded)
        .into_iter()
        .flatten()
        .filter_map(|(name, digest)| {
            let pinned = loaded.registries.reference(name).ok()?.pinned(digest.clone());
            Some((name.clone(), format!("{IMAGE_CONTEXT}{pinned}")))
        })
        .collect();
    build(paths, &loaded.registries, &request, std::slice::from_ref(name), listener)?;
    Ok(())
}

/// The images that the build of the profile begins with, and what they are in the store; those that are locked, as they are
/// locked. Nothing for a profile without a build. The caller must be single-threaded.
pub fn images(paths: &Paths, loaded: &LoadedProfile) -> Result<BTreeMap<String, Digest>, BuildError> {
    let Some(request) = request(loaded)? else { return Ok(BTreeMap::new()) };
    let store = Store::open(&paths.store())?;
    let mut found = BTreeMap::new();
    for name in builder::images(paths, &request)? {
        let reference = reference(loaded, &name)?;
        let known = locked(loaded).and_then(|locked| locked.get(&name)).cloned();
        if let Some(digest) = known.or(store.find_image(&reference)?.map(|record| record.pin().clone())) {
            found.insert(name, digest);
        }
    }
    Ok(found)
}

/// Looks up anew what the images are that the build begins with. The caller must be single-threaded.
pub fn pull_images(paths: &Paths, loaded: &LoadedProfile, progress: &dyn Progress) -> Result<(), BuildError> {
    let Some(request) = request(loaded)? else { return Ok(()) };
    let client = Client::new(loaded.registries.clone(), paths).with_notice(progress.notice());
    for name in builder::images(paths, &request)? {
        let reference = reference(loaded, &name)?;
        pull(paths, &Offer::probe().map(0), &client, &reference, &request.platform, progress)?;
    }
    Ok(())
}

fn reference(loaded: &LoadedProfile, name: &str) -> Result<Reference, BuildError> {
    loaded.registries.reference(name).map_err(|source| BuildError::Reference { name: name.to_owned(), source })
}

fn locked(loaded: &LoadedProfile) -> Option<&BTreeMap<String, Digest>> {
    match &loaded.lock.as_ref()?.base {
        LockedBase::Build { images } => Some(images),
        _ => None,
    }
}

/// What the profile wants built.
fn request(loaded: &LoadedProfile) -> Result<Option<Request>, BuildError> {
    let Some(wanted) = &loaded.profile.build else { return Ok(None) };
    let context = inside(&loaded.project, &wanted.context)?;
    let file = wanted.containerfile.as_ref().map(|file| inside(&loaded.project, file)).transpose()?;
    Ok(Some(Request {
        context: ContextSource::Directory(context),
        file,
        target: wanted.target.clone(),
        arguments: wanted.args.clone().into_iter().collect(),
        secrets: Vec::new(),
        agents: Vec::new(),
        contexts: Vec::new(),
        labels: Vec::new(),
        caches: Vec::new(),
        pull: Pull::Missing,
        no_cache: false,
        driver: loaded.driver.unwrap_or_default(),
        platform: Platform::host(),
        epoch_seconds: None,
    }))
}

/// A path of the project, symlinks followed. One that leads out of it would show the box what it must not see.
fn inside(project: &Path, path: &Path) -> Result<std::path::PathBuf, BuildError> {
    let path = project.join(path);
    let real = std::fs::canonicalize(&path).at("open", &path)?;
    if real.starts_with(project) { Ok(real) } else { Err(BuildError::Outside { path }) }
}
