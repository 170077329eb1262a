//! Rules about how the file is written.

use super::{Found, Rule};
use crate::build::language::containerfile::{Containerfile, Source, Span, Word};

pub(super) fn check(file: &Containerfile, found: &mut Found<'_>) {
    keywords(file, found);
    for line in &file.empty_lines {
        found.add(Rule::NoEmptyContinuation, line, "an empty line inside an instruction");
    }
    for stage in &file.stages {
        if let Some(name) = &stage.name {
            stage_name(file, &stage.span, &stage.base, name, found);
        }
    }
    descriptions(file, found);
}

/// Upper, lower, or neither.
fn is_upper(word: &str) -> Option<bool> {
    let upper = word.to_ascii_uppercase() == word;
    (upper || word.to_ascii_lowercase() == word).then_some(upper)
}

fn keywords(file: &Containerfile, found: &mut Found<'_>) {
    let cases: Vec<bool> = file.keywords.iter().filter_map(|word| is_upper(&word.text)).collect();
    let upper = cases.iter().filter(|upper| **upper).count();
    let all_upper = upper >= cases.len() - upper;
    for word in file.keywords.iter().filter(|word| is_upper(&word.text) != Some(all_upper)) {
        let (case, meant) = match all_upper {
            true => ("upper", word.text.to_ascii_uppercase()),
            false => ("lower", word.text.to_ascii_lowercase()),
        };
        let message = format!("`{}` is written otherwise than most instructions of this file", word.text);
        let help = format!("they are in {case} case: `{meant}`");
        found.add_with_help(Rule::ConsistentInstructionCasing, &word.span, message, Some(help));
    }
}

fn stage_name(file: &Containerfile, stage: &Span, base: &Word, name: &Word, found: &mut Found<'_>) {
    let text = &file.source.text;
    let written = &text[name.span.clone()];
    if written != name.text {
        let message = format!("the name of the stage `{written}` is not in lower case");
        found.add(Rule::StageNameCasing, &name.span, message);
    }
    let from = &text[stage.start..stage.start + "FROM".len()];
    let between = base.span.end..name.span.start;
    let word = text[between.clone()].split_whitespace().find(|word| word.eq_ignore_ascii_case("as"));
    if let Some(word) = word
        && is_upper(from).is_some_and(|upper| is_upper(word) != Some(upper))
    {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let message = format!("`{from}` and `{word}` are not in the same case");
        found.add(Rule::FromAsCasing, &(start..start + word.len()), message);
    }
}

/// Comments right above a stage or a global argument tell what it is, and begin with its name.
fn descriptions(file: &Containerfile, found: &mut Found<'_>) {
    let stages = file.stages.iter().filter_map(|stage| Some((stage.span.start, &stage.name.as_ref()?.text)));
    let arguments = file.arguments.iter().map(|argument| (argument.name.span.start, &argument.name.text));
    for (at, name) in stages.chain(arguments) {
        let Some(comment) = comment_above(&file.source, at).filter(|span| !is_directive(file, span)) else { continue };
        let text = file.source.text[comment.clone()].trim_start_matches('#').trim();
        if text.split_whitespace().next().is_some_and(|word| !word.eq_ignore_ascii_case(name)) {
            let message = format!("the comment above `{name}` does not begin with that name");
            let help = format!("write `# {name} ...`, or leave a line empty below the comment");
            found.add_with_help(Rule::InvalidDefinitionDescription, &comment, message, Some(help));
        }
    }
}

/// The comment in the line above the one in which `at` stands.
fn comment_above(source: &Source, at: usize) -> Option<Span> {
    let line = source.text[..at].rfind('\n')?;
    let start = source.text[..line].rfind('\n').map_or(0, |newline| newline + 1);
    let comment = source.text[start..line].trim_end();
    comment.trim_start().starts_with('#').then_some(start..start + comment.len())
}

fn is_directive(file: &Containerfile, comment: &Span) -> bool {
    let directives = [&file.directives.syntax, &file.directives.check];
    let text = file.source.text[comment.clone()].trim_start_matches('#').trim_start();
    directives.into_iter().flatten().any(|word| comment.contains(&word.span.start)) || text.starts_with("escape")
}
