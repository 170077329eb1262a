//! The environment and the command line of a session. Pure.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::profile::{self, Grant, Profile};
use crate::sandbox::channel::{Bytes, Command, Stream};
use crate::sandbox::etc::proxy::proxy_environment;

/// Where programs lie, in any distribution.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An interactive shell, or a script from standard input.
    Shell,
    /// A program and its arguments.
    Command(Vec<OsString>),
    /// A shell command line.
    Task(String),
}

/// What a session is made from, besides the profile.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Context<'a> {
    /// The project's folder on the host.
    pub project: &'a Path,
    /// The caller's working directory.
    pub directory: &'a Path,
    /// Who is to run it, if that is not the profile's user.
    pub user: Option<&'a str>,
    /// Variables that belong to the box: see `generated`.
    pub made: &'a [(String, String)],
    /// A variable of the caller's environment.
    pub get: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Shells to try, the best first.
fn shells(profile: &Profile, get: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut shells: Vec<PathBuf> = profile.shell.iter().cloned().collect();
    if shells.is_empty() {
        shells.extend(get("SHELL").map(PathBuf::from).filter(|shell| shell.is_absolute()));
        shells.push("/bin/bash".into());
        shells.push("/bin/sh".into());
    }
    shells
}

/// Wraps `arguments` so that the profile's hooks run first, in the same session.
///
/// The create hooks leave a mark in the box itself: it is thrown away by `reset` and comes back with a snapshot, as
/// what the hooks did does.
fn with_hooks(profile: &Profile, arguments: Vec<Bytes>) -> Vec<Bytes> {
    let hooks = &profile.hooks;
    if hooks.create.is_empty() && hooks.enter.is_empty() {
        return arguments;
    }
    let mut script = String::new();
    if !hooks.create.is_empty() {
        let digest = crate::image::digest::of_bytes(hooks.create.join("\0").as_bytes());
        let mark = format!("/var/lib/devbox/hooks/{}", digest.trim_start_matches("sha256:"));
        script.push_str(&format!("if [ ! -e {mark} ]; then\n"));
        for hook in &hooks.create {
            script.push_str(&guarded(hook, "create"));
        }
        script.push_str(&format!("mkdir -p /var/lib/devbox/hooks && : > {mark}\nfi\n"));
    }
    for hook in &hooks.enter {
        script.push_str(&guarded(hook, "enter"));
    }
    script.push_str("exec \"$@\"\n");
    let head = ["/bin/sh", "-c", &script, "devbox"].map(Bytes::from);
    head.into_iter().chain(arguments).collect()
}

/// A hook must neither eat the command's input nor mix with its output.
fn guarded(hook: &str, kind: &str) -> String {
    format!("( {hook}\n) </dev/null >&2 || {{ echo 'devbox: the {kind} hook failed' >&2; exit 125; }}\n")
}

/// The whole command of a session.
#[must_use]
pub fn command(profile: &Profile, what: &What, context: &Context<'_>) -> Command {
    let shells = shells(profile, context.get);
    let mut alternatives: Vec<Bytes> = Vec::new();
    let (arguments, title) = match what {
        What::Shell => {
            alternatives = shells.iter().skip(1).map(Bytes::from).collect();
            (vec![Bytes::from(&shells[0])], "shell".to_owned())
        }
        What::Task(line) => {
            let shell = profile.shell.clone().unwrap_or_else(|| "/bin/sh".into());
            (vec![Bytes::from(&shell), Bytes::from("-c"), Bytes::from(line)], line.clone())
        }
        What::Command(words) => {
            let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            (words.iter().map(Bytes::from).collect(), shown.join(" "))
        }
    };
    let wrapped = with_hooks(profile, arguments.clone());
    if wrapped.len() != arguments.len() && *what == What::Shell {
        // The wrapper's `exec` knows no alternatives.
        let names: Vec<_> = shells.iter().map(|shell| format!("'{}'", shell.display())).collect();
        let pick = format!("for s in {}; do [ -x \"$s\" ] && exec \"$s\"; done; exit 127", names.join(" "));
        let inner = vec![Bytes::from("/bin/sh"), Bytes::from("-c"), Bytes::from(pick)];
        return finish(profile, with_hooks(profile, inner), Vec::new(), title, context);
    }
    finish(profile, wrapped, alternatives, title, context)
}

fn finish(
    profile: &Profile,
    arguments: Vec<Bytes>,
    alternatives: Vec<Bytes>,
    title: String,
    context: &Context<'_>,
) -> Command {
    Command {
        arguments,
        alternatives,
        environment: variables(profile, context),
        directories: directories(profile, context).iter().map(Bytes::from).collect(),
        user: context.user.or((profile.user != "root").then_some(&profile.user)).map(str::to_owned),
        streams: [Stream::Descriptor; 3],
        terminal: None,
        title,
    }
}

/// The caller's folder as the box sees it, then the project's.
fn directories(profile: &Profile, context: &Context<'_>) -> Vec<PathBuf> {
    let place = &profile.project.path;
    match context.directory.strip_prefix(context.project) {
        Ok(rest) if !rest.as_os_str().is_empty() => vec![place.join(rest), place.clone()],
        _ => vec![place.clone()],
    }
}

/// The environment of a package manager: nothing of the user's but the way to the network.
#[must_use]
pub fn variables_of_a_build(
    made: &[(String, String)],
    proxies: bool,
    get: &dyn Fn(&str) -> Option<OsString>,
) -> Vec<(Bytes, Bytes)> {
    let text = |name: &str| get(name).filter(|_| proxies).and_then(|value| value.into_string().ok());
    let fixed = [("PATH", PATH), ("container", "devbox"), ("HOME", "/root")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    fixed
        .into_iter()
        .chain(proxy_environment(text))
        .chain(made.iter().cloned())
        .map(|(key, value)| (Bytes::from(key), Bytes::from(value)))
        .collect()
}

/// Every variable, each once; what the profile sets wins.
fn variables(profile: &Profile, context: &Context<'_>) -> Vec<(Bytes, Bytes)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |key: &OsStr, value: OsString| match variables.iter_mut().find(|(known, _)| known == key) {
        Some(entry) => entry.1 = value,
        None => variables.push((key.to_owned(), value)),
    };
    set(OsStr::new("PATH"), PATH.into());
    set(OsStr::new("container"), "devbox".into());
    set(OsStr::new("DEVBOX"), profile.name.clone().into());
    for name in profile::DEFAULT_PASS.iter().copied().chain(profile.env.pass.iter().map(String::as_str)) {
        if let Some(value) = (context.get)(name) {
            set(OsStr::new(name), value);
        }
    }
    if profile.share.has(Grant::CaCertificates) {
        let text = |name: &str| (context.get)(name).and_then(|value| value.into_string().ok());
        for (name, value) in proxy_environment(text) {
            set(OsStr::new(&name), value.into());
        }
    }
    for (name, value) in context.made {
        set(OsStr::new(name), value.into());
    }
    for (name, value) in &profile.env.set {
        set(OsStr::new(name), value.into());
    }
    variables.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect()
}
