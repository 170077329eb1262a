//! The client against networks and servers that do not do what they should.

use std::io::Read;
use std::time::Duration;

use devbox::registry::settings::parse_mirror;
use devbox::registry::{Fault, RegistryError, Settings};

use super::registry::{User, noise, push, read_all, reference, upload};
use crate::require;
use crate::support::fault_proxy::{Fault as Does, FaultProxy};
use crate::support::registry::{Options, Registry};

/// The error inside of what a reader gives.
#[track_caller]
fn fault_of(mut reader: impl Read) -> Fault {
    let error = reader.read_to_end(&mut Vec::new()).expect_err("a failure");
    *error.downcast::<RegistryError>().expect("an error of the client").fault
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let bytes = noise(500_000);
    let image = reference(&proxy.name(), "app");
    let blob = upload(&client, &image, &bytes);
    for after in [0, 1, 200_000] {
        proxy.add("GET /v2/app/blobs/", Does::Cut(after), 1);
    }
    assert_eq!(read_all(client.blob(&image, &blob, 0).unwrap()), bytes);
    let requests = proxy.requests("GET /v2/app/blobs/");
    let ranges: Vec<_> = requests.iter().map(|request| request.header("range").unwrap_or("-")).collect();
    assert_eq!(ranges, ["-", "-", "bytes=1-", "bytes=200001-"]);
    assert_eq!(requests.iter().map(|request| request.sent).sum::<u64>(), 500_000, "nothing was sent twice");
}

#[test]
fn a_server_without_ranges_begins_again() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let bytes = noise(100_000);
    let image = reference(&proxy.name(), "app");
    let blob = upload(&client, &image, &bytes);
    proxy.add("GET /v2/app/blobs/", Does::Cut(60_000), 1);
    proxy.add("GET /v2/app/blobs/", Does::NoRange, 2);
    assert_eq!(read_all(client.blob(&image, &blob, 0).unwrap()), bytes);
    let reader = client.blob(&image, &blob, 500).unwrap();
    assert_eq!(reader.start(), 0);
    assert_eq!(read_all(reader), bytes);
}

#[test]
fn a_server_that_never_delivers_is_given_up() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let blob = upload(&client, &image, &noise(1000));
    proxy.add("GET /v2/app/blobs/", Does::Cut(0), 100);
    let fault = fault_of(client.blob(&image, &blob, 0).unwrap());
    assert!(matches!(fault, Fault::Broken { .. }), "{fault:?}");
    assert_eq!(proxy.requests("GET /v2/app/blobs/").len(), 6);
}

#[test]
fn lies_about_length_are_seen() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let blob = upload(&client, &image, &noise(1000));
    for lie in [999, 1001, 1 << 40] {
        proxy.add("GET /v2/app/blobs/", Does::Length(lie), 1);
        let error = client.blob(&image, &blob, 0).unwrap_err();
        assert!(matches!(*error.fault, Fault::Answer { .. }), "{error:?}");
    }
    proxy.add("GET /v2/app/blobs/", Does::Endless, 100);
    let fault = fault_of(client.blob(&image, &blob, 0).unwrap());
    assert!(matches!(fault, Fault::Answer { .. }), "{fault:?}");
}

#[test]
fn an_endless_manifest_is_cut_off() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app:1");
    push(&client, &image, b"layer");
    proxy.add("GET /v2/app/manifests/", Does::Endless, 1);
    let error = client.manifest(&image).unwrap_err();
    assert_eq!(
        error.fault.to_string(),
        format!("`{}` gave an answer that makes no sense: more than 4194304 bytes", proxy.name())
    );
}

#[test]
fn little_json_does_not_become_much() {
    let user = User::new();
    let proxy = FaultProxy::start(1);
    let tags = format!("{{\"tags\":[{}\"a\"]}}", "\"\",".repeat(1_000_000));
    proxy.add("GET /v2/app/tags/list", Does::Answer("200 OK", Vec::new(), tags), 1);
    let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}0]}}", "{},".repeat(1_000_000));
    let digest = devbox::image::digest::Digest::of_bytes(index.as_bytes());
    let headers = vec!["Content-Type: application/vnd.oci.image.index.v1+json".to_owned()];
    proxy.add("GET /v2/app/manifests/", Does::Answer("200 OK", headers, index), 1);
    let client = user.client();
    let image = reference(&proxy.name(), "app:1");
    let fault = client.tags(&image).unwrap_err().fault.to_string();
    assert!(fault.contains("more than 200000 values"), "{fault}");
    let fetched = client.manifest(&image.with_digest(digest)).unwrap();
    let error = devbox::image::manifest::parse_document(&fetched.bytes, Some(&fetched.media_type)).unwrap_err();
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(source.contains("more than 200000 values"), "{source}");
}

#[test]
fn other_bytes_are_noticed() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app:1");
    let (_, layer) = push(&client, &image, &noise(1000));
    proxy.add("GET /v2/app/blobs/", Does::Corrupt(500), 1);
    let error = client.blob_bytes(&image, &layer).unwrap_err();
    assert!(matches!(*error.fault, Fault::Digest { .. }), "{error:?}");
    proxy.add("GET /v2/app/manifests/", Does::Corrupt(50), 2);
    let error = client.manifest(&image).unwrap_err();
    assert!(matches!(*error.fault, Fault::Digest { .. }), "{error:?}");
    let digest = client.head_manifest(&image).unwrap().unwrap().digest;
    let error = client.manifest(&image.with_digest(digest)).unwrap_err();
    assert!(matches!(*error.fault, Fault::Digest { .. }), "{error:?}");
    client.manifest(&image).unwrap();
}

#[test]
fn busy_servers_are_asked_again() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app:1");
    push(&client, &image, b"layer");
    let busy = |status| Does::Answer(status, vec!["Retry-After: 0".to_owned()], String::new());
    proxy.add("GET /v2/app/manifests/", busy("429 Too Many Requests"), 2);
    proxy.add("GET /v2/app/manifests/", busy("500 Internal Server Error"), 1);
    proxy.add("GET /v2/app/manifests/", busy("503 Service Unavailable"), 2);
    client.manifest(&image).unwrap();
    let heard = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let said = heard.clone();
    let slow = user.client().with_notice(Box::new(move |line| said.lock().unwrap().push(line.to_owned())));
    let wait = vec!["Retry-After: 2".to_owned()];
    proxy.add("GET /v2/app/manifests/", Does::Answer("429 Too Many Requests", wait, String::new()), 1);
    slow.manifest(&image).unwrap();
    assert_eq!(*heard.lock().unwrap(), [format!("`{}` is busy or away: trying again in 2 s", proxy.name())]);
    proxy.add("GET /v2/app/manifests/", busy("503 Service Unavailable"), 100);
    let error = client.manifest(&image).unwrap_err();
    assert_eq!(error.fault.to_string(), format!("`{}` answered 503", proxy.name()));
    assert_eq!(proxy.requests("GET /v2/app/manifests/").len(), 14);
}

#[test]
fn broken_uploads_begin_again() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app:1");
    let bytes = noise(200_000);
    let error = |status| Does::Answer(status, vec![], String::new());
    proxy.add("PUT /v2/app/blobs/uploads/", error("500 Internal Server Error"), 2);
    let blob = upload(&client, &image, &bytes);
    assert_eq!(client.blob_bytes(&image, &blob).unwrap(), bytes);
}

#[test]
fn redirects_lead_nowhere_dangerous() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let blob = upload(&client, &image, &noise(1000));
    for location in [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0:1/",
        "http://user:secret@127.0.0.1/",
        "//",
    ] {
        let headers = vec![format!("Location: {location}")];
        proxy.add("GET /v2/app/blobs/", Does::Answer("307 Temporary Redirect", headers, String::new()), 1);
        let error = client.blob(&image, &blob, 0).unwrap_err();
        assert!(matches!(*error.fault, Fault::Redirect { .. }), "{location}: {error:?}");
    }
    let round = vec!["Location: ?again".to_owned()];
    proxy.add("GET /v2/app/blobs/", Does::Answer("302 Found", round, String::new()), 100);
    let error = client.blob(&image, &blob, 0).unwrap_err();
    assert!(matches!(*error.fault, Fault::Redirect { reason: "after too many redirects", .. }), "{error:?}");
}

#[test]
fn a_login_stays_with_its_server() {
    require!(Program("docker-registry"), Program("htpasswd"));
    let registry = Registry::with(Options { login: Some(("me", "secret")), ..Options::default() });
    let user = User::new();
    let proxy = FaultProxy::start(registry.port());
    devbox::registry::credentials::Credentials::new(&user.paths()).store(&proxy.name(), "me", "secret").unwrap();
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let bytes = noise(1000);
    let blob = upload(&client, &image, &bytes);

    // Elsewhere the same blob is open to everybody.
    let (open, elsewhere) = (Registry::start(), User::new());
    let other = FaultProxy::start(open.port());
    upload(&elsewhere.client(), &reference(&other.name(), "app"), &bytes);
    let location = vec![format!("Location: http://{}/v2/app/blobs/{}", other.name(), blob.digest)];
    proxy.add("GET /v2/app/blobs/", Does::Answer("307 Temporary Redirect", location, String::new()), 1);
    assert_eq!(client.blob_bytes(&image, &blob).unwrap(), bytes);
    let here = proxy.requests("GET /v2/app/blobs/");
    assert!(here[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    let there = other.requests("GET /v2/app/blobs/");
    assert_eq!((there.len(), there[0].header("authorization")), (1, None));
}

#[test]
fn slow_bodies_are_waited_for() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let proxy = FaultProxy::start(registry.port());
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let bytes = noise(1000);
    let blob = upload(&client, &image, &bytes);
    proxy.add("GET /v2/app/blobs/", Does::Slow(100, Duration::from_millis(5)), 1);
    assert_eq!(client.blob_bytes(&image, &blob).unwrap(), bytes);
}

#[test]
fn mirrors_are_asked_first() {
    require!(Program("docker-registry"));
    let (registry, mirror, user) = (Registry::start(), Registry::start(), User::new());
    let (front, copy) = (FaultProxy::start(registry.port()), FaultProxy::start(mirror.port()));
    let image = reference(&front.name(), "app:1");
    let bytes = noise(1000);
    let (manifest, layer) = push(&user.client(), &image, &bytes);
    let mut settings = Settings::default();
    let place = parse_mirror(&format!("{}/copies", copy.name())).unwrap();
    let dead = parse_mirror("localhost:1").unwrap();
    settings.mirrors.insert(front.name(), vec![dead, place]);
    let client = user.client_with(settings);

    assert_eq!(client.manifest(&image).unwrap().bytes, manifest, "the mirror does not have it");
    push(&user.client(), &reference(&copy.name(), "copies/app:1"), &bytes);
    let before = front.requests("GET").len();
    assert_eq!(client.manifest(&image).unwrap().bytes, manifest);
    assert_eq!(client.blob_bytes(&image, &layer).unwrap(), bytes);
    assert_eq!(front.requests("GET").len(), before, "the registry itself was not asked");
    assert_eq!(copy.requests("GET /v2/copies/app/").len(), 3);
}

#[test]
fn tags_come_in_pages() {
    let (proxy, user) = (FaultProxy::start(1), User::new());
    let image = reference(&proxy.name(), "app");
    let page = |path: &str, link: &str, tags: &str| {
        let headers = if link.is_empty() { vec![] } else { vec![format!("Link: {link}")] };
        proxy.add(path, Does::Answer("200 OK", headers, format!("{{\"name\": \"app\", \"tags\": {tags}}}")), 1);
    };
    page("tags/list?n=1000 ", "</v2/app/tags/list?n=1000&last=b>; rel=\"next\"", r#"["a", "b"]"#);
    page("tags/list?n=1000&last=b ", "<?n=1000&last=c>; rel=\"next\"", r#"["c"]"#);
    page("tags/list?n=1000&last=c ", "", "null");
    let client = user.client();
    assert_eq!(client.tags(&image).unwrap(), ["a", "b", "c"]);
    for link in ["<https://example.com/v2/app/tags/list>; rel=\"next\"", "<file:///etc/passwd>; rel=\"next\""] {
        page("tags/list?n=1000 ", link, r#"["a"]"#);
        let error = client.tags(&image).unwrap_err();
        assert!(matches!(*error.fault, Fault::Answer { .. }), "{link}: {error:?}");
    }
    page("tags/list?n=1000 ", "", r#"["a", 1]"#);
    assert!(matches!(*client.tags(&image).unwrap_err().fault, Fault::Answer { .. }));
}

#[test]
fn several_threads_share_a_client() {
    require!(Program("docker-registry"), Program("htpasswd"));
    let registry = Registry::with(Options { login: Some(("me", "secret")), ..Options::default() });
    let (user, proxy) = (User::new(), FaultProxy::start(registry.port()));
    devbox::registry::credentials::Credentials::new(&user.paths()).store(&proxy.name(), "me", "secret").unwrap();
    let client = user.client();
    let image = reference(&proxy.name(), "app");
    let layers: Vec<_> = (0..8).map(|number| noise(100_000 + number)).collect();
    std::thread::scope(|scope| {
        for layer in &layers {
            scope.spawn(|| upload(&client, &image, layer));
        }
    });
    proxy.add("GET /v2/app/blobs/", Does::Cut(50_000), 5);
    std::thread::scope(|scope| {
        for layer in &layers {
            scope.spawn(|| {
                let blob = devbox::image::descriptor::Descriptor::of_bytes("", layer);
                assert_eq!(read_all(client.blob(&image, &blob, 0).unwrap()), *layer);
            });
        }
    });
}
