//! Variables, quotes and escapes in words, by the rules of docker's shell lexer.
//!
//! The forms are `$x`, `${x}`, `${x:-w}`, `${x-w}`, `${x:+w}`, `${x+w}`, `${x:?w}`, `${x?w}`, `${x#p}`, `${x##p}`, `${x%p}`,
//! `${x%%p}`, `${x/p/r}` and `${x//p/r}`; an unset variable is empty. A `w` is expanded itself, and so are `p` and `r`.

use std::iter::Peekable;
use std::str::Chars;

use super::containerfile::Escape;
use super::pattern::Pattern;

/// What variables may add to one word, since one may hold another twice, and so on. No program can be started with a
/// longer string.
pub const LONGEST_BYTES: usize = 1 << 17;
/// How deep `${a:-${b:-...}}` may go.
const DEEPEST: usize = 50;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// `'` or `"` without its partner.
    #[error("the quote `{quote}` is not closed")]
    OpenQuote {
        /// Which.
        quote: char,
    },
    /// `${` without `}`.
    #[error("`${{` is not closed by `}}`")]
    OpenBrace,
    /// `${x/p` without a second `/`.
    #[error("`${{{name}/pattern/replacement}}` needs a second `/`")]
    NoReplacement {
        /// The variable.
        name: String,
    },
    /// `${}`, `${{`, `${:`.
    #[error("`${{` names no variable")]
    NoName,
    /// `${x@...}`
    #[error("`{modifier}` after `${{{name}` is no substitution")]
    UnknownForm {
        /// The variable.
        name: String,
        /// What follows it.
        modifier: String,
    },
    /// `\x` in a pattern.
    #[error("`\\{character}` means nothing in a pattern")]
    PatternEscape {
        /// What was escaped.
        character: char,
    },
    /// The work of matching grows with it.
    #[error("a pattern is longer than {limit} characters")]
    PatternTooLong {
        /// How long it may be.
        limit: usize,
    },
    /// `${x?message}` of an unset variable.
    #[error("`{name}` {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, or a sentence in its place.
        message: String,
    },
    /// A value of values of values.
    #[error("it becomes longer than {limit_bytes} bytes")]
    TooLong {
        /// [`LONGEST_BYTES`].
        limit_bytes: usize,
    },
    /// Substitutions inside substitutions.
    #[error("substitutions are nested deeper than {limit}")]
    TooDeep {
        /// How deep they may be.
        limit: usize,
    },
}

type Result<T> = std::result::Result<T, ExpandError>;

/// Where values come from. `None`: not set.
pub trait Variables {
    /// The value of `name`.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Variables for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// What is done with quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They group, and go.
    Remove,
    /// They are text.
    Keep,
}

/// A word with its variables, quotes and escapes replaced.
pub fn expand(text: &str, variables: &dyn Variables, escape: Escape) -> Result<String> {
    Expansion::new(text, variables, escape, Quotes::Remove).until(None).map(|found| found.text)
}

/// The content of a heredoc: quotes are left alone, and `\` escapes whatever the directive says.
pub fn expand_text(text: &str, variables: &dyn Variables) -> Result<String> {
    Expansion::new(text, variables, Escape::Backslash, Quotes::Keep).until(None).map(|found| found.text)
}

/// The words that a word becomes: it is split at white space that is not quoted, also at that of values.
pub fn expand_words(text: &str, variables: &dyn Variables, escape: Escape) -> Result<Vec<String>> {
    Expansion::new(text, variables, escape, Quotes::Remove).until(None).map(Found::into_words)
}

/// The variables without a value that a word stands on: those of `$x` and `${x}`, for the other forms say what to do then.
pub fn undefined(text: &str, variables: &dyn Variables, escape: Escape) -> Vec<String> {
    let mut expansion = Expansion::new(text, variables, escape, Quotes::Remove);
    // What cannot be expanded is an error elsewhere.
    expansion.until(None).map(|_| expansion.undefined).unwrap_or_default()
}

/// What was read so far, whole and in words.
#[derive(Default)]
struct Found {
    text: String,
    words: Vec<String>,
    word: Option<String>,
}

impl Found {
    /// Text that is never split.
    fn push_whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.get_or_insert_default().push_str(text);
    }

    /// Text that is split at its white space.
    fn push_split(&mut self, text: &str) {
        self.text.push_str(text);
        for c in text.chars() {
            if c.is_whitespace() {
                // docker drops a word that is empty, quoted or not.
                self.words.extend(self.word.take().filter(|word| !word.is_empty()));
            } else {
                self.word.get_or_insert_default().push(c);
            }
        }
    }

    fn into_words(mut self) -> Vec<String> {
        self.words.extend(self.word.filter(|word| !word.is_empty()));
        self.words
    }
}

struct Expansion<'a> {
    chars: Peekable<Chars<'a>>,
    variables: &'a dyn Variables,
    escape: char,
    quotes: Quotes,
    depth: usize,
    /// In patterns, escapes stay: they belong to the pattern.
    keeps_escapes: bool,
    /// Bytes that were made in all, also by what was thrown away.
    made_bytes: usize,
    /// See [`undefined`].
    undefined: Vec<String>,
}

impl<'a> Expansion<'a> {
    fn new(text: &'a str, variables: &'a dyn Variables, escape: Escape, quotes: Quotes) -> Self {
        Self {
            chars: text.chars().peekable(),
            variables,
            escape: escape.character(),
            quotes,
            depth: 0,
            keeps_escapes: false,
            made_bytes: 0,
            undefined: Vec::new(),
        }
    }

    /// Up to the character `stop`, which is eaten, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<Found> {
        let mut found = Found::default();
        loop {
            let Some(c) = self.chars.next() else {
                return if stop.is_none() { Ok(found) } else { Err(ExpandError::OpenBrace) };
            };
            match c {
                c if Some(c) == stop => return Ok(found),
                '\'' if self.quotes == Quotes::Remove => found.push_whole(&self.single_quoted()?),
                '"' if self.quotes == Quotes::Remove => found.push_whole(&self.double_quoted()?),
                '$' => found.push_split(&self.dollar()?),
                c if c == self.escape => {
                    if self.keeps_escapes {
                        found.push_whole(c.encode_utf8(&mut [0; 4]));
                    }
                    if let Some(escaped) = self.chars.next() {
                        found.push_whole(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                c => found.push_split(c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn single_quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote { quote: '\'' }),
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                None => return Err(ExpandError::OpenQuote { quote: '"' }),
                Some('"') => return Ok(text),
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.escape => {
                    if self.keeps_escapes {
                        text.push(c);
                    }
                    let escape = self.escape;
                    match self.chars.next_if(|next| matches!(next, '"' | '$') || *next == escape) {
                        Some(escaped) => text.push(escaped),
                        // Before anything else it is text; at the very end it is nothing.
                        None if self.chars.peek().is_some() => text.push(c),
                        None => {}
                    }
                }
                Some(c) => text.push(c),
            }
        }
    }

    /// Behind `$`.
    fn dollar(&mut self) -> Result<String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.plain(name);
            return self.made(value);
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpandError::TooDeep { limit: DEEPEST });
        }
        let text = self.braced()?;
        self.depth -= 1;
        self.made(&text)
    }

    /// Behind `${`.
    fn braced(&mut self) -> Result<String> {
        match self.chars.peek() {
            None => return Err(ExpandError::OpenBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::NoName),
            Some(_) => {}
        }
        let name = self.name();
        let value = self.value(&name);
        let Some(form) = self.chars.next() else { return Err(ExpandError::OpenBrace) };
        let (form, empty_is_unset) = match form {
            ':' => (self.chars.next().ok_or(ExpandError::OpenBrace)?, true),
            form => (form, false),
        };
        let is_set = value.is_some_and(|value| !(empty_is_unset && value.is_empty()));
        let value = value.unwrap_or_default();
        match form {
            '}' if !empty_is_unset => Ok(self.plain(name).to_owned()),
            '-' => self.part('}', false).map(|word| if is_set { value.to_owned() } else { word }),
            '+' => self.part('}', false).map(|word| if is_set { word } else { String::new() }),
            '?' => {
                let message = self.part('}', false)?;
                if is_set { Ok(value.to_owned()) } else { Err(required(name, message, empty_is_unset)) }
            }
            '#' | '%' if !empty_is_unset => {
                let longest = self.chars.next_if_eq(&form).is_some();
                let pattern = Pattern::parse(&self.part('}', true)?)?;
                let rest = if form == '#' {
                    pattern.strip_prefix(value, longest)
                } else {
                    pattern.strip_suffix(value, longest)
                };
                Ok(rest.to_owned())
            }
            '/' if !empty_is_unset => {
                let all = self.chars.next_if_eq(&'/').is_some();
                let pattern = self.part('/', true).map_err(|error| match error {
                    ExpandError::OpenBrace => ExpandError::NoReplacement { name },
                    error => error,
                })?;
                let replacement = self.part('}', true)?;
                let limit_bytes = LONGEST_BYTES;
                Pattern::parse(&pattern)?
                    .replace(value, &replacement, all, limit_bytes)
                    .ok_or(ExpandError::TooLong { limit_bytes })
            }
            form => {
                let modifier = if empty_is_unset { format!(":{form}") } else { form.to_string() };
                Err(ExpandError::UnknownForm { name, modifier })
            }
        }
    }

    /// What stands up to `stop` in a substitution.
    fn part(&mut self, stop: char, keeps_escapes: bool) -> Result<String> {
        let before = std::mem::replace(&mut self.keeps_escapes, keeps_escapes);
        let found = self.until(Some(stop));
        self.keeps_escapes = before;
        found.map(|found| found.text)
    }

    /// Letters, digits and `_`; or digits alone; or one of the shell's own, like `?`.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(special) = self.chars.next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!')) {
            name.push(special);
            return name;
        }
        let is_positional = self.chars.peek().is_some_and(|c| c.is_numeric());
        let belongs = |c: &char| if is_positional { c.is_numeric() } else { c.is_alphanumeric() || *c == '_' };
        while let Some(c) = self.chars.next_if(belongs) {
            name.push(c);
        }
        name
    }

    /// The value of a variable that stands alone.
    fn plain(&mut self, name: String) -> &'a str {
        let value = self.value(&name);
        if value.is_none() {
            self.undefined.push(name);
        }
        value.unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name)
    }

    /// Counts what is made, so that little text cannot become much.
    fn made(&mut self, text: &str) -> Result<String> {
        self.made_bytes += text.len();
        if self.made_bytes > LONGEST_BYTES {
            return Err(ExpandError::TooLong { limit_bytes: LONGEST_BYTES });
        }
        Ok(text.to_owned())
    }
}

fn required(name: String, message: String, empty_is_unset: bool) -> ExpandError {
    let message = match (message.is_empty(), empty_is_unset) {
        (false, _) => format!("is required: {message}"),
        (true, true) => "is unset or empty".to_owned(),
        (true, false) => "is unset".to_owned(),
    };
    ExpandError::Required { name, message }
}
