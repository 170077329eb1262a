//! One HTTP exchange: connections, redirects, retries, limits. Knows nothing of registries.
//!
//! - A login goes to the server that it is for. A redirect to another one goes without it, never to another scheme than
//!   `http(s)`, never from `https` to `http`, and never nearer to us than the server that sends us there ([`address`]).
//! - Every phase has its time limit; a body may take as long as it wants while bytes come.
//! - What may be over in a moment (429, 5xx, broken connections) is tried again, later each time.
//!
//! [`address`]: super::address

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy, ProxyProtocol, SendBody};

use super::address::{Forbidden, Guard, Reach, Seen, Unresolved, literal};
use super::certificates::Certificates;
use super::error::{Fault, clean};
use super::retry::{Retry, Waiting, is_worth_another_try, retry_after};
use super::settings::Settings;
use super::url::{Url, is_loopback};
use crate::paths::{Paths, variable};

/// Redirects in a row.
const MAX_REDIRECTS: usize = 8;
/// Bytes of all headers of an answer.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// To connect, encryption included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For the next bytes, in either direction.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// For the answer to an upload: registries may copy and hash all of it before they answer.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Why a server may not send us somewhere.
const TOO_NEAR: &str = "to this machine, or into a network that the registry is not in";

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Route {
    Direct,
    HttpProxy,
    HttpsProxy,
}

/// What connections have in common: they may use the same settings and each other's idle connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AgentKey {
    /// The server, if it has certificates or exceptions of its own. All of them are kept apart.
    authority: String,
    limit: Reach,
    route: Route,
    patience: Duration,
}

/// What is sent along.
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// So many bytes, which can be read once: neither repeated nor redirected.
    Stream(&'a mut dyn Read, u64),
}

/// A request. `authorization` is for the server of `url` alone.
pub(super) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(&'static str, String)>,
    pub authorization: Option<String>,
    /// The nearest that the server may be: another server named it.
    pub limit: Reach,
    pub payload: Payload<'a>,
}

impl<'a> Request<'a> {
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), authorization: None, limit: Reach::Link, payload: Payload::None }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }
}

/// An answer of any status.
pub(super) struct Response {
    /// Where it came from, after redirects.
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body, if it has at most `limit` bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut reader = self.body.as_reader().take(limit as u64 + 1);
        reader.read_to_end(&mut bytes).map_err(|source| Fault::Broken { host: self.url.authority.clone(), source })?;
        if bytes.len() > limit {
            let reason = format!("more than {limit} bytes");
            return Err(Fault::Answer { host: self.url.authority.clone(), reason });
        }
        Ok(bytes)
    }

    /// Reads what is left of a short body, so that the connection can be used again; any other is closed.
    pub fn discard(mut self) {
        self.bytes(MAX_HEADER_BYTES).ok();
    }
}

/// Makes connections and keeps idle ones. For several threads.
#[derive(Debug)]
pub(super) struct Transport {
    pub settings: Settings,
    certificates: Certificates,
    agents: Mutex<HashMap<AgentKey, Agent>>,
    seen: Arc<Seen>,
    pub retry: Retry,
    pub waiting: Waiting,
}

impl Transport {
    pub fn new(settings: Settings, paths: &Paths) -> Self {
        Self {
            settings,
            certificates: Certificates::new(paths),
            agents: Mutex::default(),
            seen: Arc::default(),
            retry: Retry::default(),
            waiting: Waiting::default(),
        }
    }

    /// Sends until there is an answer that will not become better, and follows redirects.
    pub fn send(&self, request: &mut Request<'_>) -> Result<Response, Fault> {
        let is_repeatable = !matches!(request.payload, Payload::Stream(..));
        for attempt in 0.. {
            let result = self.send_once(request);
            let pause = match &result {
                _ if !is_repeatable => None,
                Ok(response) => retry_after(response).and_then(|wanted| self.retry.pause(attempt, wanted)),
                Err(fault) if is_worth_another_try(fault) => self.retry.pause(attempt, None),
                Err(_) => None,
            };
            match pause {
                None => return result,
                Some(pause) => {
                    result.into_iter().for_each(Response::discard);
                    self.waiting.wait(&request.url.authority, pause);
                }
            }
        }
        unreachable!("the tries are limited")
    }

    /// Sends once, and follows redirects.
    pub fn send_once(&self, request: &mut Request<'_>) -> Result<Response, Fault> {
        let origin = request.url.clone();
        let (mut url, mut limit) = (origin.clone(), request.limit);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(request, &url, limit, url.is_same_server(&origin))?;
            let Some(next) = redirect(&response, request)? else { return Ok(response) };
            limit = self.check_step(&url, &next)?.min(limit);
            if matches!(request.payload, Payload::Bytes(_)) && !next.is_same_server(&origin) {
                let reason = "another server would get what is uploaded";
                return Err(Fault::Redirect { host: url.authority, to: next.server(), reason });
            }
            response.discard();
            url = next;
        }
        Err(Fault::Redirect { host: origin.authority, to: url.server(), reason: "after too many redirects" })
    }

    /// Checks that the server of `from` may send us to `to`; returns how near that server may be.
    pub fn check_step(&self, from: &Url, to: &Url) -> Result<Reach, Fault> {
        if from.is_same_server(to) {
            return Ok(Reach::Link);
        }
        let limit = self.seen.reach(from.host());
        let reason = if from.is_encrypted && !to.is_encrypted {
            "from an encrypted connection to a plain one"
        } else if literal(to.host()).is_some_and(|reach| reach > limit) {
            TOO_NEAR
        } else {
            return Ok(limit);
        };
        Err(Fault::Redirect { host: from.authority.clone(), to: to.server(), reason })
    }

    fn exchange(
        &self,
        request: &mut Request<'_>,
        url: &Url,
        limit: Reach,
        with_login: bool,
    ) -> Result<Response, Fault> {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let agent = self.agent(url, limit, if is_read { STALL_TIMEOUT } else { UPLOAD_TIMEOUT })?;
        let mut builder = ureq::http::Request::builder().method(request.method.clone()).uri(url.to_string());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = request.authorization.as_ref().filter(|_| with_login) {
            builder = builder.header("authorization", authorization);
        }
        let malformed = |error: ureq::http::Error| failed(url, ureq::Error::Http(error));
        let result = match &mut request.payload {
            // Without a length the empty body would be sent in chunks, which not every server takes.
            Payload::None if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
                agent.run(builder.body(&[][..]).map_err(malformed)?)
            }
            Payload::None => agent.run(builder.body(()).map_err(malformed)?),
            Payload::Bytes(bytes) => agent.run(builder.body(*bytes).map_err(malformed)?),
            Payload::Stream(reader, size) => {
                let sized = builder.header("content-length", size.to_string());
                agent.run(sized.body(SendBody::from_reader(reader)).map_err(malformed)?)
            }
        };
        let (parts, body) = result.map_err(|error| failed(url, error))?.into_parts();
        Ok(Response { url: url.clone(), status: parts.status, headers: parts.headers, body })
    }

    fn agent(&self, url: &Url, limit: Reach, patience: Duration) -> Result<Agent, Fault> {
        let route = match (is_loopback(&url.authority), url.is_encrypted) {
            (true, _) => Route::Direct,
            (false, true) => Route::HttpsProxy,
            (false, false) => Route::HttpProxy,
        };
        let key = AgentKey { authority: url.authority.clone(), limit, route, patience };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let proxy = proxy(route)?;
        let guard = Guard {
            inner: DefaultResolver::default(),
            limit,
            seen: self.seen.clone(),
            proxy: proxy.as_ref().map(|proxy| proxy.host().to_owned()),
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(concat!("devbox/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MAX_HEADER_BYTES)
            // None to resolve names: the library starts a thread for that.
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(STALL_TIMEOUT));
        if url.is_encrypted {
            let is_insecure = self.settings.is_insecure(&url.authority);
            config = config.tls_config(self.certificates.tls(&url.authority, is_insecure)?);
        }
        let agent = Agent::with_parts(config.build(), DefaultConnector::new(), guard);
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

/// Where an answer sends us, if it does and the request can go there.
fn redirect(response: &Response, request: &Request<'_>) -> Result<Option<Url>, Fault> {
    let is_read = matches!(request.method, Method::GET | Method::HEAD);
    let is_followed = match response.status.as_u16() {
        301..=303 => is_read,
        307 | 308 => is_read || !matches!(request.payload, Payload::Stream(..)),
        _ => false,
    };
    if !is_followed {
        return Ok(None);
    }
    let host = || response.url.authority.clone();
    let Some(location) = response.header("location") else {
        return Err(Fault::Answer { host: host(), reason: "a redirect without a location".to_owned() });
    };
    let next = response.url.join(location);
    // What stands after the host may be a secret.
    let brief = location.split(['?', '#']).next().unwrap_or_default();
    next.map(Some).map_err(|reason| Fault::Redirect { host: host(), to: clean(brief), reason })
}

/// The proxy that the environment names for a route, with the exceptions that it names.
fn proxy(route: Route) -> Result<Option<Proxy>, Fault> {
    let names: &[&'static str] = match route {
        Route::Direct => return Ok(None),
        Route::HttpsProxy => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        Route::HttpProxy => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let set = |name: &&'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (*name, value));
    let Some((name, value)) = names.iter().find_map(set) else { return Ok(None) };
    let wrong = || Fault::Proxy { variable: name };
    let value = value.into_string().map_err(|_| wrong())?;
    let parsed = Proxy::new(&value).map_err(|_| wrong())?;
    let mut builder = Proxy::builder(match parsed.protocol() {
        protocol @ (ProxyProtocol::Http | ProxyProtocol::Https) => protocol,
        _ => return Err(wrong()),
    });
    builder = builder.host(parsed.host()).port(parsed.port());
    if let Some(user) = parsed.username() {
        builder = builder.username(user);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().find_map(variable).unwrap_or_default();
    for exception in exceptions.to_string_lossy().split(',').map(str::trim).filter(|text| !text.is_empty()) {
        builder = builder.no_proxy(exception);
    }
    builder.build().map(Some).map_err(|_| wrong())
}

/// A failure in our words.
fn failed(url: &Url, error: ureq::Error) -> Fault {
    let host = url.authority.clone();
    match error {
        ureq::Error::Timeout(phase) => Fault::TimedOut { host, phase: phase.to_string() },
        ureq::Error::Other(other) if other.is::<Unresolved>() => {
            Fault::Unreachable { host, source: std::io::Error::new(std::io::ErrorKind::NotFound, other) }
        }
        ureq::Error::Rustls(error) => Fault::Tls { host, reason: clean(&error.to_string()) },
        ureq::Error::Tls(reason) => Fault::Tls { host, reason: reason.to_owned() },
        ureq::Error::Other(other) if other.is::<Forbidden>() => {
            Fault::Redirect { host: host.clone(), to: url.server(), reason: TOO_NEAR }
        }
        other => io_failed(host, other.into_io()),
    }
}

/// A failed read or write in our words; encryption reports its errors inside of these.
pub(super) fn io_failed(host: String, source: std::io::Error) -> Fault {
    use std::io::ErrorKind;
    let inner = source.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        return match error {
            ureq::Error::Timeout(phase) => Fault::TimedOut { host, phase: phase.to_string() },
            ureq::Error::Rustls(error) => Fault::Tls { host, reason: clean(&error.to_string()) },
            _ => Fault::Broken { host, source },
        };
    }
    // rustls wraps what is wrong with a certificate as invalid data.
    if source.kind() == ErrorKind::InvalidData
        && let Some(inner) = inner
    {
        return Fault::Tls { host, reason: clean(&inner.to_string()) };
    }
    match source.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => Fault::Unreachable { host, source },
        _ => Fault::Broken { host, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_sends_us_no_nearer_than_it_is() {
        let nowhere = std::path::PathBuf::from("/nowhere");
        let paths = Paths {
            home: nowhere.clone(),
            data: nowhere.clone(),
            config: nowhere.clone(),
            cache: nowhere.clone(),
            runtime: nowhere,
        };
        let transport = Transport::new(Settings::default(), &paths);
        transport.seen.note("lan.io", Reach::Private);
        for (from, to, is_allowed) in [
            ("https://r.io/", "https://cdn.io/x", true),
            ("https://r.io/", "https://r.io/x", true),
            ("https://r.io/", "http://r.io/x", false),
            ("https://r.io/", "https://localhost/x", false),
            ("https://r.io/", "https://127.0.0.1/x", false),
            ("https://r.io/", "https://10.0.0.1/x", false),
            ("https://r.io/", "https://[::ffff:10.0.0.1]/x", false),
            ("http://r.io/", "https://cdn.io/x", true),
            ("http://lan.io/", "http://10.0.0.1/x", true),
            ("http://lan.io/", "http://127.0.0.1/x", false),
            ("http://lan.io/", "http://169.254.169.254/x", false),
            ("http://localhost:1/", "http://127.0.0.1:2/x", true),
            ("http://localhost:1/", "http://169.254.169.254/x", false),
        ] {
            let step = transport.check_step(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
            assert_eq!(step.is_ok(), is_allowed, "{from} {to}");
        }
        let step = |from, to| transport.check_step(&Url::parse(from).unwrap(), &Url::parse(to).unwrap()).unwrap();
        assert_eq!(step("https://r.io/", "https://cdn.io/"), Reach::Public);
        assert_eq!(step("http://lan.io/", "http://cdn.io/"), Reach::Private);
    }
}
