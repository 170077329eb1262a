//! Finding the project's profile, and reading files that may be anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::devcontainer;
use super::error::ProfileError;

/// The profile of a project.
pub const PROFILE_FILE: &str = "devbox.toml";
/// Beside it: what one person changes for themselves.
pub const LOCAL_FILE: &str = "devbox.local.toml";
/// The largest profile that is read.
pub const LIMIT_BYTES: u64 = 1 << 20;

/// A project folder, and its `devbox.toml` when it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folder: absolute, symlinks resolved.
    pub project: PathBuf,
    /// `devbox.toml` in it. `None`: it has devcontainer files, or no folder from the start up to the root has either and
    /// `project` is the start.
    pub file: Option<PathBuf>,
}

/// Walks up from `start` to the folder that has a `devbox.toml` or devcontainer files.
///
/// A `devbox.toml` in the home directory or in `/` counts only when `start` is exactly there: it would make all that is
/// below one project, and show the whole home directory to its box. Anything of that name counts, also a directory or a
/// symlink to nowhere: [`read`] then says what is wrong with it. Folders that cannot be searched are passed over.
pub fn find(start: &Path, home: &Path) -> Result<Found, ProfileError> {
    let folder = |source| ProfileError::Folder { path: start.to_owned(), source };
    let start = start.canonicalize().map_err(folder)?;
    if !start.is_dir() {
        return Err(folder(ErrorKind::NotADirectory.into()));
    }
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    for project in start.ancestors() {
        let too_wide = project == home || project.parent().is_none();
        if too_wide && project != start {
            continue;
        }
        let file = project.join(PROFILE_FILE);
        let is_there = exists(&file)?;
        if is_there || !devcontainer::find::all(project)?.is_empty() {
            return Ok(Found { project: project.to_owned(), file: is_there.then_some(file) });
        }
    }
    Ok(Found { project: start, file: None })
}

/// Whether anything is at `path`, symlinks not followed. What cannot be looked at is not there.
pub fn exists(path: &Path) -> Result<bool, ProfileError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Ok(false),
            _ => Err(ProfileError::Read { path: path.to_owned(), source: error }),
        },
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What is in it.
    pub text: String,
    /// Its owner on the host.
    pub owner: u32,
}

/// Reads a profile: a regular file of at most [`LIMIT_BYTES`], in UTF-8. Never waits for a FIFO or a device.
pub fn read(path: &Path) -> Result<Text, ProfileError> {
    let failed = |source: std::io::Error| match source.raw_os_error() {
        Some(libc::ELOOP) => ProfileError::SymlinkLoop { path: path.to_owned() },
        // A socket cannot be opened, nor a device without a driver.
        Some(libc::ENXIO) => ProfileError::NotAFile { path: path.to_owned(), kind: "a socket or a device" },
        Some(libc::ENOENT) if path.is_symlink() => ProfileError::DanglingSymlink { path: path.to_owned() },
        _ => ProfileError::Read { path: path.to_owned(), source },
    };
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if let Some(kind) = no_file(&meta) {
        return Err(ProfileError::NotAFile { path: path.to_owned(), kind });
    }
    let bytes = read_limited(&file, meta.len()).map_err(failed)?.map_err(|size_bytes| ProfileError::TooLarge {
        path: path.to_owned(),
        size_bytes,
        limit_bytes: LIMIT_BYTES,
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        ProfileError::NotUtf8 {
            path: path.to_owned(),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            byte: before.len() - line_start + 1,
        }
    })?;
    Ok(Text { text, owner: meta.uid() })
}

/// The content, or the size that is too large. A file may grow while it is read, and files of `/proc` are 0 bytes long.
fn read_limited(file: &File, size_bytes: u64) -> std::io::Result<Result<Vec<u8>, u64>> {
    if size_bytes > LIMIT_BYTES {
        return Ok(Err(size_bytes));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > LIMIT_BYTES { Err(bytes.len() as u64) } else { Ok(bytes) })
}

fn no_file(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// `path` with all symlinks resolved as far as it exists; the rest is taken by its spelling.
pub fn resolve_links(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path;
    let real = loop {
        if let Ok(real) = existing.canonicalize() {
            break real;
        }
        // `a/..` has no last name: where it leads to is not known before `a` exists.
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(last)) => {
                missing.push(last);
                existing = parent;
            }
            _ => break existing.to_owned(),
        }
    };
    missing.iter().rev().fold(real, |mut real, component| {
        match component {
            std::path::Component::ParentDir => {
                real.pop();
            }
            other => real.push(other),
        }
        real
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn walks_up_but_not_into_the_home_directory() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let home = root.join("home");
        let deep = home.join("shop/src/deep");
        fs::create_dir_all(&deep).unwrap();
        let find = |start: &Path| find(start, &home).unwrap();
        assert_eq!(find(&deep), Found { project: deep.clone(), file: None });
        fs::write(home.join(PROFILE_FILE), "").unwrap();
        assert_eq!(find(&deep).file, None);
        assert_eq!(find(&home), Found { project: home.clone(), file: Some(home.join(PROFILE_FILE)) });
        fs::write(root.join(PROFILE_FILE), "").unwrap();
        assert_eq!(find(&deep).project, root);
        fs::write(home.join("shop").join(PROFILE_FILE), "").unwrap();
        assert_eq!(find(&deep).project, home.join("shop"));
        symlink(&deep, root.join("link")).unwrap();
        assert_eq!(find(&root.join("link")).project, home.join("shop"));
        // Also what cannot be read is a profile: passing over it would open a different box.
        symlink("nowhere", deep.join(PROFILE_FILE)).unwrap();
        assert_eq!(find(&deep).project, deep);
    }

    #[test]
    fn a_folder_that_is_gone_or_none() {
        let root = tempfile::tempdir().unwrap();
        let gone = root.path().join("gone");
        assert!(matches!(find(&gone, root.path()), Err(ProfileError::Folder { .. })));
        fs::write(&gone, "").unwrap();
        assert!(matches!(find(&gone, root.path()), Err(ProfileError::Folder { .. })));
    }

    #[test]
    fn reads_files_only() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("good"), "a\nü").unwrap();
        fs::write(at("exact"), vec![b'#'; LIMIT_BYTES as usize]).unwrap();
        fs::write(at("latin1"), b"# ok\nname = \"\xfc\"\n").unwrap();
        fs::create_dir(at("directory")).unwrap();
        File::create(at("huge")).unwrap().set_len(100 << 20).unwrap();
        symlink(at("b"), at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read(&at("good")).unwrap().text, "a\nü");
        assert_eq!(read(&at("exact")).unwrap().text.len(), 1 << 20);
        for (name, message) in [
            ("latin1", "is not UTF-8: byte 9 of line 2"),
            ("directory", "is a directory, not a file"),
            ("huge", "is too large: 104857600 bytes, at most 1048576 are read"),
            ("a", "is a symlink that leads in a circle"),
            ("dangling", "is a symlink to a file that does not exist"),
            ("fifo", "is a FIFO, not a file"),
            ("socket", "is a socket or a device, not a file"),
        ] {
            let error = read(&at(name)).unwrap_err().to_string();
            assert_eq!(error, format!("profile `{}` {message}", at(name).display()));
        }
        assert!(matches!(read(&at("missing")), Err(ProfileError::Read { .. })));
        assert!(matches!(read(Path::new("/dev/zero")), Err(ProfileError::NotAFile { kind: "a device", .. })));
        fs::set_permissions(at("good"), fs::Permissions::from_mode(0o000)).unwrap();
        if !rustix::process::getuid().is_root() {
            assert!(matches!(read(&at("good")), Err(ProfileError::Read { .. })));
        }
    }

    #[test]
    fn resolves_symlinks_as_far_as_they_go() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/inner")).unwrap();
        symlink("real/inner", root.join("link")).unwrap();
        for (path, real) in [
            ("link", "real/inner"),
            ("link/..", "real"),
            ("link/new/file", "real/inner/new/file"),
            ("link/new/../../../x", "x"),
            ("./real/./inner", "real/inner"),
            ("gone/../../..", "../.."),
        ] {
            let expected = root.join(real);
            let expected = expected.canonicalize().unwrap_or(expected);
            assert_eq!(resolve_links(&root.join(path)), expected, "{path}");
        }
    }
}
