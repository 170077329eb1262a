//! What the user's `config.toml` says of registries.
//!
//! ```toml
//! [registries]
//! insecure = ["registry.lan:5000"]        # plain http, or certificates that nobody vouches for
//! [registries.aliases]
//! web = "registry.example.com/team/web"   # `web:2` is `registry.example.com/team/web:2`
//! [registries.mirrors]
//! "docker.io" = ["mirror.lan:5000"]       # asked first; `host/prefix` puts the prefix before the repository
//! ```

use std::collections::BTreeMap;

use super::url::is_loopback;
use crate::image::layer::UnpackLimits;
use crate::image::reference::{Reference, ReferenceError};

/// Aliases, mirrors and exceptions; checked when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Short names and the repositories that they stand for.
    pub aliases: BTreeMap<String, String>,
    /// For a registry (`host:port`, `docker.io`), what is asked before it.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// Registries whose connections need not be encrypted or authentic.
    pub insecure: Vec<String>,
    /// How large layers may become.
    pub limits: UnpackLimits,
}

/// A copy of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `host` or `host:port`.
    pub registry: String,
    /// What stands before the repository there, or nothing.
    pub prefix: String,
}

/// An entry of the configuration that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// An alias is looked up by a name without slash, tag and digest.
    #[error("`{}` cannot be an alias: lower-case letters and digits, with `.`, `_` or dashes between them", name.escape_debug())]
    Alias {
        /// As it was given.
        name: String,
    },
    /// What an alias stands for has a tag or a digest, which the short name gets.
    #[error("`{}` has a tag or a digest; an alias stands for a repository", target.escape_debug())]
    Tagged {
        /// As it was given.
        target: String,
    },
    /// Not the host of a registry.
    #[error("`{}` is no registry (`host` or `host:port`)", registry.escape_debug())]
    Registry {
        /// As it was given.
        registry: String,
    },
    /// Not a repository.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Checks an alias and what it stands for.
pub fn check_alias(name: &str, target: &str) -> Result<(), SettingsError> {
    let is_short = |reference: Reference| reference.familiar() == name;
    if name.contains(['/', ':', '@']) || !name.parse().is_ok_and(is_short) {
        return Err(SettingsError::Alias { name: name.to_owned() });
    }
    let reference: Reference = target.parse()?;
    let last = target.rsplit('/').next().unwrap_or_default();
    if reference.digest().is_some() || last.contains(':') {
        return Err(SettingsError::Tagged { target: target.to_owned() });
    }
    Ok(())
}

/// Checks `host` or `host:port`.
pub fn check_registry(registry: &str) -> Result<(), SettingsError> {
    let wrong = || SettingsError::Registry { registry: registry.to_owned() };
    if registry == "localhost" || registry.contains(['.', ':']) && !registry.contains('/') {
        let reference: Reference = format!("{registry}/x").parse().map_err(|_| wrong())?;
        return if reference.registry() == registry { Ok(()) } else { Err(wrong()) };
    }
    Err(wrong())
}

/// Reads `host:port` or `host:port/prefix`.
pub fn parse_mirror(text: &str) -> Result<Mirror, SettingsError> {
    let text = text.trim_end_matches('/');
    let (registry, prefix) = text.split_once('/').unwrap_or((text, ""));
    check_registry(registry)?;
    if !prefix.is_empty() {
        let reference: Reference = text.parse()?;
        if reference.repository() != prefix {
            return Err(SettingsError::Tagged { target: text.to_owned() });
        }
    }
    Ok(Mirror { registry: registry.to_owned(), prefix: prefix.to_owned() })
}

impl Settings {
    /// Reads the name of an image; a name without slash may be an alias.
    pub fn reference(&self, text: &str) -> Result<Reference, ReferenceError> {
        let end = text.find([':', '@']).unwrap_or(text.len());
        match self.aliases.get(&text[..end]) {
            Some(target) => format!("{target}{}", &text[end..]).parse(),
            None => text.parse(),
        }
    }

    /// Where `repository` of `registry` can be read, mirrors first, the registry itself last: registry and repository.
    pub(super) fn places(&self, registry: &str, repository: &str) -> Vec<(String, String)> {
        let mirrors = self.mirrors.get(registry).into_iter().flatten();
        let mirrored = mirrors.map(|mirror| match mirror.prefix.as_str() {
            "" => (mirror.registry.clone(), repository.to_owned()),
            prefix => (mirror.registry.clone(), format!("{prefix}/{repository}")),
        });
        mirrored.chain([(registry.to_owned(), repository.to_owned())]).collect()
    }

    /// Whether connections need not be authentic.
    pub(super) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.iter().any(|insecure| insecure.eq_ignore_ascii_case(registry))
    }

    /// Whether connections need not be encrypted.
    pub(super) fn may_be_plain(&self, registry: &str) -> bool {
        is_loopback(registry) || self.is_insecure(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_and_mirrors() {
        let mut settings = Settings::default();
        settings.aliases.insert("web".to_owned(), "r.io/team/web".to_owned());
        let mirrors = ["m.lan:5000", "m.io/hub/"].map(|text| parse_mirror(text).unwrap());
        settings.mirrors.insert("docker.io".to_owned(), mirrors.to_vec());
        for (text, expected) in [
            ("web", "r.io/team/web:latest"),
            ("web:2", "r.io/team/web:2"),
            ("web/x", "docker.io/web/x:latest"),
            ("debian", "docker.io/library/debian:latest"),
        ] {
            assert_eq!(settings.reference(text).unwrap().to_string(), expected);
        }
        let places = settings.places("docker.io", "library/debian");
        let places: Vec<_> = places.iter().map(|(registry, repository)| format!("{registry} {repository}")).collect();
        assert_eq!(places, ["m.lan:5000 library/debian", "m.io hub/library/debian", "docker.io library/debian"]);
        assert_eq!(settings.places("r.io", "x").len(), 1);
    }

    #[test]
    fn entries_are_checked() {
        for (name, target, is_good) in [
            ("web", "r.io/web", true),
            ("web", "localhost:5000/web", true),
            ("web", "debian", true),
            ("web", "r.io/web:1", false),
            ("web", "r.io/Web", false),
            ("a/b", "r.io/web", false),
            ("web:1", "r.io/web", false),
            ("Web", "r.io/web", false),
            ("", "r.io/web", false),
        ] {
            assert_eq!(check_alias(name, target).is_ok(), is_good, "{name} {target}");
        }
        for (text, is_good) in [
            ("docker.io", true),
            ("localhost", true),
            ("r.io:5000", true),
            ("[::1]:5000", true),
            ("r", false),
            ("https://r.io", false),
            ("r.io/x", false),
            ("index.docker.io", false),
            ("", false),
        ] {
            assert_eq!(check_registry(text).is_ok(), is_good, "{text}");
        }
        assert!(parse_mirror("m.io/x:1").is_err() && parse_mirror("m").is_err());
    }

    #[test]
    fn exceptions() {
        let settings = Settings { insecure: vec!["r.lan:5000".to_owned()], ..Settings::default() };
        for (registry, plain, insecure) in [
            ("R.lan:5000", true, true),
            ("r.lan", false, false),
            ("localhost:5000", true, false),
            ("127.0.0.1", true, false),
            ("docker.io", false, false),
        ] {
            assert_eq!(
                (settings.may_be_plain(registry), settings.is_insecure(registry)),
                (plain, insecure),
                "{registry}"
            );
        }
    }
}
