//! Token servers: a proxy answers as one, and lets through what is no challenge.

use std::fs;

use devbox::image::reference::Reference;
use devbox::registry::{Fault, RegistryError};

use super::registry::{User, push, reference};
use crate::require;
use crate::support::fault_proxy::{Fault as Does, FaultProxy, Request};
use crate::support::registry::Registry;

const MANIFESTS: &str = "/v2/team/app/manifests/";

/// A registry that asks for tokens when it is told to.
struct Guarded {
    _registry: Registry,
    proxy: FaultProxy,
    user: User,
    image: Reference,
}

impl Guarded {
    fn new() -> Self {
        let (registry, user) = (Registry::start(), User::new());
        let proxy = FaultProxy::start(registry.port());
        let image = reference(&proxy.name(), "team/app:1");
        push(&user.client(), &image, b"layer");
        Self { _registry: registry, proxy, user, image }
    }

    /// The next request for a manifest is asked for a token of `realm`.
    fn challenge(&self, realm: &str) {
        let header = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"the service\",scope=\"x\"");
        self.proxy.add(MANIFESTS, Does::Answer("401 Unauthorized", vec![header], String::new()), 1);
    }

    fn challenge_here(&self) {
        self.challenge(&format!("http://{}/token", self.proxy.name()));
    }

    fn answer(&self, status: &'static str, body: &str) {
        self.proxy.add("/token", Does::Answer(status, vec![], body.to_owned()), 1);
    }

    /// What was sent for manifests and for tokens.
    fn requests(&self, part: &str) -> Vec<Request> {
        self.proxy.requests(part)
    }

    fn logins(&self, entry: &str) {
        let directory = self.user.paths().home.join(".docker");
        fs::create_dir_all(&directory).expect("a directory");
        let text = format!("{{\"auths\": {{\"{}\": {entry}}}}}", self.proxy.name());
        fs::write(directory.join("config.json"), text).expect("write a file");
    }

    fn refused(&self) -> Fault {
        let error: RegistryError = self.user.client().manifest(&self.image).expect_err("a refusal");
        *error.fault
    }
}

#[test]
fn a_token_is_asked_for_once() {
    require!(Program("docker-registry"));
    let test = Guarded::new();
    let before = test.requests(MANIFESTS).len();
    test.challenge_here();
    test.answer("200 OK", r#"{"token": "first", "expires_in": 300}"#);
    let client = test.user.client();
    client.manifest(&test.image).unwrap();
    client.manifest(&test.image).unwrap();
    let tokens = test.requests("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].line, "GET /token?service=the%20service&scope=repository%3Ateam%2Fapp%3Apull HTTP/1.1");
    assert_eq!(tokens[0].header("authorization"), None);
    let sent = test.requests(MANIFESTS);
    let sent: Vec<_> = sent[before..].iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [None, Some("Bearer first"), Some("Bearer first")]);

    // It was good for less than it said.
    test.challenge_here();
    test.answer("200 OK", r#"{"access_token": "second"}"#);
    client.manifest(&test.image).unwrap();
    let last = test.requests(MANIFESTS).pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer second"));
}

#[test]
fn logins_go_to_the_token_server() {
    require!(Program("docker-registry"));
    let test = Guarded::new();
    test.logins(r#"{"auth": "bWU6c2VjcmV0"}"#);
    test.challenge_here();
    test.answer("200 OK", r#"{"token": "t"}"#);
    test.user.client().manifest(&test.image).unwrap();
    assert_eq!(test.requests("/token")[0].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    let to_registry = test.requests(MANIFESTS);
    assert!(to_registry.iter().all(|request| request.header("authorization") != Some("Basic bWU6c2VjcmV0")));
}

#[test]
fn identity_tokens_buy_tokens() {
    require!(Program("docker-registry"));
    let test = Guarded::new();
    test.logins(r#"{"identitytoken": "a+b/c"}"#);
    test.challenge_here();
    test.answer("200 OK", r#"{"access_token": "t"}"#);
    test.user.client().manifest(&test.image).unwrap();
    let request = test.requests("/token").remove(0);
    assert_eq!((request.line.as_str(), request.header("authorization")), ("POST /token HTTP/1.1", None));
    assert_eq!(
        request.body,
        "grant_type=refresh_token&client_id=devbox&service=the%20service&scope=repository%3Ateam%2Fapp%3Apull\
         &refresh_token=a%2Bb%2Fc"
    );
}

#[test]
fn refusals_say_whose() {
    require!(Program("docker-registry"));
    let test = Guarded::new();
    test.challenge_here();
    test.answer("401 Unauthorized", r#"{"details": "no such user"}"#);
    let fault = test.refused();
    assert_eq!(fault.to_string(), format!("`{}` wants a login: no such user", test.proxy.name()));
    test.logins(r#"{"auth": "bWU6c2VjcmV0"}"#);
    test.challenge_here();
    test.answer("401 Unauthorized", "");
    assert!(matches!(test.refused(), Fault::LoginRefused { user, .. } if user == "me"));
    // A token that does not help is not asked for again.
    test.challenge_here();
    test.challenge_here();
    test.answer("200 OK", r#"{"token": "t"}"#);
    assert!(matches!(test.refused(), Fault::LoginRefused { .. }));
}

#[test]
fn token_servers_are_not_believed_everything() {
    require!(Program("docker-registry"));
    let test = Guarded::new();
    test.logins(r#"{"auth": "bWU6c2VjcmV0"}"#);
    for realm in ["file:///etc/passwd", "http://169.254.169.254/token", "http://[fe80::1]/token", "token", ""] {
        test.challenge(realm);
        let fault = test.refused();
        assert!(matches!(fault, Fault::Answer { .. } | Fault::Redirect { .. }), "{realm}: {fault:?}");
    }
    for answer in ["", "[]", "{}", r#"{"token": ""}"#, "{\"token\": \"a\\r\\nb: c\"}", &"[".repeat(10_000)] {
        test.challenge_here();
        test.answer("200 OK", answer);
        let fault = test.refused();
        assert!(matches!(fault, Fault::Answer { .. }), "{answer}: {fault:?}");
    }
    // The login goes to no other server than the one that was named.
    let other = FaultProxy::start(1);
    other.add("/token", Does::Answer("200 OK", vec![], r#"{"token": "t"}"#.to_owned()), 1);
    test.challenge_here();
    let there = vec![format!("Location: http://{}/token", other.name())];
    test.proxy.add("/token", Does::Answer("307 Temporary Redirect", there, String::new()), 1);
    test.user.client().manifest(&test.image).unwrap();
    assert_eq!(other.requests("/token")[0].header("authorization"), None);
}
