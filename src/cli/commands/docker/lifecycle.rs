//! Containers that end, and go.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::start::{self, Attach};
use crate::boxes::remove;
use crate::cli::args::docker::{Remove, Stop};
use crate::cli::{Outcome, print};
use crate::docker::monitor::{self, Monitor};
use crate::docker::{Container, DockerError, container};
use crate::error::Error;
use crate::paths::Paths;
use crate::process::in_background;
use crate::progress::Silent;
use crate::text::sanitize;
use crate::ui;
use crate::userns::mapper::Offer;

/// Asks the first process of each to end, and kills what has not after a while.
pub fn stop(paths: &Paths, args: &Stop) -> Outcome {
    super::each(&args.names, |name| {
        stop_one(paths, args, &container::find(paths, name)?)?;
        print(&format!("{name}\n")).map(drop)
    })
}

fn stop_one(paths: &Paths, args: &Stop, container: &Container) -> Result<(), Error> {
    let signal = signal(args.signal.as_deref().unwrap_or(&container.stop_signal))?;
    // A negative number: however long it takes.
    let patience = u64::try_from(args.timeout).ok().map(Duration::from_secs);
    monitor::stop(paths, container, signal, patience)?;
    Ok(())
}

/// Stops each, and starts it again.
pub fn restart(paths: &Paths, args: &Stop) -> Outcome {
    super::each(&args.names, |name| {
        let container = container::find(paths, name)?;
        stop_one(paths, args, &container)?;
        start::start(paths, &container, Attach::No)?;
        print(&format!("{name}\n")).map(drop)
    })
}

/// Sends a signal to the first process of each.
pub fn kill(paths: &Paths, name: &str, names: &[String]) -> Outcome {
    let signal = signal(name)?;
    super::each(names, |name| {
        monitor::kill(paths, &container::find(paths, name)?, signal)?;
        print(&format!("{name}\n")).map(drop)
    })
}

/// `TERM`, `SIGTERM`, `15`.
fn signal(text: &str) -> Result<Signal, Error> {
    let number = text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let name = text.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    number.or_else(|| name.parse().ok()).ok_or_else(|| Error::new(format!("there is no signal `{}`", sanitize(text))))
}

/// Removes each; with force also one that runs.
pub fn remove(paths: &Paths, args: &Remove) -> Outcome {
    let outcome = super::each(&args.names, |name| {
        let found = match container::find(paths, name) {
            Err(DockerError::NoSuchContainer { .. }) if args.force => return Ok(()),
            found => found?,
        };
        if args.force {
            remove_by_force(paths, &found)?;
        } else {
            monitor::remove(paths, &found, &Silent)?;
        }
        print(&format!("{name}\n")).map(drop)
    });
    empty_trash(paths);
    outcome
}

fn remove_by_force(paths: &Paths, container: &Container) -> Result<(), Error> {
    match monitor::kill(paths, container, Signal::SIGKILL) {
        Ok(()) | Err(DockerError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // One that removes itself may be gone by now.
    if container::find(paths, &container.id).is_ok() {
        monitor::remove(paths, container, &Silent)?;
    }
    Ok(())
}

/// Removes every container that does not run.
pub fn prune(paths: &Paths) -> Outcome {
    for container in container::list(paths)? {
        if !monitor::is_busy(paths, &container)? {
            monitor::remove(paths, &container, &Silent)?;
            print(&format!("{}\n", container.id))?;
        }
    }
    empty_trash(paths);
    Ok(0)
}

/// Empties the trash while the caller goes on.
pub fn empty_trash(paths: &Paths) {
    let started = in_background(&[], || {
        // Nobody is there to be told; what is left goes with the next one.
        remove::empty_trash(paths, &Offer::probe().map(0), &Silent).ok();
    });
    if let Err(error) = started {
        ui::say(&format!("devbox: {error}"));
    }
}

/// Waits for the end of each; prints the exit statuses.
pub fn wait(paths: &Paths, names: &[String]) -> Outcome {
    super::each(names, |name| {
        let found = container::find(paths, name)?;
        if let Some(monitor) = Monitor::find(paths, &found)? {
            monitor.wait(None)?;
        }
        let status = found.state(paths)?.exit_code;
        print(&format!("{status}\n")).map(drop)
    })
}
