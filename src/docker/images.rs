//! Images as containers name them: by name, by id, and by what they hold on to.

use serde_json::{Value, json};

use super::container::HELD_IMAGES;
use super::error::{DockerError, DockerResult};
use crate::image::config::ImageConfig;
use crate::image::manifest::Manifest;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::registry::Settings;
use crate::transfer::archives;

/// Fewest digits of an id that are looked up.
const MIN_ID_DIGITS: usize = 4;

/// The image with this name or id, if it is here.
pub fn find(store: &Store, settings: &Settings, typed: &str) -> DockerResult<Option<ImageRecord>> {
    if let Ok(reference) = settings.reference(typed)
        && let Some(record) = store.find_image(&reference)?
    {
        return Ok(Some(record));
    }
    let digits = typed.strip_prefix("sha256:").unwrap_or(typed);
    if digits.len() < MIN_ID_DIGITS || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut fits: Vec<ImageRecord> = store.images()?;
    fits.retain(|record| record.manifest.digest.hexadecimal().starts_with(digits));
    let several = fits.iter().any(|record| record.manifest.digest != fits[0].manifest.digest);
    if several {
        return Err(DockerError::Ambiguous { prefix: typed.to_owned() });
    }
    // A name that people gave says more than a container's.
    fits.sort_by_key(|record| is_held(&record.name));
    Ok(fits.into_iter().next())
}

/// As [`find`]; an error when it is not here.
pub fn existing(store: &Store, settings: &Settings, typed: &str) -> DockerResult<ImageRecord> {
    find(store, settings, typed)?.ok_or_else(|| DockerError::NoSuchImage { name: typed.to_owned() })
}

/// Whether only a container calls an image so.
#[must_use]
pub fn is_held(name: &str) -> bool {
    name.strip_prefix(HELD_IMAGES).is_some_and(|rest| rest.starts_with(':'))
}

/// The images that people named, by name.
pub fn list(store: &Store) -> DockerResult<Vec<ImageRecord>> {
    let mut images = store.images()?;
    images.retain(|record| !is_held(&record.name));
    Ok(images)
}

fn held_name(container: &str) -> DockerResult<Reference> {
    let name = format!("{HELD_IMAGES}:{container}");
    name.parse().map_err(|_| DockerError::NoSuchImage { name })
}

/// Gives the image a name of the container's own; returns it.
pub fn hold(store: &Store, container: &str, record: &ImageRecord) -> DockerResult<Reference> {
    let name = held_name(container)?;
    let _using = store.lock_shared()?;
    store.put_image(&ImageRecord { name: name.to_string(), ..record.clone() })?;
    Ok(name)
}

/// Takes that name away.
pub fn release(store: &Store, container: &str) -> DockerResult<()> {
    store.remove_image(&held_name(container)?)?;
    Ok(())
}

/// What the image says of itself.
pub fn contents(store: &Store, record: &ImageRecord) -> DockerResult<(Manifest, ImageConfig)> {
    let damaged = || DockerError::NoSuchImage { name: record.name.clone() };
    let manifest = archives::manifest(store, record)?.ok_or_else(damaged)?;
    let bytes = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config = ImageConfig::parse(&bytes).map_err(|_| damaged())?;
    Ok((manifest, config))
}

/// As people write the name, with its tag.
#[must_use]
pub fn familiar(name: &str) -> String {
    let (repository, tag) = parts(name);
    if tag == NO_TAG { repository } else { format!("{repository}:{tag}") }
}

/// What stands for a tag where there is none.
const NO_TAG: &str = "<none>";

/// `repository` and `tag` of a name; of one with a digest alone `<none>`.
#[must_use]
pub fn parts(name: &str) -> (String, String) {
    let Ok(reference) = name.parse::<Reference>() else { return (name.to_owned(), NO_TAG.to_owned()) };
    let tag = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => tag,
        (None, None) => "latest",
        (None, Some(_)) => NO_TAG,
    };
    let familiar = reference.familiar();
    let bare = familiar.split('@').next().unwrap_or_default();
    (bare.strip_suffix(&format!(":{tag}")).unwrap_or(bare).to_owned(), tag.to_owned())
}

/// Bytes of the image's files on this machine.
pub fn size_bytes(store: &Store, record: &ImageRecord) -> DockerResult<u64> {
    let Some((layout, names)) = record.layers.iter().next() else { return Ok(0) };
    Ok(names.iter().filter_map(|name| store.layer(name, layout)).map(|layer| layer.record.size_bytes).sum())
}

/// As `image inspect` prints it.
pub fn describe(store: &Store, record: &ImageRecord) -> DockerResult<Value> {
    let (_, config) = contents(store, record)?;
    let same: Vec<ImageRecord> =
        list(store)?.into_iter().filter(|other| other.manifest.digest == record.manifest.digest).collect();
    let tags = same.iter().filter(|other| parts(&other.name).1 != NO_TAG).map(|other| familiar(&other.name));
    let tags: Vec<String> = tags.collect();
    let digests: Vec<String> = same
        .iter()
        .filter_map(|other| other.name.parse::<Reference>().ok())
        .map(|reference| format!("{}@{}", reference.name(), record.manifest.digest))
        .collect();
    let mut run = serde_json::to_value(&config.config).unwrap_or_default();
    if let Value::Object(run) = &mut run {
        for (key, value) in [
            ("User", json!("")),
            ("Env", json!([])),
            ("Labels", json!({})),
            ("Entrypoint", Value::Null),
            ("Cmd", Value::Null),
            ("WorkingDir", json!("")),
        ] {
            run.entry(key).or_insert(value);
        }
    }
    let mut image = json!({
        "Id": record.manifest.digest.to_string(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": "",
        "Created": config.created,
        "Author": config.author.unwrap_or_default(),
        "Config": run,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": size_bytes(store, record)?,
        "GraphDriver": {"Name": "overlayfs", "Data": null},
        "RootFS": {"Type": "layers", "Layers": config.rootfs.diff_ids},
        "Metadata": {"LastTagTime": record.created},
    });
    if let Some(variant) = config.variant {
        image["Variant"] = variant.into();
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts() {
        for (name, repository, tag) in [
            ("docker.io/library/debian:12", "debian", "12"),
            ("docker.io/library/debian:latest", "debian", "latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b", "1"),
            ("localhost/devbox-container:abc", "localhost/devbox-container", "abc"),
        ] {
            assert_eq!(parts(name), (repository.to_owned(), tag.to_owned()), "{name}");
        }
        assert!(is_held("localhost/devbox-container:abc"));
        assert!(!is_held("localhost/devbox-containers:abc") && !is_held("docker.io/library/debian:12"));
    }
}
