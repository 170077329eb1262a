//! Rules about stages and their instructions, each for itself.

use std::collections::BTreeMap;

use super::{Found, Rule};
use crate::build::language::containerfile::{Containerfile, Span, Stage, Step};
use crate::build::language::instruction::{Command, Instruction, Pair};
use crate::image::platform::Platform;

/// Names that mean something else in `FROM` or `--from`.
const RESERVED: [&str; 2] = ["scratch", "context"];
/// Parts of names of variables that hold secrets, between `_`.
const SECRETS: [&str; 11] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "secrets", "token"];

pub(super) fn check(file: &Containerfile, found: &mut Found<'_>) {
    let mut stages: BTreeMap<&str, Inherited> = BTreeMap::new();
    for stage in &file.stages {
        let mut inherited = stages.get(stage.base.text.to_ascii_lowercase().as_str()).copied().unwrap_or_default();
        platform(stage, found);
        let mut last: BTreeMap<&str, &Span> = BTreeMap::new();
        for step in &stage.steps {
            let name = step.instruction.keyword();
            if matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK")
                && let Some(earlier) = last.insert(name, &step.span)
            {
                let message = format!("only the last `{name}` of a stage counts: this one does nothing");
                found.add(Rule::MultipleInstructionsDisallowed, earlier, message);
            }
            instruction(step, &mut inherited, found);
        }
        let Some(name) = &stage.name else { continue };
        if RESERVED.contains(&name.text.as_str()) {
            let message = format!("a stage should not be called `{}`, which has a meaning of its own", name.text);
            found.add(Rule::ReservedStageName, &name.span, message);
        }
        if stages.insert(&name.text, inherited).is_some() {
            let message = format!("there is another stage `{}` before", name.text);
            found.add(Rule::DuplicateStageName, &name.span, message);
        }
    }
}

/// What a stage hands on to those that stand on it.
#[derive(Debug, Clone, Copy, Default)]
struct Inherited {
    has_shell: bool,
    has_workdir: bool,
}

fn platform(stage: &Stage, found: &mut Found<'_>) {
    let Some(word) = &stage.platform else { return };
    if matches!(word.text.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        let message = format!("`--platform={}` is what `FROM` does without it", word.text);
        found.add(Rule::RedundantTargetPlatform, &word.span, message);
    }
    // A stage for one platform among others has its name.
    let names = |name: &str, platform: &Platform| name.contains(&platform.os) || name.contains(&platform.architecture);
    let is_meant = |platform: &Platform| stage.name.as_ref().is_some_and(|name| names(&name.text, platform));
    if !word.text.contains('$') && !word.text.parse().is_ok_and(|platform| is_meant(&platform)) {
        let message = format!("`--platform` is always `{}` here, whatever the image is built for", word.text);
        let help =
            "leave it away, or write `--platform=$BUILDPLATFORM` for a stage that runs on this machine".to_owned();
        found.add_with_help(Rule::FromPlatformFlagConstDisallowed, &word.span, message, Some(help));
    }
}

fn instruction(step: &Step, inherited: &mut Inherited, found: &mut Found<'_>) {
    let name = step.instruction.keyword();
    match &step.instruction {
        Instruction::Cmd(Command::Shell(line)) | Instruction::Entrypoint(Command::Shell(line))
            if !inherited.has_shell && !line.is_empty() =>
        {
            let message = format!("`{name}` runs in a shell, which does not pass on signals");
            let help = format!("write `{name} [\"program\", \"argument\"]`, or say with `SHELL` that a shell is meant");
            found.add_with_help(Rule::JSONArgsRecommended, &step.span, message, Some(help));
        }
        Instruction::Shell(_) => inherited.has_shell = true,
        Instruction::Maintainer(_) => {
            let help = "write `LABEL org.opencontainers.image.authors=\"name\"`".to_owned();
            found.add_with_help(Rule::MaintainerDeprecated, &step.span, "`MAINTAINER` is out of use", Some(help));
        }
        Instruction::Env(pairs) => {
            pairs.iter().for_each(|pair| secret(&pair.key.text, &pair.key.span, "ENV", found));
            legacy(step, pairs, found);
        }
        Instruction::Label(pairs) => legacy(step, pairs, found),
        Instruction::Arg(arguments) => {
            arguments.iter().for_each(|argument| secret(&argument.name.text, &argument.name.span, "ARG", found));
        }
        Instruction::Workdir(path) => {
            // What a variable holds is not known here.
            let is_absolute = path.text.trim_start_matches(['"', '\'']).starts_with(['/', '$']);
            if !is_absolute && !inherited.has_workdir {
                let message = format!("the relative path `{}` depends on the working directory of the base", path.text);
                found.add(Rule::WorkdirRelativePath, &path.span, message);
            }
            inherited.has_workdir |= is_absolute;
        }
        Instruction::Expose(words) => {
            for word in words {
                let (ports, protocol) = word.text.split_once('/').unwrap_or((&word.text, ""));
                if protocol.chars().any(|c| c.is_ascii_uppercase()) && !protocol.contains('$') {
                    let message = format!("the protocol of `{}` is not in lower case", word.text);
                    found.add(Rule::ExposeProtoCasing, &word.span, message);
                }
                if ports.contains(':') && !ports.contains('$') {
                    let message = format!("`EXPOSE` names neither an address nor a port of the host: `{}`", word.text);
                    found.add(Rule::ExposeInvalidFormat, &word.span, message);
                }
            }
        }
        _ => {}
    }
}

/// `ENV name value`: nothing but white space is between the two.
fn legacy(step: &Step, pairs: &[Pair], found: &mut Found<'_>) {
    let [Pair { key, value }] = pairs else { return };
    let name = step.instruction.keyword();
    if step.source.text.get(key.span.end..value.span.start).is_some_and(|between| !between.is_empty() && between != "=")
    {
        let message = format!("`{name}` in the form `name value`, which is out of use");
        let help = format!("write `{name} {}=...`", key.text);
        found.add_with_help(Rule::LegacyKeyValueFormat, &step.span, message, Some(help));
    }
}

fn secret(name: &str, span: &Span, keyword: &str, found: &mut Found<'_>) {
    let lower = name.to_ascii_lowercase();
    let mut parts = lower.split('_');
    if parts.clone().any(|part| SECRETS.contains(&part)) && parts.all(|part| part != "public") {
        let message = format!("`{keyword} {name}`: what it holds can be read by whoever has the image");
        let help = "give secrets to the commands that need them: `RUN --mount=type=secret,id=ID,env=NAME`".to_owned();
        found.add_with_help(Rule::SecretsUsedInArgOrEnv, span, message, Some(help));
    }
}
