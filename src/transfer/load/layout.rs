//! Images in an OCI layout.

use std::collections::BTreeMap;

use super::bundle::{Bundle, Stored};
use super::error::LoadError;
use super::{Found, LoadSpec};
use crate::image::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::manifest::{Document, Index, MAX_MANIFEST_BYTES, Manifest, parse_document};
use crate::image::reference::Reference;
use crate::transfer::error::TransferError;
use crate::transfer::pull::MAX_INDEXES;

/// The tag, or with podman the whole name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// The images that `index.json` names; `None` when there is no such file.
pub(super) fn find(bundle: &Bundle, spec: &LoadSpec<'_>) -> Result<Option<Vec<Found>>, TransferError> {
    let manifest = |source| TransferError::Manifest { image: spec.shown.to_owned(), source };
    let load = |source| spec.failed(source);
    let Some(bytes) = bundle.read("index.json", MAX_MANIFEST_BYTES).map_err(load)? else { return Ok(None) };
    let Document::Index(index) = parse_document(&bytes, None).map_err(manifest)? else {
        return Err(load(LoadError::NoImage));
    };
    // Entries of one name are one image for several platforms.
    let mut groups: BTreeMap<String, Vec<Descriptor>> = BTreeMap::new();
    for entry in index.manifests {
        let name = [IMAGE_NAME, REF_NAME].iter().find_map(|key| entry.annotations.get(*key)).cloned();
        groups.entry(name.unwrap_or_default()).or_default().push(entry);
    }
    let mut found = Vec::new();
    for (name, manifests) in groups {
        let index = Index { schema_version: 2, media_type: None, manifests, annotations: BTreeMap::new() };
        let (descriptor, digest, bytes, manifest) = follow(bundle, spec, index)?;
        found.push(image(bundle, spec, &name, descriptor, digest, bytes, manifest)?);
    }
    Ok(Some(found))
}

/// From an index to the manifest for the platform.
fn follow(
    bundle: &Bundle,
    spec: &LoadSpec<'_>,
    mut index: Index,
) -> Result<(Descriptor, Option<Digest>, Vec<u8>, Manifest), TransferError> {
    let mut from = None;
    for _ in 0..=MAX_INDEXES {
        let Some(chosen) = index.choose(spec.platform).cloned() else {
            let (wanted, found) = (spec.platform.to_string(), index.platforms());
            return Err(TransferError::Platform { image: spec.shown.to_owned(), wanted, found });
        };
        let bytes = blob(bundle, &chosen.digest, MAX_MANIFEST_BYTES).map_err(|source| spec.failed(source))?;
        match parse_document(&bytes, Some(&chosen.media_type))
            .map_err(|source| TransferError::Manifest { image: spec.shown.to_owned(), source })?
        {
            Document::Manifest(manifest) => {
                let descriptor = Descriptor::new(&chosen.media_type, chosen.digest, bytes.len() as u64);
                return Ok((descriptor, from, bytes, manifest));
            }
            Document::Index(next) => {
                index = next;
                from = from.or(Some(chosen.digest));
            }
        }
    }
    Err(TransferError::Nested { image: spec.shown.to_owned() })
}

fn image(
    bundle: &Bundle,
    spec: &LoadSpec<'_>,
    name: &str,
    descriptor: Descriptor,
    index: Option<Digest>,
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
) -> Result<Found, TransferError> {
    manifest.require_image().map_err(|source| TransferError::Manifest { image: spec.shown.to_owned(), source })?;
    let load = |source| spec.failed(source);
    let config_bytes = blob(bundle, &manifest.config.digest, MAX_CONFIG_BYTES).map_err(load)?;
    let config = ImageConfig::parse(&config_bytes)
        .map_err(|source| TransferError::Config { image: spec.shown.to_owned(), source })?;
    let archive = |layer: &Descriptor| -> Result<Stored, LoadError> {
        let file = blob_name(&layer.digest);
        bundle.find(&file)?.ok_or(LoadError::Missing { file })
    };
    let archives = manifest.layers.iter().map(archive).collect::<Result<_, _>>().map_err(load)?;
    let names = whole_name(name).into_iter().collect();
    Ok(Found { names, manifest, manifest_bytes, descriptor, config, config_bytes, index, archives })
}

/// What an annotation names, unless it is a tag only.
fn whole_name(name: &str) -> Option<Reference> {
    if name.contains(['/', ':', '@']) { name.parse().ok() } else { None }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hexadecimal())
}

/// A small blob, checked.
fn blob(bundle: &Bundle, digest: &Digest, limit: usize) -> Result<Vec<u8>, LoadError> {
    let file = blob_name(digest);
    let Some(bytes) = bundle.read(&file, limit)? else { return Err(LoadError::Missing { file }) };
    if !digest.matches(&bytes) {
        return Err(LoadError::Digest { file, found: Digest::of_bytes(&bytes).to_string() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_no_names() {
        for (name, expected) in [
            ("", None),
            ("latest", None),
            ("localhost/app:1", Some("localhost/app:1")),
            ("debian:12", Some("docker.io/library/debian:12")),
            ("Not/A Name", None),
        ] {
            assert_eq!(whole_name(name).map(|name| name.to_string()).as_deref(), expected, "{name}");
        }
    }
}
