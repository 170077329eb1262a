//! `docker run`, `docker create` and `docker allow`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::start::{self, Attach, Shown};
use crate::cli::args::docker::Run;
use crate::cli::commands::image::build::label;
use crate::cli::{Outcome, print};
use crate::docker::create::{self, Fetch, Request};
use crate::docker::options::Options;
use crate::docker::{Container, DockerError, trust};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::trust::describe;
use crate::profile::user;
use crate::text::sanitize;
use crate::ui;

/// Makes a container and starts it.
pub fn run(paths: &Paths, folder: &Path, args: Run) -> Outcome {
    let attach = attach(&args)?;
    if !args.detach {
        super::check_terminal(args.interactive, args.tty)?;
    }
    let container = make(paths, folder, args)?;
    let status = start::start(paths, &container, attach)?;
    if attach == Attach::No {
        return print(&format!("{}\n", container.id));
    }
    Ok(status)
}

/// How the caller stays with the container.
fn attach(args: &Run) -> Result<Attach, DockerError> {
    let wrong = |reason: &str| {
        let option = args.attach.iter().map(|stream| format!("--attach {stream}")).collect::<Vec<_>>().join(" ");
        Err(DockerError::Option { option, reason: reason.to_owned() })
    };
    let streams: Vec<String> = args.attach.iter().map(|stream| stream.to_ascii_lowercase()).collect();
    let names = |name: &str| streams.iter().any(|stream| stream == name);
    if !streams.iter().all(|stream| matches!(stream.as_str(), "stdin" | "stdout" | "stderr")) {
        return wrong("the streams are `stdin`, `stdout` and `stderr`");
    }
    let shown = match args.attach.is_empty() {
        true => Shown::ALL,
        false => Shown { output: names("stdout"), error: names("stderr") },
    };
    match (args.detach, args.interactive || args.tty) {
        (true, _) if !args.attach.is_empty() => wrong("with `--detach` nothing is shown"),
        (true, _) => Ok(Attach::No),
        // It has the caller's own streams.
        (false, true) if shown != Shown::ALL => wrong("with `--interactive` or `--tty` both streams are shown"),
        (false, true) => Ok(Attach::Streams),
        (false, false) => Ok(Attach::Logs { sig_proxy: args.sig_proxy, shown }),
    }
}

/// Makes a container; prints its id.
pub fn create(paths: &Paths, folder: &Path, args: Run) -> Outcome {
    let container = make(paths, folder, args)?;
    print(&format!("{}\n", container.id))
}

fn make(paths: &Paths, folder: &Path, args: Run) -> Result<Container, Error> {
    let config = user::load(paths)?;
    let cidfile = args.cidfile.as_ref().map(|file| folder.join(file));
    let cannot_write = |file: &Path, error: &dyn std::fmt::Display| {
        Error::new(format!("cannot write `{}`: {error}", sanitize(&file.to_string_lossy())))
    };
    // It may hold the only trace of another container.
    if let Some(file) = cidfile.as_ref().filter(|file| file.symlink_metadata().is_ok()) {
        return Err(
            cannot_write(file, &"it is there already").hint("remove it, if its container is of no use any more")
        );
    }
    let request = request(folder, args)?;
    let made = match create::create(paths, &config, &request, &ui::Terminal::default()) {
        Err(DockerError::NotTrusted { wishes, key }) if ui::can_ask() => {
            let list: Vec<String> = wishes.iter().map(|wish| format!("  {}", sanitize(wish))).collect();
            ui::say(&format!("the container wants to\n{}", list.join("\n")));
            if !ui::confirm("allow that?").map_err(|error| Error::new(format!("cannot ask: {error}")))? {
                return Err(Error::new("not allowed"));
            }
            trust::allow(paths, &trust::asked(paths, &key)?)?;
            create::create(paths, &config, &request, &ui::Terminal::default())
        }
        made => made,
    };
    let (container, notes) = made?;
    for note in notes {
        ui::say(&format!("devbox: {}", sanitize(&note)));
    }
    if let Some(file) = cidfile {
        let written = File::create_new(&file).and_then(|mut new| new.write_all(container.id.as_bytes()));
        written.map_err(|error| cannot_write(&file, &error))?;
    }
    Ok(container)
}

fn request(folder: &Path, args: Run) -> Result<Request, Error> {
    let environment = super::variables(&args.environment, &args.environment_files)?;
    let mut words = args.words.into_iter();
    Ok(Request {
        image: words.next().unwrap_or_default(),
        command: words.collect(),
        entrypoint: args.entrypoint,
        name: args.name,
        user: args.user,
        working_dir: args.workdir,
        environment,
        labels: args.label.iter().map(|text| label(text)).collect(),
        stop_signal: args.stop_signal,
        remove: args.rm,
        open_input: args.interactive,
        terminal: args.tty,
        options: Options {
            mounts: args.mount,
            volumes: args.volume,
            tmpfs: args.tmpfs,
            read_only: args.read_only,
            publish: args.publish,
            network: args.network,
            cap_add: args.cap_add,
            cap_drop: args.cap_drop,
            security_opt: args.security_opt,
            privileged: args.privileged,
            memory: args.memory,
            cpus: args.cpus,
            pids_limit: args.pids_limit,
            shm_size: args.shm_size,
            ulimit: args.ulimit,
            gpus: args.gpus,
            namespaces: args.other.namespaces(),
            meaningless: args.other.meaningless(),
        },
        folder: folder.to_owned(),
        platform: args.other.platform,
        fetch: match args.pull.as_str() {
            "always" => Fetch::Always,
            "never" => Fetch::Never,
            _ => Fetch::Missing,
        },
    })
}

/// Allows what was refused under `key`.
pub fn allow(paths: &Paths, key: &str) -> Outcome {
    let loaded = trust::asked(paths, key)?;
    trust::allow(paths, &loaded)?;
    let list: Vec<String> = describe(&loaded.wants).iter().map(|wish| format!("  {}\n", sanitize(wish))).collect();
    print(&format!("containers for `{}` may now\n{}", sanitize(&loaded.project.to_string_lossy()), list.concat()))
}
