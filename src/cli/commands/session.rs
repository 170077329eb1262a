//! `devbox enter` and `devbox run`.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::devcontainer;
use crate::boxes::BoxDir;
use crate::boxes::id::sanitize_name;
use crate::boxes::list;
use crate::boxes::locking;
use crate::boxes::review;
use crate::boxes::session::{self, Options, What};
use crate::boxes::shell;
use crate::build;
use crate::build::profile::Inputs;
use crate::cli::args::network::NetworkArg;
use crate::cli::args::{Enter, Run, Session};
use crate::cli::{Outcome, print};
use crate::editor::language_server::{self, Translators};
use crate::error::{COULD_NOT_RUN, Error, USAGE};
use crate::paths::{self, Paths};
use crate::profile::devcontainer::{Chosen, Secret, find};
use crate::profile::lock::BuildInputs;
use crate::profile::{Hooks, LoadedProfile, NetworkMode, Profile, TerminalIntegration, trust};
use crate::progress::Progress;
use crate::text::{closest, sanitize};
use crate::ui;
use crate::ui::announcement::Announcement;
use crate::ui::build::{Display, Screen};

/// Changes that are listed after a session.
const MAX_REPORTED: usize = 20;

/// `devbox enter`.
pub fn enter(folder: &Path, args: &Enter) -> Outcome {
    if !args.command.is_empty() {
        let words: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
        return Err(Error::new("`devbox enter` opens a shell, and takes no command")
            .hint(format!("`devbox run -- {}` runs it", sanitize(&words.join(" "))))
            .with_status(USAGE));
    }
    start(folder, &args.session, Names::AsTheBox, |_| Ok(What::Shell))
}

/// `devbox run`.
pub fn run(folder: &Path, args: Run) -> Outcome {
    let Run { session, lsp, task, command } = args;
    start(folder, &session, if lsp { Names::AsTheHost } else { Names::AsTheBox }, move |loaded| match task {
        None => Ok(What::Command(command)),
        Some(name) => find_task(loaded, &name, command),
    })
}

/// What a shim does: `devbox run -- NAME ARGUMENTS...`
pub fn tool(folder: &Path, name: &OsStr, arguments: Vec<OsString>) -> Outcome {
    let names = if language_server::is_known(&name.to_string_lossy()) { Names::AsTheHost } else { Names::AsTheBox };
    let command = std::iter::once(name.to_owned()).chain(arguments).collect();
    start(folder, &Session::default(), names, |_| Ok(What::Command(command)))
}

/// How a command names files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    AsTheBox,
    /// It is a language server: its messages are translated.
    AsTheHost,
}

fn start(
    folder: &Path,
    args: &Session,
    names: Names,
    what: impl FnOnce(&LoadedProfile) -> Result<What, Error>,
) -> Outcome {
    prepare_and_run(folder, args, names, what)
        .map_err(|error| if error.status == crate::error::FAILED { error.with_status(COULD_NOT_RUN) } else { error })
}

fn prepare_and_run(
    folder: &Path,
    args: &Session,
    names: Names,
    what: impl FnOnce(&LoadedProfile) -> Result<What, Error>,
) -> Outcome {
    let paths = Paths::from_environment()?;
    let chosen = args.devcontainer.as_deref();
    let mut loaded = Profile::load_chosen(&paths, folder, Chosen { name: chosen, metadata: None })?;
    refuse_home(&paths, &loaded)?;
    if let Some(name) = chosen {
        find::remember(&paths.data, &loaded.project, name)?;
    }
    let what = what(&loaded)?;
    let security = args.security.layer()?;
    let secure = |profile: &mut Profile| security.as_ref().map_or(Ok(()), |typed| profile.change_security(typed));
    let options = Options {
        network: args.network.map(|mode| match mode {
            NetworkArg::Auto => NetworkMode::Auto,
            NetworkArg::Private => NetworkMode::Private,
            NetworkArg::Host => NetworkMode::Host,
            NetworkArg::None => NetworkMode::None,
        }),
        keep: args.keep,
        throw_away: args.rm,
        user: args.user.clone(),
        locked: args.locked,
        learn: false,
        own_security: security.is_some(),
        in_terminal: in_terminal(),
        directory: folder.to_owned(),
    };
    let progress = ui::Terminal::default();
    if args.dry_run {
        secure(&mut loaded.profile)?;
        return print(&ui::foreign_text(&session::describe(&paths, &loaded, &what, &options, &progress)?));
    }
    let inputs = if args.locked { Inputs::OnlyLocked } else { Inputs::Locked };
    let mut loaded = make_ready(&paths, loaded, inputs, !args.no_hooks, &progress)?;
    // After the question of trust: who types it need not be asked.
    secure(&mut loaded.profile)?;
    if what == What::Shell {
        ask_for_secrets(&mut loaded)?;
    }
    let translators = match names {
        Names::AsTheHost if !std::io::stdin().is_terminal() => Some(translators(&paths, &loaded)?),
        _ => None,
    };
    let announced = announce(&loaded, &options);
    let status = session::run(&paths, &loaded, &what, &options, &progress);
    drop(announced);
    let status = status?;
    translators.map_or(Ok(()), Translators::finish).map_err(|error| Error::new(error.to_string()))?;
    if loaded.profile.hooks.review && !args.rm {
        report_changes(&paths, &loaded, &progress)?;
    }
    Ok(status)
}

/// Asks for trust, and makes ready what the box stands on unless it runs; returns the profile with what its image carries along.
pub(super) fn make_ready(
    paths: &Paths,
    mut loaded: LoadedProfile,
    inputs: Inputs,
    hooks: bool,
    progress: &dyn Progress,
) -> Result<LoadedProfile, Error> {
    require_trust(paths, &loaded)?;
    let is_running = session::is_running(paths, &loaded)?;
    if !is_running {
        devcontainer::before_start(paths, &loaded, !hooks)?;
    }
    build_base_of_stopped(paths, &loaded, inputs)?;
    if loaded.devcontainer.is_some() {
        loaded = devcontainer::complete(paths, loaded, is_running, progress)?;
        require_trust(paths, &loaded)?;
    }
    if !hooks {
        loaded.profile.hooks = Hooks { review: loaded.profile.hooks.review, ..Hooks::default() };
    }
    Ok(loaded)
}

/// Asks for the secrets that the environment does not have. What is typed is in this session alone.
fn ask_for_secrets(loaded: &mut LoadedProfile) -> Result<(), Error> {
    let Some(devcontainer) = loaded.devcontainer.as_ref().filter(|_| ui::can_ask()) else { return Ok(()) };
    let variables = &mut loaded.profile.env.set;
    for Secret { name, description, url } in &devcontainer.secrets {
        if paths::variable(name).is_some() || variables.contains_key(name) {
            continue;
        }
        for said in [description, url].into_iter().flatten() {
            ui::say(&format!("devbox: {name}: {}", sanitize(said)));
        }
        let value = ui::ask_secret(&format!("{name} (Enter leaves it out): "))
            .map_err(|error| super::unanswered(name, error))?;
        if !value.is_empty() {
            variables.insert(name.clone(), value);
        }
    }
    Ok(())
}

/// Whether standard input and output are a terminal that takes more than text.
fn in_terminal() -> bool {
    std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && paths::variable("TERM").is_some_and(|name| shell::takes_sequences(&name))
}

/// Tells the terminal which box is in it from now on.
fn announce(loaded: &LoadedProfile, options: &Options) -> Option<Announcement> {
    let wanted = options.in_terminal && loaded.profile.terminal_integration == TerminalIntegration::Auto;
    let user = paths::variable("USER").unwrap_or_default();
    let target = options.user.as_deref().unwrap_or(&loaded.profile.user);
    wanted.then(|| Announcement::begin(&sanitize_name(loaded.profile.name.as_ref()), &user.to_string_lossy(), target))
}

fn translators(paths: &Paths, loaded: &LoadedProfile) -> Result<Translators, Error> {
    let directory = BoxDir::new(paths, &list::of_profile(paths, loaded)?);
    let names = language_server::names(loaded, &directory);
    Translators::start(&names, &directory).map_err(|error| Error::new(error.to_string()))
}

/// Says what the box changed of itself since it started, if it has stopped.
fn report_changes(paths: &Paths, loaded: &LoadedProfile, progress: &ui::Terminal) -> Result<(), Error> {
    let Some(diff) = review::changes(paths, loaded, progress)? else { return Ok(()) };
    let text = super::diff::text(&diff);
    let count = text.lines().count();
    if count == 0 {
        return Ok(());
    }
    ui::say(&format!("devbox: outside the project the box changed since it started ({count}):"));
    text.lines().take(MAX_REPORTED).for_each(|line| ui::say(&format!("  {line}")));
    if count > MAX_REPORTED {
        ui::say("  ...; `devbox diff` lists everything that differs from the base");
    }
    ui::say(&format!("`devbox snapshot restore {}` undoes that", review::SNAPSHOT));
    Ok(())
}

/// Builds what the project's box stands on, if that is for the profile to say and the box does not run.
pub(super) fn build_base_of_stopped(paths: &Paths, loaded: &LoadedProfile, inputs: Inputs) -> Result<(), Error> {
    if loaded.profile.build.is_some() && !session::is_running(paths, loaded)? {
        let is_locked = inputs == Inputs::OnlyLocked;
        if is_locked {
            locking::require(loaded, Vec::new())?;
        }
        let made_of = build_base(paths, loaded, inputs)?;
        if is_locked {
            locking::require_inputs(loaded, &made_of)?;
        }
    }
    Ok(())
}

/// Builds what the project's box stands on, if that is for the profile to say; returns what it was built from.
pub(super) fn build_base(paths: &Paths, loaded: &LoadedProfile, inputs: Inputs) -> Result<BuildInputs, Error> {
    let display = if std::io::stderr().is_terminal() { Display::Screen } else { Display::Plain };
    Ok(build::profile::prepare(paths, loaded, inputs, &mut Screen::of_changes(display))?)
}

/// A box may change everything in its project: so that can neither hold the home directory nor what devbox itself believes,
/// nor be part of the latter.
pub(super) fn refuse_home(paths: &Paths, loaded: &LoadedProfile) -> Result<(), Error> {
    let refuse = |what: String| {
        Err(Error::new(format!("`{}` {what}: it is no project", sanitize(&loaded.project.to_string_lossy())))
            .hint("`cd` into the project's own folder"))
    };
    if real(&paths.home).starts_with(&loaded.project) {
        return refuse("holds your home directory".to_owned());
    }
    for own in [&paths.data, &paths.config, &paths.cache, &paths.runtime] {
        let place = real(own);
        if place.starts_with(&loaded.project) {
            return refuse(format!("holds devbox's own directory `{}`", sanitize(&own.to_string_lossy())));
        }
        if loaded.project.starts_with(&place) {
            return refuse(format!("lies in devbox's own directory `{}`", sanitize(&own.to_string_lossy())));
        }
    }
    Ok(())
}

/// `path` without symlinks, as far as it exists: the project's folder was found without any.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(std::fs::canonicalize(above).ok()?.join(rest))
    });
    known.unwrap_or_else(|| path.to_owned())
}

/// Asks once; the answer is remembered until what is wanted changes.
pub(super) fn require_trust(paths: &Paths, loaded: &LoadedProfile) -> Result<(), Error> {
    if trust::is_trusted(paths, loaded)? {
        return Ok(());
    }
    let wishes = trust::describe(&loaded.wants);
    let list: Vec<String> = wishes.iter().map(|wish| format!("  {}", sanitize(wish))).collect();
    let text =
        format!("the profile of `{}` wants to\n{}", sanitize(&loaded.project.to_string_lossy()), list.join("\n"));
    if ui::can_ask() {
        ui::say(&text);
        let yes = ui::confirm("allow that?").map_err(|error| Error::new(format!("cannot ask: {error}")))?;
        if yes {
            return Ok(trust::trust(paths, loaded)?);
        }
        return Err(Error::new("not allowed"));
    }
    ui::say(&text);
    Err(Error::new("this profile is not trusted").hint("`devbox profile trust` allows it, after you have read it"))
}

fn find_task(loaded: &LoadedProfile, name: &str, rest: Vec<OsString>) -> Result<What, Error> {
    let tasks = &loaded.profile.tasks;
    let Some(line) = tasks.get(name) else {
        let error = Error::new(format!("there is no task `{}`", sanitize(name)));
        return Err(match closest(name, tasks.keys().map(String::as_str)) {
            Some(known) => error.hint(format!("did you mean `{known}`?")),
            None => error.hint(format!("`devbox run -- {}` runs a program", sanitize(name))),
        });
    };
    if rest.is_empty() {
        return Ok(What::Task(line.clone()));
    }
    // The shell splices the arguments in where the task says "$@", or at its end.
    let line = if line.contains("$@") { line.clone() } else { format!("{line} \"$@\"") };
    let head = ["/bin/sh", "-c", &line, name].map(OsString::from);
    Ok(What::Command(head.into_iter().chain(rest).collect()))
}
