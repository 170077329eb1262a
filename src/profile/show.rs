//! A complete profile as the text of a `devbox.toml`, each value with the file it comes from.

use std::fmt::Write;

use super::bandwidth::format_rate;
use super::resolve::LoadedProfile;
use super::{Grant, Hook, Hooks, Security};
use crate::base::BaseSpec;
use crate::limits::Unit;
use crate::text::sanitize;

/// The whole profile as a valid `devbox.toml`; a comment says where a value comes from, unless it is a default.
pub fn show(loaded: &LoadedProfile) -> String {
    let profile = &loaded.profile;
    let mut page = Page { loaded, text: String::new() };
    page.key("name", "name", &profile.name);
    match &profile.base {
        BaseSpec::Host => page.key("base", "base", "host"),
        BaseSpec::Directory(path) | BaseSpec::Archive(path) => page.key("rootfs", "base", path),
        BaseSpec::Distro(distro) => page.key("distro", "base", distro),
        BaseSpec::Image(_) if profile.build.is_some() => {}
        BaseSpec::Image(reference) => page.key("image", "base", reference.familiar()),
    }
    page.list("packages", "packages.", &profile.packages, |package| package.clone());
    match &profile.shell {
        Some(shell) => page.key("shell", "shell", shell),
        None => page.line("# shell: the best one of the box", None),
    }
    page.key("user", "user", &profile.user);
    page.key("lifetime", "lifetime", profile.lifetime);
    page.key("terminal_integration", "terminal_integration", profile.terminal_integration);

    if let Some(build) = &profile.build {
        page.section("[build]");
        if let Some(file) = &build.containerfile {
            page.key("containerfile", "base", file);
        }
        if !build.context.as_os_str().is_empty() {
            page.key("context", "base", &build.context);
        }
        if let Some(target) = &build.target {
            page.key("target", "base", target);
        }
        for (name, value) in &build.args {
            page.key(&format!("args.{}", toml_key(name)), "base", value);
        }
    }

    page.section("[project]");
    page.key("path", "project.path", &profile.project.path);
    page.list("mask", "project.mask.", &profile.project.mask, |path| path.display().to_string());
    page.list("protect", "project.protect.", &profile.project.protect, |path| path.display().to_string());
    page.key("read_only", "project.read_only", profile.project.read_only);

    page.section("[env]");
    for (name, value) in &profile.env.set {
        page.key(&toml_key(name), &format!("env.{name}"), value);
    }
    page.list("pass", "env.pass.", &profile.env.pass, |name| name.clone());

    for mount in &profile.mounts {
        page.section("[[mounts]]");
        page.key("source", "", &mount.source);
        page.key("target", &format!("mounts.{}", mount.target.display()), &mount.target);
        page.key("read_only", "", mount.read_only);
    }

    page.section("[share]");
    for grant in Grant::ALL {
        page.key(grant.name(), &format!("share.{grant}"), profile.share.has(grant));
    }
    page.list("dbus", "share.dbus.", &profile.share.dbus, Clone::clone);
    page.list("home_cache", "share.home_cache.", &profile.share.home_cache, |cache| cache.name().to_owned());

    page.section("[network]");
    page.key("mode", "network.mode", profile.network.mode);
    page.list("ports", "network.ports.", &profile.network.ports, ToString::to_string);
    page.key("forward", "network.forward", profile.network.forward);
    if let Some(join) = &profile.network.join {
        page.key("join", "network.join", join);
    }
    let bandwidth = profile.network.bandwidth;
    for (key, rate) in [("bandwidth.up", bandwidth.up), ("bandwidth.down", bandwidth.down)] {
        if let Some(rate) = rate {
            page.key(key, "network.bandwidth", format_rate(rate));
        }
    }
    page.list("host_ports", "network.host_ports.", &profile.network.host_ports, ToString::to_string);
    if let Some(egress) = &profile.network.egress {
        page.key("egress", "network.egress", egress.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    let limits = &profile.limits;
    if !limits.values.is_empty() || limits.require {
        page.section("[limits]");
        for (key, value) in &limits.values {
            let text = key.format(*value);
            let text = if matches!(key.unit(), Unit::Cpus | Unit::Count) { text } else { toml_value(text) };
            page.line(&format!("{key} = {text}"), Some(&format!("limits.{key}")));
        }
        page.key("require", "limits.require", limits.require);
    }

    let security = &profile.security;
    if *security != Security::default() {
        page.section("[security]");
        for (kind, more, less, changes) in
            [("capabilities", "add", "drop", &security.capabilities), ("seccomp", "allow", "deny", &security.seccomp)]
        {
            for (key, names) in [(more, &changes.more), (less, &changes.less)] {
                let names: Vec<&String> = names.iter().collect();
                if !names.is_empty() {
                    page.list(&format!("{kind}.{key}"), &format!("security.{kind}."), &names, ToString::to_string);
                }
            }
        }
        page.key("emulate_ids", "security.emulate_ids", security.emulate_ids);
        page.key("no_new_privileges", "security.no_new_privileges", security.no_new_privileges);
    }

    if !profile.tasks.is_empty() {
        page.section("[tasks]");
        for (name, command) in &profile.tasks {
            page.key(&toml_key(name), &format!("tasks.{name}"), command);
        }
    }
    if profile.hooks != Hooks::default() {
        page.section("[hooks]");
        page.hooks("create", &profile.hooks.create);
        page.hooks("start", &profile.hooks.start);
        page.hooks("enter", &profile.hooks.enter);
        page.key("review", "hooks.review", profile.hooks.review);
    }
    page.text
}

struct Page<'a> {
    loaded: &'a LoadedProfile,
    text: String,
}

impl Page<'_> {
    fn section(&mut self, header: &str) {
        self.text.push('\n');
        self.text.push_str(header);
        self.text.push('\n');
    }

    fn line(&mut self, line: &str, origin: Option<&str>) {
        self.text.push_str(line);
        if let Some(label) = origin.and_then(|key| self.origin(key)) {
            // Writing to a `String` cannot fail.
            write!(self.text, "  # {label}").unwrap_or_default();
        }
        self.text.push('\n');
    }

    fn key(&mut self, key: &str, origin: &str, value: impl serde::Serialize) {
        self.line(&format!("{key} = {}", toml_value(value)), Some(origin));
    }

    /// One entry per line, as each may come from another file.
    fn list<T: serde::Serialize>(&mut self, key: &str, origin: &str, list: &[T], name: impl Fn(&T) -> String) {
        if list.is_empty() {
            return self.line(&format!("{key} = []"), None);
        }
        self.line(&format!("{key} = ["), None);
        for entry in list {
            self.line(&format!("    {},", toml_value(entry)), Some(&format!("{origin}{}", name(entry))));
        }
        self.line("]", None);
    }

    fn hooks(&mut self, kind: &str, commands: &[Hook]) {
        if commands.is_empty() {
            return;
        }
        self.line(&format!("{kind} = ["), None);
        for (index, command) in commands.iter().enumerate() {
            self.line(&format!("    {},", toml_value(&command.command)), Some(&format!("hooks.{kind}.{index}")));
        }
        self.line("]", None);
    }

    fn origin(&self, key: &str) -> Option<String> {
        let label = self.loaded.origin(key)?.label();
        let short = label.strip_prefix(&self.loaded.project).unwrap_or(&label);
        Some(sanitize(&short.to_string_lossy()).into_owned())
    }
}

/// A value on one line. Control characters are written as escapes, so that the text can go to a terminal.
fn toml_value(value: impl serde::Serialize) -> String {
    match toml::Value::try_from(value) {
        Ok(toml::Value::String(text)) => toml_string(&text),
        Ok(value) => value.to_string(),
        // A path that is not UTF-8 has no spelling in TOML.
        Err(_) => "\"(not UTF-8)\"".to_owned(),
    }
}

fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            _ if sanitize(c.encode_utf8(&mut [0; 4])).len() > c.len_utf8() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A key, in quotes where TOML wants them.
pub(super) fn toml_key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { toml_string(name) }
}
