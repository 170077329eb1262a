//! Containers.

use super::{COULD_NOT_RUN, Error};
use crate::boxes::session::SessionError;
use crate::docker::DockerError;
use crate::docker::monitor::Failed;

impl From<DockerError> for Error {
    fn from(error: DockerError) -> Self {
        let shown = match error {
            DockerError::Boxes(error) => return error.into(),
            // A container has no tasks, as a hint would have it.
            DockerError::Session(ref not_executed @ SessionError::NotExecuted { status, .. }) => {
                let shown = Self::chain(not_executed).with_status(status);
                return if status == 127 { shown.hint("the program must be in the image") } else { shown };
            }
            DockerError::Session(error) => return error.into(),
            DockerError::Profile(error) => return error.into(),
            DockerError::Base(error) => return error.into(),
            DockerError::Store(error) => return error.into(),
            DockerError::Transfer(error) => return error.into(),
            DockerError::Paths(error) => return error.into(),
            ref error => Self::chain(error),
        };
        match error {
            DockerError::NoSuchContainer { .. } | DockerError::NoSuchObject { .. } => {
                shown.hint("`devbox docker ps -a` shows the containers there are")
            }
            DockerError::NoSuchImage { .. } => {
                shown.hint("`devbox docker images` shows what is here, `devbox docker pull` fetches")
            }
            DockerError::NoSuchVolume { .. } => shown.hint("`devbox docker volume ls` shows the volumes there are"),
            DockerError::Ambiguous { .. } => shown.hint("write more digits"),
            DockerError::NameTaken { name, .. } => {
                shown.hint(format!("`devbox docker rm {name}` removes it; `--name` gives the new one another"))
            }
            DockerError::NotRunning { name } => shown.hint(format!("`devbox docker start {name}` starts it")),
            DockerError::Running { name } => shown.hint(format!("`devbox docker stop {name}` ends it")),
            DockerError::VolumeInUse { container, .. } => {
                shown.hint(format!("`devbox docker rm {container}` removes the container"))
            }
            DockerError::NoCommand => shown.hint("write the command behind the image"),
            DockerError::NotTrusted { key, .. } => shown
                .hint(format!("`devbox docker allow {key}` allows just that for this folder; then try again"))
                .with_status(COULD_NOT_RUN),
            DockerError::NotAsked { .. } => shown.hint("copy the key from the refusal"),
            DockerError::Option { .. } => shown.with_status(COULD_NOT_RUN),
            _ => shown,
        }
    }
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        let message = match &error.message {
            super::Message::Sentence(text) => text.clone(),
            super::Message::Report(diagnostic) => diagnostic.message.clone(),
        };
        Self { message, causes: error.causes.clone(), hints: error.hints.clone(), status: error.status }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let Failed { message, causes, hints, status } = failed;
        Self { causes, hints, status, ..Self::new(message) }
    }
}
