//! Ignore files; behind a line `--` stand the paths that are asked for.
#![no_main]

use std::path::Path;

use devbox::build::language::{IgnorePatterns, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (patterns, paths) = text.split_once("\n--\n").unwrap_or((text, "a\na/b\nsrc/main.rs\n.git/config"));
    let patterns = match IgnorePatterns::parse(".dockerignore", patterns) {
        Ok(patterns) => patterns,
        Err(error) => return assert!(!error.render(false).contains('\u{1b}')),
    };
    for path in paths.lines().take(8) {
        let path = Path::new(path);
        // What is pruned holds nothing that is kept.
        let is_pruned = |above: &Path| !above.as_os_str().is_empty() && patterns.verdict(above) == Verdict::SkipTree;
        let is_clean =
            path.is_relative() && path.components().collect::<std::path::PathBuf>().as_os_str() == path.as_os_str();
        if is_clean && path.ancestors().skip(1).any(is_pruned) {
            assert_eq!(patterns.verdict(path), Verdict::SkipTree);
        }
    }
});
