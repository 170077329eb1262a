//! The client against `docker-registry` as it is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use devbox::image::descriptor::Descriptor;
use devbox::image::digest::Digest;
use devbox::image::media_type::{CONFIG, LAYER, MANIFEST};
use devbox::image::reference::Reference;
use devbox::paths::Paths;
use devbox::registry::credentials::Credentials;
use devbox::registry::{Client, Fault, Retry, Settings};

use crate::require;
use crate::support::registry::{Options, Registry};

/// A user of the library, with directories of their own.
pub struct User {
    directory: tempfile::TempDir,
    home: PathBuf,
}

impl User {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let home = directory.path().join("home");
        Self { directory, home }
    }

    pub fn with_home(home: &Path) -> Self {
        Self { home: home.to_owned(), ..Self::new() }
    }

    pub fn paths(&self) -> Paths {
        let at = |name: &str| self.directory.path().join(name);
        Paths {
            home: self.home.clone(),
            data: at("data/devbox"),
            config: at("config/devbox"),
            cache: at("cache/devbox"),
            runtime: at("run/devbox"),
        }
    }

    pub fn client(&self) -> Client {
        self.client_with(Settings::default())
    }

    pub fn client_with(&self, settings: Settings) -> Client {
        let retry = Retry { first_pause: std::time::Duration::from_millis(2), ..Retry::default() };
        Client::new(settings, &self.paths()).with_retry(retry)
    }
}

pub fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().expect("a reference")
}

/// Bytes that do not repeat.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A source of an upload.
pub fn bytes_from(bytes: &[u8], offset: u64) -> &[u8] {
    &bytes[usize::try_from(offset).expect("a place in memory")..]
}

/// Uploads a blob and gives its descriptor.
pub fn upload(client: &Client, to: &Reference, bytes: &[u8]) -> Descriptor {
    let blob = Descriptor::of_bytes(LAYER, bytes);
    client.upload_blob(to, &blob, &mut |offset| Ok(Box::new(bytes_from(bytes, offset)))).expect("an upload");
    blob
}

/// Pushes an image of one layer; gives the manifest's bytes and the layer.
pub fn push(client: &Client, to: &Reference, layer: &[u8]) -> (Vec<u8>, Descriptor) {
    let layer = upload(client, to, layer);
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, layer.digest);
    let mut config = upload(client, to, config.as_bytes());
    config.media_type = CONFIG.to_owned();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    client.put_manifest(to, MANIFEST, &manifest).expect("a manifest");
    (manifest, layer)
}

pub fn read_all(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a whole blob");
    bytes
}

#[test]
fn what_was_pushed_is_pulled() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let client = user.client();
    let image = reference(&registry.name(), "team/app:1");
    let bytes = noise(300_000);
    assert_eq!(client.head_manifest(&image).unwrap(), None);
    let (manifest, layer) = push(&client, &image, &bytes);
    let fetched = client.manifest(&image).unwrap();
    assert_eq!((&fetched.bytes, fetched.media_type.as_str()), (&manifest, MANIFEST));
    assert_eq!(fetched.digest, Digest::of_bytes(&manifest));
    let head = client.head_manifest(&image).unwrap().unwrap();
    assert_eq!((head.digest, head.size), (fetched.digest.clone(), manifest.len() as u64));
    assert_eq!(client.manifest(&image.with_digest(fetched.digest.clone())).unwrap(), fetched);

    assert!(client.has_blob(&image, &layer.digest).unwrap());
    assert!(!client.has_blob(&image, &Digest::of_bytes(b"other")).unwrap());
    assert_eq!(client.blob_bytes(&image, &layer).unwrap(), bytes);
    for offset in [1, 100_000, 299_999, 300_000, 400_000] {
        let reader = client.blob(&image, &layer, offset).unwrap();
        let start = usize::try_from(reader.start()).unwrap();
        assert_eq!(start as u64, if offset > 300_000 { 0 } else { offset });
        assert_eq!(read_all(reader), bytes[start..]);
    }

    let other = reference(&registry.name(), "other:1");
    assert!(client.mount_blob(&other, "team/app", &layer.digest).unwrap());
    assert!(client.has_blob(&other, &layer.digest).unwrap());
    assert!(!client.mount_blob(&other, "team/app", &Digest::of_bytes(b"other")).unwrap());

    client.delete(&image.with_digest(fetched.digest)).unwrap();
    let error = client.manifest(&image).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot fetch the manifest of `{image}`"));
    assert_eq!(
        error.fault.to_string(),
        format!("`{}` answered 404: manifest unknown (MANIFEST_UNKNOWN)", registry.name())
    );
}

#[test]
fn tags_are_listed() {
    require!(Program("docker-registry"));
    let (registry, user) = (Registry::start(), User::new());
    let client = user.client();
    let image = reference(&registry.name(), "app:t0");
    let (manifest, _) = push(&client, &image, b"layer");
    for number in 1..5 {
        client.put_manifest(&image.with_tag(&format!("t{number}")).unwrap(), MANIFEST, &manifest).unwrap();
    }
    let mut tags = client.tags(&image).unwrap();
    tags.sort();
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4"]);
    assert!(client.tags(&reference(&registry.name(), "missing")).unwrap_err().is_not_found());
}

#[test]
fn a_login_is_needed_and_used() {
    require!(Program("docker-registry"), Program("htpasswd"));
    let registry = Registry::with(Options { login: Some(("me", "pass:word")), ..Options::default() });
    let user = User::new();
    let image = reference(&registry.name(), "app:1");
    let error = user.client().manifest(&image).unwrap_err();
    assert!(matches!(*error.fault, Fault::LoginMissing { .. }), "{error:?}");

    let credentials = Credentials::new(&user.paths());
    credentials.store(&registry.name(), "me", "wrong").unwrap();
    let error = user.client().manifest(&image).unwrap_err();
    let Fault::LoginRefused { user: refused, from, .. } = &*error.fault else { panic!("{error:?}") };
    assert_eq!(refused, "me");
    assert!(from.contains(".docker/config.json"), "{from}");

    credentials.store(&registry.name(), "me", "pass:word").unwrap();
    let client = user.client();
    let (manifest, _) = push(&client, &image, &noise(1 << 20));
    assert_eq!(client.manifest(&image).unwrap().bytes, manifest);
    client.ping(&registry.name()).unwrap();
}

#[test]
fn certificates_are_checked() {
    require!(Program("docker-registry"), Program("openssl"));
    let registry = Registry::with(Options { tls: true, ..Options::default() });
    let user = User::new();
    let image = reference(&registry.name(), "app:1");
    let error = user.client().manifest(&image).unwrap_err();
    let Fault::Tls { reason, .. } = &*error.fault else { panic!("{error:?}") };
    assert!(reason.contains("certificate"), "{reason}");

    let insecure = Settings { insecure: vec![registry.name()], ..Settings::default() };
    push(&user.client_with(insecure), &image, b"layer");

    trust(&user.paths(), &registry.name(), &registry.authority());
    user.client().manifest(&image).unwrap();
    let by_address = reference(&format!("127.0.0.1:{}", registry.port()), "app:1");
    trust(&user.paths(), by_address.registry(), &registry.authority());
    user.client().manifest(&by_address).unwrap();
}

/// What an administrator does for a registry with an authority of its own.
fn trust(paths: &Paths, registry: &str, authority: &Path) {
    let directory = paths.config.parent().expect("a parent").join("containers/certs.d").join(registry);
    fs::create_dir_all(&directory).expect("a directory");
    fs::copy(authority, directory.join("ca.crt")).expect("copy a file");
}

#[test]
fn a_client_shows_its_certificate() {
    require!(Program("docker-registry"), Program("openssl"));
    let registry = Registry::with(Options { tls: true, knows_clients: true, ..Options::default() });
    let user = User::new();
    let image = reference(&registry.name(), "app:1");
    trust(&user.paths(), &registry.name(), &registry.authority());
    let error = user.client().manifest(&image).unwrap_err();
    assert!(matches!(*error.fault, Fault::Tls { .. }), "{error:?}");
    let directory = user.paths().config.with_file_name("containers/certs.d").join(registry.name());
    let (certificate, key) = registry.client();
    fs::copy(certificate, directory.join("client.cert")).unwrap();
    fs::copy(&key, directory.join("client.key")).unwrap();
    push(&user.client(), &image, b"layer");
    fs::write(directory.join("client.key"), "no key").unwrap();
    let error = user.client().manifest(&image).unwrap_err();
    assert!(matches!(*error.fault, Fault::Certificate { .. }), "{error:?}");
}
