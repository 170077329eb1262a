//! What skopeo and umoci push is read, and what is pushed is read by them.

use std::fs;
use std::process::Command;

use devbox::image::config::ImageConfig;
use devbox::image::descriptor::Descriptor;
use devbox::image::digest::Digest;
use devbox::image::manifest::{Document, Manifest, parse_document};
use devbox::image::media_type::{DOCKER_MANIFEST, INDEX, MANIFEST};
use devbox::image::platform::Platform;

use super::registry::{User, push, read_all, reference};
use crate::require;
use crate::support::registry::{Registry, run};

#[test]
fn images_of_skopeo_are_read() {
    require!(Program("docker-registry"), Program("skopeo"), Program("umoci"));
    let (registry, user) = (Registry::start(), User::new());
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let layout = at("layout").display().to_string();
    let image = format!("{layout}:x");
    fs::write(at("file"), "content").unwrap();
    let umoci = |arguments: &[&str]| run(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    let file = at("file").display().to_string();
    umoci(&["insert", "--rootless", "--image", &image, &file, "/file"]);
    umoci(&["config", "--image", &image, "--config.env", "A=b", "--config.cmd", "sh", "--config.label", "l=m"]);
    let client = user.client();
    for (format, compression, media_type) in
        [("oci", "gzip", MANIFEST), ("oci", "zstd", MANIFEST), ("v2s2", "gzip", DOCKER_MANIFEST)]
    {
        let to = reference(&registry.name(), &format!("app:{format}-{compression}"));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-compress"]);
        skopeo.args(["--dest-compress-format", compression, "--format", format]);
        run(skopeo.arg(format!("oci:{image}")).arg(format!("docker://{to}")));
        let fetched = client.manifest(&to).unwrap();
        assert_eq!(fetched.media_type, media_type);
        let Document::Manifest(manifest) = parse_document(&fetched.bytes, Some(media_type)).unwrap() else {
            panic!("no manifest: {to}");
        };
        manifest.require_image().unwrap();
        let config = ImageConfig::parse(&client.blob_bytes(&to, &manifest.config).unwrap()).unwrap();
        config.require_layers(manifest.layers.len()).unwrap();
        assert_eq!((&config.config.cmd, &config.config.labels["l"]), (&Some(vec!["sh".to_owned()]), &"m".to_owned()));
        assert!(config.config.env.contains(&"A=b".to_owned()));
        assert_eq!(Platform::host().rank(&config.platform()), Some(0));
        for layer in &manifest.layers {
            assert!(layer.digest.matches(&read_all(client.blob(&to, layer, 0).unwrap())));
        }
    }
}

#[test]
fn what_is_pushed_is_read_by_skopeo() {
    require!(Program("docker-registry"), Program("skopeo"));
    let (registry, user) = (Registry::start(), User::new());
    let client = user.client();
    let image = reference(&registry.name(), "app:1");
    let (bytes, layer) = push(&client, &image, b"layer");
    let skopeo = |arguments: &[&str]| {
        run(Command::new("skopeo").args(["--insecure-policy", "inspect", "--tls-verify=false"]).args(arguments))
    };
    assert_eq!(skopeo(&["--raw", &format!("docker://{image}")]).as_bytes(), bytes);

    let mut entry = Descriptor::of_bytes(MANIFEST, &bytes);
    entry.platform = Some(Platform::host());
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let index = serde_json::to_vec(&index).unwrap();
    let tag = image.with_tag("all").unwrap();
    assert_eq!(client.put_manifest(&tag, INDEX, &index).unwrap(), Digest::of_bytes(&index));
    let seen: serde_json::Value = serde_json::from_str(&skopeo(&[&format!("docker://{tag}")])).unwrap();
    assert_eq!(seen["Layers"][0], layer.digest.to_string());
    let Document::Index(read) = parse_document(&client.manifest(&tag).unwrap().bytes, None).unwrap() else {
        panic!("no index");
    };
    let chosen = read.choose(&Platform::host()).unwrap();
    let fetched = client.manifest(&tag.with_digest(chosen.digest.clone())).unwrap();
    assert_eq!(serde_json::from_slice::<Manifest>(&fetched.bytes).unwrap().layers[0].digest, layer.digest);
}
