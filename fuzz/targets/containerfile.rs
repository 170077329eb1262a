//! Containerfiles: read, planned and expanded step by step, as a build does it.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use devbox::build::language::{
    Environment, FileSource, Files, Globals, Instruction, Scope, StageGraph, Step, Word, parse, parse_ports,
    parse_trigger, platform_arguments,
};
use devbox::image::platform::Platform;
use devbox::profile::Diagnostic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = build(text) {
        let drawn = error.render(false);
        assert!(!drawn.contains('\u{1b}') && !drawn.contains('\u{202e}'));
    }
});

fn build(text: &str) -> Result<(), Box<Diagnostic>> {
    let file = parse("Containerfile", text)?;
    let given = BTreeMap::from([("given".to_owned(), "a*b".to_owned())]);
    let platform = Platform::linux("arm", Some("v7"));
    let globals = Arc::new(Globals::new(&file, given, platform_arguments(&platform, &platform, None))?);
    let graph = StageGraph::new(&file, &globals, BTreeSet::from(["context".to_owned()]), None)?;
    assert_eq!(graph.order.last(), Some(&graph.target));
    for index in graph.order {
        let mut scope = globals.stage(Environment::from_config(["PATH=/bin", "x=/a/b.c"]));
        for step in &file.stages[index].steps {
            assert!(text.is_char_boundary(step.span.start) && text.is_char_boundary(step.span.end));
            perform(&mut scope, step)?;
        }
    }
    Ok(())
}

fn perform(scope: &mut Scope, step: &Step) -> Result<(), Box<Diagnostic>> {
    match &step.instruction {
        Instruction::Arg(arguments) => drop(scope.declare(step, arguments)?),
        Instruction::Env(pairs) => drop(scope.assign(step, pairs)?),
        Instruction::Label(pairs) => drop(scope.pairs(step, pairs)?),
        Instruction::Copy(copy) => files(scope, step, &copy.files)?,
        Instruction::Add(add) => files(scope, step, &add.files)?,
        Instruction::Run(run) => {
            for mount in &run.mounts {
                scope.mount(step, mount)?;
            }
        }
        Instruction::Onbuild(onbuild) => {
            // What was written once can be read again.
            let trigger = parse_trigger("image", &onbuild.text)?;
            perform(scope, &trigger)?;
        }
        Instruction::Expose(words) => {
            for word in words {
                for port in scope.words(step, word)? {
                    parse_ports(&port).ok();
                }
            }
        }
        Instruction::Volume(words) => words.iter().try_for_each(|word| scope.word(step, word).map(drop))?,
        Instruction::Stopsignal(word) | Instruction::User(word) | Instruction::Workdir(word) => {
            drop(scope.word(step, word)?);
        }
        Instruction::Cmd(_)
        | Instruction::Entrypoint(_)
        | Instruction::Healthcheck(_)
        | Instruction::Maintainer(_)
        | Instruction::Shell(_) => {}
    }
    Ok(())
}

fn files(scope: &Scope, step: &Step, files: &Files) -> Result<(), Box<Diagnostic>> {
    for source in &files.sources {
        match source {
            FileSource::Path(path) => drop(scope.word(step, path)?),
            FileSource::Heredoc(heredoc) => drop(scope.heredoc(step, heredoc)?),
        }
    }
    let words: Vec<&Word> = [&files.destination].into_iter().chain(&files.chown).chain(&files.chmod).collect();
    words.into_iter().try_for_each(|word| scope.word(step, word).map(drop))
}
