//! `docker exec`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::cli::Outcome;
use crate::cli::args::docker::Exec;
use crate::docker::command::{Command, check_directory};
use crate::docker::monitor::Failed;
use crate::docker::{Container, DockerError, container};
use crate::error::{Error, FAILED};
use crate::paths::Paths;
use crate::process::in_background;
use crate::sys::fs::{null, pipe};

/// Runs a command in a container; returns its status.
pub fn run(paths: &Paths, args: Exec) -> Outcome {
    let mut words = args.words.into_iter();
    let name = words.next().unwrap_or_default();
    let arguments: Vec<OsString> = words.collect();
    let container = container::find(paths, &name.to_string_lossy())?;
    if arguments.is_empty() {
        return Err(Error::new("no command was given").hint("write it behind the container"));
    }
    if !args.detach {
        super::check_terminal(args.interactive, args.tty)?;
    }
    check_directory(args.workdir.as_deref())?;
    let typed = super::variables(&args.environment, &args.environment_files)?;
    let command = Command {
        arguments: &arguments,
        user: args.user.as_deref(),
        directory: args.workdir.as_deref(),
        variables: &typed,
    };
    if args.detach {
        return detached(paths, &container, command);
    }
    let streams = if args.interactive || args.tty { None } else { Some(without_input()?) };
    Ok(command.join(paths, &container, streams, &|| ())?)
}

/// Our streams, but that nothing is read.
fn without_input() -> Result<[OwnedFd; 3], Error> {
    let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    let make =
        || -> std::io::Result<_> { Ok([null()?, copy(std::io::stdout().as_fd())?, copy(std::io::stderr().as_fd())?]) };
    make().map_err(|error| Error::new(format!("cannot copy a standard stream: {error}")))
}

/// Returns as soon as it runs.
fn detached(paths: &Paths, container: &Container, command: Command<'_>) -> Outcome {
    let (read, write) = pipe().map_err(DockerError::from)?;
    let mut write = File::from(write);
    in_background(&[write.as_raw_fd()], || {
        let streams = || Ok([null()?, null()?, null()?]);
        let told = write.try_clone();
        let on_start = || {
            if let Ok(mut told) = told.as_ref() {
                told.write_all(b"null\n").ok();
            }
        };
        let outcome = streams().and_then(|streams| command.join(paths, container, Some(streams), &on_start));
        if let Err(error) = outcome
            && let Ok(text) = serde_json::to_vec(&Failed::from(&Error::from(error)))
        {
            write.write_all(&text).ok();
        }
    })
    .map_err(DockerError::from)?;
    drop(write);
    // The first that is said: `null`, or why not.
    let mut text = Vec::new();
    let mut byte = [0];
    let mut read = File::from(read);
    while matches!(read.read(&mut byte), Ok(1)) && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    match serde_json::from_slice::<Option<Failed>>(&text) {
        Ok(None) => Ok(0),
        Ok(Some(failed)) => Err(failed.into()),
        Err(_) => Err(Error::new("the command ended unexpectedly").with_status(FAILED)),
    }
}
