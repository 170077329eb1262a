//! Manifests and indexes; the first byte chooses what the registry says that it is.
#![no_main]

use devbox::image::manifest::{Document, parse_document};
use devbox::image::media_type;
use devbox::image::platform::Platform;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let told = match first % 6 {
        0 => Some(media_type::MANIFEST),
        1 => Some(media_type::INDEX),
        2 => Some(media_type::DOCKER_MANIFEST),
        3 => Some(media_type::DOCKER_MANIFEST_LIST),
        4 => Some("application/vnd.docker.distribution.manifest.v1+json"),
        _ => None,
    };
    match parse_document(bytes, told) {
        Ok(Document::Manifest(manifest)) => {
            let text = serde_json::to_vec(&manifest).expect("JSON");
            assert_eq!(parse_document(&text, None).expect("a manifest"), Document::Manifest(manifest.clone()));
            if let Err(error) = manifest.require_image() {
                assert!(!error.to_string().contains('\u{1b}'));
            }
        }
        Ok(Document::Index(index)) => {
            let chosen = index.choose(&Platform::host());
            assert!(chosen.is_none_or(|entry| index.manifests.contains(entry)));
            assert!(index.platforms().iter().all(|platform| !platform.contains('\u{1b}')));
        }
        Err(error) => assert!(!error.to_string().contains('\u{1b}')),
    }
});
