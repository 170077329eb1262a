//! Images in an archive of `docker save`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Found;
use super::bundle::{Bundle, Stored};
use super::error::LoadError;
use crate::image::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::image::descriptor::{Descriptor, null_is_default};
use crate::image::digest::Digest;
use crate::image::json::parse as parse_json;
use crate::image::layer::is_compressed;
use crate::image::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::image::media_type::{CONFIG, LAYER, LAYER_GZIP, MANIFEST};

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layers: Vec<String>,
}

/// The images that `manifest.json` names; `None` when there is no such file.
pub(super) fn find(bundle: &Bundle) -> Result<Option<Vec<Found>>, LoadError> {
    let file = "manifest.json";
    let Some(bytes) = bundle.read(file, MAX_MANIFEST_BYTES)? else { return Ok(None) };
    let entries: Vec<Entry> = parse_json(&bytes).map_err(|source| LoadError::Json { file, source })?;
    entries.iter().map(|entry| image(bundle, entry)).collect::<Result<_, _>>().map(Some)
}

fn image(bundle: &Bundle, entry: &Entry) -> Result<Found, LoadError> {
    let missing = |file: &str| LoadError::Missing { file: file.to_owned() };
    let config_bytes = bundle.read(&entry.config, MAX_CONFIG_BYTES)?.ok_or_else(|| missing(&entry.config))?;
    let json = |source| LoadError::Json { file: "configuration", source };
    let config: ImageConfig = parse_json(&config_bytes).map_err(json)?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != entry.layers.len() {
        return Err(LoadError::LayerCount { manifest: entry.layers.len(), config: diff_ids.len() });
    }
    let mut archives = Vec::new();
    let mut layers = Vec::new();
    for (file, diff_id) in entry.layers.iter().zip(diff_ids) {
        let archive = bundle.find(file)?.ok_or_else(|| missing(file))?;
        layers.push(describe(&archive, diff_id).map_err(|source| LoadError::Read { source })?);
        archives.push(archive);
    }
    // The archive has no manifest that could be hashed: this one says the same.
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::of_bytes(CONFIG, &config_bytes),
        layers,
        annotations: BTreeMap::new(),
    };
    let manifest_bytes = serde_json::to_vec(&manifest).map_err(json)?;
    Ok(Found {
        names: entry.repo_tags.iter().filter_map(|name| name.parse().ok()).collect(),
        descriptor: Descriptor::of_bytes(MANIFEST, &manifest_bytes),
        manifest,
        manifest_bytes,
        config,
        config_bytes,
        index: None,
        archives,
    })
}

/// The descriptor of an archive. A plain one has the digest that the configuration says; others must be read.
fn describe(archive: &Stored, diff_id: &Digest) -> std::io::Result<Descriptor> {
    use std::io::Read;
    let mut magic = Vec::new();
    archive.reader(0).take(6).read_to_end(&mut magic)?;
    if !is_compressed(&magic) {
        return Ok(Descriptor::new(LAYER, diff_id.clone(), archive.size));
    }
    let mut hasher = diff_id.hasher();
    let (mut reader, mut buffer) = (archive.reader(0), vec![0; 256 << 10]);
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Descriptor::new(LAYER_GZIP, hasher.digest(), archive.size))
}
