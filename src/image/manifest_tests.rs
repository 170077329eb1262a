use super::*;
use crate::image::digest::Digest;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn blob(media_type: &str, size: &str) -> String {
    format!(r#"{{"mediaType": "{media_type}", "digest": "sha256:{HEX}", "size": {size}}}"#)
}

fn manifest(config: &str, layers: &[String]) -> String {
    format!(r#"{{"schemaVersion": 2, "config": {config}, "layers": [{}]}}"#, layers.join(","))
}

fn parse(text: &str, told: Option<&str>) -> Result<Document, String> {
    parse_document(text.as_bytes(), told).map_err(|error| match error {
        ManifestError::Json { source } => source.to_string(),
        error => error.to_string(),
    })
}

#[test]
fn images_of_both_kinds() {
    for (config, layer, own) in [
        (media_type::CONFIG, media_type::LAYER_ZSTD, media_type::MANIFEST),
        (media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP, media_type::DOCKER_MANIFEST),
    ] {
        let text = manifest(&blob(config, "7"), &[blob(layer, "1"), blob(layer, "0")]);
        for told in [None, Some(own), Some("application/json"), Some(&*format!("{own}; charset=utf-8"))] {
            let Document::Manifest(read) = parse(&text, told).unwrap() else { panic!("an index") };
            read.require_image().unwrap();
            assert_eq!((read.layers.len(), read.config.size), (2, 7));
        }
    }
    let empty = format!(r#"{{"schemaVersion": 2, "config": {}, "layers": null}}"#, blob(media_type::CONFIG, "2"));
    assert!(matches!(parse(&empty, None), Ok(Document::Manifest(_))));
}

#[test]
fn an_index_is_chosen_from() {
    let entry = |number: u8, platform: &str| {
        let digest = Digest::of_bytes(&[number]);
        format!(
            r#"{{"mediaType": "{}", "digest": "{digest}", "size": 1, "platform": {platform}}}"#,
            media_type::MANIFEST
        )
    };
    let text = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{}", "manifests": [{}]}}"#,
        media_type::INDEX,
        [
            entry(0, r#"{"os": "unknown", "architecture": "unknown"}"#),
            entry(1, r#"{"os": "linux", "architecture": "386"}"#),
            entry(2, r#"{"os": "windows", "architecture": "amd64", "os.version": "10"}"#),
            entry(3, r#"{"os": "linux", "architecture": "x86_64"}"#),
            entry(4, r#"{"os": "linux", "architecture": "arm64", "variant": "v8"}"#),
            entry(5, "null"),
        ]
        .join(",")
    );
    let Document::Index(index) = parse(&text, None).unwrap() else { panic!("a manifest") };
    for (platform, number) in [("linux/amd64", 3), ("linux/386", 1), ("linux/arm64", 4), ("linux/s390x", 5)] {
        let chosen = index.choose(&platform.parse().unwrap()).unwrap();
        assert_eq!(chosen.digest, Digest::of_bytes(&[number]), "{platform}");
    }
    assert_eq!(index.platforms(), ["linux/386", "windows/amd64", "linux/amd64", "linux/arm64"]);
    assert_eq!(Index { manifests: Vec::new(), ..index }.choose(&Platform::host()), None);
}

#[test]
fn others_are_refused() {
    let config = blob(media_type::CONFIG, "1");
    let layer = blob(media_type::LAYER, "1");
    let image = manifest(&config, &[]);
    let both = format!(r#"{{"schemaVersion": 2, "config": {config}, "layers": [], "manifests": []}}"#);
    let named =
        |own: &str| format!(r#"{{"schemaVersion": 2, "mediaType": "{own}", "config": {config}, "layers": []}}"#);
    let many = manifest(&config, &vec![layer; MAX_LAYERS + 1]);
    let huge = manifest(&config, &[blob(media_type::LAYER, "18446744073709551615"), blob(media_type::LAYER, "2")]);
    let deep = format!(r#"{{"schemaVersion": 2, "x": {}"#, "[".repeat(1 << 16));
    let values = format!(r#"{{"schemaVersion": 2, "manifests": [{}0]}}"#, "{},".repeat(1_000_000));
    for (text, told, expected) in [
        ("", None, "EOF while parsing"),
        ("{}", None, "missing field `schemaVersion`"),
        (&deep, None, "EOF while parsing a list"),
        (&values, None, "more than 200000 values"),
        (&" ".repeat(MAX_MANIFEST_BYTES + 1), None, "more than 4194304 bytes"),
        (r#"{"schemaVersion": 1, "fsLayers": []}"#, None, "schema 1"),
        (r#"{"schemaVersion": 2, "fsLayers": []}"#, None, "schema 1"),
        (&image, Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema 1"),
        (r#"{"schemaVersion": 3}"#, None, "of schema 3"),
        (&both, None, "both layers and manifests"),
        (&image, Some(media_type::INDEX), "calls itself"),
        (&image, Some("text/html"), "of type `text/html`"),
        (&named(media_type::MANIFEST), Some(media_type::DOCKER_MANIFEST), "calls itself"),
        (&named("application/\\u001b[2J"), None, "\\u{1b}[2J"),
        (&manifest(&blob(media_type::CONFIG, "-1"), &[]), None, "invalid value: integer `-1`"),
        (&manifest(&blob(media_type::CONFIG, "1e99"), &[]), None, "invalid type: floating point"),
        (r#"{"schemaVersion": 2, "layers": []}"#, None, "missing field `config`"),
        (&many, None, "has 501 layers"),
        (&huge, None, "the image has 18446744073709551615 bytes"),
        (&image.replace(HEX, "../../../etc"), None, "64"),
    ] {
        let error = parse(text, told).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn not_every_manifest_is_an_image() {
    let config = blob(media_type::CONFIG, "1");
    for (text, expected) in [
        (manifest(&blob("application/vnd.cncf.helm.config.v1+json", "1"), &[]), "artifact (`application/vnd.cncf.helm"),
        (manifest(&blob(media_type::CONFIG, "4194305"), &[]), "the configuration has 4194305 bytes"),
        (
            manifest(&config, &[blob("application/vnd.in-toto+json", "1")]),
            "layer 1 is of type `application/vnd.in-toto+json`",
        ),
        (
            manifest(
                &config,
                &[blob(media_type::LAYER, "1"), blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "1")],
            ),
            "layer 2 is not distributed by registries",
        ),
    ] {
        let Document::Manifest(read) = parse(&text, None).unwrap() else { panic!("an index") };
        let error = read.require_image().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
