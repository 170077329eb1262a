//! Configurations of images: nothing is lost when one is written again.
#![no_main]

use devbox::image::config::ImageConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = ImageConfig::parse(bytes) {
        let text = serde_json::to_vec(&config).expect("JSON");
        assert_eq!(ImageConfig::parse(&text).expect("a configuration"), config);
        assert!(!config.platform().to_string().contains('\u{1b}'));
    }
});
