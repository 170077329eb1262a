//! From text to stages and steps.

use std::path::PathBuf;
use std::sync::Arc;

use super::containerfile::{Containerfile, Source, Span, Stage, Step, Word};
use super::flags::Flags;
use super::heredoc::{Body, announced_in, read_body};
use super::instruction::Instruction;
use super::lines::{Lines, LogicalLine};
use super::statement::{Arguments, KEYWORDS};
use super::suggest::suggest;
use super::words::{Json, flags, json, keyword, plain_words};
use crate::profile::Diagnostic;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// Reads a Containerfile. `file` names it in messages.
pub fn parse(file: impl Into<PathBuf>, text: &str) -> Result<Containerfile> {
    let source = Arc::new(Source { file: file.into(), text: text.to_owned() });
    let mut lines = Lines::new(&source)?;
    let directives = lines.directives();
    let mut arguments = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut keywords = Vec::new();
    while let Some(line) = lines.logical() {
        keywords.push(keyword(&line, 0..line.text.len()).0);
        match statement(&source, &mut lines, &line)? {
            Statement::From(stage) => stages.push(stage),
            Statement::Step(step) => match (stages.last_mut(), step.instruction) {
                (Some(stage), instruction) => stage.steps.push(Step { instruction, ..step }),
                (None, Instruction::Arg(found)) => arguments.extend(found),
                (None, instruction) => {
                    let message = format!("`{}` stands before the first `FROM`", instruction.keyword());
                    let error = source.error(&step.span, message).label("no stage has begun here");
                    return Err(Box::new(error.help("begin with `FROM image`; only `ARG` may stand before it")));
                }
            },
        }
    }
    if stages.is_empty() {
        let error = source.error(&(text.len()..text.len()), "there is no `FROM`");
        return Err(Box::new(error.help("begin with `FROM image`, or `FROM scratch` for an empty one")));
    }
    let empty_lines = lines.into_empty();
    Ok(Containerfile { source, directives, arguments, stages, keywords, empty_lines })
}

/// Reads an instruction that an image's `ONBUILD` left behind. `image` names it in messages.
pub fn parse_trigger(image: &str, text: &str) -> Result<Step> {
    let source = Arc::new(Source { file: format!("<ONBUILD of {image}>").into(), text: text.to_owned() });
    let mut lines = Lines::of_trigger(&source);
    let all = 0..text.len();
    let Some(line) = lines.logical() else { return Err(source.error(&all, "there is no instruction")) };
    let first = keyword(&line, 0..line.text.len()).0;
    check_trigger(&source, &first)?;
    let Statement::Step(step) = statement(&source, &mut lines, &line)? else {
        return Err(source.error(&all, "`FROM` cannot be a trigger"));
    };
    match lines.logical() {
        None => Ok(step),
        Some(next) => Err(source.error(&next.span(0..next.text.len()), "a trigger is one instruction")),
    }
}

/// One logical line, understood.
enum Statement {
    From(Stage),
    Step(Step),
}

fn statement(source: &Arc<Source>, lines: &mut Lines<'_>, line: &LogicalLine) -> Result<Statement> {
    let all = 0..line.text.trim_end().len();
    let (keyword, rest) = keyword(line, all.clone());
    let text = line.text[all.clone()].to_owned();
    let name = keyword.text.to_ascii_uppercase();
    if !KEYWORDS.contains(&name.as_str()) {
        let error = source.error(&keyword.span, format!("unknown instruction `{}`", keyword.text));
        return Err(suggest(*error, &name, KEYWORDS));
    }
    if name == "FROM" {
        return from(source, lines, line, rest).map(|stage| Statement::From(Stage { text, ..stage }));
    }
    let bodies = bodies(source, lines, line, &name, rest.clone())?;
    let arguments = Arguments { source, line, escape: lines.escape(), keyword: &keyword };
    let instruction = arguments.instruction(&name, rest, bodies)?;
    let mut span = line.span(all);
    span.end = span.end.max(source.text[..lines.position()].trim_end().len().min(lines.position()));
    Ok(Statement::Step(Step { instruction, text, span, source: source.clone(), escape: lines.escape() }))
}

/// The bodies of the heredocs that a line announces.
fn bodies(
    source: &Source,
    lines: &mut Lines<'_>,
    line: &LogicalLine,
    name: &str,
    rest: Span,
) -> Result<Vec<(Body, Span)>> {
    // `ONBUILD RUN <<EOF` as well.
    let (name, rest) = if name == "ONBUILD" {
        let (inner, rest) = keyword(line, rest);
        (inner.text.to_ascii_uppercase(), rest)
    } else {
        (name.to_owned(), rest)
    };
    let (_, rest) = flags(line, rest, lines.escape());
    let takes_heredocs = matches!(name.as_str(), "RUN" | "COPY" | "ADD");
    if !takes_heredocs || json(&line.text[rest]) != Json::None {
        return Ok(Vec::new());
    }
    let mut bodies = Vec::new();
    for (announced, span) in announced_in(line) {
        let word = announced.name.clone();
        let Some(body) = read_body(lines, announced) else {
            let error = source.error(&span, format!("no line `{word}` ends this heredoc"));
            return Err(Box::new(error.help(format!("after its last line, write `{word}` on a line of its own"))));
        };
        bodies.push((body, span));
    }
    Ok(bodies)
}

fn from(source: &Source, lines: &Lines<'_>, line: &LogicalLine, rest: Span) -> Result<Stage> {
    let (found, rest) = flags(line, rest, lines.escape());
    let span = line.span(0..line.text.trim_end().len());
    let mut flags = Flags::new(source, "FROM", found);
    let platform = flags.value("platform")?.filter(|platform| !platform.text.is_empty());
    flags.finish()?;
    let words = plain_words(line, rest);
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => (base, Some(stage_name(source, name)?)),
        [] => return Err(source.error(&span, "`FROM` names no image")),
        [_, wrong, ..] => {
            let error = source.error(&wrong.span, "`FROM` has words too many");
            return Err(Box::new(error.help("write `FROM image` or `FROM image AS name`")));
        }
    };
    Ok(Stage { base: base.clone(), name, platform, text: String::new(), span, steps: Vec::new() })
}

/// A name that can be told from a number and from an image.
fn stage_name(source: &Source, name: &Word) -> Result<Word> {
    let lower = name.text.to_ascii_lowercase();
    let is_valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    if !is_valid {
        let error = source.error(&name.span, format!("`{}` cannot name a stage", name.text));
        return Err(Box::new(
            error.help("a name begins with a letter, and has letters, digits, `-`, `_` and `.` only"),
        ));
    }
    Ok(Word { text: lower, span: name.span.clone() })
}

/// What cannot stand behind `ONBUILD`.
pub(super) fn check_trigger(source: &Source, keyword: &Word) -> Result<()> {
    let name = keyword.text.to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(source.error(&keyword.span, format!("`{name}` cannot be a trigger"))),
        _ => Ok(()),
    }
}
