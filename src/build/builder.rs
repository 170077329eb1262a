//! A whole build.

use std::cell::RefCell;
use std::time::Instant;

use super::cache::records::Records;
use super::context::Context;
use super::error::BuildError;
use super::events::{Event, Listener, Outcome, StepId};
use super::failure::Failure;
use super::images::{Images, Telling};
use super::language::lint::Warning;
use super::plan::{Ask, Plan};
use super::request::Request;
use super::stage::{self, Build, State};
use super::workers::{self, Ending};
use crate::image::descriptor::Descriptor;
use crate::image::reference::Reference;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::registry::Settings;
use crate::text::with_causes;
use crate::userns::idmap::IdMap;
use crate::userns::mapper::Offer;

/// The build argument, and the variable, that takes the place of the current time.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Builds what `request` asks for and gives it `names`; returns the manifest. The caller must be single-threaded.
pub fn build(
    paths: &Paths,
    registries: &Settings,
    request: &Request,
    names: &[Reference],
    listener: &mut dyn Listener,
) -> Result<Descriptor, BuildError> {
    let map = Offer::probe().map(0);
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    store.sweep(&map)?;
    let context = Context::open(paths, &store, &map, request)?;
    let plan = Plan::new(request, &context)?;
    let now = now(request, plan.globals.given(EPOCH))?;
    let images = Images { paths, store: &store, map: &map, registries, pull: request.pull };
    for warning in plan.check(&images, Ask::Never)? {
        listener.hear(&Event::Warning(warning.brief()));
    }
    let Plan { file, globals, graph, .. } = plan;
    let records = Records::new(&store, map.layout());
    adopt_caches(&images, request, &records, listener);
    let build = Build {
        paths,
        store: store.clone(),
        records,
        map: map.clone(),
        request,
        file: &file,
        globals,
        graph: &graph,
        context: &context,
        images: &images,
        now,
    };
    let ending =
        workers::run::<State, Box<Failure>>(&graph.order, |stage, crew| stage::build(&build, stage, crew), listener);
    let mut state = match ending.inspect_err(|_| tidy(&store, &map))? {
        Ending::Built(state) => state,
        Ending::Failed(failure) => {
            tidy(&store, &map);
            return Err(failure.into_error());
        }
        Ending::Interrupted { signal } => {
            tidy(&store, &map);
            return Err(BuildError::Interrupted { signal });
        }
    };
    state.config.config.labels.extend(request.labels.iter().cloned());
    if state.config.created.is_none() {
        state.config.created = Some(build.now.clone());
    }
    let image = images.keep(&state, names)?;
    store.settle_later()?;
    Ok(image)
}

/// What the checks find in what `request` asks for; nothing is built. The caller must be single-threaded.
pub fn check(paths: &Paths, registries: &Settings, request: &Request) -> Result<Vec<Warning>, BuildError> {
    let map = Offer::probe().map(0);
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let context = Context::open(paths, &store, &map, request)?;
    let images = Images { paths, store: &store, map: &map, registries, pull: request.pull };
    Plan::new(request, &context)?.look(&images, Ask::Registries)
}

/// Takes over what the images that are caches have to offer. One that cannot be had is no reason to fail: at the first
/// build there is none.
fn adopt_caches(images: &Images<'_>, request: &Request, records: &Records, listener: &mut dyn Listener) {
    let listener = RefCell::new(listener);
    let tell = |event| listener.borrow_mut().hear(&event);
    for (number, name) in request.caches.iter().enumerate() {
        let total = request.caches.len();
        let step = StepId { stage: usize::MAX, stage_name: "cache".to_owned(), number: number + 1, total };
        let begin = Instant::now();
        tell(Event::Started { step: step.clone(), text: format!("import {name}") });
        let adopted = images.adopt(name, &request.platform, records, &Telling::new(&step, &tell));
        let (outcome, text) = match &adopted {
            Ok(0) => (Outcome::Done, "no steps that are not known here".to_owned()),
            Ok(count) => (Outcome::Done, format!("steps that need not be done here: {count}")),
            Err(error) => (Outcome::Failed, format!("not used: {}", with_causes(error))),
        };
        tell(Event::Note { step: step.clone(), text });
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        tell(Event::Ended { step, outcome, milliseconds });
    }
}

/// What killed workers left; whatever remains is for the next sweep.
fn tidy(store: &Store, map: &IdMap) {
    store.sweep(map).unwrap_or_default();
}

/// The time of what is made now, RFC 3339.
fn now(request: &Request, argument: Option<&str>) -> Result<String, BuildError> {
    let wrong = |text: &str| BuildError::Epoch { text: text.to_owned() };
    let seconds = match argument {
        Some(text) => Some(text.parse::<i64>().map_err(|_| wrong(text))?),
        None => request.epoch_seconds,
    };
    match seconds {
        None => Ok(jiff::Timestamp::now().to_string()),
        Some(seconds) => {
            let time = jiff::Timestamp::from_second(seconds).map_err(|_| wrong(&seconds.to_string()))?;
            Ok(time.to_string())
        }
    }
}
