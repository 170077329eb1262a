//! `docker volume`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::lifecycle::empty_trash;
use crate::cli::args::docker::Volume;
use crate::cli::commands::image::build::label as label_of;
use crate::cli::{Outcome, print};
use crate::docker::container::fresh_id;
use crate::docker::events::has_label;
use crate::docker::listing::name_pattern;
use crate::docker::{DockerError, volumes};
use crate::error::Error;
use crate::paths::Paths;
use crate::text::sanitize;

/// Lists, makes, shows and removes volumes.
pub fn run(paths: &Paths, command: Volume) -> Outcome {
    match command {
        Volume::Ls { quiet, filters, format } => {
            let mut rows = Vec::new();
            let used = volumes::used(paths)?;
            for volume in volumes::list(paths)? {
                if is_wanted(&volume, &filters, &used)? {
                    rows.push(row(&volume));
                }
            }
            if quiet {
                return super::values(&rows, "Name");
            }
            super::rows(&format, &rows, &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")])
        }
        Volume::Create { label, name, long_name, .. } => {
            let name = match name.or(long_name) {
                Some(name) => name,
                None => fresh_id()?[..32].to_owned(),
            };
            let labels = label.iter().map(|text| label_of(text)).collect();
            let volume = volumes::ensure(paths, &name, &labels)?;
            print(&format!("{}\n", volume.name))
        }
        Volume::Rm(args) => {
            let outcome = super::each(&args.names, |name| match volumes::remove(paths, name) {
                Err(DockerError::NoSuchVolume { .. }) if args.force => Ok(()),
                Err(error) => Err(error.into()),
                Ok(()) => print(&format!("{name}\n")).map(drop),
            });
            empty_trash(paths);
            outcome
        }
        Volume::Inspect(args) => super::inspect::volumes(paths, &args),
        Volume::Prune(args) => {
            // A name was given by somebody, and is kept unless all go.
            for volume in volumes::list(paths)?.into_iter().filter(|_| args.all) {
                match volumes::remove(paths, &volume.name) {
                    Err(DockerError::VolumeInUse { .. }) => {}
                    result => {
                        result?;
                        print(&format!("{}\n", volume.name))?;
                    }
                }
            }
            empty_trash(paths);
            Ok(0)
        }
        Volume::Other(words) => Err(super::unknown("volume ", &words)),
    }
}

fn is_wanted(volume: &volumes::Volume, filters: &[String], used: &BTreeSet<String>) -> Result<bool, Error> {
    for filter in filters {
        let fits = match filter.split_once('=') {
            Some(("name", part)) => name_pattern(part)?.is_match(&volume.name),
            Some(("label", wanted)) => has_label(&volume.labels, wanted),
            Some(("driver", driver)) => driver == "local",
            Some(("dangling", "true" | "1")) => !used.contains(&volume.name),
            Some(("dangling", "false" | "0")) => used.contains(&volume.name),
            _ => return Err(Error::new(format!("`--filter {}` is no filter of volumes", sanitize(filter)))),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn row(volume: &volumes::Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": "N/A", "Driver": "local", "Group": "N/A", "Label": volume.labels, "Labels": labels.join(","), "Links": "N/A",
        "Mountpoint": "", "Name": volume.name, "Scope": "local", "Size": "N/A", "Status": "N/A",
    })
}
