//! Editors and other programs of the host that work with boxes.

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
            SettingsError::NotSet { .. } => Self::chain(&error).hint("`devbox editor setup` writes them"),
            SettingsError::System { .. } => Self::chain(&error).hint("no part of its path may be a symlink"),
            error => Self::chain(&error),
        }
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
