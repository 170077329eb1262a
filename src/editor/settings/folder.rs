//! Files of a project that a box may write to: reached beneath the project's folder, and through no symlink.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::SettingsError;
use crate::sys::fs::{Root, open_directory};
use crate::sys::{Context, SysError, SysResult};

/// The largest settings file that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// The project's folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, SettingsError> {
        open_directory(path).map(Self).map_err(|source| SettingsError::System { path: path.to_owned(), source })
    }

    /// The text of a regular file; `None` when there is nothing.
    pub fn read(&self, path: &Path) -> Result<Option<String>, SettingsError> {
        let at = |source| SettingsError::System { path: path.to_owned(), source };
        let file = match Root::new(self.0.as_fd()).open_plain(path, OFlags::RDONLY) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            other => other.map_err(at)?,
        };
        let stat = rustix::fs::fstat(&file).call(|| "fstat".to_owned()).map_err(at)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SettingsError::NotAFile { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::from(file).take(LIMIT_BYTES + 1).read_to_end(&mut bytes);
        read.call(|| "read".to_owned()).map_err(at)?;
        if bytes.len() as u64 > LIMIT_BYTES {
            return Err(SettingsError::TooLarge { path: path.to_owned() });
        }
        String::from_utf8(bytes).map(Some).map_err(|_| SettingsError::NotText { path: path.to_owned() })
    }

    /// Writes a file whole, or not at all, with its missing folders; returns the topmost of these.
    pub fn write(&self, path: &Path, text: &str) -> Result<Option<std::path::PathBuf>, SettingsError> {
        let at = |source| SettingsError::System { path: path.to_owned(), source };
        let (parent, made) = self.make(path.parent().unwrap_or(Path::new(""))).map_err(at)?;
        let name = path.file_name().unwrap_or(OsStr::new("settings"));
        self.replace(&parent, path, name, text).map_err(at)?;
        Ok(made)
    }

    fn replace(&self, parent: &OwnedFd, path: &Path, name: &OsStr, text: &str) -> SysResult<()> {
        let mode = Root::new(self.0.as_fd()).open_plain(path, OFlags::PATH).ok().map(|old| rustix::fs::fstat(&old));
        let mode = mode.and_then(Result::ok).map_or(0o644, |stat| stat.st_mode & 0o777);
        let temporary = format!(".{}.devbox-{}", name.to_string_lossy(), std::process::id());
        let call = || format!("write `{}`", path.display());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, &temporary, flags, Mode::from_raw_mode(0o600)).call(call)?;
        let mut file = std::fs::File::from(file);
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?))
            .and_then(|()| file.sync_all())
            // Whatever has the name is replaced, a symlink too.
            .and_then(|()| Ok(rustix::fs::renameat(parent, &temporary, parent, name)?));
        if written.is_err() {
            // Nothing half done is left.
            rustix::fs::unlinkat(parent, &temporary, AtFlags::empty()).ok();
        }
        written.call(call)
    }

    /// The folder `path`, made where it is missing.
    fn make(&self, path: &Path) -> SysResult<(OwnedFd, Option<std::path::PathBuf>)> {
        let root = Root::new(self.0.as_fd());
        let mut made = None;
        for part in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let (Some(parent), Some(name)) = (part.parent(), part.file_name()) else { continue };
            let parent = root.open_plain(parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => made = made.or_else(|| Some(part.to_owned())),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(SysError::new(format!("mkdir `{}`", part.display()), errno)),
            }
        }
        Ok((root.open_plain(path, OFlags::RDONLY | OFlags::DIRECTORY)?, made))
    }

    /// Removes a file, and its folders from the topmost one that was made, `made`, as far as they are empty.
    pub fn remove(&self, path: &Path, made: Option<&Path>) -> Result<(), SettingsError> {
        let unlink = |path: &Path, flags: AtFlags| -> SysResult<()> {
            let parent = path.parent().unwrap_or(Path::new(""));
            let parent = Root::new(self.0.as_fd()).open_plain(parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let name = path.file_name().unwrap_or(OsStr::new("."));
            rustix::fs::unlinkat(parent, name, flags).call(|| format!("remove `{}`", path.display()))
        };
        unlink(path, AtFlags::empty()).map_err(|source| SettingsError::System { path: path.to_owned(), source })?;
        if let Some(made) = made {
            for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(made)) {
                if unlink(folder, AtFlags::REMOVEDIR).is_err() {
                    // Something else is in it.
                    break;
                }
            }
        }
        Ok(())
    }
}
