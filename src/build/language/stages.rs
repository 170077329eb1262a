//! Which stages a build needs, and what each takes from where.

use std::collections::{BTreeMap, BTreeSet};

use super::containerfile::{Containerfile, Span, Stage, Word};
use super::instruction::Instruction;
use super::scope::Globals;
use super::suggest::suggest;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::profile::Diagnostic;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Where a stage begins, or where files come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nothing: `scratch`.
    Scratch,
    /// A stage, by its place in the file.
    Stage(usize),
    /// A build context, by the name that `--build-context` gave it.
    Context(String),
    /// An image; not checked.
    Image(String),
}

/// What is known of a stage before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStage {
    /// What it stands on. A context that has the stage's own name takes its place: then its steps are not performed.
    pub base: Origin,
    /// Whether [`base`](Self::base) takes the place of the whole stage.
    pub is_replaced: bool,
    /// `--platform`
    pub platform: Option<Platform>,
    /// The stages that must be built before it ends: its base's and those that it copies or mounts from.
    pub needs: BTreeSet<usize>,
}

/// The stages of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageGraph {
    /// In the order of the file; those that the target does not need, too.
    pub stages: Vec<PlannedStage>,
    /// The stage to build.
    pub target: usize,
    /// The stages that the target needs, and at the end itself; each behind all that it needs.
    pub order: Vec<usize>,
    names: Names,
}

/// What a name may stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    stage_count: usize,
    /// The last stage of each name.
    stages: BTreeMap<String, usize>,
    contexts: BTreeSet<String>,
}

impl StageGraph {
    /// Plans the build of `target`, by default the last stage. `contexts`: the names of `--build-context`.
    pub fn new(
        file: &Containerfile,
        globals: &Globals,
        contexts: BTreeSet<String>,
        target: Option<&str>,
    ) -> Result<Self> {
        let named = file.stages.iter().enumerate();
        let stages = named.filter_map(|(index, stage)| Some((stage.name.as_ref()?.text.clone(), index))).collect();
        let names = Names { stage_count: file.stages.len(), stages, contexts };
        let target = names.target(file, target)?;
        let (mut planned, mut earlier) = (Vec::new(), BTreeMap::new());
        for (index, stage) in file.stages.iter().enumerate() {
            planned.push(names.plan(file, globals, &earlier, stage)?);
            earlier.extend(stage.name.as_ref().map(|name| (name.text.as_str(), index)));
        }
        let mut graph = Self { stages: planned, target, order: Vec::new(), names };
        graph.sort(file)?;
        for index in graph.order.clone() {
            graph.stages[index].platform = platform(file, globals, &file.stages[index])?;
        }
        Ok(graph)
    }

    /// What the `--from` of a `COPY`, or the `from` of a mount, stands for. An error says why it is none.
    pub fn origin(&self, from: &str) -> std::result::Result<Origin, String> {
        self.names.origin(from)
    }

    /// Puts the stages that the target needs in order.
    fn sort(&mut self, file: &Containerfile) -> Result<()> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            Unseen,
            Begun,
            Done,
        }
        let mut states = vec![State::Unseen; self.stages.len()];
        // A stage stands here twice: to begin, and to end once all that it needs is done.
        let mut work = vec![self.target];
        while let Some(&index) = work.last() {
            if states[index] == State::Unseen {
                states[index] = State::Begun;
                for &needed in &self.stages[index].needs {
                    match states[needed] {
                        State::Unseen => work.push(needed),
                        State::Done => {}
                        State::Begun => return Err(circle(file, index, needed)),
                    }
                }
                continue;
            }
            if states[index] == State::Begun {
                states[index] = State::Done;
                self.order.push(index);
            }
            work.pop();
        }
        Ok(())
    }
}

impl Names {
    /// The stage of `--target`.
    fn target(&self, file: &Containerfile, target: Option<&str>) -> Result<usize> {
        let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(self.stage_count - 1) };
        let by_number = || target.parse().ok().filter(|index| *index < self.stage_count);
        self.stage(target).or_else(by_number).ok_or_else(|| {
            let known: Vec<&str> = self.stages.keys().map(String::as_str).collect();
            let stage = &file.stages[self.stage_count - 1];
            let error = file.source.error(&stage.span, format!("there is no stage `{target}`"));
            let list: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let error = if list.is_empty() {
                error.help("give a stage its name with `FROM image AS name`")
            } else {
                error.help(format!("the stages are {}", list.join(", ")))
            };
            suggest(error, target, known)
        })
    }

    /// The last stage of that name.
    fn stage(&self, name: &str) -> Option<usize> {
        self.stages.get(&name.to_ascii_lowercase()).copied()
    }

    /// A context is found by its own name, or by an image's in any spelling.
    fn context(&self, name: &str) -> Option<&String> {
        let canonical = |name: &str| name.parse::<Reference>().ok().map(|reference| reference.to_string());
        self.contexts.get(name).or_else(|| {
            let wanted = canonical(name)?;
            self.contexts.iter().find(|known| canonical(known).as_ref() == Some(&wanted))
        })
    }

    fn context_or_image(&self, name: &str) -> Origin {
        match self.context(name) {
            Some(context) => Origin::Context(context.clone()),
            None if name == "scratch" => Origin::Scratch,
            None => Origin::Image(name.to_owned()),
        }
    }

    fn origin(&self, from: &str) -> std::result::Result<Origin, String> {
        if let Ok(index) = from.parse::<usize>() {
            return match index < self.stage_count {
                true => Ok(Origin::Stage(index)),
                false => {
                    Err(format!("there is no stage {index}: they are numbered from 0 to {}", self.stage_count - 1))
                }
            };
        }
        Ok(self.stage(from).map_or_else(|| self.context_or_image(from), Origin::Stage))
    }

    fn plan(
        &self,
        file: &Containerfile,
        globals: &Globals,
        earlier: &BTreeMap<&str, usize>,
        stage: &Stage,
    ) -> Result<PlannedStage> {
        let written = globals.from(&stage.base)?;
        let replaced = stage.name.as_ref().and_then(|name| self.context(&name.text));
        let is_replaced = replaced.is_some();
        let base = match (replaced, earlier.get(written.as_str())) {
            (Some(context), _) => Origin::Context(context.clone()),
            (None, Some(earlier)) => Origin::Stage(*earlier),
            (None, None) => self.context_or_image(&written),
        };
        let mut needs = BTreeSet::new();
        if let Origin::Stage(earlier) = base {
            needs.insert(earlier);
        }
        for from in sources(stage).filter(|_| !is_replaced) {
            match self.origin(&from.text) {
                Ok(Origin::Stage(needed)) => drop(needs.insert(needed)),
                Ok(_) => {}
                Err(message) => return Err(file.source.error(&from.span, message)),
            }
        }
        Ok(PlannedStage { base, is_replaced, platform: None, needs })
    }
}

/// All words that name where files come from.
fn sources(stage: &Stage) -> impl Iterator<Item = &Word> {
    stage.steps.iter().flat_map(|step| -> Vec<&Word> {
        match &step.instruction {
            Instruction::Copy(copy) => copy.from.iter().collect(),
            Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from()).collect(),
            _ => Vec::new(),
        }
    })
}

fn platform(file: &Containerfile, globals: &Globals, stage: &Stage) -> Result<Option<Platform>> {
    let Some(word) = &stage.platform else { return Ok(None) };
    let written = globals.from(word)?;
    written
        .parse()
        .map(Some)
        .map_err(|error: crate::image::platform::PlatformError| file.source.error(&word.span, error.to_string()))
}

/// `stage` needs `needed`, which needs `stage`.
fn circle(file: &Containerfile, stage: usize, needed: usize) -> Box<Diagnostic> {
    let name = |index: usize| {
        let name = file.stages[index].name.as_ref();
        name.map_or_else(|| format!("stage {index}"), |name| format!("stage `{}`", name.text))
    };
    let span: &Span = &file.stages[stage].span;
    let message = if stage == needed {
        format!("{} needs itself", name(stage))
    } else {
        format!("{} needs {}, which needs it in turn", name(stage), name(needed))
    };
    file.source.error(span, message)
}
