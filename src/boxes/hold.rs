//! A box that is kept running for a client that asks for many things: commands, files, connections.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::directory::BoxDir;
use super::environment::{self, Context, What};
use super::generated::Made;
use super::session::{self, Options, SessionError, Wish};
use super::{list, running, shares, shell};
use crate::paths::Paths;
use crate::profile::{Grant, LoadedProfile, TerminalIntegration};
use crate::progress::Progress;
use crate::sandbox::channel::{Bytes, Channel, Command};

/// What a leader is given to take a request, or to say a sentence that it has begun. Processes of the box may stop it
/// for ever; a client that serves several sessions must not stand still with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A box that runs at least as long as this value exists.
#[derive(Debug)]
pub struct Held {
    channel: Channel,
    directory: BoxDir,
    loaded: LoadedProfile,
    variables: Vec<(String, String)>,
}

/// Starts the box of `loaded`'s project unless it runs, and holds it. The caller must be single-threaded.
pub fn hold(paths: &Paths, loaded: LoadedProfile, progress: &dyn Progress) -> Result<Held, SessionError> {
    let kept = OnceCell::new();
    let options = Options { directory: loaded.project.clone(), ..Options::default() };
    session::fulfil(paths, &loaded, &Wish::Hold(&kept), &options, progress)?;
    let channel = kept.into_inner().ok_or(SessionError::Lost)?;
    let id = list::find_by_project(paths, &loaded.project)?.ok_or(SessionError::Lost)?;
    let directory = BoxDir::new(paths, &id);
    let mut variables = Made::load(&directory.generated()).environment;
    variables.extend(shares::load_variables(&directory.runtime()));
    Ok(Held { channel, directory, loaded, variables })
}

impl Held {
    /// The connection that holds the box: it ends with the box.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        self.channel.stream()
    }

    /// A new conversation with the box. `None` when it has stopped.
    #[must_use]
    pub fn connect(&self) -> Option<Channel> {
        let stream = running::connect(&self.directory)?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Channel::new(stream))
    }

    /// Whether the box has the user's ssh agent.
    #[must_use]
    pub fn shares_agent(&self) -> bool {
        self.loaded.profile.share.has(Grant::SshAgent)
    }

    /// The shell that runs command lines.
    #[must_use]
    pub fn shell(&self) -> PathBuf {
        environment::command_shell(&self.loaded.profile)
    }

    /// The command for `what` as `user`, in the project's folder. `get` gives the caller's variables, `TERM` if there is a
    /// terminal.
    #[must_use]
    pub fn command(&self, what: &What, user: &str, get: &dyn Fn(&str) -> Option<OsString>) -> Command {
        let in_terminal = get("TERM").is_some_and(|name| shell::takes_sequences(&name));
        let context = Context {
            project: &self.loaded.project,
            directory: &self.loaded.project,
            user: Some(user),
            made: &self.variables,
            integrated: self.loaded.profile.terminal_integration == TerminalIntegration::Auto && in_terminal,
            get,
        };
        let mut command = environment::command(&self.loaded.profile, what, &context);
        // Whatever the files of the box say of it.
        command.user = command.user.filter(|user| user != "root");
        command
    }

    /// Where `user` is at home, to begin there.
    #[must_use]
    pub fn home(&self, user: &str) -> Bytes {
        Bytes::from(&match user {
            "root" => PathBuf::from("/root"),
            _ if user == self.loaded.profile.user => shares::home(&self.loaded.profile),
            _ => PathBuf::from("/home").join(user),
        })
    }
}
