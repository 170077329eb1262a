//! Logins that docker and podman keep, and that `devbox image login` keeps where they look.
//!
//! ```text
//! $REGISTRY_AUTH_FILE                       alone when it is set
//! $DOCKER_CONFIG/config.json, or ~/.docker/config.json
//! $XDG_RUNTIME_DIR/containers/auth.json     or /run/containers/UID/auth.json
//! $XDG_CONFIG_HOME/containers/auth.json
//!
//! {"auths": {"KEY": {"auth": base64("user:password"), "identitytoken": ".."}},
//!  "credHelpers": {"KEY": "NAME"}, "credsStore": "NAME"}
//! ```
//!
//! KEY is a registry, in podman's file also `registry/namespace`; Docker Hub's is `https://index.docker.io/v1/`. NAME
//! stands for the program `docker-credential-NAME`, which then has the login. What else is in a file is kept.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value, json};

use super::error::CredentialError;
use super::helper;
use crate::image::reference::DOCKER_HUB;
use crate::image::store::{StoreError, write_durably};
use crate::paths::{Paths, create_private, variable};

/// Docker Hub, as files of logins and helpers call it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Bytes of a file of logins.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Who we are to a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `<token>` for an identity token.
    pub user: String,
    /// The password, or the identity token.
    pub secret: String,
    /// Whether the secret is an identity token: it buys access tokens.
    pub is_identity_token: bool,
    /// Where it was found, for people.
    pub from: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?} from {})", self.user, self.from)
    }
}

impl Login {
    /// As the `Authorization` header has it.
    #[must_use]
    pub fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.secret)))
    }
}

/// The files of logins of this user.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// In the order in which they are asked; the first is written to.
    files: Vec<PathBuf>,
}

/// One file, as far as it is known here.
struct LoginFile {
    path: PathBuf,
    root: Map<String, Value>,
}

impl Credentials {
    /// The files that the environment and the home directory name.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = set("REGISTRY_AUTH_FILE") {
            return Self { files: vec![file] };
        }
        let docker = set("DOCKER_CONFIG").unwrap_or_else(|| paths.home.join(".docker")).join("config.json");
        let runtime = match set("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("containers/auth.json"),
            None => Path::new("/run/containers").join(rustix::process::getuid().to_string()).join("auth.json"),
        };
        let config = paths.config.parent().map(|config| config.join("containers/auth.json"));
        Self { files: [docker, runtime].into_iter().chain(config).collect() }
    }

    /// The login for `repository` of `registry`, if there is one; the file that says most about it decides.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialError> {
        for path in &self.files {
            let Some(file) = LoginFile::load(path)? else { continue };
            if let Some(login) = file.find(registry, repository)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Keeps a login where docker and podman find it; returns where that is.
    pub fn store(&self, registry: &str, user: &str, secret: &str) -> Result<String, CredentialError> {
        if user.contains(':') || user.chars().any(char::is_control) {
            return Err(CredentialError::User);
        }
        let path = &self.files[0];
        let mut file = LoginFile::load(path)?.unwrap_or_else(|| LoginFile { path: path.clone(), root: Map::new() });
        if let Some(helper) = file.helper(registry)? {
            helper::store(path, helper, server(registry), user, secret)?;
            return Ok(format!("the credential helper `{helper}`"));
        }
        file.remove(registry);
        let auths = file.root.entry("auths").or_insert_with(|| json!({}));
        let auth = BASE64_STANDARD.encode(format!("{user}:{secret}"));
        match auths.as_object_mut() {
            Some(auths) => auths.insert(server(registry).to_owned(), json!({ "auth": auth })),
            None => return Err(file.wrong("`auths` is no object")),
        };
        file.save()?;
        Ok(format!("`{}`", path.display()))
    }

    /// Forgets the logins of a registry wherever [`Self::find`] would find them; returns where they were.
    pub fn erase(&self, registry: &str) -> Result<Vec<String>, CredentialError> {
        let mut erased = Vec::new();
        for path in &self.files {
            let Some(mut file) = LoginFile::load(path)? else { continue };
            if let Some(helper) = file.helper(registry)?
                && helper::get(path, helper, server(registry))?.is_some()
            {
                helper::erase(path, helper, server(registry))?;
                erased.push(format!("the credential helper `{helper}`"));
            }
            if file.remove(registry) {
                file.save()?;
                erased.push(format!("`{}`", path.display()));
            }
        }
        Ok(erased)
    }
}

impl LoginFile {
    fn load(path: &Path) -> Result<Option<Self>, CredentialError> {
        let failed = |source| CredentialError::File { operation: "read", path: path.to_owned(), source };
        match std::fs::metadata(path) {
            Ok(meta) if !meta.is_file() || meta.len() > MAX_FILE_BYTES => {
                return Err(failed(std::io::Error::new(ErrorKind::InvalidData, "it is no file of a few kilobytes")));
            }
            Ok(_) => {}
            // After `su`, `XDG_RUNTIME_DIR` is still another user's.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        }
        let text = std::fs::read(path).map_err(failed)?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self { path: path.to_owned(), root: Map::new() }));
        }
        let root = serde_json::from_slice(&text)
            .map_err(|source| CredentialError::Content { path: path.to_owned(), source })?;
        Ok(Some(Self { path: path.to_owned(), root }))
    }

    /// Replaces the file, or what a symlink leads to, by one of mode 0600.
    fn save(&self) -> Result<(), CredentialError> {
        let failed = |source| CredentialError::File { operation: "write", path: self.path.clone(), source };
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            create_private(parent).map_err(|error| failed(std::io::Error::other(error)))?;
        }
        let mut text = serde_json::to_vec_pretty(&self.root).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        write_durably(&path, &text).map_err(|error| match error {
            StoreError::Io { source, .. } => failed(source),
            other => failed(std::io::Error::other(other)),
        })
    }

    fn wrong(&self, reason: &str) -> CredentialError {
        let source = serde::de::Error::custom(reason);
        CredentialError::Content { path: self.path.clone(), source }
    }

    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.root.get(name)?.as_object()
    }

    fn find(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialError> {
        if let Some(helper) = self.helper(registry)?
            && let Some(login) = helper::get(&self.path, helper, server(registry))?
        {
            return Ok(Some(login));
        }
        let Some(auths) = self.section("auths") else { return Ok(None) };
        let wanted = format!("{}/{repository}", canonical(registry));
        // The longest prefix of the wanted name that is a key.
        let is_prefix = |key: &str| wanted.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
        let matching = auths.iter().filter(|(key, _)| is_prefix(&canonical(key)));
        let mut matching: Vec<_> = matching.collect();
        matching.sort_by_key(|(key, _)| std::cmp::Reverse(canonical(key).len()));
        for (key, entry) in matching {
            if let Some(login) = self.login(key, entry)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// What an entry of `auths` holds; the empty ones of registries with a helper hold nothing.
    fn login(&self, key: &str, entry: &Value) -> Result<Option<Login>, CredentialError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let from = format!("`{}`", self.path.display());
        if let Some(token) = text("identitytoken") {
            let (user, secret) = ("<token>".to_owned(), token.to_owned());
            return Ok(Some(Login { user, secret, is_identity_token: true, from }));
        }
        let (user, secret) = match (text("auth"), text("username"), text("password")) {
            (Some(auth), ..) => {
                let wrong = || CredentialError::Login { path: self.path.clone(), key: key.to_owned() };
                let decoded = BASE64_STANDARD.decode(auth).map_err(|_| wrong())?;
                let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
                let (user, secret) = decoded.split_once(':').ok_or_else(wrong)?;
                // Old dockers pad with NUL.
                (user.to_owned(), secret.trim_end_matches('\0').to_owned())
            }
            (None, Some(user), Some(password)) => (user.to_owned(), password.to_owned()),
            _ => return Ok(None),
        };
        Ok(Some(Login { user, secret, is_identity_token: false, from }))
    }

    /// The name of the program that keeps the logins of a registry.
    fn helper(&self, registry: &str) -> Result<Option<&str>, CredentialError> {
        let own = self.section("credHelpers").and_then(|helpers| {
            let matching = |(key, _): &(&String, &Value)| canonical(key) == canonical(registry);
            helpers.iter().find(matching).and_then(|(_, name)| name.as_str())
        });
        let name = own.or_else(|| self.root.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty());
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match name {
            Some(name) if name.len() > 100 || !name.bytes().all(is_part) => {
                Err(CredentialError::HelperName { path: self.path.clone(), name: name.chars().take(100).collect() })
            }
            name => Ok(name),
        }
    }

    /// Removes the entries of a registry, not those of its namespaces; whether there were any.
    fn remove(&mut self, registry: &str) -> bool {
        let Some(auths) = self.root.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let before = auths.len();
        auths.retain(|key, _| canonical(key) != canonical(registry));
        auths.len() != before
    }
}

/// What files and helpers call a registry.
fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// A key in one spelling: without scheme and API version, in lower case up to the first slash.
fn canonical(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = match bare {
        Some(bare) => bare.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2"),
    };
    let (host, rest) = key.split_at(key.find('/').unwrap_or(key.len()));
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    };
    format!("{host}{rest}")
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
