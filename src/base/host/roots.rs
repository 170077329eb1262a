//! Data-only roots: into which of them a file redirects, and as what path.
//!
//! Overlayfs looks an absolute redirect up in every data-only root, in order. A path that exists in an earlier root too
//! would find the wrong file: such files are copied.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The data-only roots of a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Roots {
    /// In the order of the lookup: the path in the layer (relative), the directory of the host.
    roots: Vec<(PathBuf, PathBuf)>,
}

impl Roots {
    /// `roots` in the order of the lookup: paths in the layer, and the host's directories that they stand for.
    pub fn new(roots: Vec<(PathBuf, PathBuf)>) -> Self {
        Self { roots }
    }

    /// The host's directories.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.roots.iter().map(|(_, host)| host.clone()).collect()
    }

    /// The redirect of `name` in the layer's directory `directory`; none when no root holds it, or an earlier one has
    /// something else at the same path.
    pub fn redirect(&self, directory: &Path, name: &CStr) -> Option<Vec<u8>> {
        let (index, (root, _)) = self.roots.iter().enumerate().find(|(_, (root, _))| directory.starts_with(root))?;
        let inner = directory.strip_prefix(root).ok()?.join(OsStr::from_bytes(name.to_bytes()));
        if self.roots[..index].iter().any(|(_, host)| host.join(&inner).symlink_metadata().is_ok()) {
            return None;
        }
        let mut redirect = Vec::with_capacity(inner.as_os_str().len() + 1);
        redirect.push(b'/');
        redirect.extend_from_slice(inner.as_os_str().as_bytes());
        Some(redirect)
    }

    /// Files of later roots that a new entry `path` of the layer now stands in front of, as paths in the layer.
    pub fn hidden_by(&self, path: &Path) -> Vec<PathBuf> {
        let Some((index, (root, _))) = self.roots.iter().enumerate().find(|(_, (root, _))| path.starts_with(root))
        else {
            return Vec::new();
        };
        let Ok(inner) = path.strip_prefix(root) else { return Vec::new() };
        self.roots[index + 1..].iter().map(|(later, _)| later.join(inner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_an_earlier_root_is_copied() {
        let host = tempfile::tempdir().unwrap();
        for file in ["usr/share/a", "opt/share/a", "opt/share/b"] {
            let path = host.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let roots =
            Roots::new(["usr", "opt"].map(|name| (PathBuf::from(name), host.path().join(name))).into_iter().collect());
        for (directory, name, expected) in [
            ("usr/share", c"a", Some("/share/a")),
            ("usr", c"a", Some("/a")),
            ("opt/share", c"a", None),
            ("opt/share", c"b", Some("/share/b")),
            ("var/x", c"b", None),
        ] {
            let redirect = roots.redirect(Path::new(directory), name);
            assert_eq!(redirect.as_deref(), expected.map(str::as_bytes), "{directory}/{name:?}");
        }
        assert_eq!(roots.hidden_by(Path::new("usr/share/n")), [PathBuf::from("opt/share/n")]);
        assert!(roots.hidden_by(Path::new("opt/share/n")).is_empty());
    }
}
