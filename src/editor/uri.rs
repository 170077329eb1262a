//! File names in messages between an editor and a language server, as each of them sees the files. Pure.
//!
//! ```text
//! box                            host
//! file:///work/shop/main.c  <->  file:///work/shop/main.c             the project, at the same path: untouched
//! file:///data/x.h          <->  file:///home/me/data/x.h             a mounted directory
//! file:///usr/include/x.h   <->  file:///run/../tree/usr/include/x.h  everything else
//! ```
//!
//! Only strings of a message that begin with `file://` are names; what merely stands in a document is left alone. Whatever need not be
//! changed keeps its bytes.

use std::path::{Path, PathBuf};

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the editor to the server.
    ToBox,
    /// From the server to the editor.
    ToHost,
}

/// Directories of the box and where they lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Box, host; absolute. The longest that fits counts.
    pairs: Vec<(PathBuf, PathBuf)>,
}

impl Names {
    /// `tree` is where the box's root can be read; `mounts` are what is mounted into it: box, host.
    #[must_use]
    pub fn new(tree: &Path, mounts: impl IntoIterator<Item = (PathBuf, PathBuf)>) -> Self {
        let mut pairs: Vec<_> = mounts.into_iter().collect();
        pairs.push(("/".into(), tree.to_owned()));
        Self { pairs }
    }

    /// The other side's name of `path`. `None`: it is the same, or has none.
    fn translate(&self, path: &Path, direction: Direction) -> Option<PathBuf> {
        let sides = |(inside, outside): &(PathBuf, PathBuf)| match direction {
            Direction::ToHost => (inside.clone(), outside.clone()),
            Direction::ToBox => (outside.clone(), inside.clone()),
        };
        let fitting = self.pairs.iter().map(sides).filter(|(from, _)| path.starts_with(from));
        let (from, to) = fitting.max_by_key(|(from, _)| from.components().count())?;
        let rest = path.strip_prefix(&from).ok()?;
        let translated = if rest.as_os_str().is_empty() { to } else { to.join(rest) };
        (translated != path).then_some(translated)
    }

    /// A JSON message for the other side. `None`: it is the same there.
    #[must_use]
    pub fn message(&self, message: &str, direction: Direction) -> Option<String> {
        let mut changed = String::new();
        let mut done = 0;
        for (start, end) in strings(message) {
            let token = &message[start..end];
            // An encoder may write `\/`, and no other escape in what every name begins with.
            if !token.starts_with("\"file:") {
                continue;
            }
            if let Some(uri) = serde_json::from_str::<String>(token).ok().and_then(|uri| self.uri(&uri, direction)) {
                changed.push_str(&message[done..start]);
                changed.push_str(&serde_json::Value::from(uri).to_string());
                done = end;
            }
        }
        if done == 0 {
            return None;
        }
        changed.push_str(&message[done..]);
        Some(changed)
    }

    fn uri(&self, uri: &str, direction: Direction) -> Option<String> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let path = decode(uri.strip_prefix("file://").filter(|path| path.starts_with('/'))?)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        let translated = self.translate(&path, direction)?;
        Some(format!("file://{}", encode(translated.as_os_str().as_bytes())))
    }
}

/// The client's `processId` of an `initialize` message, made `null`: no process of the host exists in the box, and a server that looks for
/// it there ends itself. `None`: the message has none.
#[must_use]
pub fn without_process_id(message: &str) -> Option<String> {
    let (_, end) = strings(message).find(|(start, end)| &message[*start..*end] == "\"processId\"")?;
    let rest = message[end..].trim_start().strip_prefix(':')?.trim_start();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let at = message.len() - rest.len();
    (digits > 0).then(|| format!("{}null{}", &message[..at], &message[at + digits..]))
}

/// Where the strings of a JSON text begin and end, quotes included.
fn strings(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(|byte| *byte == b'"')?;
        let mut end = start + 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        at = end + 1;
        Some((start, at))
    })
}

/// Percent-decoding. `None`: not an escape.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    Some(decoded)
}

/// Percent-encoding of a path, as RFC 3986 wants it.
#[must_use]
pub fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(*byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pair = |inside: &str, outside: &str| (PathBuf::from(inside), PathBuf::from(outside));
        Names::new(Path::new("/run/t"), [pair("/w/shop", "/w/shop"), pair("/data", "/home/m e/data")])
    }

    #[test]
    fn names_are_those_of_the_other_side() {
        let cases = [
            (r#"{"uri":"file:///w/shop/a.c"}"#, None),
            (r#"{"uri":"file:///w/shop%20x/a.c"}"#, Some(r#"{"uri":"file:///run/t/w/shop%20x/a.c"}"#)),
            (r#"{"uri":"file:///usr/x.h","n":1}"#, Some(r#"{"uri":"file:///run/t/usr/x.h","n":1}"#)),
            (r#"{"uri":"file:\/\/\/usr\/x.h"}"#, Some(r#"{"uri":"file:///run/t/usr/x.h"}"#)),
            (r#"["file:///data/%C3%A9","file:///"]"#, Some(r#"["file:///home/m%20e/data/%C3%A9","file:///run/t"]"#)),
            (r#"{"file:///etc/a":[]}"#, Some(r#"{"file:///run/t/etc/a":[]}"#)),
            // What stands in a document, is of another machine, or is broken.
            (r#"{"text":"see \"file:///usr/x.h\""}"#, None),
            (r#"{"uri":"file://host/usr"}"#, None),
            (r#"{"uri":"file:///usr/%zz"}"#, None),
            (r#"{"uri":"file:///usr"#, None),
            (r#"{"uri":"untitled:x","a\\":"file:///x"}"#, Some(r#"{"uri":"untitled:x","a\\":"file:///run/t/x"}"#)),
        ];
        for (message, expected) in cases {
            assert_eq!(names().message(message, Direction::ToHost).as_deref(), expected, "{message}");
        }
    }

    #[test]
    fn names_come_back() {
        for uri in ["file:///usr/x.h", "file:///data/a%20b", "file:///w/shop/a.c"] {
            let message = format!("[\"{uri}\"]");
            let outside = names().message(&message, Direction::ToHost).unwrap_or_else(|| message.clone());
            let back = names().message(&outside, Direction::ToBox).unwrap_or(outside);
            assert_eq!(back, message);
        }
    }

    #[test]
    fn what_the_host_alone_has_is_named_as_it_is() {
        assert_eq!(names().message(r#"["file:///home/other/x"]"#, Direction::ToBox), None);
    }

    #[test]
    fn process_ids_are_the_hosts() {
        let cases = [
            (r#"{"params":{"processId":42,"x":1}}"#, Some(r#"{"params":{"processId":null,"x":1}}"#)),
            (r#"{"params":{"processId" : 7}}"#, Some(r#"{"params":{"processId" : null}}"#)),
            (r#"{"params":{"processId":null}}"#, None),
            (r#"{"params":{"text":"\"processId\":3"}}"#, None),
        ];
        for (message, expected) in cases {
            assert_eq!(without_process_id(message).as_deref(), expected);
        }
    }
}
