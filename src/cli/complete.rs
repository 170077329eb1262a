//! Names to offer on Tab, from the disk only.
//!
//! Names were checked when they were read, and are offered as they are. Their explanations come from profiles of
//! repositories and from paths, and reach the terminal: they are sanitised.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::CompletionCandidate;

use crate::boxes::{BoxDir, list, state};
use crate::cli::args::Cli;
use crate::editor::shim;
use crate::help::TOPICS;
use crate::image::reference::Reference;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::validate::package_fault;
use crate::profile::{Profile, edit, load, resolve};
use crate::text::sanitize;

fn paths() -> Option<Paths> {
    Paths::from_environment().ok()
}

fn candidate(name: String, explanation: &str) -> CompletionCandidate {
    CompletionCandidate::new(name).help(Some(sanitize(explanation).into_owned().into()))
}

/// Topics and commands that there is help about.
#[must_use]
pub fn help() -> Vec<CompletionCandidate> {
    let topics = TOPICS.iter().map(|topic| candidate(topic.name.to_owned(), topic.summary));
    let commands = Cli::command();
    let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let commands = commands.get_subcommands().filter(|command| !command.is_hide_set());
    let is_topic = |name: &str| TOPICS.iter().any(|topic| topic.name == name);
    let commands = commands.filter(|command| !is_topic(command.get_name()));
    topics.chain(commands.map(|command| candidate(command.get_name().to_owned(), &about(command)))).collect()
}

/// Names of boxes.
#[must_use]
pub fn boxes() -> Vec<CompletionCandidate> {
    let listed = paths().and_then(|paths| list::list(&paths).ok()).unwrap_or_default();
    listed
        .into_iter()
        .filter_map(|listed| listed.record.ok())
        .map(|record| candidate(record.name, &record.project.to_string_lossy()))
        .collect()
}

/// Images of the store.
#[must_use]
pub fn images() -> Vec<CompletionCandidate> {
    let images = paths().and_then(|paths| Store::open(&paths.store()).ok()?.images().ok()).unwrap_or_default();
    let familiar = |name: &str| name.parse::<Reference>().map_or_else(|_| name.to_owned(), |name| name.familiar());
    images.iter().map(|image| candidate(familiar(&image.name), image.manifest.digest.short())).collect()
}

/// Shims in devbox's own directory.
#[must_use]
pub fn shims() -> Vec<CompletionCandidate> {
    let names = paths().and_then(|paths| shim::list(&shim::default_directory(&paths)).ok()).unwrap_or_default();
    names.into_iter().map(|name| candidate(name, "")).collect()
}

/// Users that a box has for sure.
#[must_use]
pub fn users() -> Vec<CompletionCandidate> {
    let loaded = paths().and_then(|paths| Profile::load(&paths, &folder()?).ok());
    let named = loaded.map(|loaded| loaded.profile.user).filter(|user| user != "root");
    named.into_iter().chain(["root".to_owned()]).map(|user| candidate(user, "")).collect()
}

/// Tasks of the profile that applies here.
#[must_use]
pub fn tasks() -> Vec<CompletionCandidate> {
    let loaded = paths().and_then(|paths| Profile::load(&paths, &folder()?).ok());
    let tasks = loaded.map(|loaded| loaded.profile.tasks).unwrap_or_default();
    tasks.into_iter().map(|(name, line)| candidate(name, &line)).collect()
}

/// The profiles that `extends` can name.
#[must_use]
pub fn profiles() -> Vec<CompletionCandidate> {
    let listed = paths().map(|paths| resolve::list(&paths)).unwrap_or_default();
    listed.into_iter().map(|profile| candidate(profile.name, &profile.summary)).collect()
}

/// Snapshots of the box of this folder's project. A profile that is being edited may be broken just now.
#[must_use]
pub fn snapshots() -> Vec<CompletionCandidate> {
    let find = || {
        let paths = paths()?;
        let project = super::commands::project(&paths, &folder()?).ok()?;
        let id = list::find_by_project(&paths, &project).ok()??;
        state::load(&BoxDir::new(&paths, &id)).ok()
    };
    let snapshots = find().map(|record| record.snapshots).unwrap_or_default();
    snapshots.into_iter().map(|snapshot| candidate(snapshot.name, &snapshot.created)).collect()
}

/// Packages that the project's `devbox.toml` names.
#[must_use]
pub fn packages() -> Vec<CompletionCandidate> {
    let find = || {
        let file = load::find(&folder()?, &paths()?.home).ok()?.file?;
        edit::list(&load::read(&file).ok()?.text).ok()
    };
    let names = find().unwrap_or_default().into_iter();
    names.filter(|name| package_fault(name).is_none()).map(CompletionCandidate::new).collect()
}

/// The folder that the command being typed is about.
fn folder() -> Option<PathBuf> {
    let current = super::current_folder().ok()?;
    // The shell calls `devbox -- devbox WORD...`.
    let words: Vec<OsString> = std::env::args_os().skip(3).collect();
    match chosen(&words) {
        None => Some(current),
        Some(chosen) => std::fs::canonicalize(current.join(chosen)).ok(),
    }
}

/// What `-C` names among `words`, which may be half typed: neither is it complete nor free of mistakes.
fn chosen(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter().take_while(|word| *word != "--");
    let mut found = None;
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let value = if word == "-C" || word == "--directory" {
            words.next().map(OsString::as_os_str)
        } else {
            bytes.strip_prefix(b"--directory=").or_else(|| bytes.strip_prefix(b"-C")).map(OsStr::from_bytes)
        };
        found = value.or(found);
    }
    found.filter(|value| !value.is_empty()).map(unquoted)
}

/// As the shell will understand the word, which bash hands on as it was typed: `~/shop`, `my\ shop`, `"my shop"`.
fn unquoted(word: &OsStr) -> PathBuf {
    let mut plain = Vec::new();
    let mut bytes = word.as_bytes().iter();
    let mut quote = None;
    while let Some(&byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', None | Some(b'"')) => plain.extend(bytes.next()),
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if byte == open => quote = None,
            _ => plain.push(byte),
        }
    }
    let path = PathBuf::from(OsString::from_vec(plain));
    match (path.strip_prefix("~"), word.as_bytes().first(), paths()) {
        (Ok(below), Some(b'~'), Some(paths)) => paths.home.join(below),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_is_found_among_half_typed_words() {
        for (words, expected) in [
            (&["run", ""][..], None),
            (&["-C", "shop", "run", ""], Some("shop")),
            (&["run", "-C", "shop", ""], Some("shop")),
            (&["-Cshop", "run"], Some("shop")),
            (&["--directory=shop", "run"], Some("shop")),
            (&["--directory", "shop", "run"], Some("shop")),
            (&["-C", "a", "-C", "b", "run"], Some("b")),
            (&["run", "-C"], None),
            (&["run", "-C", ""], None),
            (&["run", "--", "make", "-C", "shop"], None),
            (&["-C", "my\\ shop", "run"], Some("my shop")),
            (&["-C", "\"my shop\"/a", "run"], Some("my shop/a")),
            (&["-C", "'my \\shop'", "run"], Some("my \\shop")),
            (&["-C", "a\\", "run"], Some("a")),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(chosen(&words).as_deref(), expected.map(Path::new), "{words:?}");
        }
    }
}
