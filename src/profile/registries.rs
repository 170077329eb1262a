//! `[registries]` and `[images]` of the user's `config.toml`, checked: [`Settings`].

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;

use super::diagnostic::Diagnostic;
use super::error::ProfileError;
use super::schema::At;
use crate::paths::Paths;
use crate::registry::settings::{Settings, SettingsError, check_alias, check_registry, parse_mirror};

/// The keys as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRegistries {
    /// Short names and what they stand for.
    #[serde(default)]
    aliases: BTreeMap<At<String>, At<String>>,
    /// For a registry, what is asked before it.
    #[serde(default)]
    mirrors: BTreeMap<At<String>, Vec<At<String>>>,
    /// Registries whose connections need not be encrypted or authentic.
    #[serde(default)]
    insecure: Vec<At<String>>,
}

/// The keys of `[images]` as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawImages {
    /// GiB that the archive of one layer may have when decompressed.
    max_layer_gib: Option<NonZeroU32>,
    /// How many times its compressed size.
    max_ratio: Option<NonZeroU32>,
}

/// What the user's `config.toml` says of registries; nothing when there is none.
pub fn load(paths: &Paths) -> Result<Settings, ProfileError> {
    Ok(super::user::load(paths)?.registries)
}

/// Checks the sections of `file`, whose whole text is `text`.
pub fn check(file: &Path, text: &str, raw: RawRegistries, images: RawImages) -> Result<Settings, Box<Diagnostic>> {
    let wrong = |at: &At<String>, error: SettingsError| {
        Box::new(Diagnostic::new(file, text, at.span.clone(), error.to_string()))
    };
    let mut settings = Settings::default();
    let limits = &mut settings.limits;
    limits.size_bytes = images.max_layer_gib.map_or(limits.size_bytes, |gib| u64::from(gib.get()) << 30);
    limits.ratio = images.max_ratio.map_or(limits.ratio, |ratio| ratio.get().into());
    for (name, target) in raw.aliases {
        check_alias(&name.value, &target.value).map_err(|error| {
            let at = if matches!(error, SettingsError::Alias { .. }) { &name } else { &target };
            wrong(at, error)
        })?;
        settings.aliases.insert(name.value, target.value);
    }
    for (registry, mirrors) in raw.mirrors {
        check_registry(&registry.value).map_err(|error| wrong(&registry, error))?;
        let read = |mirror: At<String>| parse_mirror(&mirror.value).map_err(|error| wrong(&mirror, error));
        let mirrors = mirrors.into_iter().map(read).collect::<Result<_, _>>()?;
        settings.mirrors.insert(registry.value, mirrors);
    }
    for registry in raw.insecure {
        check_registry(&registry.value).map_err(|error| wrong(&registry, error))?;
        settings.insecure.push(registry.value);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::schema::RawConfig;

    fn read(text: &str) -> Result<Settings, String> {
        let file = Path::new("config.toml");
        let raw: RawConfig =
            toml::from_str(text).map_err(|error| Diagnostic::from_toml(file, text, &error).to_string())?;
        check(file, text, raw.registries, raw.images).map_err(|diagnostic| diagnostic.to_string())
    }

    #[test]
    fn what_is_meant() {
        let text = "[profile]\nshell = \"/bin/sh\"\n[registries]\ninsecure = [\"r.lan:5000\"]\n[registries.aliases]\n\
                    web = \"r.io/web\"\n[registries.mirrors]\n\"docker.io\" = [\"m.lan\", \"m.io/hub\"]\n";
        let settings = read(text).unwrap();
        assert_eq!(settings.insecure, ["r.lan:5000"]);
        assert_eq!(settings.reference("web:1").unwrap().to_string(), "r.io/web:1");
        assert_eq!(settings.mirrors["docker.io"].len(), 2);
        assert_eq!(read("").unwrap(), Settings::default());
        let limits = read("[images]\nmax_layer_gib = 2\nmax_ratio = 50\n").unwrap().limits;
        assert_eq!((limits.size_bytes, limits.ratio), (2 << 30, 50));
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("[registries]\ninsecur = []", "config.toml:2:1: unknown key `insecur` (did you mean `insecure`?)"),
            (
                "[registries]\ninsecure = [\"a.io\",\n \"https://x\"]",
                "config.toml:3:2: `https://x` is no registry (`host` or `host:port`)",
            ),
            (
                "[registries.aliases]\nweb = \"r.io/web:1\"",
                "config.toml:2:7: `r.io/web:1` has a tag or a digest; an alias stands for a repository",
            ),
            (
                "[registries.aliases]\n\"a/b\" = \"r.io/x\"",
                "config.toml:2:1: `a/b` cannot be an alias: lower-case letters and digits, with `.`, `_` or dashes between them",
            ),
            (
                "[registries.aliases]\nx = 1",
                "config.toml:2:5: wrong type: expected a string in quotes (this is the number `1`)",
            ),
            ("[images]\nmax_rati = 1", "config.toml:2:1: unknown key `max_rati` (did you mean `max_ratio`?)"),
            ("[registries.mirrors]\nhub = [\"m.io\"]", "config.toml:2:1: `hub` is no registry (`host` or `host:port`)"),
            (
                "[registries.mirrors]\n\"docker.io\" = [\"m\"]",
                "config.toml:2:16: `m` is no registry (`host` or `host:port`)",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }
}
