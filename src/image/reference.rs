//! The name of an image: `[registry/]repository[:tag][@digest]`, read exactly as docker reads it.
//!
//! ```text
//! reference  = [registry "/"] repository [":" tag] ["@" digest]
//! registry   = host [":" port]          only if it has a `.`, a `:` or an upper-case letter, or is `localhost`
//! host       = label *("." label) | "[" IPv6 "]"
//! repository = component *("/" component)
//! component  = [a-z0-9]+ *(separator [a-z0-9]+)      separator = "." | "_" | "__" | "-"+
//! tag        = [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! ```
//!
//! Without a registry it is Docker Hub's (`docker.io`), whose repositories of one component lie below `library/`;
//! without a tag and a digest the tag is `latest`. Short-name aliases are the configuration's and not known here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, DigestError};

/// Docker Hub, as references write it.
pub const DOCKER_HUB: &str = "docker.io";
/// The tag that is meant when neither a tag nor a digest is given.
pub const DEFAULT_TAG: &str = "latest";
/// What stands before Docker Hub's repositories of one component.
const OFFICIAL: &str = "library/";
/// Characters of a repository.
const MAX_REPOSITORY: usize = 255;
/// Characters of a tag.
const MAX_TAG: usize = 128;
/// Characters of a whole reference that is looked at: more than all its parts together can have.
const MAX_REFERENCE: usize = 1024;

/// A text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("the name of the image is empty")]
    Empty,
    /// Longer than any reference.
    #[error("the name of an image has at most {MAX_REFERENCE} characters")]
    Long,
    /// 64 hexadecimal digits: docker reads them as an image's id.
    #[error("`{id}` is an image's id and not its name")]
    Id {
        /// The digits.
        id: String,
    },
    /// Repositories are in lower case.
    #[error("the repository `{}` has upper-case letters", repository.escape_debug())]
    Uppercase {
        /// As it was given.
        repository: String,
    },
    /// The repository is too long.
    #[error("the repository has {characters} characters; {MAX_REPOSITORY} are allowed")]
    LongRepository {
        /// How many it has.
        characters: usize,
    },
    /// The part before the first slash cannot be a host with a port.
    #[error("`{}` is no registry (`host` or `host:port`)", registry.escape_debug())]
    Registry {
        /// As it was given.
        registry: String,
    },
    /// The repository has characters or an order of them that is not allowed.
    #[error(
        "`{}` is no repository: lower-case letters and digits, with `.`, `_`, `__` or dashes between them and `/` between its parts",
        repository.escape_debug()
    )]
    Repository {
        /// As it was given.
        repository: String,
    },
    /// What follows the last colon cannot be a tag.
    #[error("`{}` is no tag: at most {MAX_TAG} letters, digits, `_`, `.`, `-`, not beginning with `.` or `-`", tag.escape_debug())]
    Tag {
        /// As it was given.
        tag: String,
    },
    /// What follows the `@` is no digest.
    #[error("what follows `@` is no digest")]
    Digest {
        /// Why.
        source: DigestError,
    },
}

/// The complete name of an image. Its parts are safe in URLs; `registry` and `repository` are also safe as paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// `host` or `host:port`; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// With `library/` where that was left out.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `None` only if there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, which decides when there is a tag too.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, or else the tag.
    #[must_use]
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// `registry/repository`, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository with this digest, and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same name with this digest, which decides.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same repository with this tag, and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// As people write it: without `docker.io/`, `library/` and `:latest`, unless it would be read differently then.
    #[must_use]
    pub fn familiar(&self) -> String {
        let name = match self.registry.as_str() {
            DOCKER_HUB => self.repository.strip_prefix(OFFICIAL).unwrap_or(&self.repository).to_owned(),
            _ => self.name(),
        };
        let tag = self.tag.as_ref().filter(|tag| *tag != DEFAULT_TAG || self.digest.is_some());
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        let short = format!("{name}{tag}{digest}");
        if short.parse().as_ref() == Ok(self) { short } else { self.to_string() }
    }
}

impl fmt::Display for Reference {
    /// Complete: `docker.io/library/debian:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_REFERENCE {
            return Err(ReferenceError::Long);
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Id { id: text.to_owned() });
        }
        let (registry, rest) = split_registry(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|source| ReferenceError::Digest { source })?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        check_registry(registry)?;
        let repository = if registry == DOCKER_HUB && !repository.contains('/') {
            format!("{OFFICIAL}{repository}")
        } else {
            repository.to_owned()
        };
        check_repository(&repository)?;
        tag.map_or(Ok(()), check_tag)?;
        let default = digest.is_none().then_some(DEFAULT_TAG);
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.or(default).map(str::to_owned), digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// The part before the first slash is a registry only when it cannot be a part of a repository of Docker Hub.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB, rest),
        Some((first, rest))
            if first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, text),
    }
}

fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = registry.split_at(registry.find(':').unwrap_or(registry.len()));
            (name.split('.').all(is_label), port)
        }
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    if host && port { Ok(()) } else { Err(ReferenceError::Registry { registry: registry.to_owned() }) }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    if repository.chars().any(char::is_uppercase) {
        let given = repository.strip_prefix(OFFICIAL).unwrap_or(repository);
        return Err(ReferenceError::Uppercase { repository: given.to_owned() });
    }
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |component: &str| {
        component.bytes().next().is_some_and(is_word)
            && component.bytes().last().is_some_and(is_word)
            && component.split(|c: char| u8::try_from(c).is_ok_and(is_word)).all(is_separator)
    };
    if !repository.split('/').all(is_component) {
        let given = repository.strip_prefix(OFFICIAL).unwrap_or(repository);
        return Err(ReferenceError::Repository { repository: given.to_owned() });
    }
    if repository.len() > MAX_REPOSITORY {
        return Err(ReferenceError::LongRepository { characters: repository.len() });
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    if fits { Ok(()) } else { Err(ReferenceError::Tag { tag: tag.to_owned() }) }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
