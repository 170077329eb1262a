//! `devbox ssh-proxy` and `devbox ssh-config`.

use std::os::fd::AsFd;

use super::session;
use crate::boxes::hold::{self, Held};
use crate::boxes::{BoxDir, list, state};
use crate::build::profile::Inputs;
use crate::cli::args::ssh::{SshConfig, SshProxy};
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::{LoadedProfile, Profile};
use crate::ssh::keys::KeyFiles;
use crate::ssh::{config, server};
use crate::sys::terminal::is_terminal;
use crate::ui;

/// Serves the ssh client on standard input and output, in the box that is named.
pub fn proxy(args: &SshProxy) -> Outcome {
    if is_terminal(rustix::stdio::stdin()) || is_terminal(rustix::stdio::stdout()) {
        return Err(Error::new("this is started by an ssh client, not in a terminal")
            .hint("`devbox ssh-config install` lets `ssh NAME.devbox` start it"));
    }
    let paths = Paths::from_environment()?;
    let name = args.name.strip_suffix(config::DOMAIN).unwrap_or(&args.name);
    let record = state::load(&BoxDir::new(&paths, &list::find_by_name(&paths, name)?))?;
    let loaded = Profile::load(&paths, &record.project)?;
    let keys = KeyFiles::new(&paths).load()?;
    let held = hold(&paths, loaded)?;
    let copy = |stream: std::os::fd::BorrowedFd<'_>| {
        stream.try_clone_to_owned().map_err(|error| Error::new(format!("cannot copy a standard stream: {error}")))
    };
    let (input, output) = (copy(rustix::stdio::stdin().as_fd())?, copy(rustix::stdio::stdout().as_fd())?);
    server::serve(&held, keys, &input, &output)?;
    Ok(0)
}

/// Starts the project's box as `devbox run` does, unless it runs, and holds it.
pub(super) fn hold(paths: &Paths, loaded: LoadedProfile) -> Result<Held, Error> {
    session::refuse_home(paths, &loaded)?;
    let progress = ui::Terminal::default();
    let loaded = session::make_ready(paths, loaded, Inputs::Locked, true, &progress)?;
    Ok(hold::hold(paths, loaded, &progress)?)
}

/// Tells ssh clients of the boxes.
pub fn config(command: &SshConfig) -> Outcome {
    let paths = Paths::from_environment()?;
    match command {
        SshConfig::Install => {
            let file = config::install(&paths, &own_program()?)?;
            ui::say(&format!("`ssh NAME.devbox` reaches the boxes; they are listed in `{}`", file.display()));
            Ok(0)
        }
        SshConfig::Print => print(&config::text(&config::hosts(&paths)?, &own_program()?, &KeyFiles::new(&paths))),
        SshConfig::Remove => {
            if !config::remove(&paths)? {
                ui::say("nothing was installed");
            }
            Ok(0)
        }
    }
}

/// Where devbox lies.
pub(super) fn own_program() -> Result<std::path::PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::new(format!("cannot tell where devbox itself lies: {error}")))
}
