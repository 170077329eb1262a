//! Rules about variables and paths, for which the file is followed as a build would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Found, Rule, Surroundings};
use crate::build::copy::select::clean;
use crate::build::language::containerfile::{Containerfile, Stage, Step, Word};
use crate::build::language::expand::undefined;
use crate::build::language::instruction::{FileSource, Files, Instruction};
use crate::build::language::scope::{Globals, Scope};
use crate::image::reference::Reference;
use crate::text::closest;

pub(super) fn check(file: &Containerfile, around: &Surroundings<'_>, found: &mut Found<'_>) {
    let defaults = Globals::new(file, BTreeMap::new(), around.predefined.clone()).ok();
    let mut stages: BTreeMap<String, Option<Stand>> = BTreeMap::new();
    for stage in &file.stages {
        from(file, stage, around.globals, found);
        let is_stage = |name: &str| stages.contains_key(&name.to_ascii_lowercase());
        if let Some(defaults) = &defaults
            && stage.base.text.contains('$')
            && !defaults.from(&stage.base).is_ok_and(|name| is_stage(&name) || name.parse::<Reference>().is_ok())
        {
            let message = format!("with the defaults of its arguments, `{}` names no image", stage.base.text);
            let help = "give the `ARG` a default that does".to_owned();
            found.add_with_help(Rule::InvalidDefaultArgInFrom, &stage.base.span, message, Some(help));
        }
        let base = around.globals.from(&stage.base).ok().and_then(|base| {
            let known = stages.get(&base.to_ascii_lowercase()).cloned();
            known.unwrap_or_else(|| Some(Stand::on(around.globals.stage((around.environment)(&base)?))))
        });
        // Without the variables of the base nobody knows what is undefined.
        let stand = base.map(|mut stand| {
            stage.steps.iter().for_each(|step| stand.follow(step, found));
            stand
        });
        for step in &stage.steps {
            ignored(step, stand.as_ref(), around, found);
        }
        if let Some(name) = &stage.name {
            stages.insert(name.text.clone(), stand);
        }
    }
}

/// The variables of a `FROM` are arguments of the file.
fn from(file: &Containerfile, stage: &Stage, globals: &Globals, found: &mut Found<'_>) {
    let declared: Vec<&str> = file.arguments.iter().map(|argument| argument.name.text.as_str()).collect();
    for word in [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten() {
        for name in undefined(&word.text, globals, file.directives.escape) {
            if !declared.contains(&name.as_str()) {
                let message = format!("no `ARG` before the first `FROM` declares `{name}`");
                let help = closest(&name, declared.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
                found.add_with_help(Rule::UndefinedArgInFrom, &word.span, message, help);
            }
        }
    }
}

/// What is known at a step of a stage.
#[derive(Debug, Clone)]
struct Stand {
    scope: Scope,
    /// Arguments, with a value or without.
    declared: BTreeSet<String>,
}

impl Stand {
    fn on(scope: Scope) -> Self {
        Self { scope, declared: BTreeSet::new() }
    }

    fn follow(&mut self, step: &Step, found: &mut Found<'_>) {
        for word in expanded(&step.instruction) {
            for name in undefined(&word.text, &self.scope, step.escape) {
                // `$1` and `$?` are no names of variables.
                let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
                if is_name && !self.declared.contains(&name) {
                    let known = self.scope.names().chain(self.declared.iter().map(String::as_str));
                    let help = closest(&name, known).map(|meant| format!("did you mean `${meant}`?"));
                    let message = format!("nothing gives the variable `{name}` a value");
                    found.add_with_help(Rule::UndefinedVar, &word.span, message, help);
                }
            }
        }
        // What cannot be expanded fails when it is built.
        match &step.instruction {
            Instruction::Arg(arguments) => {
                self.declared.extend(arguments.iter().map(|argument| argument.name.text.clone()));
                self.scope.declare(step, arguments).map(drop).unwrap_or_default();
            }
            Instruction::Env(pairs) => self.scope.assign(step, pairs).map(drop).unwrap_or_default(),
            _ => {}
        }
    }
}

/// The words of an instruction that are expanded.
fn expanded(instruction: &Instruction) -> Vec<&Word> {
    match instruction {
        Instruction::Add(add) => words(&add.files).chain(add.checksum.as_ref()).collect(),
        Instruction::Copy(copy) => words(&copy.files).collect(),
        Instruction::Arg(arguments) => {
            arguments.iter().flat_map(|argument| [Some(&argument.name), argument.value.as_ref()]).flatten().collect()
        }
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).collect()
        }
        Instruction::Expose(words) | Instruction::Volume(words) => words.iter().collect(),
        Instruction::Stopsignal(word) | Instruction::User(word) | Instruction::Workdir(word) => vec![word],
        _ => Vec::new(),
    }
}

fn words(files: &Files) -> impl Iterator<Item = &Word> {
    paths(files).chain([&files.destination]).chain(&files.chown).chain(&files.chmod)
}

fn paths(files: &Files) -> impl Iterator<Item = &Word> {
    files.sources.iter().filter_map(|source| match source {
        FileSource::Path(word) => Some(word),
        FileSource::Heredoc(_) => None,
    })
}

/// Sources in the context that the ignore file leaves out.
fn ignored(step: &Step, stand: Option<&Stand>, around: &Surroundings<'_>, found: &mut Found<'_>) {
    let files = match &step.instruction {
        Instruction::Copy(copy) if copy.from.is_none() => &copy.files,
        Instruction::Add(add) => &add.files,
        _ => return,
    };
    for word in paths(files) {
        let expanded = match stand {
            Some(stand) => stand.scope.word(step, word).ok(),
            None => Some(word.text.clone()).filter(|text| !text.contains('$')),
        };
        let Some(path) = expanded.filter(|path| !path.contains(['*', '?', '[']) && !path.contains("://")) else {
            continue;
        };
        if (around.is_ignored)(Path::new(&clean(&path))) {
            let message = format!("the ignore file leaves `{path}` out of the build context");
            found.add(Rule::CopyIgnoredFile, &word.span, message);
        }
    }
}
