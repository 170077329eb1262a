//! Requests to registries: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ureq::http::{HeaderMap, Method};

use super::answer::reason;
use super::auth::{Auth, Place, Scopes};
use super::challenge::challenge;
use super::credentials::{Credentials, Login};
use super::error::{Fault, RegistryError};
use super::settings::Settings;
use super::transport::{Payload, Request, Response, Transport};
use super::url::Url;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::json;
use crate::image::manifest::MAX_MANIFEST_BYTES;
use crate::image::media_type;
use crate::image::reference::{DOCKER_HUB, Reference};
use crate::paths::Paths;
use crate::progress::Notice;

/// Tags of a repository that are listed.
const MAX_TAGS: usize = 100_000;
/// Bytes of one page of tags.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Bytes of an upload that are sent in one request: servers before registries often take no more than 100 MB.
const CHUNK_BYTES: u64 = 64 << 20;

/// A client of all registries. For several threads; starts none itself.
#[derive(Debug)]
pub struct Client {
    pub(super) transport: Transport,
    auth: Auth,
    /// Where each registry was found: its address without path.
    servers: Mutex<HashMap<String, Url>>,
    /// Bytes that are uploaded in one request.
    pub(super) chunk_bytes: u64,
}

/// A manifest or index, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What was hashed.
    pub bytes: Vec<u8>,
    /// What the registry says that it is.
    pub media_type: String,
    /// What it hashes to: checked.
    pub digest: Digest,
}

/// What may be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub fn scope(self, repository: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete,pull",
        };
        format!("repository:{repository}:{actions}")
    }
}

/// An operation on an image, for errors.
pub(super) fn failed(operation: &'static str, subject: impl ToString) -> impl FnOnce(Fault) -> RegistryError {
    let subject = subject.to_string();
    move |fault| RegistryError { operation, subject, fault: Box::new(fault) }
}

impl Client {
    /// A client with the user's settings and logins.
    #[must_use]
    pub fn new(settings: Settings, paths: &Paths) -> Self {
        Self {
            transport: Transport::new(settings, paths),
            auth: Auth::new(Credentials::new(paths), None),
            servers: Mutex::default(),
            chunk_bytes: CHUNK_BYTES,
        }
    }

    /// The same with other patience.
    #[must_use]
    pub fn with_retry(mut self, retry: super::Retry) -> Self {
        self.transport.retry = retry;
        self
    }

    /// The same, uploading so many bytes in one request.
    #[must_use]
    pub fn with_chunk_bytes(mut self, chunk_bytes: u64) -> Self {
        self.chunk_bytes = chunk_bytes;
        self
    }

    /// The same, telling `notice` when it waits for a server.
    #[must_use]
    pub fn with_notice(mut self, notice: Notice) -> Self {
        self.transport.waiting.notice = Some(notice);
        self
    }

    /// The user's settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.transport.settings
    }

    /// Fetches the manifest or index that `reference` names, from a mirror if there is one that has it.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let fetch = |place: &Place| self.fetch_manifest(place, reference);
        self.first_place(reference, fetch).map_err(failed("fetch the manifest of", reference))
    }

    fn fetch_manifest(&self, place: &Place, reference: &Reference) -> Result<Fetched, Fault> {
        let request = manifest_request(Method::GET, reference);
        let mut response = expect(self.call(place, Action::Pull, &request)?, &[200])?;
        let bytes = response.bytes(MAX_MANIFEST_BYTES)?;
        let digest = check(&response, reference, &bytes)?;
        let media_type = media_type::essence(response.header("content-type").unwrap_or_default()).to_owned();
        Ok(Fetched { bytes, media_type, digest })
    }

    /// What `reference` names now, `None` when there is no such image. Fetched only from a registry that does not say it
    /// otherwise.
    pub fn head_manifest(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let ask = |place: &Place| {
            let request = manifest_request(Method::HEAD, reference);
            let response = self.call(place, Action::Pull, &request)?;
            if response.status == 404 {
                return Ok(None);
            }
            let response = expect(response, &[200])?;
            let media_type = media_type::essence(response.header("content-type").unwrap_or_default()).to_owned();
            let size = response.header("content-length").and_then(|length| length.parse().ok());
            let digest = match reference.digest() {
                Some(digest) => Some(digest.clone()),
                None => response.header("docker-content-digest").and_then(|digest| digest.parse().ok()),
            };
            match (digest, size) {
                (Some(digest), Some(size)) => Ok(Some(Descriptor::new(&media_type, digest, size))),
                _ => {
                    let fetched = self.fetch_manifest(place, reference)?;
                    Ok(Some(Descriptor::new(&fetched.media_type, fetched.digest, fetched.bytes.len() as u64)))
                }
            }
        };
        self.first_place(reference, ask).map_err(failed("look up", reference))
    }

    /// Uploads a manifest or index under the tag or digest of `reference`.
    pub fn put_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<Digest, RegistryError> {
        let put = || {
            let path = format!("manifests/{}", reference.target());
            let request = Call::new(Method::PUT, path).header("content-type", media_type).bytes(bytes);
            let response = expect(self.call(&Place::of(reference), Action::Push, &request)?, &[201])?;
            check(&response, reference, bytes)
        };
        put().map_err(failed("push the manifest of", reference))
    }

    /// Whether the repository of `reference` has the blob.
    pub fn has_blob(&self, reference: &Reference, blob: &Digest) -> Result<bool, RegistryError> {
        let ask = || {
            let request = Call::new(Method::HEAD, format!("blobs/{blob}"));
            let response = self.call(&Place::of(reference), Action::Push, &request)?;
            Ok(response.status != 404 && expect(response, &[200])?.status == 200)
        };
        ask().map_err(failed("ask for a layer of", reference))
    }

    /// Deletes the manifest whose digest `reference` has, or its tag where a registry allows that.
    pub fn delete(&self, reference: &Reference) -> Result<(), RegistryError> {
        let delete = || {
            let request = Call::new(Method::DELETE, format!("manifests/{}", reference.target()));
            expect(self.call(&Place::of(reference), Action::Delete, &request)?, &[202, 200, 204]).map(drop)
        };
        delete().map_err(failed("delete", reference))
    }

    /// The tags of the repository of `reference`, in the registry's order.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        self.tag_pages(&Place::of(reference)).map_err(failed("list the tags of", reference.name()))
    }

    fn tag_pages(&self, place: &Place) -> Result<Vec<String>, Fault> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut request = Call::new(Method::GET, "tags/list?n=1000".to_owned());
        loop {
            let mut response = expect(self.call(place, Action::Pull, &request)?, &[200])?;
            let bytes = response.bytes(MAX_PAGE_BYTES)?;
            let wrong = |reason: String| Fault::Answer { host: response.url.authority.clone(), reason };
            let page: Page = json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
            let page = page.tags.unwrap_or_default();
            let is_last = page.is_empty();
            tags.extend(page);
            if tags.len() > MAX_TAGS {
                return Err(wrong(format!("more than {MAX_TAGS} tags")));
            }
            let Some(next) = next_page(&response.headers).filter(|_| !is_last) else { return Ok(tags) };
            let url = response.url.join(&next).map_err(|reason| wrong(reason.to_owned()))?;
            if !url.is_same_server(&response.url) {
                return Err(wrong("the next page is on another server".to_owned()));
            }
            request.url = Some(url);
        }
    }

    /// Checks that `registry` speaks the protocol, and accepts the login that is stored for it, if any.
    pub fn ping(&self, registry: &str) -> Result<(), RegistryError> {
        let place = Place { registry: registry.to_owned(), repository: String::new() };
        let ask = || {
            let server = self.server(registry)?;
            let url = Url { path: "/v2/".to_owned(), ..server };
            expect(self.send(&place, &Scopes::new(), &mut Request::new(Method::GET, url))?, &[200]).map(drop)
        };
        ask().map_err(failed("reach", registry))
    }

    /// Checks that `registry` accepts `user` with `secret`, without keeping it.
    pub fn check_login(settings: Settings, paths: &Paths, registry: &str, login: Login) -> Result<(), RegistryError> {
        let client = Self {
            transport: Transport::new(settings, paths),
            auth: Auth::new(Credentials::new(paths), Some(login)),
            servers: Mutex::default(),
            chunk_bytes: CHUNK_BYTES,
        };
        client.ping(registry).map_err(|error| RegistryError { operation: "log in to", ..error })
    }

    /// Asks each place of the repository; what the last one, the registry itself, says counts.
    pub(super) fn first_place<T>(
        &self,
        reference: &Reference,
        mut ask: impl FnMut(&Place) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut places = self.places(reference);
        let own = places.pop();
        for mirror in places {
            // A mirror may be away, old or incomplete: the registry decides.
            if let Ok(found) = ask(&mirror) {
                return Ok(found);
            }
        }
        ask(&own.unwrap_or_else(|| Place::of(reference)))
    }

    pub(super) fn places(&self, reference: &Reference) -> Vec<Place> {
        let places = self.settings().places(reference.registry(), reference.repository());
        places.into_iter().map(|(registry, repository)| Place { registry, repository }).collect()
    }

    /// Sends `call` to a repository; repeated until the answer will not become better.
    pub(super) fn call(&self, place: &Place, action: Action, call: &Call<'_>) -> Result<Response, Fault> {
        let url = match &call.url {
            Some(url) => url.clone(),
            None => {
                let path = format!("/v2/{}/{}", place.repository, call.path);
                Url { path, ..self.server(&place.registry)? }
            }
        };
        let mut scopes = vec![action.scope(&place.repository)];
        scopes.extend(call.scope.iter().cloned());
        let mut request = Request::new(call.method.clone(), url);
        request.headers.clone_from(&call.headers);
        if let Some(bytes) = call.bytes {
            request.payload = Payload::Bytes(bytes);
        }
        self.send(place, &scopes, &mut request)
    }

    /// Sends with whatever login the registry wants. An address that is not the registry's gets none.
    pub(super) fn send(&self, place: &Place, scopes: &Scopes, request: &mut Request<'_>) -> Result<Response, Fault> {
        let server = self.server(&place.registry)?;
        if !request.url.is_same_server(&server) {
            request.limit = self.transport.check_step(&server, &request.url)?;
            return self.transport.send(request);
        }
        request.authorization = self.auth.header(&self.transport, &server, place, scopes)?;
        let response = self.transport.send(request)?;
        if response.status != 401 || !response.url.is_same_server(&server) {
            return Ok(response);
        }
        let Some(challenge) = challenge(&response.headers) else { return Ok(response) };
        let before = request.authorization.take();
        self.auth.learn(place, scopes, challenge);
        if matches!(request.payload, Payload::Stream(..)) {
            // It cannot be sent again: whoever has it begins anew, with what was learnt.
            return Ok(response);
        }
        request.authorization = self.auth.header(&self.transport, &server, place, scopes)?;
        let is_new = request.authorization.is_some() && request.authorization != before;
        let mut response = if is_new {
            response.discard();
            self.transport.send(request)?
        } else {
            response
        };
        if response.status == 401 {
            return Err(self.auth.refusal(place, &mut response)?);
        }
        Ok(response)
    }

    /// Where `registry` is, and whether it speaks TLS.
    pub(super) fn server(&self, registry: &str) -> Result<Url, Fault> {
        let known = self.servers.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        if let Some(server) = known {
            return Ok(server);
        }
        let authority = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
        let mut server = Url::new(true, authority, "/v2/");
        if self.settings().may_be_plain(registry) && !self.speaks_tls(&server)? {
            server.is_encrypted = false;
        }
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), server.clone());
        Ok(server)
    }

    /// Whether a server that need not speak TLS does. A certificate that is not good is no reason to do without.
    fn speaks_tls(&self, server: &Url) -> Result<bool, Fault> {
        match self.transport.send_once(&mut Request::new(Method::GET, server.clone())) {
            Ok(_) => Ok(true),
            // What rustls says of an answer that is no TLS, as plain http servers give it.
            Err(Fault::Tls { reason, .. }) if reason.contains("corrupt message") => Ok(false),
            Err(Fault::Broken { .. }) => Ok(false),
            Err(Fault::Unreachable { .. }) if server.port().is_none() => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

impl Place {
    /// Of the registry itself.
    pub fn of(reference: &Reference) -> Self {
        Self { registry: reference.registry().to_owned(), repository: reference.repository().to_owned() }
    }
}

/// A request below `/v2/<repository>/`.
pub(super) struct Call<'a> {
    method: Method,
    path: String,
    /// Instead of the path.
    pub url: Option<Url>,
    headers: Vec<(&'static str, String)>,
    /// What it needs besides its action.
    pub scope: Option<String>,
    bytes: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    pub fn new(method: Method, path: String) -> Self {
        Self { method, path, url: None, headers: Vec::new(), scope: None, bytes: None }
    }

    pub fn to(method: Method, url: Url) -> Self {
        Self { url: Some(url), ..Self::new(method, String::new()) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn bytes(self, bytes: &'a [u8]) -> Self {
        Self { bytes: Some(bytes), ..self }
    }
}

/// Checks `bytes` against the digest that was asked for and the one that the registry gives.
fn check(response: &Response, reference: &Reference, bytes: &[u8]) -> Result<Digest, Fault> {
    let told: Option<Digest> = response.header("docker-content-digest").and_then(|digest| digest.parse().ok());
    for expected in reference.digest().into_iter().chain(&told) {
        let mut hasher = expected.hasher();
        hasher.update(bytes);
        let found = hasher.digest();
        if found != *expected {
            let host = response.url.authority.clone();
            return Err(Fault::Digest { host, found, expected: expected.clone() });
        }
    }
    Ok(reference.digest().cloned().or(told).unwrap_or_else(|| Digest::of_bytes(bytes)))
}

fn manifest_request(method: Method, reference: &Reference) -> Call<'static> {
    Call::new(method, format!("manifests/{}", reference.target())).header("accept", media_type::ACCEPTED.join(", "))
}

/// The response if its status is one of `wanted`.
pub(super) fn expect(mut response: Response, wanted: &[u16]) -> Result<Response, Fault> {
    let status = response.status.as_u16();
    if wanted.contains(&status) {
        return Ok(response);
    }
    let reason = reason(&mut response);
    Err(Fault::Status { host: response.url.authority, status, reason })
}

/// `Link: </v2/a/tags/list?n=1000&last=x>; rel="next"`
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all("link").iter().filter_map(|link| link.to_str().ok());
    let is_next = |link: &&str| link.contains("rel=\"next\"") || link.contains("rel=next");
    let link = links.flat_map(|link| link.split(", ")).find(is_next)?;
    Some(link.split_once('<')?.1.split_once('>')?.0.to_owned())
}
