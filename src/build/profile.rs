//! `[build]` of a profile: the image that a project's box stands on.

use std::collections::BTreeSet;
use std::path::Path;

use super::builder::build;
use super::context::Context;
use super::error::{At, BuildError};
use super::events::{Event, Input, Listener};
use super::fetch::Remote;
use super::images::{Images, is_fixed};
use super::language::Named;
use super::plan::Plan;
use super::request::{ContextSource, Pull, Request};
use crate::base::BaseSpec;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::profile::lock::{BuildInputs, LockedBase};
use crate::userns::mapper::Offer;

/// Which inputs a build may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// As they are locked; others as they are now.
    Locked,
    /// As they are locked, and no others.
    OnlyLocked,
    /// As they are now: registries are asked anew.
    Newest,
}

/// Builds the image of the profile, if it has one: at once where nothing has changed. Returns what it was built from. The
/// caller must be single-threaded.
pub fn prepare(
    paths: &Paths,
    loaded: &LoadedProfile,
    inputs: Inputs,
    listener: &mut dyn Listener,
) -> Result<BuildInputs, BuildError> {
    let mut collector = Collector { listener, inputs: BuildInputs::default() };
    let (Some(mut request), BaseSpec::Image(name)) = (request(loaded)?, own_base(loaded)) else {
        return Ok(collector.inputs);
    };
    request.only_pinned = inputs == Inputs::OnlyLocked;
    match loaded.lock.as_ref().map(|lock| &lock.base) {
        _ if inputs == Inputs::Newest => request.pull = Pull::Always,
        Some(LockedBase::Build(locked)) => request.pins = locked.clone(),
        _ => {}
    }
    build(paths, &loaded.registries, &request, std::slice::from_ref(name), &mut collector)?;
    Ok(collector.inputs)
}

/// What `[build]` names of things that lie elsewhere and the lock file does not, and the other way round; nothing if there is no
/// lock of a build. Nothing is built or fetched: where an image is not here, what it decides is not known and not missed.
/// The caller must be single-threaded.
pub fn differences(paths: &Paths, loaded: &LoadedProfile) -> Result<Vec<String>, BuildError> {
    let locked = loaded.lock.as_ref().map(|lock| &lock.base);
    let (Some(request), Some(LockedBase::Build(locked))) = (request(loaded)?, locked) else { return Ok(Vec::new()) };
    let map = Offer::probe().map(0);
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let context = Context::open(paths, &store, &map, &request)?;
    let plan = Plan::new(&request, &context)?;
    let images = Images { paths, store: &store, map: &map, registries: &loaded.registries, pull: Pull::Never };
    let base = |name: &str| images.base(name, locked.images.get(name), &request.platform);
    let named = Named::of(&plan.file, &plan.globals, &plan.graph, &base);
    let remotes = named.added.iter().filter_map(|source| Remote::parse(source)).filter(|remote| !remote.is_fixed());
    let images = named.images.into_iter().filter(|name| !is_fixed(name)).map(|name| (Input::Image, name));
    let wanted: BTreeSet<(Input, String)> = images.chain(remotes.map(|remote| remote.input())).collect();
    let known: BTreeSet<(Input, String)> = [
        (Input::Image, locked.images.keys().collect::<Vec<_>>()),
        (Input::File, locked.files.keys().collect()),
        (Input::Commit, locked.commits.keys().collect()),
    ]
    .into_iter()
    .flat_map(|(input, names)| names.into_iter().map(move |name| (input, name.clone())))
    .collect();
    let missing = wanted.difference(&known).map(|(_, name)| format!("{name}: is not in the lock file"));
    let surplus = known.difference(&wanted).filter(|_| !named.may_lack);
    Ok(missing.chain(surplus.map(|(_, name)| format!("{name}: is not in the Containerfile"))).collect())
}

/// What the profile's own build makes: below what a devcontainer file adds.
fn own_base(loaded: &LoadedProfile) -> &BaseSpec {
    let below = loaded.devcontainer.as_ref().and_then(|devcontainer| devcontainer.below.as_ref());
    below.unwrap_or(&loaded.profile.base)
}

/// Passes everything on, and keeps what inputs are.
struct Collector<'a> {
    listener: &'a mut dyn Listener,
    inputs: BuildInputs,
}

impl Listener for Collector<'_> {
    fn hear(&mut self, event: &Event) {
        if let Event::Resolved { input, name, pin, .. } = event {
            let (name, digest) = (name.clone(), pin.parse::<Digest>());
            // What the build tells are pins of the kind that it is.
            match (input, digest) {
                (Input::Image, Ok(digest)) => drop(self.inputs.images.insert(name, digest)),
                (Input::File, Ok(digest)) => drop(self.inputs.files.insert(name, digest)),
                (Input::Commit, _) => drop(self.inputs.commits.insert(name, pin.clone())),
                _ => {}
            }
        }
        self.listener.hear(event);
    }

    fn tick(&mut self) {
        self.listener.tick();
    }
}

/// What the profile wants built.
fn request(loaded: &LoadedProfile) -> Result<Option<Request>, BuildError> {
    let Some(wanted) = &loaded.profile.build else { return Ok(None) };
    let context = inside(&loaded.project, &wanted.context)?;
    let file = wanted.containerfile.as_ref().map(|file| inside(&loaded.project, file)).transpose()?;
    let context = ContextSource::Directory(context);
    Ok(Some(Request {
        file,
        target: wanted.target.clone(),
        arguments: wanted.args.clone().into_iter().collect(),
        masked: masked(loaded),
        network: Some(loaded.profile.network.clone()),
        ..Request::new(context, loaded.driver.unwrap_or_default(), Platform::host())
    }))
}

/// What the box does not see of its project, on the host.
pub fn masked(loaded: &LoadedProfile) -> Vec<std::path::PathBuf> {
    loaded.profile.project.mask.iter().map(|path| loaded.project.join(path)).collect()
}

/// A path of the project, symlinks followed. One that leads out of it would show the box what it must not see.
fn inside(project: &Path, path: &Path) -> Result<std::path::PathBuf, BuildError> {
    let path = project.join(path);
    let real = std::fs::canonicalize(&path).at("open", &path)?;
    if real.starts_with(project) { Ok(real) } else { Err(BuildError::Outside { path }) }
}
