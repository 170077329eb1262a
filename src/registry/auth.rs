//! Who we say we are: nothing, a user with a password, or a token that a token server gave for one purpose.
//!
//! Protocol: <https://distribution.github.io/distribution/spec/auth/token/>

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Method;

use super::answer::reason;
use super::challenge::Challenge;
use super::credentials::{Credentials, Login};
use super::error::{CredentialError, Fault};
use super::transport::{Payload, Request, Response, Transport};
use super::url::{Url, encode};
use crate::image::json;

/// Bytes of a token server's answer.
const MAX_TOKEN_BYTES: usize = 1 << 20;
/// How long a token is good when the server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// What a request needs to be allowed to do: `repository:a/b:pull,push`.
pub(super) type Scopes = Vec<String>;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// As references write it: `docker.io`.
    pub registry: String,
    /// The repository there.
    pub repository: String,
}

/// Answers challenges. For several threads.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    /// A login that is being tried, for every registry.
    given: Option<Login>,
    /// How each registry wants it.
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<(Place, Scopes), Token>>,
}

#[derive(Clone)]
struct Token {
    value: String,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What a token server gives.
#[derive(Deserialize)]
struct Grant {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub fn new(credentials: Credentials, given: Option<Login>) -> Self {
        Self { credentials, given, challenges: Mutex::default(), tokens: Mutex::default() }
    }

    /// The login for a place.
    pub fn login(&self, place: &Place) -> Result<Option<Login>, CredentialError> {
        match &self.given {
            Some(login) => Ok(Some(login.clone())),
            None => self.credentials.find(&place.registry, &place.repository),
        }
    }

    /// What to send along to a registry that was heard before; nothing to others.
    pub fn header(
        &self,
        transport: &Transport,
        registry: &Url,
        place: &Place,
        scopes: &Scopes,
    ) -> Result<Option<String>, Fault> {
        let known = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).get(&place.registry).cloned();
        match known {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.login(place)?.map(|login| login.basic())),
            Some(Challenge::Bearer { realm, service, .. }) => {
                let key = (place.clone(), scopes.clone());
                let cached = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
                if let Some(token) = cached.filter(|token| token.until > Instant::now()) {
                    return Ok(Some(format!("Bearer {}", token.value)));
                }
                let login = self.login(place)?;
                let token = fetch(transport, registry, &realm, service.as_deref(), scopes, login.as_ref())?;
                let header = format!("Bearer {}", token.value);
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// A registry wants what it was not given, or not any more.
    pub fn learn(&self, place: &Place, scopes: &Scopes, challenge: Challenge) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&(place.clone(), scopes.clone()));
        let mut challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(place.registry.clone(), challenge);
    }

    /// Why a registry still says that it does not know us.
    pub fn refusal(&self, place: &Place, response: &mut Response) -> Result<Fault, CredentialError> {
        Ok(refusal(self.login(place)?.as_ref(), response))
    }
}

/// Asks the token server that `registry` names.
fn fetch(
    transport: &Transport,
    registry: &Url,
    realm: &str,
    service: Option<&str>,
    scopes: &Scopes,
    login: Option<&Login>,
) -> Result<Token, Fault> {
    let host = || registry.authority.clone();
    let realm = Url::parse(realm).map_err(|reason| Fault::Answer {
        host: host(),
        reason: format!("its token server has no address: {reason}"),
    })?;
    let limit = transport.check_step(registry, &realm)?;
    let form;
    let mut request = match login {
        Some(login) if login.is_identity_token => {
            let mut fields = vec![("grant_type", "refresh_token"), ("client_id", "devbox")];
            let scope = scopes.join(" ");
            fields.extend([("service", service.unwrap_or_default()), ("scope", &scope)]);
            fields.push(("refresh_token", &login.secret));
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
            form = fields.join("&");
            Request::new(Method::POST, realm)
                .header("content-type", "application/x-www-form-urlencoded")
                .payload(Payload::Bytes(form.as_bytes()))
        }
        login => {
            let mut url = realm;
            for (name, value) in service.iter().map(|service| ("service", *service)) {
                url = url.with_query(name, value);
            }
            for scope in scopes {
                url = url.with_query("scope", scope);
            }
            let mut request = Request::new(Method::GET, url);
            request.authorization = login.map(Login::basic);
            request
        }
    };
    request.limit = limit;
    let asked = Instant::now();
    let mut response = transport.send(&mut request)?;
    match response.status.as_u16() {
        200 => {}
        401 | 403 => return Err(refusal(login, &mut response)),
        status => {
            let reason = reason(&mut response);
            return Err(Fault::Status { host: response.url.authority, status, reason });
        }
    }
    let text = response.bytes(MAX_TOKEN_BYTES)?;
    let wrong = |reason: String| Fault::Answer { host: response.url.authority.clone(), reason };
    let grant: Grant = json::parse(&text).map_err(|error| wrong(format!("no token: {error}")))?;
    let value = grant.token.or(grant.access_token).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| wrong("no token".to_owned()))?;
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("a token with characters that no token has".to_owned()));
    }
    let life = grant.expires_in.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs(seconds.clamp(10, 1 << 20)));
    // It must still be good when it arrives.
    Ok(Token { value, until: asked + life.mul_f32(0.9) })
}

fn refusal(login: Option<&Login>, response: &mut Response) -> Fault {
    let reason = reason(response);
    let host = response.url.authority.clone();
    match login {
        None => Fault::LoginMissing { host, reason },
        Some(login) => Fault::LoginRefused { host, user: login.user.clone(), from: login.from.clone(), reason },
    }
}
