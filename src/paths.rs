//! Where things lie on the host: the XDG directories, and the few environment variables that matter below `cli`.
//!
//! ```text
//! $XDG_DATA_HOME/devbox/            store/  boxes/<id>/  trust/
//! $XDG_RUNTIME_DIR/devbox/<id>/     the socket and lock of a running box
//! $XDG_CONFIG_HOME/devbox/          config.toml  profiles/
//! $XDG_CACHE_HOME/devbox/           what can be fetched again
//! ```

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory could not be found or made.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Neither `HOME` nor the password database name a home directory.
    #[error("cannot tell the home directory of uid {uid}: `HOME` is not an absolute path")]
    NoHome {
        /// The invoking user.
        uid: u32,
    },
    /// A directory of ours belongs to somebody else, so that what is in it cannot be trusted.
    #[error("`{}` belongs to uid {owner}, not to the invoking user", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A directory could not be created.
    #[error("cannot create `{}`", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// The directories of one user, absolute and not necessarily existing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The user's home directory on the host.
    pub home: PathBuf,
    /// `$XDG_DATA_HOME/devbox`.
    pub data: PathBuf,
    /// `$XDG_CONFIG_HOME/devbox`.
    pub config: PathBuf,
    /// `$XDG_CACHE_HOME/devbox`.
    pub cache: PathBuf,
    /// `$XDG_RUNTIME_DIR/devbox`, or `run` in the data directory.
    pub runtime: PathBuf,
}

impl Paths {
    /// Reads the environment.
    pub fn from_environment() -> Result<Self, PathsError> {
        let uid = rustix::process::getuid().as_raw();
        let home = dirs::home_dir().filter(|home| home.is_absolute()).ok_or(PathsError::NoHome { uid })?;
        let data = dirs::data_dir().unwrap_or_else(|| home.join(".local/share")).join("devbox");
        let runtime = dirs::runtime_dir()
            .filter(|dir| is_private_directory(dir, uid))
            .map_or_else(|| data.join("run"), |dir| dir.join("devbox"));
        Ok(Self {
            config: dirs::config_dir().unwrap_or_else(|| home.join(".config")).join("devbox"),
            cache: dirs::cache_dir().unwrap_or_else(|| home.join(".cache")).join("devbox"),
            data,
            runtime,
            home,
        })
    }

    /// The layer store.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// The directory that holds one directory per box.
    pub fn boxes(&self) -> PathBuf {
        self.data.join("boxes")
    }
}

/// `XDG_RUNTIME_DIR` survives `su` and `sudo`: one that belongs to another user must not be used.
fn is_private_directory(path: &Path, uid: u32) -> bool {
    path.is_absolute()
        && std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == uid && meta.permissions().mode() & 0o022 == 0)
}

/// Makes `path` and its missing parents, mode 0700, and checks that it is the invoking user's own.
pub fn create_private(path: &Path) -> Result<(), PathsError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PathsError::Create { path: path.to_owned(), source })?;
    let meta = std::fs::metadata(path).map_err(|source| PathsError::Create { path: path.to_owned(), source })?;
    if meta.uid() != rustix::process::getuid().as_raw() {
        return Err(PathsError::ForeignOwner { path: path.to_owned(), owner: meta.uid() });
    }
    Ok(())
}

/// The value of an environment variable of the invoking user.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment below `cli`")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
