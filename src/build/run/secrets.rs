//! Secrets as files: in the runtime directory, which is memory, and only while the command runs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::mounts::{Mount, MountKind};
use crate::build::error::{At, BuildError};
use crate::paths::Paths;
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage::run_mapped;

/// The secrets of one step; removed when this is dropped.
#[derive(Debug)]
pub struct Secrets {
    directory: Option<tempfile::TempDir>,
}

impl Secrets {
    /// Writes the secrets among `mounts`.
    pub fn prepare(paths: &Paths, map: &IdMap, mounts: &[Mount]) -> Result<Self, BuildError> {
        let mut secrets = Self { directory: None };
        for (number, mount) in mounts.iter().enumerate() {
            let MountKind::Secret { content: Some(content), file: true, mode, owner, .. } = &mount.kind else {
                continue;
            };
            if secrets.directory.is_none() {
                secrets.directory = Some(
                    tempfile::Builder::new()
                        .prefix("secrets-")
                        .tempdir_in(&paths.runtime)
                        .at("create a directory in", &paths.runtime)?,
                );
            }
            let path = secrets.path(number);
            std::fs::write(&path, content).at("write", &path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).at("change the mode of", &path)?;
            if *owner != (0, 0) && map.mode != IdMode::Single {
                let change = || {
                    std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1))
                        .map_err(|error| format!("cannot change the owner of the secret: {error}"))
                };
                run_mapped(map, change).map_err(BuildError::Stage)?;
            }
        }
        Ok(secrets)
    }

    /// Where the secret of the mount `number` lies.
    #[must_use]
    pub fn path(&self, number: usize) -> PathBuf {
        self.directory.as_ref().map(|directory| directory.path().join(number.to_string())).unwrap_or_default()
    }
}
