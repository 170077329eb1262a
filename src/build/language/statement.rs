//! One logical line becomes one [`Instruction`].

use super::containerfile::{Escape, Source, Span, Word};
use super::flags::Flags;
use super::heredoc::{Body, Heredoc, announced};
use super::instruction::{
    Add, Argument, Command, Copy, FileSource, Files, Healthcheck, Instruction, Network, Onbuild, Pair, Run, RunCommand,
    Security,
};
use super::lines::LogicalLine;
use super::mount::MountFlag;
use super::parse::check_trigger;
use super::suggest::suggest;
use super::words::{Json, flags, json, keyword, plain_words, quoted_words};
use crate::profile::Diagnostic;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// All instructions.
pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A line behind its keyword.
pub(super) struct Arguments<'a> {
    pub source: &'a Source,
    pub line: &'a LogicalLine,
    pub escape: Escape,
    pub keyword: &'a Word,
}

impl Arguments<'_> {
    /// The instruction `name`, in capitals, with its arguments at `rest`.
    pub fn instruction(&self, name: &str, rest: Span, bodies: Vec<(Body, Span)>) -> Result<Instruction> {
        if name == "ONBUILD" {
            return self.onbuild(rest, bodies);
        }
        let (found, rest) = flags(self.line, rest, self.escape);
        let mut flags = Flags::new(self.source, name, found);
        let instruction = match name {
            "ADD" => Instruction::Add(Add {
                checksum: flags.value("checksum")?,
                keep_git_dir: flags.boolean("keep-git-dir")?,
                unpack: flags.boolean("unpack")?,
                files: self.files(&mut flags, rest, bodies)?,
            }),
            "ARG" => Instruction::Arg(self.arguments(rest)?),
            "CMD" => Instruction::Cmd(self.command(rest)?),
            "COPY" => Instruction::Copy(Copy {
                from: self.copy_from(&mut flags)?,
                parents: flags.boolean("parents")?.unwrap_or(false),
                files: self.files(&mut flags, rest, bodies)?,
            }),
            "ENTRYPOINT" => Instruction::Entrypoint(self.command(rest)?),
            "ENV" => Instruction::Env(self.pairs(rest)?),
            "EXPOSE" => Instruction::Expose(self.some(plain_words(self.line, rest), "a port")?),
            "HEALTHCHECK" => Instruction::Healthcheck(self.healthcheck(&mut flags, rest)?),
            "LABEL" => Instruction::Label(self.pairs(rest)?),
            "MAINTAINER" => Instruction::Maintainer(self.whole(rest, "a name")?),
            "RUN" => Instruction::Run(self.run(&mut flags, rest, bodies)?),
            "SHELL" => Instruction::Shell(self.shell(rest)?),
            "STOPSIGNAL" => Instruction::Stopsignal(self.whole(rest, "a signal")?),
            "USER" => Instruction::User(self.whole(rest, "a user")?),
            "VOLUME" => Instruction::Volume(self.volumes(rest)?),
            _ => Instruction::Workdir(self.whole(rest, "a path")?),
        };
        flags.finish()?;
        Ok(instruction)
    }

    fn error(&self, span: &Span, message: impl AsRef<str>) -> Box<Diagnostic> {
        self.source.error(span, message)
    }

    /// Something that must be there is not.
    fn missing(&self, what: &str) -> Box<Diagnostic> {
        self.error(&self.keyword.span, format!("`{}` needs {what}", self.keyword.text.to_ascii_uppercase()))
    }

    fn some<T>(&self, words: Vec<T>, what: &str) -> Result<Vec<T>> {
        if words.is_empty() { Err(self.missing(what)) } else { Ok(words) }
    }

    /// All that stands there, as one word.
    fn whole(&self, rest: Span, what: &str) -> Result<Word> {
        if rest.is_empty() { Err(self.missing(what)) } else { Ok(self.line.word(rest)) }
    }

    fn command(&self, rest: Span) -> Result<Command> {
        match json(&self.line.text[rest.clone()]) {
            Json::Strings(words) => Ok(Command::Exec(words)),
            Json::None => Ok(Command::Shell(self.line.text[rest].to_owned())),
            Json::OtherValues => Err(self.not_strings(rest)),
        }
    }

    fn not_strings(&self, rest: Span) -> Box<Diagnostic> {
        let error = self.error(&self.line.span(rest), "the array holds something else than strings");
        Box::new(error.help("write every element in double quotes"))
    }

    /// The words of a JSON array, or those between white space.
    fn list(&self, rest: Span) -> Result<Vec<Word>> {
        match json(&self.line.text[rest.clone()]) {
            Json::Strings(words) => {
                let span = self.line.span(rest);
                Ok(words.into_iter().map(|text| Word { text, span: span.clone() }).collect())
            }
            Json::None => Ok(plain_words(self.line, rest)),
            Json::OtherValues => Err(self.not_strings(rest)),
        }
    }

    fn arguments(&self, rest: Span) -> Result<Vec<Argument>> {
        let mut found = Vec::new();
        for word in self.some(quoted_words(self.line, rest, self.escape), "a name")? {
            let (name, value) = match cut(&word) {
                Some((name, value)) => (name, Some(value)),
                None => (word.clone(), None),
            };
            if name.text.is_empty() {
                return Err(self.error(&word.span, "an argument without a name"));
            }
            found.push(Argument { name, value });
        }
        Ok(found)
    }

    fn pairs(&self, rest: Span) -> Result<Vec<Pair>> {
        let words = self.some(quoted_words(self.line, rest.clone(), self.escape), "`name=value`")?;
        if !words[0].text.contains('=') {
            // The old form: `ENV name value with spaces`.
            let (key, value) = keyword(self.line, rest);
            let value = self.line.word(value);
            if value.text.is_empty() {
                let error = self.error(&key.span, format!("`{}` has no value", key.text));
                return Err(Box::new(error.help(format!("write `{0}=value`, or `{0}=` for an empty one", key.text))));
            }
            return Ok(vec![Pair { key, value }]);
        }
        let mut found = Vec::new();
        for word in words {
            let Some((key, value)) = cut(&word) else {
                let error = self.error(&word.span, format!("there is no `=` in `{}`", word.text));
                return Err(Box::new(error.help("write `name=value`, in quotes when the value has spaces")));
            };
            if key.text.is_empty() {
                return Err(self.error(&word.span, "a value without a name"));
            }
            found.push(Pair { key, value });
        }
        Ok(found)
    }

    fn volumes(&self, rest: Span) -> Result<Vec<Word>> {
        let mut words = self.some(self.list(rest)?, "a path")?;
        for word in &mut words {
            word.text = word.text.trim().to_owned();
            if word.text.is_empty() {
                return Err(self.error(&word.span, "the path of a volume is empty"));
            }
        }
        Ok(words)
    }

    fn shell(&self, rest: Span) -> Result<Vec<String>> {
        match json(&self.line.text[rest.clone()]) {
            Json::Strings(words) => self.some(words, "a program"),
            Json::OtherValues => Err(self.not_strings(rest)),
            Json::None if rest.is_empty() => Err(self.missing("a JSON array")),
            Json::None => {
                let error = self.error(&self.line.span(rest), "this is not a JSON array of strings");
                Err(Box::new(error.help("write it like `SHELL [\"/bin/bash\", \"-c\"]`")))
            }
        }
    }

    /// `COPY --from`: docker expands no variables there.
    fn copy_from(&self, flags: &mut Flags<'_>) -> Result<Option<Word>> {
        let from = flags.value("from")?;
        match from.filter(|from| !from.text.is_empty()) {
            Some(from) if from.text.contains('$') => {
                let error = self.error(&from.span, "variables are not expanded in `--from`");
                Err(Box::new(error.help("name the image with `FROM ... AS name`, and that stage here")))
            }
            from => Ok(from),
        }
    }

    fn files(&self, flags: &mut Flags<'_>, rest: Span, bodies: Vec<(Body, Span)>) -> Result<Files> {
        let mut words = self.list(rest)?;
        let (Some(destination), false) = (words.pop(), words.is_empty()) else {
            let error = self.missing("a source and a destination");
            return Err(Box::new(error.help(format!("write `{} source destination`", self.keyword.text))));
        };
        if !bodies.is_empty() && announced(&destination.text).is_some() {
            return Err(self.error(&destination.span, "a heredoc cannot be the destination"));
        }
        let mut bodies: Vec<_> = bodies.into_iter().map(Some).collect();
        let mut source = |word: Word| {
            let named = announced(&word.text);
            let body = bodies
                .iter_mut()
                .find(|body| body.as_ref().map(|(body, _)| &body.announced) == named.as_ref() && named.is_some());
            match body.and_then(Option::take) {
                Some((body, span)) => FileSource::Heredoc(heredoc(&body, span)),
                None => FileSource::Path(word),
            }
        };
        Ok(Files {
            sources: words.into_iter().map(&mut source).collect(),
            destination,
            chown: flags.value("chown")?,
            chmod: flags.value("chmod")?,
            link: flags.boolean("link")?.unwrap_or(false),
            exclude: flags.values("exclude")?,
        })
    }

    fn healthcheck(&self, flags: &mut Flags<'_>, rest: Span) -> Result<Healthcheck> {
        let interval = flags.duration("interval")?;
        let timeout = flags.duration("timeout")?;
        let start_period = flags.duration("start-period")?;
        let start_interval = flags.duration("start-interval")?;
        let retries = match flags.value("retries")? {
            Some(word) if !word.text.is_empty() => {
                let retries = word.text.parse().ok().filter(|retries| i32::try_from(*retries).is_ok());
                retries.ok_or_else(|| self.error(&word.span, format!("`{}` is not a number of retries", word.text)))?
            }
            _ => 0,
        };
        if rest.is_empty() {
            return Err(self.missing("`CMD command` or `NONE`"));
        }
        let (kind, rest) = keyword(self.line, rest);
        match kind.text.to_ascii_uppercase().as_str() {
            "NONE" if rest.is_empty() => Ok(Healthcheck::None),
            "NONE" => Err(self.error(&self.line.span(rest), "nothing follows `NONE`")),
            "CMD" => {
                let command = self.command(rest)?;
                if matches!(&command, Command::Exec(words) if words.is_empty())
                    || matches!(&command, Command::Shell(line) if line.is_empty())
                {
                    return Err(self.error(&kind.span, "there is no command after `CMD`"));
                }
                Ok(Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries })
            }
            other => {
                let error = self.error(&kind.span, format!("`{other}` is neither `CMD` nor `NONE`"));
                Err(suggest(*error, other, ["CMD", "NONE"]))
            }
        }
    }

    fn onbuild(&self, rest: Span, bodies: Vec<(Body, Span)>) -> Result<Instruction> {
        let (inner, inner_rest) = keyword(self.line, rest.clone());
        if inner.text.is_empty() {
            return Err(self.missing("an instruction"));
        }
        check_trigger(self.source, &inner)?;
        let name = inner.text.to_ascii_uppercase();
        if !KEYWORDS.contains(&name.as_str()) {
            let error = self.error(&inner.span, format!("unknown instruction `{}`", inner.text));
            return Err(suggest(*error, &name, KEYWORDS));
        }
        let mut text = self.line.text[rest].to_owned();
        for (body, _) in &bodies {
            text.push_str(&format!("\n{}{}", body.raw, body.announced.name));
        }
        let inner = Arguments { keyword: &inner, ..*self };
        inner.instruction(&name, inner_rest, bodies)?;
        Ok(Instruction::Onbuild(Onbuild { text }))
    }

    fn run(&self, flags: &mut Flags<'_>, rest: Span, bodies: Vec<(Body, Span)>) -> Result<Run> {
        let mounts = flags.values("mount")?;
        let mounts = mounts.iter().map(|word| MountFlag::parse(self.source, word)).collect::<Result<_>>()?;
        let networks = [("default", Network::Default), ("none", Network::None), ("host", Network::Host)];
        let network = flags.one_of("network", networks)?.unwrap_or_default();
        let securities = [("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];
        let security = flags.one_of("security", securities)?.unwrap_or_default();
        if rest.is_empty() {
            return Err(self.missing("a command"));
        }
        let command = match bodies.as_slice() {
            [] => RunCommand::Command(self.command(rest)?),
            [(body, span)] if announced(&self.line.text[rest.clone()]).is_some() => {
                RunCommand::Script(heredoc(body, span.clone()))
            }
            bodies => {
                // The shell reads them itself.
                let mut text = self.line.text[rest].to_owned();
                for (body, _) in bodies {
                    text.push_str(&format!("\n{}{}", body.raw, body.announced.name));
                }
                RunCommand::Command(Command::Shell(text))
            }
        };
        Ok(Run { mounts, network, security, command })
    }
}

fn heredoc(body: &Body, span: Span) -> Heredoc {
    Heredoc { name: body.announced.name.clone(), content: body.content(), expand: body.announced.expand, span }
}

/// A word at its first `=`.
fn cut(word: &Word) -> Option<(Word, Word)> {
    let (key, value) = word.text.split_once('=')?;
    let Span { start, end } = word.span.clone();
    // A word that goes on in the next line is shown whole.
    let (before, after) = match word.text.len() == end - start {
        true => (start..start + key.len(), start + key.len() + 1..end),
        false => (start..end, start..end),
    };
    Some((Word { text: key.to_owned(), span: before }, Word { text: value.to_owned(), span: after }))
}
