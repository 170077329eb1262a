//! `RUN`.

use std::path::{Path, PathBuf};

use super::StageBuilder;
use super::copy::{Exclude, Origin};
use crate::build::cache::files::KnownFiles;
use crate::build::config;
use crate::build::error::BuildError;
use crate::build::events::Outcome;
use crate::build::images::Telling;
use crate::build::language::{self, Command, Network, RunCommand, Step};
use crate::build::run::{self, MountKind, Sharing};
use crate::build::trees::Tree;
use crate::limits;
use crate::profile::NetworkMode;
use crate::sandbox::net::plan::Mode;

/// Where a script of a heredoc appears.
const SCRIPTS: &str = "/dev/pipes";
/// Where agents appear.
const AGENTS: &str = "/run/buildkit/ssh_agent";

impl StageBuilder<'_> {
    pub(super) fn run(&mut self, step: &Step, run: &language::Run) -> Result<Outcome, BuildError> {
        let (arguments, script) = self.command_line(&run.command);
        let shown = self.created_by(&arguments);
        let mut mounts = Vec::new();
        let mut inputs = Vec::new();
        for flag in &run.mounts {
            let mount = self.scope.mount(step, flag)?;
            let number = mounts.len();
            let (mount, input) = self.mount(mount, number)?;
            inputs.push(input);
            mounts.push(mount);
        }
        let mut environment: Vec<(String, String)> = Vec::new();
        let image = config::variables(&self.state.config.config);
        environment.extend(image.map(|(name, value)| (name.to_owned(), value.to_owned())));
        environment.extend(self.scope.arguments().map(|(name, value)| (name.to_owned(), value.to_owned())));
        // Which proxy is asked makes no difference to the files.
        let proxies = self.scope.proxies().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let config = &self.state.config.config;
        let whole = run::Run {
            arguments,
            environment,
            proxies,
            directory: Path::new("/").join(&config.working_dir),
            user: config.user.clone(),
            mounts,
            network: self.network(run.network)?,
            script,
        };
        let key = self.state.key.then(
            "RUN",
            &[
                &format!("{:?} {:?}", whole.arguments, whole.script),
                &format!("{:?}", whole.environment),
                &format!("{} {} {:?}", whole.directory.display(), whole.user, whole.network.mode),
                &inputs.join("\n"),
            ],
        );
        self.cached(key, &shown, |builder, layer| {
            let build = builder.build;
            let tell = |event| builder.tell(event);
            let progress = Telling::new(&builder.step, &tell);
            let ended = run::run(build.paths, &build.map, layer, &whole, &progress)?;
            // The client of a session blocks signals; between steps this process can be ended by them.
            crate::sys::signal::unblock_all()?;
            match ended.status() {
                0 => Ok(()),
                status if limits::disk::is_full(build.store.path()) => {
                    Err(BuildError::FullDisk { status, path: build.store.path().to_owned() })
                }
                status => Err(BuildError::Failed { status }),
            }
        })
    }

    /// What the command reaches: what it asks for, and no more than the box of the profile does.
    fn network(&self, wanted: Network) -> Result<run::Reach, BuildError> {
        let limit = self.build.request.network.as_ref();
        let limited = limit.map_or(NetworkMode::Host, |limit| limit.mode);
        let mode = match wanted {
            Network::None => Mode::None,
            _ if limited == NetworkMode::None => Mode::None,
            Network::Default => Mode::Auto,
            Network::Host if limited == NetworkMode::Host => Mode::Host,
            Network::Host => return Err(BuildError::HostNetwork),
        };
        Ok(run::Reach { mode, egress: limit.and_then(|limit| limit.egress.clone()) })
    }

    /// What is executed, and the script that has to be there for it.
    fn command_line(&self, command: &RunCommand) -> (Vec<String>, Option<(PathBuf, String)>) {
        let config = &self.state.config.config;
        match command {
            RunCommand::Command(command) => (config::arguments(config, command), None),
            RunCommand::Script(script) if script.content.starts_with("#!") => {
                let path = Path::new(SCRIPTS).join(&script.name);
                (vec![path.to_string_lossy().into_owned()], Some((path, script.content.clone())))
            }
            RunCommand::Script(script) => (config::arguments(config, &Command::Shell(script.content.clone())), None),
        }
    }

    /// `RUN |1 NAME=value /bin/sh -c make`, as histories have it.
    fn created_by(&self, arguments: &[String]) -> String {
        let known: Vec<_> = self.scope.arguments().map(|(name, value)| format!("{name}={value}")).collect();
        let known = if known.is_empty() { String::new() } else { format!("|{} {} ", known.len(), known.join(" ")) };
        format!("RUN {known}{}", arguments.join(" "))
    }

    /// The mount with what it names found, and what names it in the step's key.
    fn mount(&self, mount: language::Mount, number: usize) -> Result<(run::Mount, String), BuildError> {
        let config = &self.state.config.config;
        let described = format!("{mount:?}");
        let build = self.build;
        let (target, kind, input) = match mount {
            language::Mount::Bind { from, source, target, is_writable } => {
                let (tree, origin) = self.tree(from.as_deref())?;
                let source = Path::new("/").join(source);
                let (from, key) = self.mounted_part(tree, origin, &source)?;
                (target, MountKind::Bind { from, source, writable: is_writable }, key)
            }
            language::Mount::Cache { id, target, sharing, from, source, is_read_only, owner } => {
                let from = match from {
                    Some(from) => Some((self.tree(Some(&from))?.0, Path::new("/").join(source))),
                    None => None,
                };
                let absolute = config::absolute(config, &target).to_string_lossy().into_owned();
                let sharing = match sharing {
                    language::Sharing::Shared => Sharing::Shared,
                    language::Sharing::Private => Sharing::Private,
                    language::Sharing::Locked => Sharing::Locked,
                };
                let kind = MountKind::Cache {
                    id: id.unwrap_or(absolute),
                    sharing,
                    from,
                    mode: owner.mode.unwrap_or(0o755),
                    owner: (owner.uid.unwrap_or(0), owner.gid.unwrap_or(0)),
                    read_only: is_read_only,
                };
                (target, kind, String::new())
            }
            language::Mount::Tmpfs { target, size_bytes } => (target, MountKind::Tmpfs { size_bytes }, String::new()),
            language::Mount::Secret { id, target, env, is_required, owner } => {
                let kind = MountKind::Secret {
                    content: build.request.secret(&id),
                    id,
                    required: is_required,
                    file: target.is_some(),
                    variable: env,
                    mode: owner.mode.unwrap_or(0o400),
                    owner: (owner.uid.unwrap_or(0), owner.gid.unwrap_or(0)),
                };
                (target.unwrap_or_default(), kind, String::new())
            }
            language::Mount::Ssh { id, target, is_required, owner: _ } => {
                let socket = build.request.agents.iter().find(|(known, _)| *known == id).map(|(_, path)| path.clone());
                let target = target.unwrap_or_else(|| format!("{AGENTS}.{number}"));
                (target, MountKind::Ssh { id, socket, required: is_required }, String::new())
            }
        };
        let target = config::absolute(config, &target);
        Ok((run::Mount { target, kind }, format!("{described} {input}")))
    }

    /// What is bound of `tree`, and what names its content. Of the context that is its content, what the ignore file
    /// leaves out not included; of a stage or an image the layers.
    fn mounted_part(&self, tree: Tree, origin: Origin, source: &Path) -> Result<(Tree, String), BuildError> {
        let (root, patterns) = match (&tree, origin) {
            (_, Origin::Layers(key)) => return Ok((tree, key)),
            (Tree::Layers(_), _) => return Ok((tree, String::new())),
            (Tree::Directory(root), _) => (root.clone(), [source.to_string_lossy().into_owned()]),
        };
        let origin = if root == self.build.context.root() { Origin::Context } else { Origin::Named };
        let mut known = KnownFiles::load(&self.build.store, &root);
        let digest = self.directory_digest(&root, &origin, &patterns, &Exclude::default(), &mut known)?;
        known.save()?;
        Ok((self.without_ignored(tree)?, digest))
    }
}
