//! Names and ids of boxes, names of snapshots. Pure.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest name of a box or a snapshot, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest name that becomes part of an id, in bytes.
const MAX_ID_NAME_BYTES: usize = 40;
/// Hexadecimal digits of the project's digest in an id.
const DIGEST_DIGITS: usize = 12;

/// A name or an id cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("the name is {bytes} bytes long; at most {MAX_NAME_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It would be taken for an option, a hidden file or a path.
    #[error("the name `{name}` begins with `{first}`")]
    FirstCharacter {
        /// The name.
        name: String,
        /// Its first character.
        first: char,
    },
    /// A character that names nothing, or rewrites the terminal.
    #[error("the name `{}` contains {}", name.escape_default(), describe_character(*character))]
    Character {
        /// The name.
        name: String,
        /// The character.
        character: char,
    },
    /// Not `<name>-<12 hexadecimal digits>`.
    #[error("`{}` is not the id of a box", id.escape_default())]
    Id {
        /// What it is.
        id: String,
    },
}

fn describe_character(character: char) -> String {
    match character {
        ' ' => "a space at its end".to_owned(),
        c if c.is_control() || is_invisible(c) => format!("the character U+{:04X}", u32::from(c)),
        c => format!("`{c}`"),
    }
}

/// Characters that reorder or hide the text around them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Checks a name given by the user for a box or a snapshot: 1 to 64 bytes, no slash, no control or invisible
/// character, not beginning with `-` or `.`.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    let bad = |c: char| c == '/' || c.is_control() || is_invisible(c);
    if let Some(character) = name.chars().find(|&c| bad(c)) {
        return Err(NameError::Character { name: name.to_owned(), character });
    }
    if matches!(first, '-' | '.') {
        return Err(NameError::FirstCharacter { name: name.to_owned(), first });
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Err(NameError::Character { name: name.to_owned(), character: ' ' });
    }
    Ok(())
}

/// Makes a name out of anything, for example a folder's name: letters, digits, `_`, `.` and `-` of ASCII stay, runs of
/// everything else become one `-`. At most 40 bytes, never empty, begins and ends with a letter or digit.
#[must_use]
pub fn sanitize_name(untrusted: &OsStr) -> String {
    let mut name = String::new();
    for character in untrusted.to_string_lossy().chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
            name.push(character);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let name = name.trim_start_matches(edge);
    let name = &name[..name.len().min(MAX_ID_NAME_BYTES)];
    let name = name.trim_end_matches(edge);
    if name.is_empty() { "box".to_owned() } else { name.to_owned() }
}

/// The id of a box, and the name of its directory: `<name>-<12 hexadecimal digits of sha256(project)>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoxId(String);

impl BoxId {
    /// The id of the box called `name` of the project at `project` (canonical, any bytes).
    #[must_use]
    pub fn new(name: &str, project: &Path) -> Self {
        Self(format!("{}-{}", sanitize_name(OsStr::new(name)), project_digest(project)))
    }

    /// Reads the name of a box's directory.
    pub fn parse(untrusted: &str) -> Result<Self, NameError> {
        let error = || NameError::Id { id: untrusted.to_owned() };
        let (name, digest) = untrusted.rsplit_once('-').ok_or_else(error)?;
        let digest_fits =
            digest.len() == DIGEST_DIGITS && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digest_fits && sanitize_name(OsStr::new(name)) == name {
            Ok(Self(untrusted.to_owned()))
        } else {
            Err(error())
        }
    }

    /// The id as text, file-name safe.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest of the project's path.
    #[must_use]
    pub fn project_digest(&self) -> &str {
        &self.0[self.0.len() - DIGEST_DIGITS..]
    }

    /// 12 hexadecimal digits that stand for the whole id where a path must be short.
    #[must_use]
    pub fn short(&self) -> String {
        digest(self.0.as_bytes())
    }
}

impl std::fmt::Display for BoxId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BoxId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<BoxId> for String {
    fn from(id: BoxId) -> Self {
        id.0
    }
}

/// The digits that every id of a box of this project ends with.
#[must_use]
pub fn project_digest(project: &Path) -> String {
    digest(project.as_os_str().as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(&ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()[..DIGEST_DIGITS / 2])
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// The candidate that `name` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= name.chars().count().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "before upgrade", "v1.0", "größe", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a/b", "..", ".hidden", "-x", "a\nb", "a\u{1b}[2J", "a\0", "a\u{202e}b", " a", "a ", "/"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_name(&"x".repeat(300)), Err(NameError::TooLong { bytes: 300 }));
        assert_eq!(check_name("a\u{1b}").unwrap_err().to_string(), "the name `a\\u{1b}` contains the character U+001B");
        assert_eq!(check_name("a/b").unwrap_err().to_string(), "the name `a/b` contains `/`");
    }

    #[test]
    fn any_folder_gives_a_name() {
        for (folder, name) in [
            (&b"shop"[..], "shop"),
            (b"My Project (2)", "My-Project-2"),
            (b"..", "box"),
            (b"", "box"),
            (b"-rf", "rf"),
            (b".dotfiles", "dotfiles"),
            (b"caf\xe9", "caf"),
            (b"a\n\x1b[31mb", "a-31mb"),
            (b"a---b", "a-b"),
            (b"0123456789012345678901234567890123456789zz", "0123456789012345678901234567890123456789"),
        ] {
            assert_eq!(sanitize_name(OsStr::from_bytes(folder)), name);
            assert_eq!(sanitize_name(OsStr::new(name)), name, "sanitising is idempotent");
        }
    }

    #[test]
    fn ids_name_the_project() {
        let id = BoxId::new("shop", Path::new("/home/me/shop"));
        assert_eq!(BoxId::parse(id.as_str()), Ok(id.clone()));
        assert_eq!(id.project_digest(), project_digest(Path::new("/home/me/shop")));
        assert_eq!(id.short().len(), 12);
        let odd = BoxId::new("x", Path::new(OsStr::from_bytes(b"/home/\xff\xfe")));
        let other = BoxId::new("x", Path::new(OsStr::from_bytes(b"/home/\xff\xfd")));
        assert_ne!(odd, other);
    }

    #[test]
    fn other_directories_are_no_ids() {
        for bad in [
            "",
            "x",
            "x-",
            "x-0123456789a",
            "x-0123456789AB",
            "-0123456789ab",
            "../x-0123456789ab",
            ".new-0123456789ab",
        ] {
            assert!(BoxId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn suggests_what_is_near() {
        assert_eq!(nearest("befor", ["before", "after"]), Some("before".to_owned()));
        assert_eq!(nearest("zzz", ["before", "after"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
