//! Docker's commands for images.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::args::docker::{ListImages, Pull, Remove, Tag};
use crate::cli::args::image;
use crate::cli::commands::image as own;
use crate::cli::{Outcome, print};
use crate::docker::time::{ago, listed};
use crate::docker::{container, images, size};
use crate::error::Error;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::registries;
use crate::progress::Silent;
use crate::text::sanitize;
use crate::ui;
use crate::upkeep::gc::{Options, gc};
use crate::userns::mapper::Offer;

/// What a table shows.
const COLUMNS: [(&str, &str); 5] =
    [("REPOSITORY", "Repository"), ("TAG", "Tag"), ("IMAGE ID", "ID"), ("CREATED", "CreatedSince"), ("SIZE", "Size")];

/// `docker images`.
pub fn list(paths: &Paths, args: &ListImages) -> Outcome {
    let store = Store::open(&paths.store())?;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for record in images::list(&store)? {
        if let Some(row) = row(&store, &record, args, now)? {
            rows.push(row);
        }
    }
    if args.quiet {
        return super::values(&rows, "ID");
    }
    super::rows(&args.format, &rows, &COLUMNS)
}

fn row(store: &Store, record: &ImageRecord, args: &ListImages, now: Timestamp) -> Result<Option<Value>, Error> {
    let (repository, tag) = images::parts(&record.name);
    let is_named = |name: &str| name == repository || name == format!("{repository}:{tag}");
    if args.name.as_deref().is_some_and(|name| !is_named(name)) {
        return Ok(None);
    }
    for filter in &args.filters {
        let fits = match filter.split_once('=') {
            Some(("reference", name)) => is_named(name),
            Some(("dangling", wanted)) => (wanted == "true") == (tag == "<none>"),
            Some(("label", wanted)) => {
                let (_, config) = images::contents(store, record)?;
                crate::docker::events::has_label(&config.config.labels, wanted)
            }
            _ => return Err(Error::new(format!("`--filter {}` is no filter of images", sanitize(filter)))),
        };
        if !fits {
            return Ok(None);
        }
    }
    let created: Timestamp = record.created.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let id = if args.no_trunc { record.manifest.digest.to_string() } else { record.manifest.digest.short().to_owned() };
    Ok(Some(json!({
        "Containers": "N/A",
        "CreatedAt": listed(created),
        "CreatedSince": ago(now, created) + " ago",
        "Digest": record.manifest.digest.to_string(),
        "ID": id,
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": size::on_disk(images::size_bytes(store, record)?),
        "Tag": tag,
        "UniqueSize": "N/A",
    })))
}

/// `docker pull`.
pub fn pull(args: Pull) -> Outcome {
    let wanted = image::Pull { image: args.image, platform: args.platform };
    if !args.quiet {
        return own::pull::run(&wanted);
    }
    let (reference, _) = own::pull::fetch(&wanted, &Silent)?;
    print(&format!("{reference}\n"))
}

/// `docker tag`: a name or an id gets another name.
pub fn tag(paths: &Paths, args: &Tag) -> Outcome {
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let record = find(paths, &store, &args.image)?;
    let name = own::new_name(paths, &args.name)?;
    store.put_image(&ImageRecord { name: name.to_string(), ..record })?;
    Ok(0)
}

fn find(paths: &Paths, store: &Store, name: &str) -> Result<ImageRecord, Error> {
    Ok(images::existing(store, &registries::load(paths)?, name)?)
}

/// `docker rmi`: names, or ids with all their names. What a container stands on stays.
pub fn remove(paths: &Paths, args: &Remove) -> Outcome {
    let store = Store::open(&paths.store())?;
    let outcome = super::each(&args.names, |name| {
        let record = match find(paths, &store, name) {
            Err(_) if args.force => return Ok(()),
            record => record?,
        };
        let by_name =
            registries::load(paths)?.reference(name).is_ok_and(|reference| reference.to_string() == record.name);
        for other in images::list(&store)? {
            let same =
                if by_name { other.name == record.name } else { other.manifest.digest == record.manifest.digest };
            if let (true, Ok(reference)) = (same, other.name.parse::<Reference>()) {
                store.remove_image(&reference)?;
                print(&format!("Untagged: {}\n", sanitize(&images::familiar(&other.name))))?;
            }
        }
        let used = container::list(paths)?.iter().any(|other| other.image_id == record.manifest.digest.to_string());
        if used && !by_name {
            ui::say("devbox: containers stand on it: it stays until they are removed");
        }
        Ok(())
    });
    collect(paths)?;
    outcome
}

/// `docker image prune`.
pub fn prune(paths: &Paths) -> Outcome {
    collect(paths)?;
    Ok(0)
}

fn collect(paths: &Paths) -> Result<(), Error> {
    gc(paths, &Offer::probe().map(0), Options::default(), &ui::Terminal::default())?;
    Ok(())
}
