//! Commands of a container: its first process, and those that join it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::container::Container;
use super::error::{DockerError, DockerResult};
use crate::boxes::service::{self, Service};
use crate::boxes::state;
use crate::paths::Paths;
use crate::sandbox::channel::WithoutDirectory;
use crate::userns::idmap::IdMode;
use crate::userns::mapper::Offer;

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The program and its arguments.
    pub arguments: &'a [OsString],
    /// Who runs it; `None`: whom the container names.
    pub user: Option<&'a str>,
    /// Where; `None`: where the container says.
    pub directory: Option<&'a str>,
    /// `NAME=value`, besides those of the container.
    pub variables: &'a [String],
}

impl<'a> Command<'a> {
    /// The command in the box of `container`.
    pub fn service(
        self,
        paths: &Paths,
        container: &'a Container,
        streams: Option<[OwnedFd; 3]>,
        started: &'a dyn Fn(),
    ) -> Service<'a> {
        let directory = self.directory.unwrap_or(&container.working_dir);
        let pairs = container.environment.iter().chain(self.variables).filter_map(|pair| pair.split_once('='));
        Service {
            arguments: self.arguments,
            user: user_of(paths, container, self.user.unwrap_or(&container.user)),
            directory: Path::new(if directory.is_empty() { "/" } else { directory }),
            without_directory: WithoutDirectory::Refuse,
            variables: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            streams,
            started,
        }
    }

    /// Runs it in `container`, which runs, to its end; returns the exit status.
    pub fn join(
        self,
        paths: &Paths,
        container: &Container,
        streams: Option<[OwnedFd; 3]>,
        started: &dyn Fn(),
    ) -> DockerResult<i32> {
        let loaded = container.load_profile(paths)?;
        let service = self.service(paths, container, streams, started);
        let status = service::join(&container.box_directory(paths), &loaded, &service)?;
        status.ok_or_else(|| DockerError::NotRunning { name: container.name.clone() })
    }
}

/// Refuses a working directory that depends on another one.
pub fn check_directory(directory: Option<&str>) -> DockerResult<()> {
    match directory {
        Some(path) if !path.is_empty() && !path.starts_with('/') => Err(DockerError::Option {
            option: format!("--workdir {path}"),
            reason: "the working directory needs to be an absolute path".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whom `wanted` means in the container's box; `None`: root. In a box with one id everybody is.
fn user_of(paths: &Paths, container: &Container, wanted: &str) -> Option<String> {
    let record = state::load(&container.box_directory(paths));
    let mode = record.map_or_else(|_| Offer::probe().map(0).mode, |record| record.id_map.mode);
    (!wanted.is_empty() && mode != IdMode::Single).then(|| wanted.to_owned())
}
