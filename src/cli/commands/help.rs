//! `devbox help`.

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::{Command as Process, Stdio};

use clap::{Command, CommandFactory};
use nix::sys::signal::Signal;

use crate::cli::args::Cli;
use crate::cli::{Outcome, print};
use crate::error::{Error, USAGE};
use crate::help::{TOPICS, Topic, terminal};
use crate::paths::variable;
use crate::sys::signal::Signals;
use crate::sys::terminal::size;
use crate::text::closest;
use crate::ui;

/// Lines longer than this are hard to read, however wide the terminal is.
const MAX_WIDTH: usize = 100;

/// Shows the page of a topic, or the help of a command. A word that is both is the topic: `--help` shows the command's.
pub fn run(words: &[String]) -> Outcome {
    if let [word] = words
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == word)
    {
        return show(&page(topic));
    }
    let mut root = Cli::command();
    // Help shows the full name of a command, and what it inherits, once the tree is built.
    root.build();
    match find(&root, words) {
        Ok(command) => show(&command.clone().render_long_help().ansi().to_string()),
        Err(fault) => match words {
            [word] if Topic::find(word).is_some() => show(&Topic::find(word).map(page).unwrap_or_default()),
            _ => Err(fault),
        },
    }
}

fn page(topic: &Topic) -> String {
    let width = size(std::io::stdout().as_fd()).map_or(80, |size| usize::from(size.columns).clamp(40, MAX_WIDTH));
    let mut text = terminal::render(&topic.page(), width);
    if Cli::command().find_subcommand(topic.name).is_some() {
        text.push_str(&format!("\n  The command's options: `devbox {} --help`\n", topic.name));
    }
    text
}

/// The command that `words` lead to.
fn find<'a>(command: &'a Command, words: &[String]) -> Result<&'a Command, Error> {
    let Some((word, others)) = words.split_first() else { return Ok(command) };
    find(command.find_subcommand(word).ok_or_else(|| unknown(command, word))?, others)
}

fn unknown(command: &Command, word: &str) -> Error {
    let is_first = command.get_name() == "devbox";
    let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).filter(|_| is_first).collect();
    let commands = command.get_subcommands().filter(|found| !found.is_hide_set()).map(Command::get_name);
    let error = match is_first {
        true => Error::new(format!("there is no command and no topic `{word}`")),
        false => Error::new(format!("`devbox {}` has no command `{word}`", path(command))),
    };
    let hint = match closest(word, topics.iter().copied().chain(commands)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if is_first => format!("`devbox help` lists the commands; the topics are `{}`", topics.join("`, `")),
        None => format!("`devbox help {}` shows what it has", path(command)),
    };
    error.hint(hint).with_status(USAGE)
}

/// The words after `devbox`.
fn path(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    name.strip_prefix("devbox ").unwrap_or(name).to_owned()
}

/// Prints, on a terminal through `$PAGER`, else `less`, which stays only for what is longer than the screen.
fn show(text: &str) -> Outcome {
    let pager = match variable("PAGER") {
        Some(pager) if pager.is_empty() || pager == "cat" => None,
        // A line for the shell, as for git.
        Some(line) => Some(line),
        None => variable("PATH").and_then(|path| which::which_in("less", Some(path), "/").ok()).map(|_| "less".into()),
    };
    let Some(pager) = pager.filter(|_| std::io::stdout().is_terminal()) else { return print(text) };
    let failed = |error: std::io::Error| {
        Error::new(format!("cannot show this with a pager: {error}")).hint("`PAGER=cat devbox help` does without one")
    };
    let mut command = Process::new("/bin/sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if variable("LESS").is_none() {
        // Colours; the text stays on the screen; nothing to leave where it fits on one.
        command.env("LESS", "RXF");
    }
    let mut child = command.spawn().map_err(failed)?;
    // Ctrl-C is the pager's as long as it is there.
    let _signals = Signals::receive(&[Signal::SIGINT]).map_err(|error| failed(error.into()))?;
    if let Some(mut input) = child.stdin.take() {
        let text = match ui::color_on_stdout() {
            true => text.to_owned(),
            false => anstream::adapter::strip_str(text).to_string(),
        };
        match input.write_all(text.as_bytes()) {
            // Who has read enough leaves.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => drop(input),
        }
    }
    let status = child.wait().map_err(failed)?;
    // 126 and 127 are the shell's: there is no such pager.
    if matches!(status.code(), Some(126 | 127)) { print(text) } else { Ok(0) }
}
