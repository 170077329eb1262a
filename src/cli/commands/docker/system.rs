//! What docker says of itself: version, what there is, networks, contexts.

use serde_json::{Value, json};

use super::inspect::print_all;
use super::{API_VERSION, VERSION, unsupported};
use crate::cli::args::docker::{Context, Network, Printed};
use crate::cli::{Outcome, print};
use crate::docker::options::{NETWORKS, no_such_network};
use crate::docker::template::Template;
use crate::docker::{Status, container, images};
use crate::error::Error;
use crate::image::platform::Platform;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::text::sanitize;

fn render(format: &Printed, value: &Value, otherwise: &str) -> Outcome {
    match &format.format {
        Some(text) => super::show(&(Template::parse(text)?.render(value)? + "\n")),
        None => print(otherwise),
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// `docker version`.
pub fn version(format: &Printed) -> Outcome {
    let platform = Platform::host();
    let own = env!("CARGO_PKG_VERSION");
    let value = json!({
        "Client": {
            "Platform": {"Name": format!("devbox {own}")}, "Version": VERSION, "ApiVersion": API_VERSION,
            "APIVersion": API_VERSION, "DefaultAPIVersion": API_VERSION, "Os": platform.os, "Arch": platform.architecture,
            "Context": "default",
        },
        "Server": {
            "Platform": {"Name": format!("devbox {own}")}, "Version": VERSION, "ApiVersion": API_VERSION,
            "APIVersion": API_VERSION, "MinAPIVersion": "1.24", "Os": platform.os, "Arch": platform.architecture,
            "KernelVersion": kernel(),
            "Components": [{"Name": "Engine", "Version": VERSION, "Details": {"ApiVersion": API_VERSION}}],
        },
    });
    let text = format!(
        "Client: devbox {own}\n Version:           {VERSION}\n API version:       {API_VERSION}\n\
         Server: devbox {own}\n Version:           {VERSION}\n API version:       {API_VERSION}\n"
    );
    render(format, &value, &text)
}

/// `docker info`.
pub fn info(paths: &Paths, format: &Printed) -> Outcome {
    let platform = Platform::host();
    let (mut running, mut all) = (0, 0);
    for container in container::list(paths)? {
        all += 1;
        running += usize::from(container.status(paths)?.0 == Status::Running);
    }
    let images = images::list(&Store::open(&paths.store())?)?.len();
    let system = rustix::system::sysinfo();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let value = json!({
        "ID": "devbox",
        "Name": rustix::system::uname().nodename().to_string_lossy(),
        "ServerVersion": VERSION,
        "OperatingSystem": "devbox",
        "OSType": platform.os,
        "Architecture": platform.architecture,
        "KernelVersion": kernel(),
        "Driver": "overlayfs",
        "Containers": all,
        "ContainersRunning": running,
        "ContainersStopped": all - running,
        "ContainersPaused": 0,
        "Images": images,
        "NCPU": processors,
        "MemTotal": u64::from(system.mem_unit) * system.totalram as u64,
        "DockerRootDir": container::root(paths),
        "Runtimes": {"devbox": {"path": "devbox"}},
        "DefaultRuntime": "devbox",
        "SecurityOptions": ["name=rootless", "name=seccomp,profile=devbox"],
        "Swarm": {"LocalNodeState": "inactive"},
        "Warnings": [],
        "ClientInfo": {"Version": VERSION, "Context": "default"},
    });
    let text = format!(
        "Server Version: {VERSION} (devbox {})\nContainers: {all}\n Running: {running}\n Stopped: {}\nImages: {images}\n\
         OSType: {}\nArchitecture: {}\nCPUs: {processors}\nDocker Root Dir: {}\n",
        env!("CARGO_PKG_VERSION"),
        all - running,
        platform.os,
        platform.architecture,
        container::root(paths).display()
    );
    render(format, &value, &text)
}

/// `docker network`.
pub fn network(command: &Network) -> Outcome {
    match command {
        Network::Ls { quiet, filters, format, .. } => {
            let mut names = Vec::new();
            for name in NETWORKS {
                if is_wanted(name, filters)? {
                    names.push(name);
                }
            }
            let row = |name: &&str| {
                json!({
                    "CreatedAt": "1970-01-01 00:00:00 +0000 UTC", "Driver": driver(name), "ID": id_of(name),
                    "IPv4": "true", "IPv6": "true", "Internal": "false", "Label": {}, "Labels": "", "Name": name, "Scope": "local",
                })
            };
            let columns = [("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")];
            let rows: Vec<Value> = names.iter().map(row).collect();
            if *quiet { super::values(&rows, "ID") } else { super::rows(format, &rows, &columns) }
        }
        Network::Inspect(args) => print_all(args, |name| {
            let name = NETWORKS.iter().find(|known| **known == name).ok_or_else(|| no_such_network(name))?;
            Ok(json!({
                "Name": name, "Id": id_of(name), "Scope": "local", "Driver": driver(name), "Labels": {}, "Options": {},
                "IPAM": {"Driver": "default", "Config": []}, "Containers": {}, "EnableIPv4": true, "EnableIPv6": true,
                "Internal": false, "Attachable": false, "Ingress": false, "Created": "1970-01-01T00:00:00Z",
            }))
        }),
        // Those that are there belong to docker itself.
        Network::Prune(_) => Ok(0),
        Network::Other(words) => Err(super::unknown("network ", words)),
    }
}

/// Whether a network is listed: it has no labels, and is always there.
fn is_wanted(name: &str, filters: &[String]) -> Result<bool, Error> {
    for filter in filters {
        let fits = match filter.split_once('=') {
            Some(("name", part)) => name.contains(part.trim_matches(['^', '$'])),
            Some(("id", start)) => id_of(name).starts_with(start),
            Some(("driver", wanted)) => driver(name) == wanted,
            Some(("scope", scope)) => scope == "local",
            Some(("type", kind)) => kind == "builtin",
            Some(("label", _)) => false,
            Some(("dangling", is_so)) => !matches!(is_so, "true" | "1"),
            _ => return Err(Error::new(format!("`--filter {}` is no filter of networks", sanitize(filter)))),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn driver(name: &str) -> &str {
    if name == "none" { "null" } else { name }
}

/// Always the same for a name.
fn id_of(name: &str) -> String {
    crate::image::digest::of_bytes(name.as_bytes())[..12].to_owned()
}

/// `docker context`.
pub fn context(command: &Context) -> Outcome {
    let row = json!({
        "Current": true, "Description": "devbox", "DockerEndpoint": "", "Error": "", "Name": "default",
        "ContextType": "moby",
    });
    match command {
        Context::Ls { quiet: true, .. } | Context::Show => print("default\n"),
        Context::Ls { format, .. } => {
            super::rows(format, &[row], &[("NAME", "Name"), ("DESCRIPTION", "Description"), ("ERROR", "Error")])
        }
        Context::Inspect { format, names } => {
            refuse_others(names)?;
            let value = json!({"Name": "default", "Metadata": {}, "Endpoints": {"docker": {"Host": ""}}});
            match &format.format {
                Some(_) => render(format, &value, ""),
                None => crate::cli::print_json(&[value]),
            }
        }
        Context::Use { name } => {
            refuse_others(std::slice::from_ref(name))?;
            print("default\n")
        }
        Context::Other(words) => Err(super::unknown("context ", words)),
    }
}

fn refuse_others(names: &[String]) -> Result<(), Error> {
    match names.iter().find(|name| *name != "default") {
        None => Ok(()),
        Some(name) => Err(unsupported(&format!("the context `{}`", sanitize(name)))),
    }
}
