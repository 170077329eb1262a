//! What the user's `config.toml` says beside `[profile]`.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::diagnostic::Diagnostic;
use super::error::ProfileError;
use super::load::{exists, read};
use super::registries;
use super::schema::RawConfig;
use crate::base::OverlayDriver;
use crate::paths::Paths;
use crate::registry::Settings;

/// Choices that hold for every project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserConfig {
    /// Where images come from, and how large they may become.
    pub registries: Settings,
    /// Who stacks layers; `None`: whoever can.
    pub driver: Option<OverlayDriver>,
    /// What is kept of builds.
    pub build_cache: BuildCache,
}

/// What `gc` keeps of the steps of builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildCache {
    /// What was not needed for so long goes.
    pub max_age: Duration,
    /// What was needed last stays until it takes so much room; `None`: as much as it takes.
    pub max_size_bytes: Option<u64>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for BuildCache {
    fn default() -> Self {
        Self { max_age: 30 * DAY, max_size_bytes: None }
    }
}

/// The keys of `[build_cache]` as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBuildCache {
    /// Days.
    max_age_days: Option<u32>,
    /// GiB.
    max_size_gib: Option<NonZeroU32>,
}

impl From<RawBuildCache> for BuildCache {
    fn from(raw: RawBuildCache) -> Self {
        Self {
            max_age: raw.max_age_days.map_or(Self::default().max_age, |days| days * DAY),
            max_size_bytes: raw.max_size_gib.map(|gib| u64::from(gib.get()) << 30),
        }
    }
}

/// Reads and checks `config.toml`; the defaults when there is none.
pub fn load(paths: &Paths) -> Result<UserConfig, ProfileError> {
    let path = paths.config.join("config.toml");
    if !exists(&path)? {
        return Ok(UserConfig::default());
    }
    Ok(parse(&path, &read(&path)?.text)?)
}

fn parse(file: &Path, text: &str) -> Result<UserConfig, Box<Diagnostic>> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| Box::new(Diagnostic::from_toml(file, text, &error)))?;
    Ok(UserConfig {
        registries: registries::check(file, text, raw.registries, raw.images)?,
        driver: raw.overlay.driver.into(),
        build_cache: raw.build_cache.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_kept_of_builds() {
        let read = |text: &str| parse(Path::new("config.toml"), text).map(|config| config.build_cache);
        let default = BuildCache::default();
        assert_eq!(read(""), Ok(default));
        assert_eq!(read("[build_cache]\nmax_age_days = 0"), Ok(BuildCache { max_age: Duration::ZERO, ..default }));
        let sized = BuildCache { max_size_bytes: Some(20 << 30), ..default };
        assert_eq!(read("[build_cache]\nmax_size_gib = 20"), Ok(sized));
        for (text, expected) in [
            ("max_size_gb = 1", "config.toml:2:1: unknown key `max_size_gb` (did you mean `max_size_gib`?)"),
            ("max_age_days = -1", "config.toml:2:16: "),
            ("max_size_gib = 0", "config.toml:2:16: "),
        ] {
            let error = read(&format!("[build_cache]\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
