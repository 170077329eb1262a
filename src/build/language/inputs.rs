//! What a build takes from elsewhere, as far as the Containerfile tells. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::containerfile::{Containerfile, Step, Word};
use super::expand::undefined;
use super::instruction::{FileSource, Instruction};
use super::parse::parse_trigger;
use super::scope::{Environment, Globals, Scope};
use super::stages::{Origin, StageGraph};

/// What is named. Nothing of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The images of `FROM` and `--from`.
    pub images: BTreeSet<String>,
    /// The sources of every `ADD` without a checksum: those that lie in the context, too.
    pub added: BTreeSet<String>,
    /// There may be more: an image that is not known here has triggers, or variables that names are made of.
    pub may_lack: bool,
}

/// What is known of an image that a stage stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// Its variables, `NAME=value`.
    pub environment: Vec<String>,
    /// Its triggers.
    pub on_build: Vec<String>,
}

impl Named {
    /// What the stages that the target needs name. `base`: what is known of an image.
    pub fn of(
        file: &Containerfile,
        globals: &Arc<Globals>,
        graph: &StageGraph,
        base: &dyn Fn(&str) -> Option<Base>,
    ) -> Self {
        let mut named = Self::default();
        let mut stands: Vec<Option<Stand>> = vec![None; file.stages.len()];
        for &index in &graph.order {
            let planned = &graph.stages[index];
            let (name, known) = match &planned.base {
                Origin::Stage(_) | Origin::Scratch | Origin::Context(_) => (String::new(), Some(Base::default())),
                Origin::Image(name) => {
                    named.images.insert(name.clone());
                    (name.clone(), base(name))
                }
            };
            named.may_lack |= known.is_none();
            let mut stand = match &planned.base {
                Origin::Stage(other) => stands[*other].clone().unwrap_or_else(|| Stand::on(globals, None)),
                _ => Stand::on(globals, known),
            };
            for text in std::mem::take(&mut stand.on_build) {
                match parse_trigger(&name, &text) {
                    Ok(step) => stand.follow(&step, graph, &mut named),
                    Err(_) => named.may_lack = true,
                }
            }
            let steps = if planned.is_replaced { &[][..] } else { &file.stages[index].steps };
            steps.iter().for_each(|step| stand.follow(step, graph, &mut named));
            stands[index] = Some(stand);
        }
        named
    }

    fn origin(&mut self, graph: &StageGraph, from: &Word) {
        if let Ok(Origin::Image(name)) = graph.origin(&from.text) {
            self.images.insert(name);
        }
    }
}

/// What is known at a step of a stage.
#[derive(Debug, Clone)]
struct Stand {
    scope: Scope,
    /// Those of the image are not known.
    lacks_variables: bool,
    on_build: Vec<String>,
}

impl Stand {
    fn on(globals: &Arc<Globals>, base: Option<Base>) -> Self {
        let lacks_variables = base.is_none();
        let Base { environment, on_build } = base.unwrap_or_default();
        let environment = Environment::from_config(environment.iter().map(String::as_str));
        Self { scope: globals.stage(environment), lacks_variables, on_build }
    }

    /// What cannot be expanded fails when it is built.
    fn follow(&mut self, step: &Step, graph: &StageGraph, named: &mut Named) {
        match &step.instruction {
            Instruction::Arg(arguments) => self.scope.declare(step, arguments).map(drop).unwrap_or_default(),
            Instruction::Env(pairs) => self.scope.assign(step, pairs).map(drop).unwrap_or_default(),
            Instruction::Onbuild(trigger) => self.on_build.push(trigger.text.clone()),
            Instruction::Copy(copy) => copy.from.iter().for_each(|from| named.origin(graph, from)),
            Instruction::Run(run) => {
                run.mounts.iter().filter_map(|mount| mount.from()).for_each(|from| named.origin(graph, from));
            }
            Instruction::Add(add) if add.checksum.is_none() => {
                for source in &add.files.sources {
                    let FileSource::Path(word) = source else { continue };
                    if self.lacks_variables && !undefined(&word.text, &self.scope, step.escape).is_empty() {
                        named.may_lack = true;
                    } else if let Ok(text) = self.scope.word(step, word) {
                        named.added.insert(text);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::build::language::parse;

    fn named(text: &str, target: Option<&str>, base: &dyn Fn(&str) -> Option<Base>) -> (String, String, bool) {
        let file = parse("Containerfile", text).unwrap();
        let globals = Arc::new(Globals::new(&file, BTreeMap::new(), BTreeMap::new()).unwrap());
        let graph = StageGraph::new(&file, &globals, BTreeSet::new(), target).unwrap();
        let Named { images, added, may_lack } = Named::of(&file, &globals, &graph, base);
        let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
        (joined(images), joined(added), may_lack)
    }

    #[test]
    fn what_a_file_names() {
        let plain = |_: &str| Some(Base::default());
        for (text, target, images, added) in [
            ("FROM a", None, "a", ""),
            ("FROM scratch\nCOPY --from=b /x /\nRUN --mount=type=bind,from=c,target=/c true", None, "b c", ""),
            (
                "ARG V=1\nFROM a:$V\nARG W=2\nADD http://h/$W x https://h/r.git#$W /",
                None,
                "a:1",
                "http://h/2 https://h/r.git#2 x",
            ),
            ("FROM a AS one\nFROM b AS two\nFROM one\nCOPY --from=one / /", None, "a", ""),
            ("FROM a AS one\nFROM b AS two\n", Some("one"), "a", ""),
            ("FROM a AS one\nENV U=http://h/f\nFROM one\nADD $U /", None, "a", "http://h/f"),
            ("FROM a AS one\nONBUILD ADD http://h/f /\nFROM one", None, "a", "http://h/f"),
            ("FROM a\nADD --checksum=sha256:0 http://h/f /", None, "a", ""),
            ("FROM a\nADD <<x /y\nz\nx\n", None, "a", ""),
        ] {
            assert_eq!(named(text, target, &plain), (images.to_owned(), added.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn what_an_image_decides() {
        let text = "FROM a\nADD $U http://h/f /\n";
        let known = |_: &str| {
            let environment = vec!["U=http://h/u".to_owned()];
            Some(Base { environment, on_build: vec!["COPY --from=b / /".to_owned()] })
        };
        assert_eq!(named(text, None, &known), ("a b".into(), "http://h/f http://h/u".into(), false));
        assert_eq!(named(text, None, &|_| None), ("a".into(), "http://h/f".into(), true));
    }
}
