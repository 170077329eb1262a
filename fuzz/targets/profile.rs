//! `devbox.toml` and the user's `config.toml`.
#![no_main]

use std::path::Path;

use devbox::profile::validate::{Origin, parse_config, parse_profile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let place = Path::new("/home/me/project");
    let origin = Origin { file: place, text, folder: place, home: Path::new("/home/me") };
    for diagnostic in [parse_profile(&origin).err(), parse_config(&origin).err()].into_iter().flatten() {
        assert!(!diagnostic.to_string().contains('\u{1b}'));
        assert!(!diagnostic.render(false).is_empty());
    }
});
