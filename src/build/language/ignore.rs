//! `.dockerignore` and `.containerignore`: which files of a build context do not exist for the build.
//!
//! The last line that matches a path, or a directory above it, decides: a line with `!` keeps it, any other leaves it
//! out. `#` at the start of a line makes a comment; `/` at the start or end of a pattern means nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::containerfile::{Source, Word};
use super::glob::Glob;
use crate::profile::Diagnostic;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    /// `!`
    is_exception: bool,
}

/// Patterns, of an ignore file or of `--exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnorePatterns {
    rules: Vec<Rule>,
}

/// What is to be done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Keep,
    /// It is not, but if it is a directory, something in it may be.
    Skip,
    /// It is not, nor is anything below it.
    SkipTree,
}

impl IgnorePatterns {
    /// Reads an ignore file. `file` names it in messages.
    pub fn parse(file: impl Into<PathBuf>, text: &str) -> Result<Self, Box<Diagnostic>> {
        let source = Source { file: file.into(), text: text.to_owned() };
        let mut patterns = Self::default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let span = start..start + line.trim_end().len();
            start += line.len();
            let line = line.strip_prefix('\u{feff}').filter(|_| span.start == 0).unwrap_or(line);
            if !line.starts_with('#') && !line.trim().is_empty() {
                patterns.push(&source, &Word { text: line.trim().to_owned(), span })?;
            }
        }
        Ok(patterns)
    }

    /// Adds one pattern, which stands at a place of `source`: that of an `--exclude`.
    pub fn push(&mut self, source: &Source, pattern: &Word) -> Result<(), Box<Diagnostic>> {
        let (is_exception, text) = match pattern.text.trim().strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, pattern.text.trim()),
        };
        if text.is_empty() {
            return Err(source.error(&pattern.span, "there is no pattern"));
        }
        match Glob::parse(&clean(text)) {
            Some(glob) => self.rules.push(Rule { glob, is_exception }),
            None => {
                let error = source.error(&pattern.span, format!("`{}` is no valid pattern", pattern.text));
                return Err(Box::new(error.help("`[` begins a class that `]` ends, `\\` escapes what follows it")));
            }
        }
        Ok(())
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is to be done with `path`, which is relative to the context and clean. The context itself is always kept.
    pub fn verdict(&self, path: &Path) -> Verdict {
        let path = characters(path.as_os_str().as_bytes());
        // The path and the directories above it.
        let ends: Vec<usize> = (0..path.len()).filter(|at| path[*at] == '/').chain([path.len()]).collect();
        if path.is_empty() {
            return Verdict::Keep;
        }
        let matches = |rule: &Rule| ends.iter().any(|end| rule.glob.matches(&path[..*end]));
        let Some(last) = self.rules.iter().rposition(matches).filter(|last| !self.rules[*last].is_exception) else {
            return Verdict::Keep;
        };
        // What lies below matches the same rule, so only a later one can keep it.
        let later = &self.rules[last + 1..];
        if later.iter().any(|rule| rule.is_exception && rule.glob.may_match_below(&path)) {
            Verdict::Skip
        } else {
            Verdict::SkipTree
        }
    }
}

/// Names need not be UTF-8; a byte that is none is like `U+FFFD`.
fn characters(path: &[u8]) -> Vec<char> {
    String::from_utf8_lossy(path).chars().collect()
}

/// The pattern without what means nothing in a path.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            // Nothing is above the root.
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(patterns: &str, path: &str) -> Verdict {
        let patterns = IgnorePatterns::parse(".dockerignore", patterns).unwrap_or_else(|error| panic!("{error}"));
        patterns.verdict(Path::new(path))
    }

    #[test]
    fn follows_the_patterns() {
        for (patterns, ignored, kept) in [
            ("", "", "a"),
            ("a", "a a/b a/b/c", "b b/a ab"),
            ("/a/", "a a/b", "b/a"),
            ("./a//b/../c/", "a/c a/c/d", "a a/b"),
            ("*", "a a/b .a", ""),
            ("*/a*", "x/a x/ab x/a/y", "a x x/y/a"),
            ("*/*/a", "x/y/a", "a x/a x/y/z/a"),
            ("a?", "ab aö", "a abc"),
            ("**", "a a/b", ""),
            ("**/a", "a x/a x/y/a x/a/z", "xa ax"),
            ("**/*.go", "a.go x/a.go x/y/.go", "a.goo"),
            ("a/**", "a/b a/b/c", "a b/a ab"),
            ("a/**/b", "a/b a/x/b a/x/y/b", "a/xb ab"),
            ("**/a/**", "a/b x/a/b", "a x/a"),
            ("a**", "a ab a/b", "b"),
            ("**a", "a xa x/ya", "ab"),
            ("[a-c]x", "ax bx cx", "dx x"),
            ("[^a-c]x", "dx", "ax x"),
            ("[a\\]]x", "ax ]x", "\\x"),
            ("\\*", "*", "a"),
            ("# no\n #a\nb", "#a b", "no a"),
            ("\u{feff}a\r\nb  \r\n", "a b", "c"),
            ("a\n!a/b", "a a/c", "a/b a/b/c b"),
            ("!a/b\na", "a a/b", "b"),
            ("*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md README-x.md"),
            ("*\n!a/b", "a c a/x", "a/b a/b/c"),
            ("**/*.log\n!keep", "a.log x/a.log", "keep/a.log"),
            (".\n/\n..", "", "a"),
            ("../a", "", "a"),
            ("a\nb\n!b", "a", "b"),
        ] {
            for path in ignored.split(' ').filter(|path| !path.is_empty()) {
                assert_ne!(verdict(patterns, path), Verdict::Keep, "{patterns:?} {path}");
            }
            for path in kept.split(' ') {
                assert_eq!(verdict(patterns, path), Verdict::Keep, "{patterns:?} {path}");
            }
        }
    }

    #[test]
    fn prunes_where_nothing_can_be_kept() {
        for (patterns, directory, expected) in [
            ("a", "a", Verdict::SkipTree),
            ("a\n!b", "a", Verdict::SkipTree),
            ("a\n!a/b", "a", Verdict::Skip),
            ("a\n!a/b/c", "a", Verdict::Skip),
            ("a\n!a/b/c", "a/b", Verdict::Skip),
            ("a\n!a/b/c", "a/x", Verdict::SkipTree),
            ("!a/b\na", "a", Verdict::SkipTree),
            ("*\n!*.md", "a", Verdict::Skip),
            ("a\n!**/b", "a/c", Verdict::Skip),
            ("a\n!ab", "a", Verdict::SkipTree),
            ("a\n!a*", "a", Verdict::Keep),
            ("a\n!b*", "a", Verdict::SkipTree),
        ] {
            assert_eq!(verdict(patterns, directory), expected, "{patterns:?} {directory}");
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for (patterns, expected) in [
            ("a\n[b", ".dockerignore:2:1: `[b` is no valid pattern"),
            ("[]", ".dockerignore:1:1: `[]` is no valid pattern"),
            ("[b-a]", ".dockerignore:1:1: `[b-a]` is no valid pattern"),
            ("a\\", ".dockerignore:1:1: `a\\` is no valid pattern"),
            ("!", ".dockerignore:1:1: there is no pattern"),
        ] {
            assert_eq!(IgnorePatterns::parse(".dockerignore", patterns).expect_err(patterns).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_pruned_holds_nothing(patterns in "([!]?[ab*?/\\[\\]^-]{1,6}\n){0,4}", path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
            let Ok(patterns) = IgnorePatterns::parse("i", &patterns) else { return Ok(()) };
            let path = Path::new(&path);
            for above in path.ancestors().filter(|above| !above.as_os_str().is_empty()) {
                if patterns.verdict(above) == Verdict::SkipTree {
                    prop_assert_eq!(patterns.verdict(path), Verdict::SkipTree);
                }
            }
        }

        #[test]
        fn never_panics(patterns in "[!#ab*?/\\\\\\[\\]^.\n\u{e4} -]{0,40}", path in "[ab./\u{e4}]{0,10}") {
            if let Ok(patterns) = IgnorePatterns::parse("i", &patterns) {
                patterns.verdict(Path::new(&path));
            }
        }
    }
}
