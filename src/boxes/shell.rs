//! What interactive shells of a box tell the terminal: a mark in the prompt, the folder, where prompts and commands begin.
//!
//! ```text
//! /run/devbox/shell/bash                               bash --rcfile
//! /run/devbox/shell/zsh/.zshenv                        ZDOTDIR
//! /run/devbox/shell/fish/vendor_conf.d/devbox.fish     XDG_DATA_DIRS
//! ```
//!
//! The files lie on the box's own `/run`, made anew at each start: nothing of the image is touched, and `diff` shows nothing. Each reads
//! what the user has of the kind first, or leaves that to the shell. They fork nothing at a prompt.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::id::sanitize_name;
use crate::profile::Profile;
use crate::profile::devcontainer::hooks::quote;
use crate::sandbox::channel::{Bytes, Shell};

/// Where the files lie.
const PLACE: &str = "/run/devbox/shell";
/// Where programs look when `XDG_DATA_DIRS` is not set.
const DATA_DIRS: &str = "/usr/local/share:/usr/share";

const BASH: &str = include_str!("shell/bash.sh");
const ZSH: &str = include_str!("shell/zshenv.zsh");
const FISH: &str = include_str!("shell/devbox.fish");

/// Whether a terminal of this name (`TERM`) takes more than text.
#[must_use]
pub fn takes_sequences(terminal: &OsStr) -> bool {
    !["", "dumb", "linux"].iter().any(|plain| terminal == *plain)
}

/// What tells programs that this is the box of `profile`, and shells how to say so. `project` is the folder on the host.
#[must_use]
pub fn files(profile: &Profile, project: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = sanitize_name(profile.name.as_ref());
    let mark = format!("engine=\"devbox\"\nname=\"{name}\"\n").into_bytes();
    // A folder that is another one on the host must not be told.
    let same = profile.project.path == project;
    let words = [
        ("@NAME@", name),
        ("@HOST@", if same { host } else { String::new() }),
        ("@PROJECT@", project.to_string_lossy().into_owned()),
    ];
    let fill = |text: &str, quote: fn(&str) -> String| {
        words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, &quote(value))).into_bytes()
    };
    [
        ("bash", BASH, quote as fn(&str) -> String),
        ("zsh/.zshenv", ZSH, quote),
        ("fish/vendor_conf.d/devbox.fish", FISH, quote_fish),
    ]
    .into_iter()
    .map(|(name, text, quote)| (Path::new(PLACE).join(name), fill(text, quote)))
    .chain([("/run/.containerenv".into(), mark)])
    .collect()
}

/// How each shell is made to read its file. `get` is a variable that the session has anyway.
#[must_use]
pub fn shells(get: &dyn Fn(&str) -> Option<Bytes>) -> Vec<Shell> {
    let file = |name: &str| format!("{PLACE}/{name}");
    let pair = |key: &str, value: Bytes| (Bytes::from(key), value);
    let kept = |name: &str| get(name).map(|value| pair(&format!("DEVBOX_{name}"), value));
    let data_dirs = get("XDG_DATA_DIRS").unwrap_or_else(|| DATA_DIRS.into());
    let data_dirs = Bytes([PLACE.as_bytes(), b":", &data_dirs.0].concat());
    let zsh = [pair("ZDOTDIR", file("zsh").into())].into_iter().chain(kept("ZDOTDIR"));
    let fish = [pair("XDG_DATA_DIRS", data_dirs)].into_iter().chain(kept("XDG_DATA_DIRS"));
    vec![
        Shell { name: "bash".into(), arguments: vec!["--rcfile".into(), file("bash").into()], environment: Vec::new() },
        Shell { name: "zsh".into(), arguments: Vec::new(), environment: zsh.collect() },
        Shell { name: "fish".into(), arguments: Vec::new(), environment: fish.collect() },
    ]
}

/// A word for fish, which knows two escapes between quotes.
fn quote_fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_word_each() {
        for (text, shell, fish) in [
            ("/w/shop", "/w/shop", "'/w/shop'"),
            ("it's $x", r"'it'\''s $x'", r"'it\'s $x'"),
            (r"a\b", r"'a\b'", r"'a\\b'"),
        ] {
            assert_eq!((quote(text).as_str(), quote_fish(text).as_str()), (shell, fish));
        }
    }

    #[test]
    fn shells_keep_what_was_set() {
        let none = shells(&|_| None);
        let value = |shell: &Shell| shell.environment.iter().map(|(key, value)| format!("{key:?}={value:?}")).count();
        assert_eq!(none.iter().map(value).collect::<Vec<_>>(), [0, 1, 1]);
        let set = shells(&|name| (name == "ZDOTDIR").then(|| "/z".into()));
        assert!(set[1].environment.contains(&("DEVBOX_ZDOTDIR".into(), "/z".into())));
        let set = shells(&|name| (name == "XDG_DATA_DIRS").then(|| "/d".into()));
        assert!(set[2].environment.contains(&("XDG_DATA_DIRS".into(), format!("{PLACE}:/d").into())));
    }
}
