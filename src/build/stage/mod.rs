//! Building one stage: its `FROM`, then its steps one after the other, each found in the cache or done.
//!
//! Runs in a process of its own (see [`super::workers`]).

mod copy;
mod run;
mod state;

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub use state::State;

use super::cache::key::Key;
use super::cache::records::Records;
use super::config;
use super::context::Context;
use super::error::{At, BuildError};
use super::events::{Event, Input, Outcome, StepId};
use super::failure::Failure;
use super::images::{Images, Telling, is_fixed};
use super::language::{
    Containerfile, Environment, Globals, Instruction, Origin, Scope, StageGraph, Step, Word, parse_ports, parse_trigger,
};
use super::layer::StepLayer;
use super::request::Request;
use super::workers::Coordinator;
use crate::image::platform::Platform;
use crate::image::store::{LayerBuild, Store};
use crate::paths::Paths;
use crate::userns::idmap::IdMap;

/// Everything that the stages of one build have in common. Complete before the first stage is begun.
#[derive(Debug)]
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
    /// The arguments that hold for all of it.
    pub globals: Arc<Globals>,
    /// Which stage needs which.
    pub graph: &'a StageGraph,
    /// The build context.
    pub context: &'a Context,
    /// Where images come from.
    pub images: &'a Images<'a>,
    /// The time of what is made now, RFC 3339.
    pub now: String,
}

/// Builds the stage `index`.
pub fn build(build: &Build<'_>, index: usize, coordinator: &Coordinator) -> Result<State, Box<Failure>> {
    let stage = &build.file.stages[index];
    let at_from = |error: &BuildError| {
        let source = &build.file.source;
        Failure::at(source.file.clone(), source.text.clone(), stage.span.clone(), error)
    };
    let mut builder = StageBuilder {
        build,
        coordinator,
        index,
        scope: build.globals.stage(Environment::default()),
        state: State::empty(),
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
    let steps = if build.graph.stages[index].is_replaced { &[][..] } else { &stage.steps };
    for (number, step) in steps.iter().enumerate() {
        builder.step.number = number + 2;
        builder.perform(step).map_err(|error| Failure::of_step(step, &error))?;
    }
    builder.state.arguments =
        builder.scope.arguments().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
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
        self.coordinator.tell::<State, Box<Failure>>(event);
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
        self.coordinator.need::<State, Box<Failure>>(stage).ok_or(BuildError::NeededStage)
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
        let planned = &self.build.graph.stages[self.index];
        let platform = planned.platform.as_ref().unwrap_or(&self.build.request.platform).clone();
        let name = match &planned.base {
            Origin::Stage(other) => {
                self.state = self.need(*other)?;
                format!("stage {other}")
            }
            Origin::Scratch => {
                self.state = State::scratch(&platform);
                "scratch".to_owned()
            }
            Origin::Image(name) | Origin::Context(name) => {
                self.state = self.image(name, &platform)?;
                name.clone()
            }
        };
        let environment = Environment::from_config(self.state.config.config.env.iter().map(String::as_str));
        self.scope = self.build.globals.stage(environment);
        self.scope.inherit(std::mem::take(&mut self.state.arguments));
        let triggers = std::mem::take(&mut self.state.config.config.on_build);
        Ok((triggers.into_iter().map(|text| (name.clone(), text)).collect(), Outcome::Done))
    }

    /// An image as a stage: from the store, or from its registry. A named context may stand for one.
    fn image(&self, name: &str, platform: &Platform) -> Result<State, BuildError> {
        let tell = |event| self.tell(event);
        let request = self.build.request;
        let image = request.image_of(name);
        // A named context says itself what it is, and so does a name with a digest.
        let pin = request.pins.images.get(name).filter(|_| image == name);
        let is_input = image == name && !is_fixed(name);
        if is_input && pin.is_none() && request.only_pinned {
            return Err(BuildError::NotPinned { name: name.to_owned() });
        }
        let (state, digest) = self.build.images.find(image, pin, platform, &Telling::new(&self.step, &tell))?;
        if is_input {
            self.resolved(Input::Image, name, digest.to_string());
        }
        Ok(state)
    }

    /// Tells what something that comes from elsewhere is now.
    fn resolved(&self, input: Input, name: &str, pin: String) {
        self.tell(Event::Resolved { step: self.step.clone(), input, name: name.to_owned(), pin });
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
        let config = &mut self.state.config.config;
        let mut shown = step.text.clone();
        match &step.instruction {
            Instruction::Arg(arguments) => {
                let declared = self.scope.declare(step, arguments)?;
                let text = |(name, value): (String, Option<String>)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name,
                };
                shown = format!("ARG {}", declared.into_iter().map(text).collect::<Vec<_>>().join(" "));
            }
            Instruction::Env(pairs) => {
                self.scope.assign(step, pairs)?;
                config.env = self.scope.environment().to_config();
            }
            Instruction::Label(pairs) => config.labels.extend(self.scope.pairs(step, pairs)?),
            Instruction::Cmd(command) => {
                config.cmd = Some(config::arguments(config, command));
                self.has_own_command = true;
            }
            Instruction::Entrypoint(command) => config::set_entrypoint(config, command, self.has_own_command),
            Instruction::Expose(words) => {
                for word in words {
                    for text in self.scope.words(step, word)? {
                        let ports = parse_ports(&text).map_err(|error| step.error(&word.span, error.to_string()))?;
                        for port in ports {
                            config.exposed_ports.insert(port, serde_json::Map::new());
                        }
                    }
                }
            }
            Instruction::Healthcheck(check) => config.healthcheck = Some(config::healthcheck(check)),
            Instruction::Maintainer(name) => self.state.config.author = Some(name.text.clone()),
            Instruction::Onbuild(trigger) => config.on_build.push(trigger.text.clone()),
            Instruction::Shell(shell) => config.shell = Some(shell.clone()),
            Instruction::Stopsignal(signal) => config.stop_signal = Some(self.scope.word(step, signal)?),
            Instruction::User(user) => config.user = self.scope.word(step, user)?,
            Instruction::Volume(words) => {
                for word in words {
                    config.volumes.insert(self.scope.word(step, word)?, serde_json::Map::new());
                }
            }
            Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_) => {}
        }
        let created = self.time_of(&shown)?;
        self.state.note(&created, &shown, true);
        Ok(())
    }

    /// When an instruction that makes no files was first done: the same instructions on the same layers make the same
    /// image, whenever that is.
    fn time_of(&self, instruction: &str) -> Result<String, BuildError> {
        if let Some(created) = self.state.created() {
            return Ok(created.to_owned());
        }
        let build = self.build;
        let key = self.state.key.then("first", &[instruction]);
        let record = match build.records.find(&key).filter(|_| !build.request.no_cache) {
            Some(record) => record,
            None => build.records.remember(&key, None, build.now.clone())?,
        };
        Ok(record.created)
    }

    /// Sets the working directory, and makes it if it is not there.
    fn workdir(&mut self, step: &Step, path: &Word) -> Result<Outcome, BuildError> {
        let config = &mut self.state.config.config;
        let path = config::absolute(config, &self.scope.word(step, path)?);
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

    /// As [`Self::cached`], for a step that sees only `lower`.
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
        let layer = StepLayer::begin(&build.store, &build.map, lower, build.request.driver)?;
        work(self, &layer)?;
        let made = layer.finish(&build.store, created_by)?;
        let record = build.records.remember(&key, made, build.now.clone())?;
        self.state.add(key, &record, &build.records, created_by);
        Ok(Outcome::Done)
    }
}
