//! What a devcontainer file asks of the host before its box starts.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use crate::base;
use crate::boxes::user;
use crate::devcontainer::install;
use crate::devcontainer::metadata::with_metadata;
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::profile::devcontainer::Requirements;
use crate::progress::Progress;
use crate::text::sanitize;
use crate::ui;
use crate::ui::build::{Display, Screen};
use crate::userns::mapper::Offer;

/// Says what of the file means nothing here and what this machine lacks, and runs `initializeCommand` in the project's folder.
/// To be called after trust was asked for.
pub fn before_start(paths: &Paths, loaded: &LoadedProfile, no_hooks: bool) -> Result<(), Error> {
    let Some(devcontainer) = &loaded.devcontainer else { return Ok(()) };
    for note in devcontainer.notes.iter().cloned().chain(lacks(paths, &devcontainer.requirements)) {
        ui::say(&format!("devbox: {}", sanitize(&note)));
    }
    match &devcontainer.initialize {
        Some(wanted) if !no_hooks => initialize(loaded, &wanted.command),
        _ => Ok(()),
    }
}

/// Installs the Features of a box that does not run, and adds what its image carries along.
pub fn complete(
    paths: &Paths,
    loaded: LoadedProfile,
    is_running: bool,
    progress: &dyn Progress,
) -> Result<LoadedProfile, Error> {
    if !is_running {
        let has_features = loaded.devcontainer.as_ref().is_some_and(|own| !own.features.is_empty());
        if has_features {
            let display = if std::io::stderr().is_terminal() { Display::Screen } else { Display::Plain };
            install::prepare(paths, &loaded, &mut Screen::of_changes(display), progress)?;
        } else {
            let map = Offer::probe().map(user::likely_id(&loaded.profile));
            base::prepare(paths, &map, &loaded.profile.base, loaded.driver, &loaded.registries, progress)?;
        }
    }
    let base = loaded.profile.base.clone();
    Ok(with_metadata(paths, loaded, &base)?)
}

fn initialize(loaded: &LoadedProfile, command: &str) -> Result<(), Error> {
    let failed = |what: String| Error::new(format!("the initializeCommand {what}"));
    let output = std::io::stderr();
    let output = std::os::fd::AsFd::as_fd(&output).try_clone_to_owned();
    let output = output.map_err(|error| failed(format!("cannot be run: {error}")))?;
    let status = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(&loaded.project)
        .stdin(Stdio::null())
        .stdout(output)
        .status()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let what = status.code().map_or_else(|| format!("failed: {status}"), |code| format!("failed with status {code}"));
    Err(failed(what).hint("it runs on the host, in the project's folder; `--no-hooks` leaves it out"))
}

/// What this machine has too little of.
fn lacks(paths: &Paths, wanted: &Requirements) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut require = |what: &str, wanted: Option<u64>, found: Option<u64>, show: &dyn Fn(u64) -> String| {
        if let (Some(wanted), Some(found)) = (wanted, found)
            && found < wanted
        {
            lacks.push(format!("the project wants {what}: {}; this machine has {}", show(wanted), show(found)));
        }
    };
    let size = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let processors = std::thread::available_parallelism().ok().map(|count| count.get() as u64);
    require("processors", wanted.cpus, processors, &|count| count.to_string());
    let system = rustix::system::sysinfo();
    // What the firmware keeps is not counted by the kernel: a machine of 8 GiB shows a little less.
    let memory = u64::from(system.mem_unit) * system.totalram as u64;
    require("memory", wanted.memory_bytes.map(|bytes| bytes - bytes / 16), Some(memory), &size);
    let disk = rustix::fs::statvfs(&paths.data).ok().map(|disk| disk.f_bavail * disk.f_frsize);
    require("free disk space", wanted.storage_bytes, disk, &size);
    lacks
}
