//! `docker inspect`, for everything that has a name.

use serde_json::Value;

use crate::cli::args::docker::Inspect;
use crate::cli::{Outcome, print, print_json};
use crate::docker::error::DockerResult;
use crate::docker::inspect::describe;
use crate::docker::template::Template;
use crate::docker::{DockerError, container, images as docker_images, volumes as docker_volumes};
use crate::error::{COULD_NOT_RUN, Error, FAILED};
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::registries;
use crate::text::sanitize;
use crate::ui;

/// `docker inspect`: containers first, then images, then volumes.
pub fn run(paths: &Paths, args: &Inspect) -> Outcome {
    match args.kind.as_deref().unwrap_or_default() {
        "container" => containers(paths, args),
        "image" => images(paths, args),
        "volume" => volumes(paths, args),
        "" => print_all(args, |name| {
            let found = match find_container(paths, name) {
                Err(DockerError::NoSuchContainer { .. }) => find_image(paths, name),
                found => return found,
            };
            match found {
                Err(DockerError::NoSuchImage { .. }) => find_volume(paths, name).map_err(|error| match error {
                    DockerError::NoSuchVolume { name } => DockerError::NoSuchObject { name },
                    error => error,
                }),
                found => found,
            }
        }),
        other => {
            Err(Error::new(format!("there is nothing of the type `{}` here", sanitize(other)))
                .with_status(COULD_NOT_RUN))
        }
    }
}

/// `docker container inspect`.
pub fn containers(paths: &Paths, args: &Inspect) -> Outcome {
    print_all(args, |name| find_container(paths, name))
}

/// `docker image inspect`.
pub fn images(paths: &Paths, args: &Inspect) -> Outcome {
    print_all(args, |name| find_image(paths, name))
}

/// `docker volume inspect`.
pub fn volumes(paths: &Paths, args: &Inspect) -> Outcome {
    print_all(args, |name| find_volume(paths, name))
}

fn find_container(paths: &Paths, name: &str) -> DockerResult<Value> {
    let found = container::find(paths, name)?;
    let (status, state) = found.status(paths)?;
    Ok(describe(&found, status, &state))
}

fn find_image(paths: &Paths, name: &str) -> DockerResult<Value> {
    let store = Store::open(&paths.store())?;
    docker_images::describe(&store, &docker_images::existing(&store, &registries::load(paths)?, name)?)
}

fn find_volume(paths: &Paths, name: &str) -> DockerResult<Value> {
    Ok(docker_volumes::find(paths, name)?.describe(paths))
}

/// Prints those that are there, and says which are not: the status is 1 then.
pub fn print_all(args: &Inspect, find: impl Fn(&str) -> DockerResult<Value>) -> Outcome {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    match args.format.format.as_deref() {
        Some("json") => print(&format!("{}\n", crate::text::sanitize_json(&Value::Array(found).to_string())))?,
        Some(text) => {
            let template = Template::parse(text)?;
            let mut text = String::new();
            for value in &found {
                text += &(template.render(value)? + "\n");
            }
            super::show(&text)?
        }
        None => print_json(&found)?,
    };
    errors.iter().for_each(ui::show_error);
    Ok(if errors.is_empty() { 0 } else { FAILED })
}
