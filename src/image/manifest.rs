//! Manifests and indexes, OCI's and docker's, read from bytes that anybody may have written.
//!
//! The bytes are what was hashed; they are kept by whoever fetched them and never written anew from these types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::MAX_CONFIG_BYTES;
use super::descriptor::{Descriptor, null_is_default};
use super::json;
use super::media_type::{self, Kind};
use super::platform::Platform;

/// Bytes of a manifest or index; registries have the same limit.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Layers of an image: more than overlayfs can stack.
pub const MAX_LAYERS: usize = 500;
/// Bytes of one blob: 16 TiB.
const MAX_BLOB_BYTES: u64 = 1 << 44;

/// A manifest or index that devbox does not take.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any manifest should be.
    #[error("the manifest has more than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or without something that a manifest has.
    #[error("the manifest cannot be read")]
    Json {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Docker's first schema, deprecated since 2017.
    #[error("the manifest is of docker's schema 1, which nobody writes any more and devbox does not read")]
    Schema1,
    /// A schema of the future.
    #[error("the manifest is of schema {version}; devbox reads schema 2")]
    Schema {
        /// What it says.
        version: u64,
    },
    /// A media type that is neither a manifest's nor an index's.
    #[error("the manifest is of type `{}`, which is no image", crate::text::sanitize(media_type))]
    MediaType {
        /// What it says, or what the registry says.
        media_type: String,
    },
    /// The document says that it is something else than the registry says. Others may read it as that.
    #[error(
        "the registry calls the manifest `{}`, and the manifest calls itself `{}`",
        crate::text::sanitize(told),
        crate::text::sanitize(own)
    )]
    Contradiction {
        /// What the registry says.
        told: String,
        /// What it says itself.
        own: String,
    },
    /// Layers and manifests in one document: image and index at once.
    #[error("the manifest has both layers and manifests")]
    Ambiguous,
    /// It describes something that is no image.
    #[error("it is no image but an artifact (`{}`)", crate::text::sanitize(media_type))]
    Artifact {
        /// The type of its configuration, or of the artifact.
        media_type: String,
    },
    /// More layers than can be stacked.
    #[error("the image has {count} layers; {MAX_LAYERS} can be stacked")]
    Layers {
        /// How many.
        count: usize,
    },
    /// A layer is of no type that can be unpacked.
    #[error("layer {number} is of type `{}`, which cannot be unpacked", crate::text::sanitize(media_type))]
    LayerType {
        /// Counted from 1, the lowest.
        number: usize,
        /// What it says.
        media_type: String,
    },
    /// A layer that the registry does not have, as those of Windows.
    #[error("layer {number} is not distributed by registries (`{}`)", crate::text::sanitize(media_type))]
    Foreign {
        /// Counted from 1, the lowest.
        number: usize,
        /// What it says.
        media_type: String,
    },
    /// A blob is larger than anything that exists, or too large for what it is.
    #[error("the {what} has {size} bytes; {limit} are allowed")]
    Size {
        /// What is named.
        what: &'static str,
        /// How many it has, or all of them together.
        size: u64,
        /// How many are allowed.
        limit: u64,
    },
}

/// What a reference can lead to.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Images for several platforms.
    Index(Index),
}

/// One image: its configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u64,
    /// What it is; OCI's may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u64,
    /// What it is; OCI's may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Manifests, and possibly further indexes.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What tells the forms apart, looked at first. What else there is was not read into memory yet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    schema_version: u64,
    media_type: Option<String>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or index. `told` is the media type that the registry or the descriptor gives.
pub fn parse_document(bytes: &[u8], told: Option<&str>) -> Result<Document, ManifestError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge);
    }
    let wrong = |source| ManifestError::Json { source };
    let form: Form = json::parse(bytes).map_err(wrong)?;
    match kind(&form, told)? {
        Kind::Manifest => {
            let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
            manifest.check_sizes()?;
            Ok(Document::Manifest(manifest))
        }
        _ => {
            let index: Index = serde_json::from_slice(bytes).map_err(wrong)?;
            for entry in &index.manifests {
                check_size("manifest", entry.size, MAX_MANIFEST_BYTES as u64)?;
            }
            Ok(Document::Index(index))
        }
    }
}

/// [`Kind::Manifest`] or [`Kind::Index`]; what everybody agrees on, so that nobody else can read it as the other one.
fn kind(form: &Form, told: Option<&str>) -> Result<Kind, ManifestError> {
    let told = told.map(media_type::essence).filter(|told| !is_vague(told));
    if form.schema_version == 1
        || form.fs_layers.is_some()
        || told.is_some_and(|t| media_type::kind(t) == Kind::Schema1)
    {
        return Err(ManifestError::Schema1);
    }
    if form.schema_version != 2 {
        return Err(ManifestError::Schema { version: form.schema_version });
    }
    if form.layers.is_some() && form.manifests.is_some() {
        return Err(ManifestError::Ambiguous);
    }
    let own = form.media_type.as_deref().filter(|own| !own.is_empty());
    if let (Some(told), Some(own)) = (told, own)
        && told != own
    {
        return Err(ManifestError::Contradiction { told: told.to_owned(), own: own.to_owned() });
    }
    let shape = if form.manifests.is_some() { Kind::Index } else { Kind::Manifest };
    match own.or(told) {
        None => Ok(shape),
        Some(named) => match media_type::kind(named) {
            named if named == shape => Ok(shape),
            Kind::Manifest | Kind::Index => Err(ManifestError::Contradiction {
                told: named.to_owned(),
                own: if shape == Kind::Index { media_type::INDEX } else { media_type::MANIFEST }.to_owned(),
            }),
            _ => Err(ManifestError::MediaType { media_type: named.to_owned() }),
        },
    }
}

/// What servers say that do not know what they serve.
fn is_vague(media_type: &str) -> bool {
    matches!(media_type, "" | "application/json" | "application/octet-stream" | "text/plain")
}

fn check_size(what: &'static str, size: u64, limit: u64) -> Result<(), ManifestError> {
    if size > limit { Err(ManifestError::Size { what, size, limit }) } else { Ok(()) }
}

impl Manifest {
    fn check_sizes(&self) -> Result<(), ManifestError> {
        if self.layers.len() > MAX_LAYERS {
            return Err(ManifestError::Layers { count: self.layers.len() });
        }
        let total = self.layers.iter().fold(0_u64, |total, layer| total.saturating_add(layer.size));
        check_size("image", total, MAX_BLOB_BYTES)
    }

    /// Checks that it is an image that can be unpacked: its configuration and all of its layers are of known types.
    pub fn require_image(&self) -> Result<(), ManifestError> {
        if self.config.kind() != Kind::Config {
            let media_type = self.artifact_type.as_ref().unwrap_or(&self.config.media_type);
            return Err(ManifestError::Artifact { media_type: media_type.clone() });
        }
        check_size("configuration", self.config.size, MAX_CONFIG_BYTES as u64)?;
        for (number, layer) in (1..).zip(&self.layers) {
            let media_type = layer.media_type.clone();
            match layer.kind() {
                Kind::Layer => {}
                Kind::ForeignLayer => return Err(ManifestError::Foreign { number, media_type }),
                _ => return Err(ManifestError::LayerType { number, media_type }),
            }
        }
        Ok(())
    }
}

impl Index {
    /// The entry that runs best on `platform`; of equals the first.
    ///
    /// Entries without a platform come last: their configuration tells it. What is neither a manifest nor an index is
    /// no candidate, nor are attestations.
    #[must_use]
    pub fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        let rank = |entry: &Descriptor| match &entry.platform {
            Some(other) => platform.rank(other),
            None if entry.artifact_type.is_none() => Some(usize::MAX),
            None => None,
        };
        let candidates = self.manifests.iter().filter(|entry| matches!(entry.kind(), Kind::Manifest | Kind::Index));
        candidates.filter_map(|entry| Some((rank(entry)?, entry))).min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
    }

    /// What its images run on, each once, without those that say `unknown`.
    #[must_use]
    pub fn platforms(&self) -> Vec<String> {
        let named = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let mut found: Vec<String> = Vec::new();
        for platform in
            named.filter(|platform| platform.os != "unknown").map(|platform| platform.normalized().to_string())
        {
            if !found.contains(&platform) {
                found.push(platform);
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
