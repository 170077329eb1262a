//! Patterns of paths as Docker's ignore files have them.
//!
//! `*` is any text without `/`, `?` a character other than `/`, `[a-z]` and `[^a-z]` are classes, `**` is any number of
//! directories, also none, and at the end everything; `\` escapes. The work of a match is at most the product of the
//! lengths of pattern and path.

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**` before anything else: nothing, or directories and the `/` behind them.
    Directories,
    /// `**` at the end.
    Everything,
    /// `[...]`: whether it is negated, and its ranges.
    Class(bool, Vec<(char, char)>),
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Vec<Part>,
    /// How many parts at the start are text.
    literal_length: usize,
}

impl Glob {
    /// Reads a pattern that is relative and clean. `None`: it is malformed.
    pub fn parse(pattern: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() { Part::Everything } else { Part::Directories }
                }
                '*' => Part::Many,
                '?' => Part::One,
                '[' => {
                    let is_negated = chars.next_if_eq(&'^').is_some();
                    Part::Class(is_negated, ranges(&mut chars)?)
                }
                '\\' => Part::Text(chars.next()?),
                c => Part::Text(c),
            });
        }
        // docker takes `**name` for any path that ends in `name`, as long as nothing else in it is special.
        let is_text = |part: &Part| matches!(part, Part::Text(_));
        if pattern.starts_with("**") && !pattern.starts_with("**/") && parts.iter().skip(1).all(is_text) {
            parts[0] = Part::Everything;
        }
        let literal_length = parts.iter().take_while(|part| is_text(part)).count();
        Some(Self { parts, literal_length })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &[char]) -> bool {
        let (literal, rest) = self.parts.split_at(self.literal_length);
        if path.len() < literal.len() || !self.literal().eq(path[..literal.len()].iter().copied()) {
            return false;
        }
        if rest.is_empty() {
            return path.len() == literal.len();
        }
        let path = &path[literal.len()..];
        // Which lengths of the path the parts so far can match.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for part in rest {
            step(part, path, &mut reached);
        }
        reached[path.len()]
    }

    /// Whether a path below `directory` may match. May say so without reason.
    pub fn may_match_below(&self, directory: &[char]) -> bool {
        let below = directory.iter().copied().chain(['/']);
        let is_whole = self.literal_length == self.parts.len();
        let agrees = self.literal().zip(below).all(|(ours, theirs)| ours == theirs);
        agrees && (!is_whole || self.literal_length > directory.len() + 1)
    }

    fn literal(&self) -> impl Iterator<Item = char> {
        self.parts[..self.literal_length].iter().filter_map(|part| match part {
            Part::Text(c) => Some(*c),
            _ => None,
        })
    }
}

/// Extends each length in `reached` by one part.
fn step(part: &Part, path: &[char], reached: &mut [bool]) {
    match part {
        Part::Many | Part::Everything => {
            for at in 0..path.len() {
                reached[at + 1] |= reached[at] && (path[at] != '/' || *part == Part::Everything);
            }
        }
        Part::Directories => {
            let mut is_inside = false;
            for at in 0..path.len() {
                is_inside |= reached[at];
                reached[at + 1] |= is_inside && path[at] == '/';
            }
        }
        _ => {
            for at in (0..path.len()).rev() {
                reached[at + 1] = reached[at] && is_one(part, path[at]);
            }
            reached[0] = false;
        }
    }
}

/// Whether a part for one character matches `c`.
fn is_one(part: &Part, c: char) -> bool {
    match part {
        Part::Text(text) => *text == c,
        Part::One => c != '/',
        Part::Class(is_negated, ranges) => ranges.iter().any(|(low, high)| (low..=high).contains(&&c)) != *is_negated,
        Part::Many | Part::Directories | Part::Everything => false,
    }
}

/// `a-z0-9]`, at least one.
fn ranges(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Vec<(char, char)>> {
    let mut found = Vec::new();
    loop {
        if !found.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(found);
        }
        let low = member(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { member(chars)? } else { low };
        if low > high {
            return None;
        }
        found.push((low, high));
    }
}

fn member(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}
