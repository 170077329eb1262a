//! The environment and the command line of a session. Pure.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::shell;
use crate::profile::devcontainer::hooks::quote;
use crate::profile::devcontainer::substitute;
use crate::profile::{self, Grant, Hook, Profile};
use crate::sandbox::channel::{Bytes, Command, Lock, Shell};
use crate::sandbox::etc::proxy::proxy_environment;
use crate::sandbox::locks::WAITING;
use crate::text::sanitize;

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
    /// An interactive shell speaks with the terminal.
    pub integrated: bool,
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

/// The shell that runs command lines.
#[must_use]
pub fn command_shell(profile: &Profile) -> PathBuf {
    profile.shell.clone().unwrap_or_else(|| "/bin/sh".into())
}

/// Where hooks that have run leave their marks: in the box itself, so that a mark is thrown away by `reset` and comes back
/// with a snapshot, as what the hook did does.
pub const MARKS: &str = "/var/lib/devbox/hooks";

/// Where the marks of this start of the box lie: on a file system that goes with it.
const MARKS_OF_START: &str = "/tmp/.devbox-hooks";

/// Two sessions must not both run what is to run once: hooks that have marks run under locks. Those that nobody waits for have a
/// lock of their own, so that the next session need not wait for them; without it somebody else is at them.
const LOCK: (&str, i32) = ("/run/devbox", 9);
const LOCK_OF_LATER: (&str, i32) = ("/run/devbox/shell", 8);

/// What the hooks of a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// All of them are waited for.
    All,
    /// Those of the background are not.
    Some,
}

/// Wraps `arguments` so that the profile's hooks run first, in the same session. The first one that fails is the last.
fn with_hooks(profile: &Profile, arguments: Vec<Bytes>, waiting: Waiting) -> Vec<Bytes> {
    let hooks = &profile.hooks;
    let once = hooks.create.iter().map(|hook| (hook, Some(MARKS)));
    let of_start = hooks.start.iter().map(|hook| (hook, Some(MARKS_OF_START)));
    let all = once.chain(of_start).chain(hooks.enter.iter().map(|hook| (hook, None)));
    let (later, first): (Vec<_>, Vec<_>) = all.partition(|(hook, _)| hook.background && waiting == Waiting::Some);
    if first.is_empty() && later.is_empty() {
        return arguments;
    }
    let lines = |hooks: &[(&Hook, Option<&str>)], is_marked: bool| {
        let before = |at: usize, hook: &Hook| hooks[..at].iter().filter(|(other, _)| *other == hook).count();
        let all = hooks.iter().enumerate().filter(|(_, (_, marks))| marks.is_some() == is_marked);
        all.map(|(at, (hook, marks))| guarded(hook, before(at, hook), *marks)).collect::<String>()
    };
    let mut script = format!(
        "devbox_failed() {{ echo \"devbox: the $1 failed with status $2\" >&2; exit 125; }}\n\
         if [ -e /proc/self/fd/{WAITING} ]; then\n\
         echo 'devbox: waiting for the hooks of another session' >&2\nread -r devbox_end <&{WAITING}\nfi\n"
    );
    let (now, in_time) = (LOCK.1, LOCK_OF_LATER.1);
    script += &format!("{}exec {WAITING}<&- {now}<&-\n{}", lines(&first, true), lines(&first, false));
    if !later.is_empty() {
        let (marked, others) = (lines(&later, true), lines(&later, false));
        script += &format!(
            "(\nif [ -e /proc/self/fd/{in_time} ]; then :\n{marked}exec {in_time}<&-\nfi\n{others}) </dev/null >&2 &\n"
        );
    }
    script += &format!("exec {in_time}<&-\n");
    script.push_str("exec \"$@\"\n");
    let head = ["/bin/sh", "-c", &script, "devbox"].map(Bytes::from);
    head.into_iter().chain(arguments).collect()
}

/// The locks of [`with_hooks`]. Who waits for all hooks waits for those of the background first, and holds up nobody meanwhile.
fn locks(profile: &Profile, waiting: Waiting) -> Vec<Lock> {
    let mut once = profile.hooks.create.iter().chain(&profile.hooks.start).peekable();
    if once.peek().is_none() {
        return Vec::new();
    }
    let has_later = once.any(|hook| hook.background);
    let lock = |(directory, number): (&str, i32), optional| Lock { directory: directory.into(), number, optional };
    let later = has_later.then(|| lock(LOCK_OF_LATER, waiting == Waiting::Some));
    later.into_iter().chain([lock(LOCK, false)]).collect()
}

/// A hook must neither eat the command's input nor mix with its output. The same hook twice are two.
fn guarded(hook: &Hook, number: usize, marks: Option<&str>) -> String {
    let name = quote(&sanitize(&hook.name));
    // What a hook leaves running holds no lock.
    let closed = format!("{WAITING}<&- {}<&- {}<&-", LOCK_OF_LATER.1, LOCK.1);
    let run = format!("( {}\n) </dev/null >&2 {closed} || devbox_failed {name} $?\n", hook.command);
    let Some(marks) = marks else { return run };
    let text = format!("{number}\0{}\0{}", hook.name, hook.command);
    let mark = format!("{marks}/{}", crate::image::digest::of_bytes(text.as_bytes()).trim_start_matches("sha256:"));
    format!("if [ ! -e {mark} ]; then\n{run}mkdir -p {marks} && : > {mark}\nfi\n")
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
            (vec![Bytes::from(&command_shell(profile)), Bytes::from("-c"), Bytes::from(line)], line.clone())
        }
        What::Command(words) => {
            let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            (words.iter().map(Bytes::from).collect(), shown.join(" "))
        }
    };
    let environment = variables(profile, context);
    let known =
        |name: &str| environment.iter().find(|(key, _)| key.0 == name.as_bytes()).map(|(_, value)| value.clone());
    let integrated = if context.integrated && *what == What::Shell { shell::shells(&known) } else { Vec::new() };
    let waiting = if *what == What::Shell { Waiting::Some } else { Waiting::All };
    let wrapped = with_hooks(profile, arguments.clone(), waiting);
    if wrapped.len() != arguments.len() && *what == What::Shell {
        // The wrapper's `exec` knows no alternatives.
        let names: Vec<_> = shells.iter().map(|shell| quote(&shell.to_string_lossy())).collect();
        let pick = format!(
            "for s in {}; do [ -x \"$s\" ] || continue; case ${{s##*/}} in {}*) exec \"$s\";; esac; done; exit 127",
            names.join(" "),
            integrated.iter().map(case).collect::<String>()
        );
        let inner = vec![Bytes::from("/bin/sh"), Bytes::from("-c"), Bytes::from(pick)];
        let wrapped = with_hooks(profile, inner, waiting);
        return Command {
            locks: locks(profile, waiting),
            ..finish(profile, wrapped, Vec::new(), environment, &title, context)
        };
    }
    Command {
        shells: integrated,
        locks: locks(profile, waiting),
        ..finish(profile, wrapped, alternatives, environment, &title, context)
    }
}

/// What the session's leader does with it, as a branch of a shell's `case`.
fn case(shell: &Shell) -> String {
    let text = |bytes: &Bytes| bytes.as_os_str().to_string_lossy().into_owned();
    let exports =
        shell.environment.iter().map(|(key, value)| format!("export {}={}; ", text(key), quote(&text(value))));
    let arguments = shell.arguments.iter().map(|argument| format!(" {}", quote(&text(argument))));
    let (exports, arguments): (String, String) = (exports.collect(), arguments.collect());
    format!("{}) {exports}exec \"$s\"{arguments};; ", text(&shell.name))
}

fn finish(
    profile: &Profile,
    arguments: Vec<Bytes>,
    alternatives: Vec<Bytes>,
    environment: Vec<(Bytes, Bytes)>,
    title: &str,
    context: &Context<'_>,
) -> Command {
    Command {
        alternatives,
        login_shells: shells(profile, context.get).iter().map(Bytes::from).collect(),
        directories: directories(profile, context).iter().map(Bytes::from).collect(),
        user: context.user.or((profile.user != "root").then_some(&profile.user)).map(str::to_owned),
        ..Command::new(arguments, environment, title)
    }
}

/// The caller's folder as the box sees it, then the project's.
fn directories(profile: &Profile, context: &Context<'_>) -> Vec<PathBuf> {
    let place = &profile.project.path;
    match context.directory.strip_prefix(context.project) {
        Ok(rest) if !rest.as_os_str().is_empty() => vec![place.join(rest), place.clone()],
        _ => profile.project.folder.iter().chain([place]).cloned().collect(),
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
    let known = variables.clone();
    for (name, value) in &profile.env.session {
        variables.retain(|(known, _)| known != OsStr::new(name));
        if let Some(value) = value {
            let variable = |name: &str| {
                let found = known.iter().find(|(known, _)| known == OsStr::new(name));
                found.map(|(_, value)| value.to_string_lossy().into_owned())
            };
            variables.push((name.into(), substitute::in_session(value, &variable).into()));
        }
    }
    variables.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect()
}
