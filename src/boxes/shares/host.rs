//! What there is on the host to share. Nothing is started or changed but `gpgconf`, which answers a question.

use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::paths;
use crate::process::Program;

/// Why something cannot be shared, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The key in `[share]`.
    pub share: &'static str,
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl Lack {
    /// A lack of `share`.
    pub(super) fn new(share: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { share, reason: reason.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the box has no `{}`: {}; {}", self.share, self.reason, self.remedy)
    }
}

/// What a path must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Socket,
    File,
}

/// The invoking user's side of things.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Host<'a> {
    /// A variable of the user's environment.
    pub get: &'a dyn Fn(&str) -> Option<OsString>,
    /// The user's home directory.
    pub home: PathBuf,
    /// The user's id.
    pub uid: u32,
}

impl Host<'_> {
    /// The one this process runs for; nothing without a home directory.
    pub fn of_this_process() -> Option<Self> {
        let uid = rustix::process::getuid().as_raw();
        Some(Self { get: &|name| paths::variable(name), home: dirs::home_dir()?, uid })
    }

    /// The value of a variable that is set, and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// A variable that must be valid text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.variable(name)?.into_string().ok()
    }

    /// `name` in `$XDG_RUNTIME_DIR`, unless it is absolute itself.
    pub(super) fn in_runtime_directory(&self, name: impl AsRef<Path>) -> Option<PathBuf> {
        if name.as_ref().is_absolute() {
            return Some(name.as_ref().to_owned());
        }
        let directory = PathBuf::from(self.variable("XDG_RUNTIME_DIR")?);
        directory.is_absolute().then(|| directory.join(name))
    }

    /// Where `path` leads, if that is of this kind, and nobody's but the user's or root's: whoever can make a link or a
    /// socket at a well-known place must not choose what a box talks to.
    pub(super) fn own(&self, path: &Path, kind: Kind) -> Result<PathBuf, String> {
        let shown = path.display();
        let cannot = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("`{shown}` is not there"),
            _ => format!("`{shown}`: {error}"),
        };
        let real = path.canonicalize().map_err(cannot)?;
        let meta = std::fs::symlink_metadata(&real).map_err(cannot)?;
        let (fits, name) = match kind {
            Kind::Socket => (meta.file_type().is_socket(), "socket"),
            Kind::File => (meta.is_file(), "file"),
        };
        if !fits {
            return Err(format!("`{shown}` is no {name}"));
        }
        if meta.uid() != self.uid && meta.uid() != 0 {
            return Err(format!("`{shown}` belongs to uid {}", meta.uid()));
        }
        Ok(real)
    }

    /// Where GnuPG has its home directory.
    pub(super) fn gnupg(&self) -> PathBuf {
        self.variable("GNUPGHOME").map_or_else(|| self.home.join(".gnupg"), PathBuf::from)
    }

    /// The restricted socket of `gpg-agent`: where it lies depends on too much to be told without asking.
    pub(super) fn gpg_socket(&self) -> Result<PathBuf, (String, &'static str)> {
        let install = "install the package `gpg` (or `gnupg2`)";
        let program = self
            .variable("PATH")
            .and_then(|path| which::which_in("gpgconf", Some(path), "/").ok())
            .ok_or_else(|| ("`gpgconf` is not installed".to_owned(), install))?;
        let answer = Program::new(&program)
            .args(["--list-dirs", "agent-extra-socket"])
            .env("HOME", &self.home)
            .env("GNUPGHOME", self.gnupg())
            .output()
            .map_err(|error| (error.to_string(), install))?;
        let path = PathBuf::from(String::from_utf8_lossy(&answer).trim_end());
        self.own(&path, Kind::Socket).map_err(|reason| (reason, "`gpgconf --launch gpg-agent` starts the agent"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_is_ours_and_of_the_kind() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _listener = UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        symlink("socket", at("link")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let host = |uid| Host { get: &|_| None, home: folder.path().to_owned(), uid };
        let real = at("socket").canonicalize().unwrap();
        assert_eq!(host(uid).own(&at("socket"), Kind::Socket), Ok(real.clone()));
        assert_eq!(host(uid).own(&at("link"), Kind::Socket), Ok(real));
        for (name, kind, said) in [
            ("file", Kind::Socket, "is no socket"),
            ("socket", Kind::File, "is no file"),
            ("dangling", Kind::File, "is not there"),
        ] {
            assert!(host(uid).own(&at(name), kind).unwrap_err().ends_with(said), "{name}");
        }
        if uid != 0 {
            let error = host(uid + 1).own(&at("socket"), Kind::Socket).unwrap_err();
            assert!(error.ends_with(&format!("belongs to uid {uid}")), "{error}");
        }
    }
}
