//! `devbox completions`.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::EnvCompleter;

use crate::cli::args::Cli;
use crate::cli::{Outcome, print};
use crate::error::Error;

/// Prints the script that makes `shell` ask devbox for completions, names of boxes and tasks included.
pub fn run(shell: Shell) -> Outcome {
    print(&script(shell)?)
}

/// The script of a shell.
pub fn script(shell: Shell) -> Result<String, Error> {
    let mut text = Vec::new();
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &clap_complete::env::Bash,
        Shell::Zsh => &clap_complete::env::Zsh,
        Shell::Fish => &clap_complete::env::Fish,
        other => {
            let mut command = Cli::command();
            clap_complete::generate(other, &mut command, "devbox", &mut text);
            return String::from_utf8(text).map_err(|error| Error::new(error.to_string()));
        }
    };
    completer
        .write_registration("COMPLETE", "devbox", "devbox", "devbox", &mut text)
        .map_err(|error| Error::new(error.to_string()))?;
    String::from_utf8(text).map_err(|error| Error::new(error.to_string()))
}
