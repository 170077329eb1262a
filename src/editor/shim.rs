//! Small executables that run a tool in the box of the folder they are called in.
//!
//! ```text
//! <data>/bin/clangd --symlink--> /usr/bin/devbox
//! ```
//!
//! A shim is a symlink to devbox of any other name: devbox sees by what name it was called, and that its file has another.
//! Nothing else is kept about it. In a box it gives way to the tool itself.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::paths::{Paths, PathsError, create_private};

/// Programs that devbox calls by name, or is itself: a shim of one could call itself for ever.
const RESERVED: [&str; 14] = [
    "docker",
    "newuidmap",
    "newgidmap",
    "pasta",
    "passt",
    "slirp4netns",
    "fuse-overlayfs",
    "nft",
    "tc",
    "busctl",
    "systemctl",
    "mmdebstrap",
    "setpriv",
    "env",
];

/// A shim cannot be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// Not the name of a program.
    #[error("`{}` cannot be the name of a shim", crate::text::sanitize(untrusted_name))]
    Name {
        /// What was typed.
        untrusted_name: String,
    },
    /// devbox needs the host's program of that name.
    #[error("there can be no shim of `{name}`: devbox itself needs the host's")]
    Reserved {
        /// The program.
        name: String,
    },
    /// Something else has the name.
    #[error("`{}` is no shim", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no shim `{}`", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The directory.
    #[error(transparent)]
    Directory(#[from] PathsError),
    /// A file refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Its operand.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Where shims are made unless another directory is named.
#[must_use]
pub fn default_directory(paths: &Paths) -> PathBuf {
    paths.data.join("bin")
}

/// The tool that is meant when devbox is called as `argument`, if that is not devbox itself.
#[must_use]
pub fn tool(argument: &OsStr) -> Option<&OsStr> {
    let name = Path::new(argument).file_name()?;
    let is_own = name.as_encoded_bytes().starts_with(b"devbox");
    (!is_own).then_some(name)
}

/// Makes shims for `names` in `directory`, each leading to `program`. Existing shims are made anew. Either all names are good or nothing
/// is made.
pub fn add(directory: &Path, names: &[String], program: &Path) -> Result<(), ShimError> {
    for name in names {
        check(name)?;
        if lead(&directory.join(name))? == Lead::Elsewhere {
            return Err(ShimError::InTheWay { path: directory.join(name) });
        }
    }
    create_private(directory)?;
    for name in names {
        let path = directory.join(name);
        let fresh = directory.join(format!(".{name}.new"));
        let at = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ShimError::Io { action, path, source }
        };
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", &fresh)(error))?,
            _ => {}
        }
        symlink(program, &fresh).map_err(at("create", &fresh))?;
        std::fs::rename(&fresh, &path).map_err(at("create", &path))?;
    }
    Ok(())
}

/// The names of the shims in `directory`, sorted.
pub fn list(directory: &Path) -> Result<Vec<String>, ShimError> {
    let at = |source| ShimError::Io { action: "read", path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if check(&name).is_ok() && lead(&entry.path())? == Lead::Here {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes shims. Either all names are shims or nothing is removed.
pub fn remove(directory: &Path, names: &[String]) -> Result<(), ShimError> {
    for name in names {
        check(name)?;
        let path = directory.join(name);
        match lead(&path)? {
            Lead::Here => {}
            Lead::Nowhere => return Err(ShimError::Missing { path }),
            Lead::Elsewhere => return Err(ShimError::InTheWay { path }),
        }
    }
    for name in names {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(|source| ShimError::Io { action: "remove", path, source })?;
    }
    Ok(())
}

fn check(name: &str) -> Result<(), ShimError> {
    if RESERVED.contains(&name) {
        return Err(ShimError::Reserved { name: name.to_owned() });
    }
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
    let good = !name.is_empty()
        && name.len() <= 200
        && name.chars().all(plain)
        && !name.starts_with(['-', '.'])
        && tool(OsStr::new(name)).is_some();
    if good { Ok(()) } else { Err(ShimError::Name { untrusted_name: name.to_owned() }) }
}

/// What has a shim's path.
#[derive(Debug, PartialEq, Eq)]
enum Lead {
    /// A symlink to devbox, which may have been moved since.
    Here,
    /// Nothing is there.
    Nowhere,
    /// Something else.
    Elsewhere,
}

fn lead(path: &Path) -> Result<Lead, ShimError> {
    match std::fs::read_link(path) {
        Ok(target) if target.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"devbox")) => {
            Ok(Lead::Here)
        }
        Ok(_) => Ok(Lead::Elsewhere),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(Lead::Nowhere),
            ErrorKind::InvalidInput => Ok(Lead::Elsewhere),
            _ => Err(ShimError::Io { action: "read", path: path.to_owned(), source: error }),
        },
    }
}

/// The program `name` in the directories of `search` that is not devbox (`own`, symlinks resolved) under another name.
#[must_use]
pub fn real_tool(name: &OsStr, search: &OsStr, own: &Path) -> Option<PathBuf> {
    std::env::split_paths(search)
        .map(|directory| directory.join(name))
        .find(|path| path.canonicalize().is_ok_and(|real| real != own && is_executable(&real)))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn devbox_is_known_by_its_name() {
        for (argument, expected) in [
            ("/home/a/.local/share/devbox/bin/clangd", Some("clangd")),
            ("python3", Some("python3")),
            ("/usr/bin/devbox", None),
            ("devbox-1.2", None),
            ("/", None),
        ] {
            assert_eq!(tool(OsStr::new(argument)), expected.map(OsStr::new), "{argument}");
        }
    }

    #[test]
    fn shims_come_and_go() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("bin");
        let program = Path::new("/opt/devbox");
        assert_eq!(list(&directory).unwrap(), Vec::<String>::new());
        add(&directory, &names(&["python", "clangd"]), program).unwrap();
        add(&directory, &names(&["python"]), program).unwrap();
        assert_eq!(list(&directory).unwrap(), ["clangd", "python"]);
        assert_eq!(std::fs::read_link(directory.join("python")).unwrap(), program);

        std::fs::write(directory.join("mine"), "").unwrap();
        symlink("/usr/bin/python3", directory.join("py3")).unwrap();
        for other in ["mine", "py3"] {
            assert!(matches!(add(&directory, &names(&["x", other]), program), Err(ShimError::InTheWay { .. })));
            assert!(matches!(remove(&directory, &names(&["clangd", other])), Err(ShimError::InTheWay { .. })));
        }
        assert!(matches!(remove(&directory, &names(&["clangd", "go"])), Err(ShimError::Missing { .. })));
        assert_eq!(list(&directory).unwrap(), ["clangd", "python"]);
        remove(&directory, &names(&["clangd", "python"])).unwrap();
        assert_eq!(list(&directory).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn bad_names_make_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("bin");
        for name in ["", "a/b", "..", ".hidden", "-x", "devbox", "a b", "pasta", "docker", "a\n"] {
            assert!(add(&directory, &names(&["good", name]), Path::new("/opt/devbox")).is_err(), "{name:?}");
        }
        assert!(!directory.exists());
    }
}
