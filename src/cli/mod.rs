//! The commands: each builds a request from what was typed, calls, and prints.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::error::Error;
use crate::ui;

pub mod args;
pub mod commands;
pub mod complete;

use args::network::Net;
use args::ssh::Ssh;
use args::{Cli, Command, Log, Man};

/// The command, and the name of a link to this program, that speak docker's language.
const DOCKER: &str = "docker";

/// What a command gives: the exit status.
pub type Outcome = Result<i32, Error>;

/// The whole program.
pub fn run() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().cloned().unwrap_or_default();
    match crate::editor::shim::tool(&called) {
        Some(name) if name == DOCKER => {
            arguments.splice(..1, ["devbox", DOCKER].map(OsString::from));
        }
        Some(tool) if !is_own_name(tool) => return finish(commands::shim::call(tool, arguments.split_off(1))),
        _ => clap_complete::CompleteEnv::with_factory(Cli::command).complete(),
    }
    let outcome = match Cli::try_parse_from(&arguments) {
        Ok(cli) => dispatch(cli),
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let status = match (error.use_stderr(), is_docker(&arguments)) {
                (false, _) => 0,
                (true, false) => crate::error::USAGE,
                // As docker does it, and so that no program takes it for an answer.
                (true, true) => crate::error::COULD_NOT_RUN,
            };
            return match error.print() {
                Ok(()) => exit_code(status),
                Err(_) => exit_code(crate::error::FAILED),
            };
        }
    };
    finish(outcome)
}

/// Whether what cannot be parsed is meant in docker's language.
fn is_docker(arguments: &[OsString]) -> bool {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(arguments);
    matches.is_ok_and(|matches| matches.subcommand_name() == Some(DOCKER))
}

/// Whether the program's own file is called so: it was renamed or copied, and `name` is no link to it.
fn is_own_name(name: &OsStr) -> bool {
    std::env::current_exe().is_ok_and(|own| own.file_name() == Some(name))
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(status) => exit_code(status),
        Err(error) => {
            ui::show_error(&error);
            exit_code(error.status)
        }
    }
}

/// The one place where a status leaves the program. Signals are 128 + n, and nothing is above 255.
fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1))
}

fn dispatch(cli: Cli) -> Outcome {
    let Cli { directory, command } = cli;
    // Asked only where it matters: a folder that is gone must not keep `list` or `doctor` from answering.
    let folder = || chosen_folder(directory.as_deref());
    use commands::*;
    use open_editor::Editor;
    match command {
        Command::Init(args) => init::run(&folder()?, &args),
        Command::Enter(args) => session::enter(&folder().map_err(could_not_run)?, &args),
        Command::Run(args) => session::run(&folder().map_err(could_not_run)?, args),
        Command::List(args) => list::run(args.format),
        Command::Status(args) => status::run(&folder()?, &args),
        Command::Stats(args) => stats::run(&args),
        Command::Limits(args) => limits::run(&folder()?, args),
        Command::Port(command) => port::run(&folder()?, command),
        Command::Root(args) => root::run(&folder()?, &args),
        Command::Shim(command) => shim::run(&folder()?, command),
        Command::Editor(command) => editor::run(&folder()?, &command),
        Command::Hook(args) => editor::hook(args.shell),
        Command::Stop(args) => stop::run(&folder()?, &args),
        Command::Rm(args) => rm::run(&folder()?, &args),
        Command::Reset(args) => reset::run(&folder()?, &args),
        Command::Snapshot(command) => snapshot::run(&folder()?, &command),
        Command::Diff(args) => diff::run(&folder()?, &args),
        Command::Add(args) => packages::add(&folder()?, &args),
        Command::Remove(args) => packages::remove(&folder()?, &args),
        Command::Lock(args) => lock::run(&folder()?, &args),
        Command::Update(args) => update::run(&folder()?, args),
        Command::Freeze(args) => freeze::run(&folder()?, &args),
        Command::Clone(args) => clone::run(&folder()?, &args),
        Command::Logs(args) => logs::run(&folder()?, &args),
        Command::Log(Log::Denied(args)) => logs::denied(&folder()?, &args),
        Command::Net(Net::Log(args)) => net::log(&folder()?, &args),
        Command::Net(Net::Learn(args)) => net::learn(&folder().map_err(could_not_run)?, args),
        Command::Image(command) => image::run(&folder()?, &command),
        Command::Push(args) => image::push::commit_and_push(&folder()?, &args),
        Command::Docker(args) => docker::run(&folder, args),
        Command::Ssh(Ssh::Code(args)) => open_editor::run(&folder()?, Editor::Code, &args),
        Command::Ssh(Ssh::Cursor(args)) => open_editor::run(&folder()?, Editor::Cursor, &args),
        Command::Ssh(Ssh::Zed(args)) => open_editor::run(&folder()?, Editor::Zed, &args),
        Command::Ssh(Ssh::Idea(args)) => open_editor::run(&folder()?, Editor::Idea, &args),
        Command::Ssh(Ssh::SshProxy(args)) => ssh::proxy(&args),
        Command::Ssh(Ssh::SshConfig(command)) => ssh::config(&command),
        Command::Gc(args) => gc::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Df(args) => df::run(args.format),
        Command::Import(args) => import::run(&folder()?, &args),
        Command::Export(form) => export::run(&folder()?, form),
        Command::Profile(command) => profile::run(&folder()?, &command),
        Command::Doctor(args) => doctor::run(args.format),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => completions::run(args.shell),
        Command::Help(args) => help::run(&args.words),
        Command::Man(Man { target: None }) => man::print_first(),
        Command::Man(Man { target: Some(target) }) => man::write_all(&folder()?.join(target)),
    }
}

/// What `-C` names, or the current folder.
fn chosen_folder(directory: Option<&Path>) -> Result<PathBuf, Error> {
    match directory {
        None => current_folder().map_err(|error| {
            Error::new("cannot tell the current folder").hint(format!("`cd` somewhere that exists ({error})"))
        }),
        Some(folder) => std::fs::canonicalize(folder).map_err(|error| {
            Error::new(format!("cannot enter `{}`: {error}", folder.display()))
                .hint("`-C` takes a folder that is there, and that you may enter")
        }),
    }
}

fn could_not_run(error: Error) -> Error {
    error.with_status(crate::error::COULD_NOT_RUN)
}

/// The current folder as the kernel names it, symlinks resolved.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn current_folder() -> io::Result<PathBuf> {
    std::env::current_dir()
}

/// Prints; a reader that went away is no failure.
pub fn print(text: &str) -> Outcome {
    match ui::print(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(0),
    }
}

/// Prints a value as JSON.
pub fn print_json<T: serde::Serialize>(value: &T) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(error.to_string()))?;
    print(&format!("{}\n", crate::text::sanitize_json(&text)))
}
