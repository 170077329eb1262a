//! A directory as the base: used where it lies, read-only.

use std::path::Path;

use super::error::BaseError;
use super::{OverlayDriver, RootLayers, root};
use crate::image::digest;
use crate::paths::Paths;

/// Checks that `directory` (absolute) can be the base.
pub fn prepare(paths: &Paths, directory: &Path) -> Result<RootLayers, BaseError> {
    let read = |source| BaseError::Read { path: directory.to_owned(), source };
    let path = std::fs::canonicalize(directory).map_err(read)?;
    if path == Path::new("/") {
        return Err(BaseError::HostRoot);
    }
    if !path.is_dir() {
        return Err(BaseError::NotADirectory { path: directory.to_owned() });
    }
    std::fs::read_dir(&path).map_err(read)?;
    let data = std::fs::canonicalize(&paths.data).unwrap_or_else(|_| paths.data.clone());
    // overlayfs refuses an upper directory below its lower one, and a box's own files are no base.
    if path.starts_with(&data) || data.starts_with(&path) {
        return Err(BaseError::Overlaps { path: directory.to_owned(), data });
    }
    root::check(&path, directory)?;
    Ok(RootLayers {
        id: format!("directory-{}", digest::of_bytes(path.as_os_str().as_encoded_bytes())),
        lower: vec![path],
        driver: OverlayDriver::Kernel,
        ..RootLayers::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tests::paths_below;

    #[test]
    fn a_root_file_system_is_used_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths_below(&directory.path().join("home"));
        let base = directory.path().join("base");
        std::fs::create_dir_all(base.join("etc")).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&base, &link).unwrap();
        let layers = prepare(&paths, &link).unwrap();
        assert_eq!(layers.lower, [base.canonicalize().unwrap()]);
        assert_eq!(layers, prepare(&paths, &base).unwrap());
    }

    #[test]
    fn what_cannot_be_a_base() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let paths = paths_below(&at("home"));
        for name in ["empty", "home/data/devbox/store/etc", "image"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::create_dir_all(at("etc")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        std::fs::write(at("image/oci-layout"), "").unwrap();
        let error = |path: &Path| prepare(&paths, path).unwrap_err();
        assert!(matches!(error(&at("missing")), BaseError::Read { .. }));
        assert!(matches!(error(&at("file")), BaseError::NotADirectory { .. }));
        assert!(matches!(error(&at("empty")), BaseError::NotARoot { .. }));
        assert!(matches!(error(&at("image")), BaseError::Image { .. }));
        assert!(matches!(error(Path::new("/")), BaseError::HostRoot));
        assert!(matches!(error(Path::new("/..")), BaseError::HostRoot));
        assert!(matches!(error(&at("home/data/devbox/store")), BaseError::Overlaps { .. }));
        assert!(matches!(error(directory.path()), BaseError::Overlaps { .. }));
        for error in [error(&at("image")), error(Path::new("/"))] {
            assert!(error.hint().is_some());
        }
    }
}
