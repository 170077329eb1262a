//! `devbox image login` and what it shares with `logout`.

use std::io::Read;

use crate::cli::args::image::Login as Args;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::image::reference::DOCKER_HUB;
use crate::paths::Paths;
use crate::profile::registries;
use crate::registry::Client;
use crate::registry::credentials::{Credentials, Login};
use crate::registry::settings::check_registry;
use crate::text::sanitize;
use crate::ui;

/// Bytes of a password or token.
const MAX_SECRET_BYTES: u64 = 16 << 10;

/// Checks a login with the registry, and keeps it where docker and podman look.
pub fn run(args: &Args) -> Outcome {
    let paths = Paths::from_environment()?;
    let settings = registries::load(&paths)?;
    let registry = registry_name(args.registry.as_deref())?;
    let (user, secret) = ask(args, &registry)?;
    let from = "what was given".to_owned();
    let login = Login { user: user.clone(), secret: secret.clone(), is_identity_token: false, from };
    Client::check_login(settings, &paths, &registry, login)?;
    let place = Credentials::new(&paths).store(&registry, &user, &secret)?;
    print(&format!("logged in to `{registry}` as `{}`, kept in {}\n", sanitize(&user), sanitize(&place)))
}

/// `host` or `host:port` of what was typed, which may be an address.
pub(super) fn registry_name(typed: Option<&str>) -> Result<String, Error> {
    let Some(typed) = typed else { return Ok(DOCKER_HUB.to_owned()) };
    let bare = typed.strip_prefix("https://").or_else(|| typed.strip_prefix("http://")).unwrap_or(typed);
    let bare = bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    if matches!(bare, "index.docker.io" | "registry-1.docker.io") {
        return Ok(DOCKER_HUB.to_owned());
    }
    match check_registry(bare) {
        Ok(()) => Ok(bare.to_owned()),
        Err(error) => Err(Error::new(error.to_string())
            .hint("name the host alone: `ghcr.io`, `localhost:5000`; without a name it is Docker Hub")),
    }
}

/// The user and the password, which is never an argument: other users of the machine see those.
fn ask(args: &Args, registry: &str) -> Result<(String, String), Error> {
    let unread = |error| crate::cli::commands::unanswered("the password", error);
    if args.password_stdin {
        let user = args.username.clone().unwrap_or_default();
        let mut secret = String::new();
        std::io::stdin().take(MAX_SECRET_BYTES).read_to_string(&mut secret).map_err(unread)?;
        let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
        return if secret.is_empty() {
            Err(Error::new("there is no password on standard input"))
        } else {
            Ok((user, secret))
        };
    }
    if !ui::can_ask() {
        return Err(Error::new("nobody can be asked for the password without a terminal")
            .hint("`devbox image login -u USER --password-stdin` reads it from standard input"));
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => ui::ask(&format!("user of `{registry}`: ")).map_err(unread)?,
    };
    let secret = ui::ask_secret("password or token: ").map_err(unread)?;
    if user.is_empty() || secret.is_empty() {
        return Err(Error::new("a login needs a user and a password"));
    }
    Ok((user, secret))
}
