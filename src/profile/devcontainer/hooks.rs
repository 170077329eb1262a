//! Lifecycle hooks of a devcontainer file as shell commands. Pure.

use super::json::{Json, Node, Source};
use crate::profile::validate::Checked;
use crate::profile::{Hook, Hooks};

/// Runs on the host.
pub const INITIALIZE: &str = "initializeCommand";
/// Hooks that run in the box, in their order.
pub const KEYS: [&str; 5] =
    ["onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand", "postAttachCommand"];

/// What `waitFor` can name, in the order in which they run.
pub fn waitable() -> impl Iterator<Item = &'static str> {
    std::iter::once(INITIALIZE).chain(KEYS)
}

/// What the script is called that a Feature has run whenever a box starts.
pub const ENTRYPOINT: &str = "entrypoint";

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Once for a box.
    Create,
    /// Whenever the box starts.
    Start,
    /// Before each session.
    Enter,
}

impl Moment {
    /// That of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        match key {
            ENTRYPOINT | "postStartCommand" => Self::Start,
            "postAttachCommand" => Self::Enter,
            _ => Self::Create,
        }
    }
}

/// Where `name` is among those that [`waitable`] gives. What has no place there comes first: entry points, and hooks of the
/// user's own files.
#[must_use]
pub fn position(name: &str) -> Option<usize> {
    waitable().position(|key| key == name)
}

/// Puts hooks of several files into their order: all of one kind before those of the next. What comes after `wait_for` needs
/// nobody to wait for it.
pub fn arrange(hooks: &mut Hooks, wait_for: Option<&str>) {
    let last = wait_for.and_then(position);
    for list in [&mut hooks.create, &mut hooks.start, &mut hooks.enter] {
        list.sort_by_key(|hook| position(&hook.name));
        for hook in list {
            hook.background = last.is_some_and(|last| position(&hook.name).is_some_and(|own| own > last));
        }
    }
}

/// The hook `key`; `None`: it does nothing. `substitute` is applied to each string.
pub fn hook(source: &Source<'_>, key: &str, node: &Node, substitute: &dyn Fn(&str) -> String) -> Checked<Option<Hook>> {
    let command = match &node.value {
        Json::Table(_) => beside(key, &parallel(source, key, node, substitute)?),
        _ => simple(source, key, node, substitute)?,
    };
    Ok(command.map(|command| Hook { name: key.to_owned(), command, background: false }))
}

/// The commands of the hook `key`, for somebody who has to decide about them: each stands between backquotes.
pub fn shown(source: &Source<'_>, key: &str, node: &Node, substitute: &dyn Fn(&str) -> String) -> Checked<String> {
    let commands = match &node.value {
        Json::Table(_) => parallel(source, key, node, substitute)?.into_iter().map(|(_, command)| command).collect(),
        _ => simple(source, key, node, substitute)?.into_iter().collect::<Vec<_>>(),
    };
    Ok(commands.join("` and `"))
}

/// The commands of a table, with their names; none of anything else.
fn parallel(
    source: &Source<'_>,
    key: &str,
    node: &Node,
    substitute: &dyn Fn(&str) -> String,
) -> Checked<Vec<(String, String)>> {
    let Json::Table(entries) = &node.value else { return Ok(Vec::new()) };
    let mut commands = Vec::new();
    for (name, entry) in entries {
        if let Some(command) = simple(source, &format!("{key}.{}", name.value), entry, substitute)? {
            commands.push((name.value.clone(), command));
        }
    }
    Ok(commands)
}

/// A string is a line for the shell, a list is a program with its arguments.
fn simple(source: &Source<'_>, key: &str, node: &Node, substitute: &dyn Fn(&str) -> String) -> Checked<Option<String>> {
    let command = match &node.value {
        Json::Null => String::new(),
        Json::Text(line) => substitute(line),
        Json::List(words) => {
            let words: Checked<Vec<_>> = words.iter().map(|word| source.text(&format!("{key}[]"), word)).collect();
            let quoted: Vec<String> = words?.iter().map(|word| quote(&substitute(&word.value))).collect();
            quoted.join(" ")
        }
        _ => return Err(source.unexpected(key, node, "a string, a list of strings, or a table of these")),
    };
    Ok(Some(command).filter(|command| !command.trim().is_empty()))
}

/// Runs commands beside each other, waits for all, and fails as the last one that failed.
fn beside(key: &str, commands: &[(String, String)]) -> Option<String> {
    if let [(_, only)] = commands {
        return Some(only.clone());
    }
    if commands.is_empty() {
        return None;
    }
    let mut script = String::new();
    for (index, (_, command)) in commands.iter().enumerate() {
        script += &format!("(\n{command}\n) & devbox_{index}=$!\n");
    }
    script += "devbox_status=0\n";
    for (index, (name, _)) in commands.iter().enumerate() {
        let name = quote(&crate::text::sanitize(&format!("{key}.{name}")));
        script += &format!(
            "wait $devbox_{index} || {{ devbox_status=$?; \
             printf 'devbox: %s failed with status %s\\n' {name} \"$devbox_status\"; }}\n"
        );
    }
    Some(script + "exit $devbox_status")
}

/// One word for the shell.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn parse(text: &str) -> Result<Option<String>, String> {
        let source = Source { file: Path::new("f"), text };
        let substitute = |text: &str| text.replace("${x}", "a b");
        hook(&source, "postCreateCommand", &source.parse().unwrap(), &substitute)
            .map(|hook| hook.map(|hook| hook.command))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn strings_lists_and_tables() {
        for (text, expected) in [
            ("null", None),
            ("\"\"", None),
            ("[]", None),
            ("{}", None),
            ("\"echo ${x} | cat\"", Some("echo a b | cat")),
            ("[\"echo\", \"${x}\", \"it's\", \"\", \"--a=b\"]", Some("echo 'a b' 'it'\\''s' '' --a=b")),
            ("{\"one\": \"true\", \"two\": null}", Some("true")),
        ] {
            assert_eq!(parse(text).unwrap().as_deref(), expected, "{text}");
        }
        for (text, error) in [
            (
                "1",
                "f:1:1: wrong type of `postCreateCommand`: expected a string, a list of strings, or a table of these (this is a number)",
            ),
            ("[\"a\", 1]", "f:1:7: wrong type of `postCreateCommand[]`: expected a string (this is a number)"),
            ("{\"a\": {}}", "f:1:7: wrong type of `postCreateCommand.a`: expected a string, a list"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }

    #[test]
    fn tables_run_beside_each_other_and_all_of_them() {
        let run = |text: &str| {
            let script = parse(text).unwrap().unwrap();
            let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
        };
        let pipe = tempfile::tempdir().unwrap();
        let pipe = pipe.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pipe = pipe.display();
        // Each waits for the other.
        assert_eq!(
            run(&format!("{{\"a\": \"echo ok > {pipe}\", \"b\": [\"cat\", \"{pipe}\"]}}")),
            (0, "ok\n".to_owned())
        );
        let (status, said) = run("{\"a\": \"exit 3\", \"it's b\": \"echo done\", \"c\": \"exit 4\"}");
        assert_eq!(status, 4);
        assert!(said.contains("done\n") && said.contains("postCreateCommand.a failed with status 3"), "{said}");
    }
}
