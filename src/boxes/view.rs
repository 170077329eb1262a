//! What a box's root file system holds, read from its layers without mounting them.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};

use crate::base::RootLayers;
use crate::sandbox::etc::Base;
use crate::sys::fs::{Root, open_path};

/// Files larger than this are nobody's configuration.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Directories stacked on each other, the topmost first.
#[derive(Debug)]
pub struct View {
    layers: Vec<OwnedFd>,
    /// `(path in the box, directory on the host)` of directories that are stacked by themselves.
    host: Vec<(PathBuf, OwnedFd)>,
}

impl View {
    /// `above` the base, the topmost first. Layers that cannot be opened hold nothing.
    #[must_use]
    pub fn new(above: &[PathBuf], base: &RootLayers) -> Self {
        let layers = above.iter().chain(&base.lower).filter_map(|path| open_path(path).ok()).collect();
        let host =
            base.host_directories.iter().filter_map(|path| Some((path.clone(), open_path(path).ok()?))).collect();
        Self { layers, host }
    }

    /// The topmost thing at `path`: a handle, unless it is a whiteout.
    fn look_up(&self, path: &Path, flags: OFlags) -> Option<OwnedFd> {
        let below = self.host.iter().filter_map(|(place, directory)| {
            let rest = path.strip_prefix(place).ok()?;
            Root::new(directory.as_fd()).open_plain(rest, flags).ok()
        });
        let found = self
            .layers
            .iter()
            .filter_map(|layer| Root::new(layer.as_fd()).open_plain(path, flags).ok())
            .chain(below)
            .next()?;
        let stat = rustix::fs::fstat(&found).ok()?;
        let whiteout = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
        (!whiteout).then_some(found)
    }
}

impl View {
    /// Whether there is something at `path` that is no directory.
    #[must_use]
    pub fn is_file(&self, path: &Path) -> bool {
        let stat = self.look_up(path, OFlags::PATH).and_then(|handle| rustix::fs::fstat(&handle).ok());
        stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
    }
}

impl Base for View {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let handle = self.look_up(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&handle).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let file = std::fs::File::from(self.look_up(path, OFlags::RDONLY)?);
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut content).ok()?;
        Some(content)
    }

    fn read_link(&self, path: &Path) -> Option<PathBuf> {
        let handle = self.look_up(path, OFlags::PATH)?;
        let target = rustix::fs::readlinkat(&handle, "", Vec::new()).ok()?;
        Some(PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(target.as_bytes())))
    }

    fn exists(&self, path: &Path) -> bool {
        self.look_up(path, OFlags::PATH).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_layer_answers_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let layer = |name: &str| directory.path().join(name);
        for (path, content) in
            [("top/etc/a", "top"), ("bottom/etc/a", "bottom"), ("bottom/etc/b", "b"), ("host/x", "x")]
        {
            std::fs::create_dir_all(layer(path).parent().unwrap()).unwrap();
            std::fs::write(layer(path), content).unwrap();
        }
        std::os::unix::fs::symlink("/etc", layer("bottom/link")).unwrap();
        let base =
            RootLayers { lower: vec![layer("bottom")], host_directories: vec![layer("host")], ..RootLayers::default() };
        let view = View::new(&[layer("top")], &base);
        assert_eq!(view.read(Path::new("/etc/a")).unwrap(), b"top");
        assert_eq!(view.read(Path::new("/etc/b")).unwrap(), b"b");
        assert_eq!(view.read(&layer("host/x")).unwrap(), b"x");
        assert_eq!(view.read(Path::new("/link/passwd")), None);
        assert_eq!(view.read_link(Path::new("/link")).unwrap(), Path::new("/etc"));
        assert!(view.exists(Path::new("/etc")) && !view.exists(Path::new("/nowhere")));
    }
}
