//! `devbox image inspect`.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::args::image::Name;
use crate::cli::{Outcome, print_json};
use crate::error::Error;
use crate::image::store::Store;
use crate::paths::Paths;

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    digest: String,
    media_type: &'a str,
    platform: String,
    pulled: &'a str,
    layers: Vec<Layer<'a>>,
    config: &'a RawValue,
}

#[derive(Serialize)]
struct Layer<'a> {
    digest: String,
    diff_id: String,
    media_type: &'a str,
    size_bytes: u64,
}

/// Prints what is known of an image; `config` is its configuration as it was made.
pub fn run(args: &Name) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let (_, record) = super::find(&paths, &store, &args.image)?;
    let (manifest, config, bytes) = super::contents(&store, &record)?;
    let raw: &RawValue = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(format!("cannot read the configuration: {error}")))?;
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(|(layer, diff_id)| Layer {
        digest: layer.digest.to_string(),
        diff_id: diff_id.to_string(),
        media_type: &layer.media_type,
        size_bytes: layer.size,
    });
    print_json(&Shown {
        name: &record.name,
        digest: record.manifest.digest.to_string(),
        media_type: &record.manifest.media_type,
        platform: config.platform().to_string(),
        pulled: &record.created,
        layers: layers.collect(),
        config: raw,
    })
}
