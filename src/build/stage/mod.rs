//! Building one stage: its `FROM`, then its steps one after the other, each found in the cache or done.
//!
//! Runs in a process of its own (see [`super::workers`]).

mod copy;
mod run;
mod state;

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::time::Instant;

pub use state::State;

use super::cache::key::Key;
use super::cache::records::{BuiltLayer, Records};
use super::config;
use super::context::Context;
use super::error::{At, BuildError};
use super::events::{Event, Outcome, StepId};
use super::failure::Failure;
use super::images::Images;
use super::language::{Containerfile, Instruction, Scope, Step, Word, parse_trigger};
use super::layer::StepLayer;
use super::request::Request;
use super::workers::Coordinator;
use crate::image::store::{LayerBuild, Store};
use crate::paths::Paths;
use crate::userns::idmap::IdMap;

/// Everything that the stages of one build have in common. Complete before the first stage is begun.
#[expect(missing_debug_implementations, reason = "images come from anywhere")]
pub struct Build<'a> {
    /// Where things lie.
    pub paths: &'a Paths,
    /// The store.
    pub store: Store,
    /// The ids of the images' files.
    pub map: IdMap,
    /// What earlier builds made.
    pub records: Records,
    /// What is wanted.
    pub request: &'a Request,
    /// How.
    pub file: &'a Containerfile,
    /// What every stage's variables begin with.
    pub globals: Scope,
    /// The build context.
    pub context: &'a Context,
    /// Where images come from.
    pub images: &'a dyn Images,
    /// The time of what is made now, RFC 3339.
    pub now: String,
}

/// Builds the stage `index`.
pub fn build(build: &Build<'_>, index: usize, coordinator: &Coordinator) -> Result<State, Failure> {
    let stage = &build.file.stages[index];
    let at_from = |error: &BuildError| {
        let source = &build.file.source;
        Failure::at(source.file.clone(), source.text.clone(), stage.span.clone(), error)
    };
    let mut builder = StageBuilder {
        build,
        coordinator,
        index,
        scope: build.globals.for_stage(),
        state: State { key: Key::root(&[]), layers: Vec::new(), trees: Vec::new(), config: Default::default() },
        has_own_command: false,
        step: build.step_id(index, 1),
        scratch: OnceCell::new(),
        scratches: Cell::new(0),
    };
    let from = builder.timed(&stage.text, |builder| builder.from());
    let triggers = from.map_err(|error| at_from(&error))?;
    for (image, text) in triggers {
        let step = parse_trigger(&image, &text)?;
        builder.perform(&step).map_err(|error| Failure::of_step(&step, &error))?;
    }
    for (number, step) in stage.steps.iter().enumerate() {
        builder.step.number = number + 2;
        builder.perform(step).map_err(|error| Failure::of_step(step, &error))?;
    }
    Ok(builder.state)
}

impl Build<'_> {
    fn step_id(&self, stage: usize, number: usize) -> StepId {
        let name = self.file.stages[stage].name.as_ref().map(|name| name.text.clone());
        let only = self.file.stages.len() == 1 && name.is_none();
        StepId {
            stage,
            stage_name: if only { String::new() } else { name.unwrap_or_else(|| format!("stage-{stage}")) },
            number,
            total: self.file.stages[stage].steps.len() + 1,
        }
    }

    /// Whether `name` is a stage before `index`: by its name or its number.
    fn stage_named(&self, name: &str, index: usize) -> Option<usize> {
        let named = |stage: &&super::language::Stage| {
            stage.name.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(name))
        };
        let earlier = &self.file.stages[..index];
        let by_name = earlier.iter().rposition(|stage| named(&stage));
        by_name.or_else(|| name.parse::<usize>().ok().filter(|number| *number < index))
    }
}

/// A stage on its way.
struct StageBuilder<'a> {
    build: &'a Build<'a>,
    coordinator: &'a Coordinator,
    index: usize,
    scope: Scope,
    state: State,
    /// This stage has a `CMD`.
    has_own_command: bool,
    step: StepId,
    /// A place for what steps need and do not keep, once one needs it; and how many have.
    scratch: OnceCell<LayerBuild>,
    scratches: Cell<usize>,
}

impl StageBuilder<'_> {
    fn tell(&self, event: Event) {
        self.coordinator.tell::<State, Failure>(event);
    }

    /// An empty directory that is removed when the stage is built.
    fn temporary(&self) -> Result<PathBuf, BuildError> {
        let scratch = match self.scratch.get() {
            Some(scratch) => scratch,
            None => {
                let begun = self.build.store.begin(&self.build.map)?;
                self.scratch.get_or_init(|| begun)
            }
        };
        let number = self.scratches.replace(self.scratches.get() + 1);
        let path = scratch.path().join(number.to_string());
        std::fs::create_dir(&path).at("create", &path)?;
        Ok(path)
    }

    /// Another stage of this file, once it is built.
    fn need(&self, stage: usize) -> Result<State, BuildError> {
        self.coordinator.need::<State, Failure>(stage).ok_or(BuildError::NeededStage)
    }

    /// Tells when `work` begins and how it ends. It returns whether everything was known already.
    fn timed<T>(
        &mut self,
        text: &str,
        work: impl FnOnce(&mut Self) -> Result<(T, Outcome), BuildError>,
    ) -> Result<T, BuildError> {
        self.tell(Event::Started { step: self.step.clone(), text: text.to_owned() });
        let begin = Instant::now();
        let result = work(self);
        let outcome = result.as_ref().map_or(Outcome::Failed, |(_, outcome)| *outcome);
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tell(Event::Ended { step: self.step.clone(), outcome, milliseconds });
        result.map(|(value, _)| value)
    }

    /// What the stage stands on; returns the triggers of the image and the image's name.
    fn from(&mut self) -> Result<(Vec<(String, String)>, Outcome), BuildError> {
        let stage = &self.build.file.stages[self.index];
        let base = self.build.globals.expand_from(&self.build.file.source, &stage.base)?;
        if let Some(other) = self.build.stage_named(&base, self.index) {
            self.state = self.need(other)?;
        } else if base == "scratch" {
            let platform = &self.build.request.platform;
            self.state.config.architecture = platform.architecture.clone();
            self.state.config.os = platform.os.clone();
            self.state.config.variant = platform.variant.clone();
            self.state.config.config.working_dir = "/".to_owned();
            config::set_variable(&mut self.state.config.config, "PATH", super::run::DEFAULT_PATH);
        } else {
            self.state = self.image(&base)?;
        }
        self.scope.begin(config::variables(&self.state.config.config));
        let triggers = std::mem::take(&mut self.state.config.config.on_build);
        Ok((triggers.into_iter().map(|text| (base.clone(), text)).collect(), Outcome::Done))
    }

    /// An image as a stage: from the store, or from its registry.
    fn image(&self, name: &str) -> Result<State, BuildError> {
        let name = self.build.request.contexts.iter().find(|(known, _)| known == name).map_or(name, |(_, value)| {
            value.strip_prefix("docker-image://").unwrap_or(value)
        });
        let step = self.step.clone();
        let report = |what: &str, done: u64, total: Option<u64>| {
            self.tell(Event::Working { step: step.clone(), what: what.to_owned(), done, total });
        };
        self.build.images.find(name, &self.build.request.platform, &report)
    }

    fn perform(&mut self, step: &Step) -> Result<(), BuildError> {
        match &step.instruction {
            Instruction::Run(run) => self.timed(&step.text, |builder| Ok(((), builder.run(step, run)?))),
            Instruction::Copy(copy) => self.timed(&step.text, |builder| Ok(((), builder.copy(step, copy)?))),
            Instruction::Add(add) => self.timed(&step.text, |builder| Ok(((), builder.add(step, add)?))),
            Instruction::Workdir(path) => self.timed(&step.text, |builder| Ok(((), builder.workdir(step, path)?))),
            _ => self.configure(step),
        }
    }

    /// An instruction that changes the configuration alone.
    fn configure(&mut self, step: &Step) -> Result<(), BuildError> {
        let expand = |scope: &Scope, word: &Word| scope.expand(step, word);
        let config = &mut self.state.config.config;
        match &step.instruction {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    self.scope.declare(step, argument)?;
                }
            }
            Instruction::Env(pairs) => {
                let expanded: Vec<(String, String)> = pairs
                    .iter()
                    .map(|pair| Ok((expand(&self.scope, &pair.key)?, expand(&self.scope, &pair.value)?)))
                    .collect::<Result<_, Box<_>>>()?;
                for (name, value) in expanded {
                    config::set_variable(config, &name, &value);
                    self.scope.set_variable(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                for pair in pairs {
                    config.labels.insert(expand(&self.scope, &pair.key)?, expand(&self.scope, &pair.value)?);
                }
            }
            Instruction::Cmd(command) => {
                config.cmd = Some(config::arguments(config, command));
                self.has_own_command = true;
            }
            Instruction::Entrypoint(command) => config::set_entrypoint(config, command, self.has_own_command),
            Instruction::Expose(words) => {
                for word in words {
                    for text in self.scope.expand_words(step, word)? {
                        let ports = config::ports(&text);
                        let wrong = || step.error(&word.span, format!("`{text}` is no port; write `80` or `53/udp`"));
                        for port in ports.ok_or_else(wrong)? {
                            config.exposed_ports.insert(port, serde_json::Map::new());
                        }
                    }
                }
            }
            Instruction::Healthcheck(check) => config.healthcheck = Some(config::healthcheck(check)),
            Instruction::Maintainer(name) => self.state.config.author = Some(name.text.clone()),
            Instruction::Onbuild(trigger) => config.on_build.push(trigger.text.clone()),
            Instruction::Shell(shell) => config.shell = Some(shell.clone()),
            Instruction::Stopsignal(signal) => config.stop_signal = Some(expand(&self.scope, signal)?),
            Instruction::User(user) => config.user = expand(&self.scope, user)?,
            Instruction::Volume(words) => {
                for word in words {
                    config.volumes.insert(expand(&self.scope, word)?, serde_json::Map::new());
                }
            }
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_) => {}
        }
        // The same instructions on the same layers make the same image, whenever that is.
        let created = self.state.created().unwrap_or(&self.build.now).to_owned();
        self.state.note(&created, &step.text, true);
        Ok(())
    }

    /// Sets the working directory, and makes it if it is not there.
    fn workdir(&mut self, step: &Step, path: &Word) -> Result<Outcome, BuildError> {
        let config = &mut self.state.config.config;
        let path = config::absolute(config, &self.scope.expand(step, path)?);
        config.working_dir = path.to_string_lossy().into_owned();
        let user = config.user.clone();
        let key = self.state.key.then("WORKDIR", &[&self.state.config.config.working_dir, &user]);
        let created_by = step.text.clone();
        self.cached(key, &created_by, |builder, layer| {
            let owner = builder.owner_named(&user, layer.lower());
            let options = builder.plain_options(owner.unwrap_or((0, 0)));
            layer.in_trees(&[], |target, _| {
                super::copy::write::make_directory(target, &path, &options).map_err(|error| error.to_string())?;
                Ok(())
            })
        })
    }

    /// Takes what the step `key` made from the cache, or does it: `work` fills the layer.
    fn cached(
        &mut self,
        key: Key,
        created_by: &str,
        work: impl FnOnce(&mut Self, &StepLayer) -> Result<(), BuildError>,
    ) -> Result<Outcome, BuildError> {
        let lower = self.state.lower();
        self.cached_above(key, created_by, &lower, work)
    }

    /// As [`Self::cached`], for a step that does not see the layers of its stage but only `lower`.
    fn cached_above(
        &mut self,
        key: Key,
        created_by: &str,
        lower: &[PathBuf],
        work: impl FnOnce(&mut Self, &StepLayer) -> Result<(), BuildError>,
    ) -> Result<Outcome, BuildError> {
        let build = self.build;
        if !build.request.no_cache
            && let Some(record) = build.records.find(&key)
        {
            self.state.add(key, &record, &build.records, created_by);
            return Ok(Outcome::Cached);
        }
        let layer = StepLayer::begin(&build.store, &build.map, lower)?;
        work(self, &layer)?;
        let made: Option<BuiltLayer> = layer.finish(&build.store, created_by)?;
        let record = build.records.remember(&key, made, build.now.clone())?;
        self.state.add(key, &record, &build.records, created_by);
        Ok(Outcome::Done)
    }
}
