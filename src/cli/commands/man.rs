//! `devbox man`.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::args::Cli;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::help::{TOPICS, roff};

/// Writes one page per command and per topic, below `directory` as `man` looks for them.
pub fn write_all(directory: &Path) -> Outcome {
    let mut pages = vec![(1, "devbox.1".to_owned(), first()?)];
    for command in built().get_subcommands() {
        commands(command, &mut pages)?;
    }
    for topic in TOPICS {
        let (name, section) = topic.manual;
        pages.push((section, format!("{name}.{section}"), roff::render(topic, env!("CARGO_PKG_VERSION"))));
    }
    for (section, name, page) in pages {
        let file = directory.join(format!("man{section}")).join(name);
        let failed = |error: std::io::Error| {
            Error::new(format!("cannot write `{}`: {error}", file.display()))
                .hint("`devbox man DIR` writes below any directory that you may write to")
        };
        file.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        fs::write(&file, page).map_err(failed)?;
    }
    Ok(0)
}

/// Prints the page of devbox itself, for `man -l -`.
pub fn print_first() -> Outcome {
    print(&first()?)
}

/// Each page names the command in full, as it knows it once the tree is built. `help` is added by hand.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn first() -> Result<String, Error> {
    Ok(rendered(Cli::command())? + &roff::see_also(None))
}

fn commands(command: &Command, pages: &mut Vec<(u8, String, String)>) -> Result<(), Error> {
    if command.is_hide_set() {
        return Ok(());
    }
    let name = Man::new(command.clone()).get_filename();
    pages.push((1, name, rendered(command.clone())?));
    command.get_subcommands().try_for_each(|below| commands(below, pages))
}

fn rendered(command: Command) -> Result<String, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("cannot make the manual page: {error}"));
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|error| failed(&error))?;
    String::from_utf8(page).map_err(|error| failed(&error))
}
