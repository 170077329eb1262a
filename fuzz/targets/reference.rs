//! Names of images: whatever is read is read again from what it is written as, and has no surprises in its parts.
#![no_main]

use devbox::image::platform::Platform;
use devbox::image::reference::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        assert_eq!(reference.familiar().parse(), Ok(reference.clone()));
        let repository = reference.repository();
        assert!(repository.split('/').all(|part| !matches!(part, "" | "." | "..")));
        assert!(reference.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(reference.tag().is_some() || reference.digest().is_some());
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.normalized(), platform);
        assert_eq!(platform.to_string().parse(), Ok(platform));
    }
});
