//! `RUN --mount=`: a list of options whose values are expanded when the step runs.

use super::containerfile::{Source, Span, Word};
use super::suggest::{choose, suggest};
use crate::profile::Diagnostic;

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// `--mount=` as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    options: Vec<MountOption>,
    /// The value of the flag.
    pub span: Span,
}

/// `key=value` or `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MountOption {
    key: Word,
    value: Option<Word>,
}

/// What to mount for one `RUN`. A target that is relative is below the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// Files of the build context, a stage or an image. What is written to it is lost.
    Bind {
        /// A stage, an image or a build context; `None`: the build context.
        from: Option<String>,
        /// A path in it, or nothing for all of it.
        source: String,
        /// Where.
        target: String,
        /// `rw`
        is_writable: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Which one; by default the target.
        id: Option<String>,
        /// Where.
        target: String,
        /// What several builds at once do with it.
        sharing: Sharing,
        /// What it starts with, as for `Bind`; without, it starts empty.
        from: Option<String>,
        /// A path in `from`.
        source: String,
        /// `ro`
        is_read_only: bool,
        /// Of the directory; the mode is 0755 by default.
        owner: MountOwner,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// At most so much.
        size_bytes: Option<u64>,
    },
    /// A file or variable that is in no layer.
    Secret {
        /// Its name at the command line.
        id: String,
        /// The file; `None`: only a variable.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Whether the step fails without it.
        is_required: bool,
        /// Of the file; the mode is 0400 by default.
        owner: MountOwner,
    },
    /// The socket of an agent.
    Ssh {
        /// Its name at the command line.
        id: String,
        /// The socket; `None`: a path that the builder chooses.
        target: Option<String>,
        /// Whether the step fails without it.
        is_required: bool,
        /// Of the socket; the mode is 0600 by default.
        owner: MountOwner,
    },
}

/// Whose the mounted thing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountOwner {
    /// 0 by default.
    pub uid: Option<u32>,
    /// 0 by default.
    pub gid: Option<u32>,
    /// The permission bits.
    pub mode: Option<u32>,
}

/// What several steps at once do with one cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharing {
    /// They use it together.
    #[default]
    Shared,
    /// Each has its own.
    Private,
    /// One waits for the other.
    Locked,
}

/// All keys, aliases last.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
];
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

impl MountFlag {
    /// Checks what can be known before variables are.
    pub(super) fn parse(source: &Source, flag: &Word) -> Result<Self> {
        let mut options = Vec::new();
        for range in fields(&flag.text) {
            let (key, value) = split(&flag.text, range);
            let key = Word { text: unquoted(&flag.text[key.clone()]).to_ascii_lowercase(), span: place(flag, key) };
            let value = value.map(|value| Word { text: unquoted(&flag.text[value.clone()]), span: place(flag, value) });
            if key.text == "from"
                && let Some(value) = value.as_ref().filter(|value| value.text.trim_end_matches('$').contains('$'))
            {
                let error = source.error(&value.span, "variables are not expanded in `from`");
                return Err(Box::new(error.help("name the image with `FROM ... AS name`, and that stage here")));
            }
            options.push(MountOption { key, value });
        }
        let flag = Self { options, span: flag.span.clone() };
        let is_variable =
            |option: &MountOption| option.value.as_ref().is_some_and(|value| value.text.contains(['$', '\\']));
        if !flag.options.iter().any(is_variable) {
            flag.resolve(source, |value| Ok(value.text.clone()))?;
        }
        Ok(flag)
    }

    /// The stage, image or context that it takes files from. Known before anything is expanded.
    pub fn from(&self) -> Option<&Word> {
        self.options.iter().rev().find(|option| option.key.text == "from")?.value.as_ref()
    }

    /// The mount, its values expanded.
    pub fn resolve(&self, source: &Source, mut expand: impl FnMut(&Word) -> Result<String>) -> Result<Mount> {
        let mut reading = Reading::empty(source);
        for MountOption { key, value } in &self.options {
            let value = match value {
                Some(value) => Some(Word { text: expand(value)?, span: value.span.clone() }),
                None => None,
            };
            reading.option(key, value)?;
        }
        reading.mount(&self.span)
    }
}

/// What the options said so far.
struct Reading<'a> {
    source: &'a Source,
    kind: &'static str,
    from: Option<String>,
    path: Option<String>,
    target: Option<String>,
    is_read_only: Option<bool>,
    id: Option<String>,
    env: Option<String>,
    sharing: Option<(Sharing, Span)>,
    is_required: Option<(bool, Span)>,
    size_bytes: Option<(u64, Span)>,
    owner: MountOwner,
    owner_span: Option<Span>,
}

impl<'a> Reading<'a> {
    fn empty(source: &'a Source) -> Self {
        Self {
            source,
            kind: TYPES[0],
            from: None,
            path: None,
            target: None,
            is_read_only: None,
            id: None,
            env: None,
            sharing: None,
            is_required: None,
            size_bytes: None,
            owner: MountOwner::default(),
            owner_span: None,
        }
    }

    fn option(&mut self, key: &Word, value: Option<Word>) -> Result<()> {
        let name = key.text.as_str();
        match (name, value) {
            ("readonly" | "ro", value) => self.is_read_only = Some(self.boolean(value)?),
            ("readwrite" | "rw", value) => self.is_read_only = Some(!self.boolean(value)?),
            ("required", value) => self.is_required = Some((self.boolean(value)?, key.span.clone())),
            (_, None) if !KEYS.contains(&name) => return Err(self.unknown(key)),
            (_, None) => return Err(self.source.error(&key.span, format!("`{name}` needs a value"))),
            (_, Some(value)) => self.valued(key, value)?,
        }
        Ok(())
    }

    fn valued(&mut self, key: &Word, value: Word) -> Result<()> {
        match key.text.as_str() {
            "type" => self.kind = choose(self.source, &value, TYPES.map(|kind| (kind, kind)))?,
            "from" => self.from = Some(value.text),
            "source" | "src" => self.path = Some(value.text),
            "target" | "dst" | "destination" => self.target = Some(value.text),
            "id" => self.id = Some(value.text),
            "env" => self.env = Some(value.text),
            "sharing" => {
                let modes = [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];
                self.sharing = Some((choose(self.source, &value, modes)?, key.span.clone()));
            }
            "size" => match size_bytes(&value.text) {
                Some(size_bytes) => self.size_bytes = Some((size_bytes, key.span.clone())),
                None => return Err(self.wrong(&value, "a size like `64m`")),
            },
            "mode" => {
                let mode = u32::from_str_radix(&value.text, 8).ok().filter(|mode| *mode <= 0o7777);
                self.owner.mode = Some(mode.ok_or_else(|| self.wrong(&value, "an octal mode like `0755`"))?);
                self.owner_span = Some(key.span.clone());
            }
            "uid" | "gid" => {
                let id = value.text.parse().map_err(|_| self.wrong(&value, "a number"))?;
                if key.text == "uid" {
                    self.owner.uid = Some(id)
                } else {
                    self.owner.gid = Some(id)
                }
                self.owner_span = Some(key.span.clone());
            }
            _ => return Err(self.unknown(key)),
        }
        Ok(())
    }

    fn mount(self, span: &Span) -> Result<Mount> {
        let takes_files = matches!(self.kind, "bind" | "cache");
        let is_handed_in = matches!(self.kind, "secret" | "ssh");
        let refused = [
            (self.sharing.as_ref().map(|(_, span)| span), self.kind == "cache", "`sharing`"),
            (self.is_required.as_ref().map(|(_, span)| span), is_handed_in, "`required`"),
            (self.size_bytes.as_ref().map(|(_, span)| span), self.kind == "tmpfs", "`size`"),
            (self.owner_span.as_ref(), is_handed_in || self.kind == "cache", "`mode`, `uid` or `gid`"),
            (self.from.as_ref().map(|_| span), takes_files, "`from`"),
            (self.path.as_ref().map(|_| span), takes_files || self.kind == "secret", "`source`"),
            (self.env.as_ref().map(|_| span), self.kind == "secret", "`env`"),
        ];
        for (place, is_allowed, what) in refused {
            if let (Some(place), false) = (place, is_allowed) {
                return Err(self.source.error(place, format!("a mount of type `{}` has no {what}", self.kind)));
            }
        }
        let is_required = self.is_required.is_some_and(|(is_required, _)| is_required);
        let here = || ".".to_owned();
        Ok(match self.kind {
            "bind" => Mount::Bind {
                from: self.from,
                source: self.path.unwrap_or_default(),
                target: self.target.unwrap_or_else(here),
                is_writable: self.is_read_only == Some(false),
            },
            "cache" => Mount::Cache {
                id: self.id,
                target: self.target.unwrap_or_else(here),
                sharing: self.sharing.map(|(sharing, _)| sharing).unwrap_or_default(),
                from: self.from,
                source: self.path.unwrap_or_default(),
                is_read_only: self.is_read_only == Some(true),
                owner: self.owner,
            },
            "tmpfs" => Mount::Tmpfs {
                target: self.target.unwrap_or_else(here),
                size_bytes: self.size_bytes.map(|(size_bytes, _)| size_bytes),
            },
            "secret" => {
                if self.path.is_some() && self.id.is_some() {
                    return Err(self.source.error(span, "a secret has either `id` or `source`"));
                }
                let id = self.id.or(self.path).or_else(|| self.target.as_deref().map(file_name));
                let Some(id) = id.filter(|id| !id.is_empty()) else {
                    return Err(self.source.error(span, "a secret needs an `id`"));
                };
                let default_target = || self.env.is_none().then(|| format!("/run/secrets/{}", file_name(&id)));
                let target = self.target.filter(|target| !target.is_empty()).or_else(default_target);
                let env = self.env.map(|env| if env.is_empty() { id.clone() } else { env });
                Mount::Secret { id, target, env, is_required, owner: self.owner }
            }
            _ => Mount::Ssh {
                id: self.id.filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned()),
                target: self.target.filter(|target| !target.is_empty()),
                is_required,
                owner: self.owner,
            },
        })
    }

    fn boolean(&self, value: Option<Word>) -> Result<bool> {
        let Some(value) = value else { return Ok(true) };
        match value.text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(self.wrong(&value, "`true` or `false`")),
        }
    }

    fn wrong(&self, value: &Word, expected: &str) -> Box<Diagnostic> {
        self.source.error(&value.span, format!("`{}` is not {expected}", value.text))
    }

    fn unknown(&self, key: &Word) -> Box<Diagnostic> {
        let error = self.source.error(&key.span, format!("unknown option `{}` of a mount", key.text));
        suggest(*error, &key.text, KEYS)
    }
}

/// The last name of a path.
fn file_name(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// The fields between commas; one that begins with `"` may hold commas.
fn fields(text: &str) -> Vec<Span> {
    let (mut found, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if is_quoted || at == start => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                found.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(start..text.len());
    found
}

/// Key and value of a field.
fn split(text: &str, field: Span) -> (Span, Option<Span>) {
    match text[field.clone()].find('=') {
        Some(equals) => (field.start..field.start + equals, Some(field.start + equals + 1..field.end)),
        None => (field, None),
    }
}

/// A part of a quoted field.
fn unquoted(text: &str) -> String {
    text.replace('"', "")
}

/// Where a part of the flag stands. The flag's own quotes are gone from its text: then it is the whole flag.
fn place(flag: &Word, part: Span) -> Span {
    if flag.text.len() == flag.span.len() {
        flag.span.start + part.start..flag.span.start + part.end
    } else {
        flag.span.clone()
    }
}

/// `64m`, `1.5 GiB`, `1024`: binary multiples, as docker reads them.
fn size_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').map_or(unit.as_str(), |unit| unit.strip_suffix('i').unwrap_or(unit));
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let size = number * 1024_f64.powi(i32::try_from(power).ok()?);
    // As a float it saturates; nothing that large is meant.
    (size < 9e18).then_some(size as u64)
}
