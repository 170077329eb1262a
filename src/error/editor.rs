//! Editors and other programs of the host that work with boxes.

use rustix::io::Errno;

use super::Error;
use crate::editor::settings::SettingsError;
use crate::editor::shim::ShimError;
use crate::ssh::SshError;

impl From<ShimError> for Error {
    fn from(error: ShimError) -> Self {
        let hint = match error {
            ShimError::Directory(error) => return error.into(),
            ShimError::Name { .. } => "name a program, like `clangd`, without its directory",
            ShimError::Reserved { .. } => "call it in the box by `devbox run -- PROGRAM`",
            ShimError::InTheWay { .. } => "choose another directory with `--dir`, or move the file away",
            ShimError::Missing { .. } => "`devbox shim list` shows those there are",
            ShimError::Io { .. } => return Self::chain(&error),
        };
        Self::chain(&error).hint(hint)
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Text(error) => {
                Self::from(error).hint("nothing was changed; `--print` shows what there is to write")
            }
            SettingsError::Damaged(error) => {
                Self::from(error).hint("nothing was taken back: mend the file, and try again")
            }
            SettingsError::Directory(error) => error.into(),
            SettingsError::InTheWay { .. } => {
                Self::chain(&error).hint("move the file away, or copy what `--print` shows")
            }
            SettingsError::NotSet { ref editor, .. } => {
                let hint = format!("`devbox editor setup {editor}` writes them");
                Self::chain(&error)
                    .hint(hint)
                    .hint("those of a folder that was moved are known by its former path alone")
            }
            SettingsError::System { ref source, .. } => match refusal(source.errno) {
                Some(hint) => Self::chain(&error).hint(hint),
                None => Self::chain(&error),
            },
            error => Self::chain(&error),
        }
    }
}

/// What can be done about a file of a project that cannot be used.
fn refusal(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::LOOP => Some("no part of its path may be a symlink"),
        Errno::NOTDIR => Some("what should be a folder of its path is none: move it away"),
        Errno::ACCESS | Errno::PERM => Some("you need the right to read and write it, and to write to its folder"),
        Errno::ROFS => Some("its file system is mounted read-only"),
        _ => None,
    }
}

impl From<SshError> for Error {
    fn from(error: SshError) -> Self {
        match error {
            SshError::Boxes(error) => error.into(),
            SshError::Paths(error) => error.into(),
            SshError::Key { .. } => Self::chain(&error).hint("remove it; `devbox ssh-config install` makes a new one"),
            SshError::NothingInCommon { .. } | SshError::NotSsh => {
                Self::chain(&error).hint("a newer OpenSSH client knows all that devbox does")
            }
            _ => Self::chain(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SysError;

    #[test]
    fn hints_fit_the_refusal() {
        for (errno, expected) in [
            (Errno::LOOP, "symlink"),
            (Errno::NOTDIR, "move it away"),
            (Errno::ACCESS, "the right to"),
            (Errno::ROFS, "read-only"),
        ] {
            let source = SysError::new("openat2", errno);
            let error = Error::from(SettingsError::System { path: ".vscode/settings.json".into(), source });
            assert!(error.hints.len() == 1 && error.hints[0].contains(expected), "{errno}: {:?}", error.hints);
        }
    }
}
