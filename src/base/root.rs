//! Does a tree look like a root file system?

use std::os::fd::AsFd;
use std::path::Path;

use crate::base::error::BaseError;
use crate::sys::fs::{Root, open_path};

/// Checks the tree `root`; an error names `shown`. Symlinks in it are not followed out of it.
pub(super) fn check(root: &Path, shown: &Path) -> Result<(), BaseError> {
    let handle = open_path(root)
        .map_err(|error| BaseError::Read { path: shown.to_owned(), source: std::io::Error::from(error) })?;
    let root = Root::new(handle.as_fd());
    let has = |path: &str| root.exists(Path::new(path));
    if ["bin/sh", "usr", "etc"].into_iter().any(has) {
        return Ok(());
    }
    // `docker save` and the OCI layout.
    if ["manifest.json", "index.json", "oci-layout"].into_iter().any(has) {
        return Err(BaseError::Image { path: shown.to_owned() });
    }
    Err(BaseError::NotARoot { path: shown.to_owned() })
}
