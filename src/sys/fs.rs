//! Files beneath a root file system that must not be left; pipes; `/dev/null`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Context, SysError, SysResult};

/// Opens a path of the host for use as a handle only (`O_PATH`), following symlinks.
pub fn open_path(path: &Path) -> SysResult<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open `{}`", path.display()))
}

/// Opens a directory of the host for reading.
pub fn open_directory(path: &Path) -> SysResult<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open `{}`", path.display()))
}

/// A pipe: the end to read from, and the end to write to.
pub fn pipe() -> SysResult<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call(|| "pipe2".to_owned())
}

/// `/dev/null`, to read from and to write to.
pub fn null() -> SysResult<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call(|| "open `/dev/null`".to_owned())
}

/// The path under which this process can reach the file behind `fd`, whatever its name is.
#[must_use]
pub fn proc_path(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// A directory that paths of untrusted content are resolved beneath: symlinks, absolute ones too, and `..` stay inside.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a>(BorrowedFd<'a>);

impl<'a> Root<'a> {
    /// `directory` is the root; an `O_PATH` handle will do.
    #[must_use]
    pub fn new(directory: BorrowedFd<'a>) -> Self {
        Self(directory)
    }

    /// Opens `path` as a handle, following symlinks inside the root.
    pub fn open(self, path: &Path) -> SysResult<OwnedFd> {
        self.open_with(path, OFlags::PATH)
    }

    /// Opens `path` with `flags`, following symlinks inside the root.
    pub fn open_with(self, path: &Path, flags: OFlags) -> SysResult<OwnedFd> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        // EAGAIN: a rename elsewhere raced with `..`; the kernel asks for another try.
        for _ in 0..128 {
            match rustix::fs::openat2(
                self.0,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                Err(Errno::AGAIN) => {}
                other => return other.call(|| format!("openat2 `{}`", path.display())),
            }
        }
        Err(SysError::new(format!("openat2 `{}`", path.display()), Errno::AGAIN))
    }

    /// Opens `path` with `flags` where no part of it, the last included, is a symlink.
    pub fn open_plain(self, path: &Path, flags: OFlags) -> SysResult<OwnedFd> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        // A FIFO must not hold us up; a handle is never opened, and refuses the flag.
        let patience = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | patience;
        rustix::fs::openat2(self.0, relative, flags, Mode::empty(), resolve)
            .call(|| format!("openat2 `{}`", path.display()))
    }

    /// The directory `path`, made with its missing parents (mode 0755). A dangling symlink on the way is an error.
    pub fn create_directory(self, path: &Path) -> SysResult<OwnedFd> {
        let mut current = PathBuf::new();
        let mut handle = self.open(Path::new("."))?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                if component == Component::ParentDir {
                    return Err(SysError::new(format!("mkdir `{}`", path.display()), Errno::INVAL));
                }
                continue;
            };
            current.push(name);
            handle = match self.open(&current) {
                Err(error) if error.errno == Errno::NOENT => {
                    make(rustix::fs::mkdirat(&handle, name, Mode::from_raw_mode(0o755)), "mkdir", &current)?;
                    self.open(&current)?
                }
                other => other?,
            };
        }
        Ok(handle)
    }

    /// The file `path`, made empty with its missing parents if it is not there: something to mount a file on.
    pub fn create_file(self, path: &Path) -> SysResult<OwnedFd> {
        match self.open(path) {
            Err(error) if error.errno == Errno::NOENT => {}
            other => return other,
        }
        let parent = self.create_directory(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(Errno::EXIST) => self.open(path),
            Err(errno) => Err(SysError::new(format!("create `{}`", path.display()), errno)),
        }
    }

    /// Writes a new file with its missing parents. An existing one is an error.
    pub fn write_file(self, path: &Path, content: &[u8], mode: u32) -> SysResult<()> {
        let parent = self.create_directory(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(mode))
            .call(|| format!("create `{}`", path.display()))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).call(|| format!("chmod `{}`", path.display()))?;
        std::io::Write::write_all(&mut std::fs::File::from(file), content)
            .call(|| format!("write `{}`", path.display()))
    }

    /// Makes a symlink with its missing parents.
    pub fn symlink(self, target: &str, path: &Path) -> SysResult<()> {
        let parent = self.create_directory(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or(OsStr::new("."));
        make(rustix::fs::symlinkat(target, &parent, name), "symlink", path)
    }

    /// Whether `path` leads to something.
    #[must_use]
    pub fn exists(self, path: &Path) -> bool {
        self.open(path).is_ok()
    }
}

/// Somebody else having made it first is as good.
fn make(result: Result<(), Errno>, call: &str, path: &Path) -> SysResult<()> {
    match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(SysError::new(format!("{call} `{}`", path.display()), errno)),
    }
}

/// Whether the file behind a handle is a directory.
pub fn is_directory(fd: &impl AsFd) -> SysResult<bool> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).call(|| "fstat".to_owned())?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn with_root(check: impl FnOnce(&Path, Root<'_>)) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let handle = open_path(&root).unwrap();
        check(directory.path(), Root::new(handle.as_fd()));
    }

    #[test]
    fn symlinks_stay_inside() {
        with_root(|outer, root| {
            symlink(outer, outer.join("root/out")).unwrap();
            symlink("../../..", outer.join("root/up")).unwrap();
            std::fs::write(outer.join("secret"), "x").unwrap();
            assert_eq!(root.open(Path::new("/out/secret")).unwrap_err().errno, Errno::NOENT);
            assert_eq!(root.open(Path::new("/up/secret")).unwrap_err().errno, Errno::NOENT);
            root.create_file(Path::new("/up/made")).unwrap();
            assert!(outer.join("root/made").exists());
            assert!(!outer.join("made").exists());
        });
    }

    #[test]
    fn directories_are_made_through_symlinks_inside() {
        with_root(|outer, root| {
            std::fs::create_dir(outer.join("root/run")).unwrap();
            std::fs::create_dir(outer.join("root/var")).unwrap();
            symlink("/run", outer.join("root/var/run")).unwrap();
            root.create_directory(Path::new("/var/run/a/b")).unwrap();
            assert!(outer.join("root/run/a/b").is_dir());
            root.write_file(Path::new("/var/run/a/f"), b"hello", 0o600).unwrap();
            assert_eq!(std::fs::read(outer.join("root/run/a/f")).unwrap(), b"hello");
        });
    }
}
