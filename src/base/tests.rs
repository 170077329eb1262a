use std::path::Path;

use crate::paths::Paths;

/// The directories of a user whose home is `home`.
pub(super) fn paths_below(home: &Path) -> Paths {
    Paths {
        home: home.to_owned(),
        data: home.join("data/devbox"),
        config: home.join("config/devbox"),
        cache: home.join("cache/devbox"),
        runtime: home.join("run/devbox"),
    }
}
