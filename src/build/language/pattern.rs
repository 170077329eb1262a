//! The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` is any text, `?` any character, `\` escapes.

use super::expand::ExpandError;

/// How many parts a pattern may have.
const LONGEST: usize = 4096;

/// One part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Text(char),
    One,
    Any,
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    /// Reads a pattern. `\}` and `\/` stand for themselves, since those characters end a pattern.
    pub fn parse(text: &str) -> Result<Self, ExpandError> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Part::Text(c),
                    Some(character) => return Err(ExpandError::PatternEscape { character }),
                    None => return Err(ExpandError::PatternEscape { character: ' ' }),
                },
                c => Part::Text(c),
            });
        }
        if parts.len() > LONGEST {
            return Err(ExpandError::PatternTooLong { limit: LONGEST });
        }
        Ok(Self { parts })
    }

    /// `value` without the shortest or longest beginning that matches.
    pub fn strip_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = match_ends(self.parts.iter().copied(), &chars, longest)[0].unwrap_or(0);
        chars[end..].iter().collect()
    }

    /// `value` without the shortest or longest end that matches.
    pub fn strip_suffix(&self, value: &str, longest: bool) -> String {
        let reversed: Vec<char> = value.chars().rev().collect();
        let end = match_ends(self.parts.iter().rev().copied(), &reversed, longest)[0].unwrap_or(0);
        reversed[end..].iter().rev().collect()
    }

    /// `value` with the first match, or all, replaced; matches are as long as they can be. `None`: the result would be
    /// longer than `limit_bytes`.
    pub fn replace(&self, value: &str, replacement: &str, all: bool, limit_bytes: usize) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let ends = match_ends(self.parts.iter().copied(), &chars, true);
        let mut result = String::new();
        let (mut at, mut is_done, mut last_end) = (0, false, None);
        while at <= chars.len() {
            // An empty match right behind a match is none.
            let end = ends[at].filter(|end| !is_done && (*end > at || last_end != Some(at)));
            if let Some(end) = end {
                result.push_str(replacement);
                is_done = !all;
                last_end = Some(end);
            }
            match end {
                Some(end) if end > at => at = end,
                _ => {
                    result.extend(chars.get(at));
                    at += 1;
                }
            }
            if result.len() > limit_bytes {
                return None;
            }
        }
        Some(result)
    }
}

/// For each position of `value`, where the shortest or longest match that begins there ends. The work is the product
/// of both lengths: the parts are taken from the last to the first, each for all positions at once.
fn match_ends(parts: impl DoubleEndedIterator<Item = Part>, value: &[char], longest: bool) -> Vec<Option<usize>> {
    let mut ends: Vec<Option<usize>> = (0..=value.len()).map(Some).collect();
    for part in parts.rev() {
        // `ends` holds the matches of the parts behind this one.
        match part {
            Part::Any => {
                for at in (0..value.len()).rev().filter(|at| value[*at] != '\n') {
                    let both = ends[at].zip(ends[at + 1]).map(|(here, further)| here.min(further));
                    let either = ends[at].max(ends[at + 1]);
                    ends[at] = if longest { either } else { both.or(either) };
                }
            }
            Part::One | Part::Text(_) => {
                for at in 0..value.len() {
                    let matches = match part {
                        Part::Text(c) => value[at] == c,
                        _ => value[at] != '\n',
                    };
                    ends[at] = if matches { ends[at + 1] } else { None };
                }
                ends[value.len()] = None;
            }
        }
    }
    ends
}
