//! What the user's `config.toml` says beside `[profile]`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::diagnostic::Diagnostic;
use super::error::ProfileError;
use super::load::{exists, read};
use super::registries;
use super::schema::{At, RawConfig};
use crate::base::OverlayDriver;
use crate::limits::amount::parse_size;
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

impl BuildCache {
    /// Everything is kept.
    pub const UNLIMITED: Self = Self { max_age: Duration::MAX, max_size_bytes: None };
    /// Nothing is kept.
    pub const NOTHING: Self = Self { max_age: Duration::ZERO, max_size_bytes: None };
}

impl Default for BuildCache {
    fn default() -> Self {
        Self { max_age: 30 * DAY, max_size_bytes: None }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys of `[build_cache]` as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBuildCache {
    /// Such as `"30d"`.
    max_age: Option<At<String>>,
    /// Such as `"20GiB"`.
    max_size: Option<At<String>>,
}

/// A number of days, hours, minutes or seconds: `30d`, `12h`, `5m`, `10s`.
#[must_use]
pub fn parse_age(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        'd' => 24 * 60 * 60,
        'h' => 60 * 60,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some(Duration::from_secs(digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)?))
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
        build_cache: build_cache(file, text, raw.build_cache)?,
    })
}

/// Checks `[build_cache]` of `file`, whose whole text is `text`.
pub fn build_cache(file: &Path, text: &str, raw: RawBuildCache) -> Result<BuildCache, Box<Diagnostic>> {
    let mut cache = BuildCache::default();
    if let Some(At { value, span }) = raw.max_age {
        cache.max_age = parse_age(&value).ok_or_else(|| {
            let error = Diagnostic::new(file, text, span, format!("`{value}` is no age"));
            Box::new(error.help("write it like `\"30d\"` or `\"12h\"`"))
        })?;
    }
    if let Some(At { value, span }) = raw.max_size {
        cache.max_size_bytes = Some(parse_size(&value).ok_or_else(|| {
            let error = Diagnostic::new(file, text, span, format!("`{value}` is no size"));
            Box::new(error.help("write it like `\"20GiB\"`"))
        })?);
    }
    Ok(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_kept_of_builds() {
        let read = |text: &str| parse(Path::new("config.toml"), text).map(|config| config.build_cache);
        let default = BuildCache::default();
        assert_eq!(read(""), Ok(default));
        let read_ok = |text: &str| read(&format!("[build_cache]\n{text}")).expect(text);
        assert_eq!(read_ok("max_age = \"12h\""), BuildCache { max_age: DAY / 2, ..default });
        assert_eq!(read_ok("max_size = \"20GiB\"\nmax_age = \"0s\"").max_age, Duration::ZERO);
        assert_eq!(read_ok("max_size = \"20GiB\"").max_size_bytes, Some(20 << 30));
        for (text, expected) in [
            ("max_siz = 1", "config.toml:2:1: unknown key `max_siz` (did you mean `max_size`?)"),
            ("max_age = \"1\"", "config.toml:2:11: `1` is no age"),
            ("max_age = \"+1d\"", "config.toml:2:11: `+1d` is no age"),
            ("max_age = \"ü\"", "config.toml:2:11: `ü` is no age"),
            ("max_size = \"5\"", "config.toml:2:12: `5` is no size"),
        ] {
            let error = read(&format!("[build_cache]\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
