//! A devcontainer file as the `devbox.toml` that says the same. Pure.

use std::path::Path;

use crate::limits::Unit;
use crate::profile::devcontainer::Secret;
use crate::profile::validate::{BaseChoice, Layer, ProjectPath};
use crate::profile::{ForwardMode, Grant, Hook, Lifetime, NetworkMode};
use crate::text::sanitize;

/// How a value is called that names a variable of the host: [`crate::profile::devcontainer::read`] is to leave it so.
pub const OF_THE_HOST: &str = "${localEnv:";

/// The text of the profile. What a profile cannot say stands in comments. `label` is the devcontainer file.
#[must_use]
pub fn to_toml(layer: &Layer, label: &str, project: &Path, home: &Path) -> String {
    let mut page = Page { text: format!("# Made from {}.\n", sanitize(label)) };
    match &layer.base {
        Some(BaseChoice::Image(image)) => page.key("image", image.as_str()),
        Some(BaseChoice::Distro(distro)) => page.key("distro", distro.as_str()),
        _ => {}
    }
    if let Some(user) = &layer.user {
        page.key("user", user.as_str());
    }
    if layer.lifetime == Some(Lifetime::Keep) {
        page.key("lifetime", "keep");
    }
    if let Some(own) = &layer.devcontainer {
        if let Some(initialize) = &own.initialize {
            page.comment(&format!("initializeCommand, for which a profile has no key: `{}`", initialize.shown));
        }
        for feature in &own.features {
            page.comment(&format!(
                "the Feature {}, for which a profile has no key: install it in a Containerfile",
                feature.reference
            ));
        }
        for Secret { name, description, url } in &own.secrets {
            let said: Vec<&str> = [description, url].into_iter().flatten().map(String::as_str).collect();
            page.comment(&format!("the secret {name}, passed below: {}", said.join(", ")));
        }
        own.notes.iter().for_each(|note| page.comment(note));
    }
    for volume in &layer.volumes {
        let target = volume.target.display();
        page.comment(&format!(
            "the volume {} at {target}: a box keeps {target} by itself until `devbox reset`",
            volume.name
        ));
    }
    if let Some(BaseChoice::Build(build)) = &layer.base {
        page.section("build");
        if let Some(file) = &build.containerfile {
            page.key("containerfile", file.to_string_lossy().as_ref());
        }
        if !build.context.as_os_str().is_empty() {
            page.key("context", build.context.to_string_lossy().as_ref());
        }
        if let Some(target) = &build.target {
            page.key("target", target.as_str());
        }
        if !build.args.is_empty() {
            page.section("build.args");
            build.args.iter().for_each(|(name, value)| page.variable(name, value));
        }
    }
    if let Some(ProjectPath::Absolute(path)) = &layer.project_path {
        page.section("project");
        page.key("path", path.to_string_lossy().as_ref());
        if layer.read_only == Some(true) {
            page.key("read_only", true);
        }
    }
    environment(layer, &mut page);
    for mount in &layer.mounts {
        page.text += "\n[[mounts]]\n";
        let source = match (mount.source.strip_prefix(project), mount.source.strip_prefix(home)) {
            (Ok(inside), _) => format!("./{}", inside.display()),
            (_, Ok(inside)) => format!("~/{}", inside.display()),
            _ => mount.source.to_string_lossy().into_owned(),
        };
        page.key("source", source.as_str());
        page.key("target", mount.target.to_string_lossy().as_ref());
        if mount.read_only {
            page.key("read_only", true);
        }
    }
    if layer.grants.get(&Grant::Gpu) == Some(&true) {
        page.section("share");
        page.key("gpu", true);
    }
    network(layer, &mut page);
    if !layer.limits.is_empty() {
        page.section("limits");
        for (key, value) in &layer.limits {
            let text = key.format(*value);
            let is_number = matches!(key.unit(), Unit::Cpus | Unit::Count);
            page.line(&key.to_string(), &if is_number { text } else { toml::Value::from(text).to_string() });
        }
    }
    let (capabilities, forbidden) = (&layer.security.capabilities, layer.security.no_new_privileges);
    if !capabilities.is_empty() || forbidden.is_some() {
        page.section("security");
        for (key, names) in [("capabilities.add", &capabilities.more), ("capabilities.drop", &capabilities.less)] {
            if !names.is_empty() {
                page.key(key, names.iter().cloned().collect::<Vec<_>>());
            }
        }
        if let Some(on) = forbidden {
            page.key("no_new_privileges", on);
        }
    }
    let hooks = [("create", &layer.create), ("start", &layer.start), ("enter", &layer.enter)];
    if hooks.iter().any(|(_, list)| !list.is_empty()) {
        page.section("hooks");
        for (key, list) in hooks.iter().filter(|(_, list)| !list.is_empty()) {
            page.key(key, list.iter().map(|hook: &Hook| hook.command.clone()).collect::<Vec<_>>());
        }
    }
    page.text
}

/// Variables. Those of the host are not written down: they may be secrets.
fn environment(layer: &Layer, page: &mut Page) {
    let session = layer.session_env.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let all: Vec<(&String, &String)> = layer.env.iter().chain(session).collect();
    for (name, _) in layer.session_env.iter().filter(|(_, value)| value.is_none()) {
        page.comment(&format!("{name} is taken out of sessions, for which a profile has no key"));
    }
    let is_own = |name: &str, value: &str| value == format!("{OF_THE_HOST}{name}}}");
    let mut pass = layer.pass.clone();
    pass.extend(all.iter().filter(|(name, value)| is_own(name, value)).map(|(name, _)| (*name).clone()));
    if all.is_empty() && pass.is_empty() {
        return;
    }
    page.section("env");
    if !pass.is_empty() {
        page.key("pass", pass);
    }
    for (name, value) in all.into_iter().filter(|(name, value)| !is_own(name, value)) {
        page.variable(name, value);
    }
}

fn network(layer: &Layer, page: &mut Page) {
    let network = &layer.network;
    let mode = match layer.network_mode {
        Some(NetworkMode::Host) => Some("host"),
        Some(NetworkMode::None) => Some("none"),
        _ => None,
    };
    let is_off = network.forward == Some(ForwardMode::Off);
    if mode.is_none() && !is_off && network.ports.is_empty() {
        return;
    }
    page.section("network");
    if let Some(mode) = mode {
        page.key("mode", mode);
    }
    if is_off {
        page.key("forward", "off");
    }
    if !network.ports.is_empty() {
        page.key("ports", network.ports.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}

struct Page {
    text: String,
}

impl Page {
    fn section(&mut self, name: &str) {
        self.text += &format!("\n[{name}]\n");
    }

    fn line(&mut self, key: &str, value: &str) {
        self.text += &format!("{key} = {value}\n");
    }

    fn key(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.line(key, &value.into().to_string());
    }

    fn comment(&mut self, text: &str) {
        self.text += &format!("# {}\n", sanitize(text));
    }

    fn variable(&mut self, name: &str, value: &str) {
        if value.contains("${localEnv:") || value.contains("${containerEnv:") {
            self.comment(&format!("{name} = {value}: made of other variables, which a profile cannot say"));
        } else {
            let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            let key = if bare { name.to_owned() } else { toml::Value::from(name).to_string() };
            self.key(&key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::devcontainer::read::{Place, read};
    use crate::profile::validate::{Origin, parse_profile};

    fn import(text: &str) -> (Layer, String) {
        let (file, project, home) = (Path::new("/h/p/.devcontainer.json"), Path::new("/h/p"), Path::new("/h"));
        let host = |name: &str| Some(if name == "HOME" { "/h".to_owned() } else { format!("{OF_THE_HOST}{name}}}") });
        let layer = read(&Place { file, text, project, home, host: &host }).unwrap_or_else(|error| panic!("{error}"));
        let toml = to_toml(&layer, ".devcontainer.json", project, home);
        (layer, toml)
    }

    #[test]
    fn what_a_profile_can_say_is_the_same() {
        for text in [
            r#"{"image": "debian:12"}"#,
            r#"{"build": {"dockerfile": "D", "context": "..", "target": "t", "args": {"A": "b c", "x.y": "\"q\""}}, "remoteUser": "node"}"#
                .replace("..", "sub").as_str(),
            r#"{"image": "debian:12", "containerEnv": {"A": "1", "weird name": "two\nlines"}, "mounts": ["source=${localEnv:HOME}/.m2,target=/m,type=bind,readonly",
                "source=${localWorkspaceFolder}/x,target=/x,type=bind", "source=/opt,target=/o,type=bind"], "shutdownAction": "none",
                "capAdd": ["SYS_NICE"], "securityOpt": ["no-new-privileges"], "appPort": [80, "9000:90"], "hostRequirements": {"gpu": true},
                "runArgs": ["--cpus=1.5", "--memory=2g", "--pids-limit", "100", "--cap-drop=NET_RAW"],
                "onCreateCommand": "a 'b' \"c\"", "postCreateCommand": {"x": "1", "y": ["2", "3 4"]}, "postStartCommand": "s", "postAttachCommand": "t"}"#,
            r#"{"image": "debian:12", "runArgs": ["--network=none"], "otherPortsAttributes": {"onAutoForward": "ignore"}}"#,
        ] {
            let (layer, toml) = import(text);
            let origin = Origin { file: Path::new("devbox.toml"), text: &toml, folder: Path::new("/h/p"), home: Path::new("/h") };
            let again = parse_profile(&origin).unwrap_or_else(|error| panic!("{toml}\n{}", error.render(false)));
            let commands = |hooks: &[Hook]| hooks.iter().map(|hook| hook.command.clone()).collect::<Vec<_>>();
            let mounts = |layer: &Layer| {
                layer.mounts.iter().map(|mount| (mount.source.clone(), mount.target.clone(), mount.read_only)).collect::<Vec<_>>()
            };
            assert_eq!(mounts(&again), mounts(&layer), "{toml}");
            let hooks = |layer: &Layer| [commands(&layer.create), commands(&layer.start), commands(&layer.enter)];
            assert_eq!(hooks(&again), hooks(&layer), "{toml}");
            let rest = |layer: &Layer| Layer {
                mounts: Vec::new(),
                create: Vec::new(),
                start: Vec::new(),
                enter: Vec::new(),
                read_only: layer.read_only.filter(|on| *on),
                devcontainer: None,
                ..layer.clone()
            };
            assert_eq!(rest(&again), rest(&layer), "{toml}");
        }
    }

    #[test]
    fn hooks_keep_the_order_in_which_they_run() {
        let (_, toml) = import(
            r#"{"image": "debian:12", "postCreateCommand": "3", "updateContentCommand": "2", "onCreateCommand": "1"}"#,
        );
        assert!(toml.ends_with("[hooks]\ncreate = [\"1\", \"2\", \"3\"]\n"), "{toml}");
    }

    #[test]
    fn what_it_cannot_say_is_a_comment() {
        let (_, toml) = import(
            r#"{"image": "debian:12", "initializeCommand": "make", "features": {"ghcr.io/x/go:1": {}},
                "mounts": ["source=data,target=/d,type=volume"], "containerEnv": {"TOKEN": "${localEnv:TOKEN}", "B": "x${localEnv:S}"},
                "remoteEnv": {"P": "${containerEnv:PATH}:/p", "Q": "q", "R": null}}"#,
        );
        for line in [
            "# initializeCommand, for which a profile has no key: `make`",
            "# the Feature ghcr.io/x/go:1, for which a profile has no key: install it in a Containerfile",
            "# the volume data at /d: a box keeps /d by itself until `devbox reset`",
            "pass = [\"TOKEN\"]",
            "# B = x${localEnv:S}: made of other variables, which a profile cannot say",
            "Q = \"q\"",
            "# R is taken out of sessions, for which a profile has no key",
        ] {
            assert!(toml.lines().any(|found| found == line), "{line}\n{toml}");
        }
    }
}
