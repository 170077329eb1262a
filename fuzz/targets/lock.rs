//! `devbox.lock.toml`: it comes with the project, and its names and versions become arguments of package managers.
#![no_main]

use std::path::Path;

use devbox::profile::lock::{is_commit, is_version, parse, render, LockedBase};
use devbox::profile::validate::package_fault;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = Path::new("/home/me/project/devbox.lock.toml");
    let lock = match parse(text, file) {
        Ok(lock) => lock,
        Err(diagnostic) => {
            assert!(!diagnostic.to_string().contains('\u{1b}'));
            assert!(!diagnostic.render(false).is_empty());
            return;
        }
    };
    for name in lock.packages.iter().chain(lock.versions.keys()) {
        assert!(package_fault(name).is_none() && !name.starts_with('-'));
    }
    assert!(lock.versions.values().all(|version| is_version(version)));
    if let LockedBase::Build(inputs) = &lock.base {
        assert!(inputs.commits.values().all(|commit| is_commit(commit)));
    }
    // What is written is read again, and is the same then.
    let written = render(&lock);
    let again = parse(&written, file).expect("what was written is a lock file");
    assert_eq!(again, lock);
    assert_eq!(render(&again), written);
});
