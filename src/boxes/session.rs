//! Running something in a project's box: joining it where it runs, starting it where it does not.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::directory::BoxDir;
use super::environment::{self, Context};
use super::error::{BoxesError, BoxesResult, IoContext};
use super::generated::Made;
use super::lock::{BoxLock, Sharing};
use super::network::{NETWORK_FILE, join_network, network, network_name, require_network};
use super::scratch::Scratch;
use super::service::Service;
use super::{
    BoxId, BoxRecord, boot, change::LockedBox, clone, guards, list, locking, lower, packages, packages_layer, review,
    running, security, shares, user,
};
use crate::base::{self, BaseSpec, OverlayDriver, RootLayers};
use crate::image::store::Store;
use crate::limits;
use crate::paths::{self, Paths};
use crate::profile::{self, LoadedProfile, TerminalIntegration};
use crate::progress::Progress;
use crate::sandbox::attach::{self, Outcome, Purpose};
use crate::sandbox::channel::{Channel, Reply, Request};
use crate::userns::idmap::IdMap;
use crate::userns::mapper::Offer;

mod error;
mod sandbox;

pub use super::environment::What;
pub use error::SessionError;
pub(super) use error::io;
use sandbox::{make_generated, sandbox};

/// A box that stops between two looks at it is started anew. Each time that happens somebody else's session was run: of many
/// that begin at once the last one has to try as often as there are.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a box that refused a session may take to stop before it is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How a session is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Another network than the profile's.
    pub network: Option<profile::NetworkMode>,
    /// The box goes on after its last session.
    pub keep: bool,
    /// What the session changes is thrown away.
    pub throw_away: bool,
    /// Somebody else than the profile's user: a name or a number of the box.
    pub user: Option<String>,
    /// The lock file must be there, and everything must be as it says.
    pub locked: bool,
    /// Everything is reached, and written down. Only for a box that does not run.
    pub learn: bool,
    /// What the box may do was typed: one that runs must have been started with it.
    pub own_security: bool,
    /// The session is in a terminal that understands escape sequences.
    pub in_terminal: bool,
    /// The caller's working directory.
    pub directory: PathBuf,
}

/// Whether the box of `loaded`'s project runs.
pub fn is_running(paths: &Paths, loaded: &LoadedProfile) -> BoxesResult<bool> {
    let id = list::find_by_project(paths, &loaded.project)?;
    Ok(id.is_some_and(|id| running::connect(&BoxDir::new(paths, &id)).is_some()))
}

/// Runs `what` in the box of `loaded`'s project; returns the exit status. The caller must be single-threaded.
pub fn run(
    paths: &Paths,
    loaded: &LoadedProfile,
    what: &What,
    options: &Options,
    progress: &dyn Progress,
) -> Result<i32, SessionError> {
    fulfil(paths, loaded, &Wish::Run(what), options, progress)
}

/// What is wanted of a box that may have to be started for it.
pub(super) enum Wish<'a> {
    /// A command, until its end.
    Run(&'a What),
    /// A command that is given everything.
    Service(&'a Service<'a>),
    /// That it runs while the connection, which is left here, is open.
    Hold(&'a OnceCell<Channel>),
}

/// As [`run`], for any wish; 0 when there is no command.
pub(super) fn fulfil(
    paths: &Paths,
    loaded: &LoadedProfile,
    wish: &Wish<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<i32, SessionError> {
    if options.locked {
        locking::require(loaded, Vec::new())?;
    }
    let begun = jiff::Timestamp::now();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let outcome = match join(paths, loaded, wish, options)? {
            Some(outcome) => outcome,
            None => start(paths, loaded, wish, options, progress)?,
        };
        super::limits::explain_end(paths, loaded, &outcome, begun, progress)?;
        return match outcome {
            // It stopped just then: once more from the beginning.
            Outcome::Refused => {
                settle(paths, loaded)?;
                continue;
            }
            Outcome::Ended(ended) => Ok(ended.status()),
            Outcome::Held => Ok(0),
            Outcome::Failed(failure) => Err(SessionError::Start(failure)),
            Outcome::NotExecuted { program, reason, status } => {
                Err(SessionError::NotExecuted { program, reason, status })
            }
            Outcome::Lost => Err(SessionError::Lost),
            Outcome::Late(patience) => Err(SessionError::Late { patience }),
        };
    }
    Err(SessionError::Unsettled { patience: PATIENCE })
}

/// Waits for a box that is stopping. One that somebody started anew meanwhile goes on.
fn settle(paths: &Paths, loaded: &LoadedProfile) -> Result<(), SessionError> {
    if let Some(id) = list::find_by_project(paths, &loaded.project)? {
        running::wait_until_stopped(paths, &BoxDir::new(paths, &id), RETRY_INTERVAL)?;
    }
    Ok(())
}

/// Does what is wished in the box if it runs.
fn join(
    paths: &Paths,
    loaded: &LoadedProfile,
    wish: &Wish<'_>,
    options: &Options,
) -> Result<Option<Outcome>, SessionError> {
    if options.throw_away {
        return Ok(None);
    }
    let Some(id) = list::find_by_project(paths, &loaded.project)? else { return Ok(None) };
    let directory = BoxDir::new(paths, &id);
    let Some(stream) = running::connect(&directory) else { return Ok(None) };
    require_network(&directory, options)?;
    security::require(&directory, loaded, options)?;
    let made = Made::load(&directory.generated());
    let purpose = purpose(loaded, wish, options, &made, shares::load_variables(&directory.runtime()))?;
    attach::serve(Channel::new(stream), purpose, || ()).map(Some).map_err(io("talk to the running box"))
}

fn purpose<'a>(
    loaded: &LoadedProfile,
    wish: &Wish<'a>,
    options: &Options,
    made: &Made,
    shared: Vec<(String, String)>,
) -> Result<Purpose<'a>, SessionError> {
    Ok(match wish {
        Wish::Run(what) => Purpose::Run(Box::new(command(loaded, what, options, made, shared))),
        Wish::Service(service) => service.purpose(loaded, made, shared)?,
        Wish::Hold(kept) => Purpose::Hold(kept),
    })
}

fn command(
    loaded: &LoadedProfile,
    what: &What,
    options: &Options,
    made: &Made,
    shared: Vec<(String, String)>,
) -> crate::sandbox::channel::Command {
    let mut variables = made.environment.clone();
    variables.extend(shared);
    environment::command(
        &loaded.profile,
        what,
        &Context {
            project: &loaded.project,
            directory: &options.directory,
            user: options.user.as_deref(),
            made: &variables,
            integrated: options.in_terminal && loaded.profile.terminal_integration == TerminalIntegration::Auto,
            get: &|name| paths::variable(name),
        },
    )
}

/// Starts the box and does what is wished first.
fn start(
    paths: &Paths,
    loaded: &LoadedProfile,
    wish: &Wish<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Outcome, SessionError> {
    let (map, base) = prepare_base(paths, loaded, progress)?;
    locking::check_base(loaded, &base, &map, options.locked, progress)?;
    let new = clone::NewBox {
        name: loaded.profile.name.clone(),
        project: loaded.project.clone(),
        id_map: map,
        base_id: base.id.clone(),
    };
    let mut locked = clone::open_or_create(paths, new, "devbox run", progress)?;
    // Somebody may have started it while the base was prepared.
    if options.throw_away {
        locked.require_stopped()?;
    } else if running::connect(&locked.directory).is_some() {
        return Ok(Outcome::Refused);
    }
    if locked.record.base_id != base.id {
        if kind(&locked.record.base_id) != kind(&base.id) {
            progress.note("the base is another one than the box was made on; `devbox reset` begins anew");
        } else if has_own_packages(&locked) {
            progress.note(
                "the base has changed since packages were installed in this box, whose list of packages is older; \
                 `devbox reset` begins anew",
            );
        }
        locked.record.base_id.clone_from(&base.id);
        locked.save()?;
    }
    if loaded.profile.hooks.review && !options.throw_away {
        review::before(&mut locked, progress)?;
    }
    let scratch = if options.throw_away { Some(Scratch::new(paths, &locked)?) } else { None };
    let running = locked.directory.running();
    let outcome = launch_box(paths, loaded, wish, options, progress, &base, locked, scratch.as_ref());
    if let Some(scratch) = scratch {
        // The supervisor lets go of the layer with its lock.
        drop(BoxLock::acquire(&running, Sharing::Exclusive, "devbox run --rm", progress)?);
        let discarded = scratch.discard(paths);
        // What went wrong first is what the user has to know.
        let outcome = outcome?;
        discarded?;
        return Ok(outcome);
    }
    outcome
}

/// Whether the box wrote a package database of its own, which hides that of a newer base.
fn has_own_packages(locked: &LockedBox) -> bool {
    let layers = std::iter::once(locked.directory.upper()).chain(locked.directory.frozen_layers(&locked.record));
    layers
        .into_iter()
        .any(|layer| packages::DATABASES.iter().any(|database| std::fs::symlink_metadata(layer.join(database)).is_ok()))
}

/// Keeps the host base's layers while a sandbox stands on them.
pub(super) fn hold(spec: &BaseSpec, base: &RootLayers) -> Result<Option<std::fs::File>, SessionError> {
    if *spec != BaseSpec::Host {
        return Ok(None);
    }
    base::host::hold(base).map(Some).map_err(io("hold the host base"))
}

/// `layer-9f..` is a layer, `host-..` the host.
fn kind(base_id: &str) -> &str {
    base_id.split(['-', ':']).next().unwrap_or(base_id)
}

#[expect(clippy::too_many_arguments, reason = "the one place where everything about a start comes together")]
fn launch_box(
    paths: &Paths,
    loaded: &LoadedProfile,
    wish: &Wish<'_>,
    options: &Options,
    progress: &dyn Progress,
    base: &RootLayers,
    locked: LockedBox,
    scratch: Option<&Scratch>,
) -> Result<Outcome, SessionError> {
    let mut net = network(loaded, options)?;
    let join = join_network(paths, loaded, &net)?;
    net.notes.iter().for_each(|note| progress.note(note));
    let hold = hold(&loaded.profile.base, base)?;
    let packages = packages_layer::prepare(paths, loaded, &locked.record.id_map, base, progress)?;
    locking::refresh(loaded, base, packages.as_deref(), &locked.record.id_map, progress)?;
    let holder = scratch.map_or(locked.directory.path(), |scratch| &scratch.holder);
    if !lower::claim(&Store::open(&paths.store())?, holder, base.lower.iter().chain(&packages))? {
        return Ok(Outcome::Refused);
    }
    // Nobody shall join what is thrown away.
    let runtime = match scratch {
        None => locked.directory.runtime(),
        Some(scratch) => running::temporary_runtime(paths, &scratch.holder),
    };
    paths::create_private(&runtime).map_err(BoxesError::from)?;
    let mode = locked.record.id_map.mode;
    let inside =
        shares::Inside { profile: &loaded.profile, environment: &base.environment, mode, scratch: Some(&runtime) };
    let given = shares::give(paths, &inside)?;
    given.lacks.iter().for_each(|lack| progress.note(&lack.to_string()));
    shares::save_variables(&runtime, &given)?;
    security::save(&runtime, &loaded.profile.security)?;
    for volume in &loaded.profile.volumes {
        let place = locked.directory.volumes().join(&volume.name);
        std::fs::create_dir_all(&place).at("create", &place)?;
    }
    let made = make_generated(&locked.directory, &locked.record, loaded, base, packages.as_deref(), &given)?;
    let limits =
        super::limits::plan(&loaded.profile.limits, &locked.directory, &runtime, &loaded.project, mode, progress)?;
    let record = &locked.record;
    let mut spec =
        sandbox(loaded, options, base, packages, &locked.directory, record, &net, scratch, limits, given.mounts);
    spec.bus = given.bus;
    let purpose = purpose(loaded, wish, options, &made, given.variables)?;
    let (directory, _record, lock) = locked.into_parts();
    let network_file = runtime.join(NETWORK_FILE);
    std::fs::write(&network_file, network_name(&net)).at("write", &network_file)?;
    net.journal = Some(directory.traffic());
    let place = boot::Place {
        socket: running::socket_address_in(&runtime)?,
        control: running::control_address_in(&runtime)?,
        runtime,
        running: directory.running(),
        events: Some(directory.events()),
        placeholders: guards::placeholders(loaded, &directory, spec.guards.as_ref(), progress)?,
        join,
        denied: Some(directory.denied()),
    };
    boot::boot(&spec, &net, place, purpose, Some(lock), hold, progress)
}

/// The base and the ids for the project's box. Those of an existing box, and who stacks its layers, stay what they were.
pub(super) fn prepare_base(
    paths: &Paths,
    loaded: &LoadedProfile,
    progress: &dyn Progress,
) -> Result<(IdMap, RootLayers), SessionError> {
    let (map, driver) = map_and_driver(paths, loaded)?;
    let prepare = |map: &IdMap| base::prepare(paths, map, &loaded.profile.base, driver, &loaded.registries, progress);
    let base = prepare(&map)?;
    let is_new = list::find_by_project(paths, &loaded.project)?.is_none();
    match user::other_id(&loaded.profile, &base, &map).filter(|_| is_new) {
        None => Ok((map, base)),
        Some(id) => {
            let map = Offer::probe().map(id);
            let base = prepare(&map)?;
            Ok((map, base))
        }
    }
}

/// The ids of the project's box, and who stacks its layers.
pub(super) fn map_and_driver(
    paths: &Paths,
    loaded: &LoadedProfile,
) -> Result<(IdMap, Option<OverlayDriver>), SessionError> {
    if let Some(id) = list::find_by_project(paths, &loaded.project)? {
        let record = super::state::load(&BoxDir::new(paths, &id))?;
        return Ok((record.id_map, Some(OverlayDriver::of_base(&record.base_id))));
    }
    Ok((Offer::probe().map(user::likely_id(&loaded.profile)), loaded.driver))
}

/// What `run` would do, as text. Nothing is changed but the base, which is prepared.
pub fn describe(
    paths: &Paths,
    loaded: &LoadedProfile,
    what: &What,
    options: &Options,
    progress: &dyn Progress,
) -> Result<String, SessionError> {
    let (map, base) = prepare_base(paths, loaded, progress)?;
    let id = list::of_profile(paths, loaded)?;
    let directory = BoxDir::new(paths, &id);
    let record = super::state::load(&directory).unwrap_or_else(|_| BoxRecord {
        version: super::state::RECORD_VERSION,
        name: loaded.profile.name.clone(),
        project: loaded.project.clone(),
        created: String::new(),
        base_id: base.id.clone(),
        layers: Vec::new(),
        snapshots: Vec::new(),
        pending: None,
        id_map: map,
        id,
    });
    let net = network(loaded, options)?;
    let packages = packages_layer::find(paths, loaded, &record.id_map, &base)?;
    let limits = limits::Plan { limits: loaded.profile.limits.clone(), ..limits::Plan::default() };
    let mode = record.id_map.mode;
    let inside = shares::Inside { profile: &loaded.profile, environment: &base.environment, mode, scratch: None };
    let given = shares::give(paths, &inside)?;
    let spec = sandbox(loaded, options, &base, packages, &directory, &record, &net, None, limits, given.mounts);
    let made = Made::load(&directory.generated());
    Ok(super::describe::text(&spec, &net, &command(loaded, what, options, &made, given.variables)))
}

/// Ends the box's sessions and the box; returns whether it ran. Processes that do not end by themselves are killed
/// after `grace`.
pub fn stop(paths: &Paths, id: &BoxId, grace: Duration) -> BoxesResult<bool> {
    let directory = BoxDir::new(paths, id);
    let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
    let runtime = directory.runtime();
    let mut stopped = false;
    loop {
        for stream in running::connect_all(paths, &directory) {
            let channel = Channel::new(stream);
            match channel.send(&Request::Stop { grace_ms }, &[]) {
                // It stopped by itself just then.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => continue,
                result => result.at("write to the box in", &runtime)?,
            }
            // The connection closes with the box's last process.
            while channel.receive::<Reply>().at("read from the box in", &runtime)?.is_some() {}
            stopped = true;
        }
        // What listens now has been started meanwhile.
        if running::wait_until_stopped(paths, &directory, Duration::ZERO)? {
            return Ok(stopped);
        }
    }
}
