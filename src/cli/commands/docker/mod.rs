//! `devbox docker`: docker's command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::args::docker::{
    ContainerCommand, Docker, DockerCommand, Formatted, ImageCommand, OfContainers, System,
};
use crate::cli::{Outcome, print};
use crate::docker::template::Template;
use crate::error::{COULD_NOT_RUN, Error};
use crate::paths::{self, Paths};
use crate::text::sanitize;
use crate::ui;

mod build;
mod copy;
mod events;
mod exec;
mod images;
mod inspect;
mod lifecycle;
mod logs;
mod ps;
mod run;
mod start;
mod stats;
mod system;
mod volume;

/// The version of docker's interface that this speaks.
const API_VERSION: &str = "1.41";
/// What programs compare: new enough for everything that is there.
const VERSION: &str = "28.0.0";

/// Runs what was typed. `folder` is asked for only where it matters.
pub fn run(folder: &dyn Fn() -> Result<PathBuf, Error>, args: Docker) -> Outcome {
    if args.version {
        return print(&format!("Docker version {VERSION}, devbox {}\n", env!("CARGO_PKG_VERSION")));
    }
    if let Some(host) = &args.host {
        return Err(unsupported(&format!("another daemon than devbox itself (`{}`)", sanitize(host))));
    }
    if let Some(context) = args.context.filter(|name| name != "default") {
        return Err(unsupported(&format!("the context `{}`", sanitize(&context))));
    }
    let Some(command) = args.command else {
        return Err(Error::new("nothing to do")
            .hint("`devbox docker --help` lists the commands")
            .with_status(COULD_NOT_RUN));
    };
    let paths = Paths::from_environment()?;
    match command {
        DockerCommand::Container(command) | DockerCommand::Containers(OfContainers::Common(command)) => {
            container(&paths, folder, command)
        }
        DockerCommand::Containers(OfContainers::Inspect(args)) => inspect::containers(&paths, &args),
        DockerCommand::Containers(OfContainers::Prune(_)) => lifecycle::prune(&paths),
        DockerCommand::Containers(OfContainers::Other(words)) => Err(unknown("container ", &words)),
        DockerCommand::Inspect(args) => inspect::run(&paths, &args),
        DockerCommand::Build(args) => build::run(&folder()?, *args),
        DockerCommand::Buildx(command) => build::buildx(folder, command),
        DockerCommand::Image(command) => match command {
            ImageCommand::Ls(args) => images::list(&paths, &args),
            ImageCommand::Inspect(args) => inspect::images(&paths, &args),
            ImageCommand::Build(args) => build::run(&folder()?, *args),
            ImageCommand::Pull(args) => images::pull(args),
            ImageCommand::Tag(args) => images::tag(&paths, &args),
            ImageCommand::Rm(args) => images::remove(&paths, &args),
            ImageCommand::Prune(_) => images::prune(&paths),
            ImageCommand::Other(words) => Err(unknown("image ", &words)),
        },
        DockerCommand::Images(args) => images::list(&paths, &args),
        DockerCommand::Pull(args) => images::pull(args),
        DockerCommand::Tag(args) => images::tag(&paths, &args),
        DockerCommand::Rmi(args) => images::remove(&paths, &args),
        DockerCommand::Events(args) | DockerCommand::System(System::Events(args)) => events::run(&paths, &args),
        DockerCommand::Version(args) => system::version(&args),
        DockerCommand::Info(args) | DockerCommand::System(System::Info(args)) => system::info(&paths, &args),
        DockerCommand::System(System::Other(words)) => Err(unknown("system ", &words)),
        DockerCommand::Volume(command) => volume::run(&paths, command),
        DockerCommand::Network(command) => system::network(&command),
        DockerCommand::Context(command) => system::context(&command),
        DockerCommand::Allow { key } => run::allow(&paths, &key),
        DockerCommand::Other(words) if words.first().is_some_and(|word| word == "compose") => Err(Error::new(
            "Docker Compose files are not supported: devbox runs one box, not several that belong together",
        )
        .hint("name one image or Dockerfile in devcontainer.json")
        .with_status(COULD_NOT_RUN)),
        DockerCommand::Other(words) => Err(unknown("", &words)),
    }
}

/// That nothing is known of the command that `words` begin with. `group` is what stands before it.
fn unknown(group: &str, words: &[OsString]) -> Error {
    let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    unsupported(&format!("`docker {group}{}`", sanitize(&word)))
}

fn container(paths: &Paths, folder: &dyn Fn() -> Result<PathBuf, Error>, command: ContainerCommand) -> Outcome {
    match command {
        ContainerCommand::Ps(args) => ps::run(paths, &args),
        ContainerCommand::Run(args) => run::run(paths, &folder()?, *args).map_err(could_not_run),
        ContainerCommand::Create(args) => run::create(paths, &folder()?, *args),
        ContainerCommand::Start(args) => start::run(paths, &args),
        ContainerCommand::Stop(args) => lifecycle::stop(paths, &args),
        ContainerCommand::Restart(args) => lifecycle::restart(paths, &args),
        ContainerCommand::Kill { signal, names } => lifecycle::kill(paths, &signal, &names),
        ContainerCommand::Rm(args) => lifecycle::remove(paths, &args),
        ContainerCommand::Exec(args) => exec::run(paths, args),
        ContainerCommand::Logs(args) => logs::run(paths, &args),
        ContainerCommand::Cp(args) => copy::run(paths, &folder()?, &args),
        ContainerCommand::Wait { names } => lifecycle::wait(paths, &names),
        ContainerCommand::Stats(args) => stats::run(paths, &args),
        ContainerCommand::Port { name, port } => ps::port(paths, &name, port.as_deref()),
    }
}

/// An error of `run` that is not the command's own.
fn could_not_run(error: Error) -> Error {
    if error.status == crate::error::FAILED { error.with_status(COULD_NOT_RUN) } else { error }
}

fn unsupported(what: &str) -> Error {
    Error::new(format!("{what} is not supported"))
        .hint("`devbox docker --help` lists what is; docs/docker.md says why")
        .with_status(COULD_NOT_RUN)
}

/// Text that may hold others' words: as it is for programs, and made fit for a terminal.
fn fit(text: String) -> String {
    if std::io::stdout().is_terminal() { ui::foreign_text(&text) } else { text }
}

/// Prints such text.
fn show(text: &str) -> Outcome {
    print(&fit(text.to_owned()))
}

/// Under it a row has the labels that `{{.Label "x"}}` asks for; it is not printed.
const LABELS: &str = "Label";

/// Prints each row by a template, one a line, or as a table of `columns`: heading and key.
fn rows(format: &Formatted, rows: &[Value], columns: &[(&str, &str)]) -> Outcome {
    print(&text_of_rows(format, rows, columns)?)
}

/// What that prints.
fn text_of_rows(format: &Formatted, rows: &[Value], columns: &[(&str, &str)]) -> Result<String, Error> {
    let Some(text) = format.format.as_deref().filter(|text| *text != "table") else {
        let mut table = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
        table.extend(rows.iter().map(|row| {
            let cell = |(_, key): &(&str, &str)| sanitize(row[*key].as_str().unwrap_or_default()).into_owned();
            columns.iter().map(cell).collect()
        }));
        return Ok(ui::table(&table));
    };
    let template = Template::parse(text)?;
    let mut lines = Vec::new();
    for row in rows {
        let mut row = row.clone();
        let labels = row.as_object_mut().and_then(|row| row.remove(LABELS));
        lines.push(template.render_labelled(&row, labels.as_ref().and_then(Value::as_object))?);
    }
    let lines = lines.into_iter();
    if template.is_table {
        let cells = |line: String| line.split('\t').map(|cell| sanitize(cell).into_owned()).collect::<Vec<_>>();
        let table: Vec<_> = std::iter::once(template.heading()).chain(lines).map(cells).collect();
        return Ok(ui::table(&table));
    }
    Ok(fit(lines.map(|line| line + "\n").collect()))
}

/// Prints the value that each row has under `key`, one a line.
fn values(rows: &[Value], key: &str) -> Outcome {
    print(&rows.iter().map(|row| format!("{}\n", row[key].as_str().unwrap_or_default())).collect::<String>())
}

/// `NAME=value`, or `NAME` with the value that it has here; nothing if it has none.
fn variable(text: &str) -> Option<String> {
    match text.split_once('=') {
        Some(_) => Some(text.to_owned()),
        None => Some(format!("{text}={}", paths::variable(text)?.to_string_lossy())),
    }
}

/// The variables of options and files, those of the files first.
fn variables(typed: &[String], files: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(format!("cannot read `{}`: {error}", path.display())))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.filter_map(variable));
    }
    all.extend(typed.iter().filter_map(|text| variable(text)));
    Ok(all)
}

/// Refuses a terminal that the caller does not have: what is typed there would go nowhere.
fn check_terminal(interactive: bool, tty: bool) -> Result<(), Error> {
    if interactive && tty && !std::io::stdin().is_terminal() {
        return Err(Error::new("standard input is not a terminal").hint("leave `-t` out"));
    }
    Ok(())
}

/// Each of several; the first error is the one that counts, and the others are said.
fn each(names: &[String], mut act: impl FnMut(&str) -> Result<(), Error>) -> Outcome {
    let errors: Vec<Error> = names.iter().filter_map(|name| act(name).err()).collect();
    let count = errors.len();
    match Error::of_several(errors, format!("{count} of {} failed", names.len())) {
        Some(error) => Err(error),
        None => Ok(0),
    }
}
