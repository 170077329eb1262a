//! Commands of a box that are given everything: user, folder, variables and streams. A container's first process, and those that
//! join it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::directory::BoxDir;
use super::environment::{self, Context, What};
use super::generated::Made;
use super::session::{self, Options, SessionError, Wish, io};
use super::{running, shares};
use crate::paths::{self, Paths};
use crate::profile::LoadedProfile;
use crate::progress::Progress;
use crate::sandbox::attach::{self, Outcome, Purpose};
use crate::sandbox::channel::{Bytes, Channel, WithoutDirectory};

/// A command.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Service<'a> {
    /// The program and its arguments.
    pub arguments: &'a [OsString],
    /// A name or number of the box, with or without a group; `None`: root.
    pub user: Option<String>,
    /// Where it starts, absolute in the box.
    pub directory: &'a Path,
    /// What becomes of it when that is not there.
    pub without_directory: WithoutDirectory,
    /// Variables above those of the profile.
    pub variables: Vec<(String, String)>,
    /// Its standard streams, none of them a terminal; `None`: ours.
    pub streams: Option<[OwnedFd; 3]>,
    /// Called once, when it runs.
    pub started: &'a dyn Fn(),
}

impl Service<'_> {
    pub(super) fn purpose(
        &self,
        loaded: &LoadedProfile,
        made: &Made,
        shared: Vec<(String, String)>,
    ) -> Result<Purpose<'_>, SessionError> {
        let mut known = made.environment.clone();
        known.extend(shared);
        let terminal = self.streams.is_none() && rustix::termios::isatty(rustix::stdio::stdin());
        let context = Context {
            project: &loaded.project,
            directory: &loaded.project,
            user: self.user.as_deref(),
            made: &known,
            integrated: false,
            // Nothing of the caller's but the kind of its terminal.
            get: &|name| (terminal && name == "TERM").then(|| paths::variable(name)).flatten(),
        };
        let mut command = environment::command(&loaded.profile, &What::Command(self.arguments.to_vec()), &context);
        command.user = self.user.clone().filter(|user| !matches!(user.as_str(), "root" | "0"));
        // A container's variables are its image's.
        command.login_shells.clear();
        command.directories = vec![Bytes::from(self.directory)];
        command.without_directory = self.without_directory;
        for (name, value) in &self.variables {
            command.environment.retain(|(known, _)| known.0 != name.as_bytes());
            command.environment.push((Bytes::from(name), Bytes::from(value)));
        }
        let streams = self.streams.as_ref().map(|[input, output, error]| -> std::io::Result<_> {
            Ok([input.try_clone()?, output.try_clone()?, error.try_clone()?])
        });
        Ok(Purpose::Service {
            command: Box::new(command),
            streams: streams.transpose().map_err(io("copy a descriptor"))?,
            patience: None,
            started: Some(self.started),
        })
    }
}

/// Runs `service` in the box, which is started for it; returns its exit status. The caller must be single-threaded.
pub fn run(
    paths: &Paths,
    loaded: &LoadedProfile,
    service: &Service<'_>,
    progress: &dyn Progress,
) -> Result<i32, SessionError> {
    let options = Options { directory: loaded.project.clone(), ..Options::default() };
    session::fulfil(paths, loaded, &Wish::Service(service), &options, progress)
}

/// Runs `service` in the box at `directory`; returns its exit status. `None`: the box does not run.
pub fn join(directory: &BoxDir, loaded: &LoadedProfile, service: &Service<'_>) -> Result<Option<i32>, SessionError> {
    let Some(stream) = running::connect(directory) else { return Ok(None) };
    let made = Made::load(&directory.generated());
    let purpose = service.purpose(loaded, &made, shares::load_variables(&directory.runtime()))?;
    match attach::serve(Channel::new(stream), purpose, || ()).map_err(io("talk to the running box"))? {
        Outcome::Ended(ended) => Ok(Some(ended.status())),
        Outcome::NotExecuted { program, reason, status } => Err(SessionError::NotExecuted { program, reason, status }),
        Outcome::Refused => Ok(None),
        Outcome::Failed(failure) => Err(SessionError::Start(failure)),
        Outcome::Held | Outcome::Lost | Outcome::Late(_) => Err(SessionError::Lost),
    }
}
