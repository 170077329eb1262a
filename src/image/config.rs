//! The configuration of an image: what to run and how, and the digests of its unpacked layers.
//!
//! What devbox does not know is kept, so that a changed configuration still has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::descriptor::null_is_default;
use super::digest::Digest;
use super::json;
use super::platform::Platform;

/// Bytes of a configuration. Real ones have a few thousand.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// A configuration that devbox does not take.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Larger than any configuration should be.
    #[error("the image's configuration has more than {MAX_CONFIG_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or not of this form.
    #[error("the image's configuration cannot be read")]
    Json {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Not a number of layers.
    #[error(
        "the image's configuration has a root file system of type `{}`; only `layers` is known",
        crate::text::sanitize(kind)
    )]
    RootFs {
        /// What it says.
        kind: String,
    },
    /// The configuration belongs to another manifest.
    #[error("the manifest has {manifest} layers and its configuration {config}")]
    LayerCount {
        /// Layers that the manifest names.
        manifest: usize,
        /// Digests that the configuration has.
        config: usize,
    },
}

/// An image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `amd64`, `arm64` ...
    #[serde(default)]
    pub architecture: String,
    /// `v8` of arm64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// What to run and how.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// The unpacked layers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// How each layer came to be, the lowest first.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// All else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What to run in the image and how. `null` and absence mean the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `name`, `uid`, `name:group`, `uid:gid`; empty for root.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that services listen on: `80/tcp`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Map<String, Value>>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What stands before the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories whose content outlives the container.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Map<String, Value>>,
    /// Where the command starts.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// For people and programs.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What asks the command to end: `SIGTERM`, `15`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How to tell whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What runs instructions in shell form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions for images that are built on this one.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Of Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// All else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How to tell whether the command works. Times are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ..]`, `["CMD-SHELL", command]`; empty to inherit.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// For one check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// During which failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between two checks during the start period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures in a row that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// All else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The unpacked layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed archives, the lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// How one layer, or one change of the configuration alone, came to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// By what command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether no layer belongs to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// All else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfig {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge);
        }
        let config: Self = json::parse(bytes).map_err(|source| ConfigError::Json { source })?;
        if config.rootfs.kind != "layers" {
            return Err(ConfigError::RootFs { kind: config.rootfs.kind });
        }
        Ok(config)
    }

    /// Checks that it has one digest for each of the manifest's `layers`.
    pub fn require_layers(&self, layers: usize) -> Result<(), ConfigError> {
        let config = self.rootfs.diff_ids.len();
        if config == layers { Ok(()) } else { Err(ConfigError::LayerCount { manifest: layers, config }) }
    }

    /// What it runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), ..Platform::linux(&self.architecture, self.variant.as_deref()) }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
