//! What a devcontainer file says, in the keys of a profile.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::hooks::{self, Moment};
use super::json::{Json, Node, Source, table_to_json};
use super::mounts::{Entry, Kind, Mounted};
use super::substitute::{Variables, devcontainer_id};
use super::{Devcontainer, Feature, Initialize, Secret, mounts, run_args};
use crate::profile::ports::Attributes;
use crate::profile::schema::{At, RawBuild, RawMount, RawProfile};
use crate::profile::validate::{Checked, Layer, Origin};
use crate::profile::{ForwardMode, Hook, Lifetime, Volume};

/// Where projects are mounted unless the file says otherwise.
const WORKSPACES: &str = "/workspaces";

/// Keys that mean something here and concern this file alone, beside those of hooks.
const OWN: [&str; 17] = [
    "$schema",
    "name",
    "image",
    "build",
    "dockerFile",
    "context",
    "dockerComposeFile",
    "service",
    "runServices",
    "workspaceFolder",
    "workspaceMount",
    "runArgs",
    "appPort",
    "features",
    "overrideFeatureInstallOrder",
    "secrets",
    "extensions",
];

/// Keys that mean something here and go into the metadata of images that are built from a file, beside those of hooks.
const METADATA: [&str; 19] = [
    "waitFor",
    "customizations",
    "mounts",
    "containerEnv",
    "containerUser",
    "init",
    "privileged",
    "capAdd",
    "securityOpt",
    "remoteUser",
    "userEnvProbe",
    "remoteEnv",
    "overrideCommand",
    "portsAttributes",
    "otherPortsAttributes",
    "forwardPorts",
    "shutdownAction",
    "updateRemoteUserUID",
    "hostRequirements",
];

/// The values of `userEnvProbe`.
const PROBES: [&str; 4] = ["none", "loginShell", "interactiveShell", "loginInteractiveShell"];

/// Whether images carry `key` along.
fn is_carried(key: &str) -> bool {
    METADATA.contains(&key) || hooks::KEYS.contains(&key)
}

/// Every key that means something here.
fn known() -> impl Iterator<Item = &'static str> {
    OWN.into_iter().chain(METADATA).chain(hooks::waitable())
}

/// The file and its surroundings.
#[expect(missing_debug_implementations, reason = "a closure has none")]
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its text.
    pub text: &'a str,
    /// The project's folder.
    pub project: &'a Path,
    /// What `~` means.
    pub home: &'a Path,
    /// A variable of the host's environment.
    pub host: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a devcontainer file.
pub fn read(place: &Place<'_>) -> Checked<Layer> {
    let source = Source { file: place.file, text: place.text };
    let root = source.parse()?;
    let Json::Table(entries) = &root.value else {
        return Err(source.unexpected("devcontainer.json", &root, "a table"));
    };
    let get = |key: &str| entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node);
    if let Some(node) = get("dockerComposeFile") {
        return Err(source
            .wrong(&node.span, "Docker Compose files are not supported")
            .label("this describes several containers; a box is one")
            .help("name an `image` or a `build` for the box, and start the other services beside it")
            .into());
    }
    if let Some((name, _)) = entries.iter().find(|(name, _)| name.value == "extends") {
        return Err(source.wrong(&name.span, "`extends` is not supported in a devcontainer file").into());
    }
    if !["image", "build", "dockerFile", "dockerfile"].iter().any(|key| get(key).is_some()) {
        let start = root.span.start;
        return Err(source
            .wrong(&(start..start + 1), "missing key `image`")
            .help("`image`, or `build` with a `dockerfile`, says what the box stands on")
            .into());
    }
    let local = place.project.to_string_lossy();
    let id = devcontainer_id(&local, &place.file.to_string_lossy());
    let variables = |container_folder| Variables::new(place.host, &local, container_folder, &id);
    // The folder in the box may itself name variables, and others name the folder.
    let default_folder = format!("{WORKSPACES}/{}", local.rsplit('/').next().unwrap_or_default());
    let folder = get("workspaceFolder").map(|node| source.text("workspaceFolder", node)).transpose()?;
    let folder = folder.map(|text| At { value: variables(&default_folder).apply(&text.value), span: text.span });
    let container_folder = folder.as_ref().map_or(default_folder.as_str(), |folder| &folder.value);
    let mut reader = Reader::new(place, variables(container_folder));
    reader.workspace(get("workspaceMount"), folder.as_ref(), &default_folder)?;
    reader.base(get("image"), get("build"), get("dockerFile").or(get("dockerfile")), get("context"))?;
    for (name, node) in entries {
        reader.key(name, node)?;
    }
    reader.extra.id.clone_from(&id);
    let kept = entries.iter().filter(|(name, _)| is_carried(&name.value));
    reader.extra.metadata = table_to_json(kept);
    reader.finish()
}

/// Reads what an image carries along from those who made it, a list of entries or one of them: `place` has the label in the
/// place of a file. `folder` is the project's in the box, `id` the `devcontainerId`.
pub fn metadata(place: &Place<'_>, folder: &str, id: &str) -> Checked<Vec<Layer>> {
    let source = Source { file: place.file, text: place.text };
    let root = source.parse()?;
    let entries = match &root.value {
        Json::List(entries) => entries.as_slice(),
        _ => std::slice::from_ref(&root),
    };
    let local = place.project.to_string_lossy();
    let mut layers = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut reader = Reader::new(place, Variables::new(place.host, &local, folder, id));
        for (name, node) in source.table("devcontainer.metadata", entry)? {
            match name.value.as_str() {
                "entrypoint" if !matches!(node.value, Json::Null) => {
                    let command = reader.text("entrypoint", node)?.value;
                    reader.hooks.push(Hook { name: hooks::ENTRYPOINT.to_owned(), command, background: false });
                }
                // An image says nothing of the host and of what it is built from.
                key if is_carried(key) => reader.key(name, node)?,
                _ => {}
            }
        }
        layers.push(reader.finish()?);
    }
    Ok(layers)
}

pub(super) struct Reader<'a> {
    place: &'a Place<'a>,
    pub(super) source: Source<'a>,
    variables: Variables<'a>,
    pub(super) raw: RawProfile,
    session: Vec<(String, Option<String>)>,
    volumes: Vec<(At<String>, Volume)>,
    hooks: Vec<Hook>,
    /// Nothing is forwarded by itself.
    pub(super) is_off: bool,
    pub(super) forwarded: Vec<At<String>>,
    /// Ports that must have the same number on the host.
    pub(super) local_ports: BTreeSet<String>,
    /// `remoteUser`, `containerUser`, and that of `runArgs`.
    pub(super) user: [Option<At<String>>; 3],
    pub(super) extra: Devcontainer,
}

impl<'a> Reader<'a> {
    fn new(place: &'a Place<'a>, variables: Variables<'a>) -> Self {
        Self {
            place,
            source: Source { file: place.file, text: place.text },
            variables,
            raw: RawProfile::default(),
            session: Vec::new(),
            volumes: Vec::new(),
            hooks: Vec::new(),
            is_off: false,
            forwarded: Vec::new(),
            local_ports: BTreeSet::new(),
            user: [None, None, None],
            extra: Devcontainer::default(),
        }
    }

    /// The string of a value, with its variables replaced.
    pub(super) fn text(&self, key: &str, node: &Node) -> Checked<At<String>> {
        let text = self.source.text(key, node)?;
        Ok(At { value: self.variables.apply(&text.value), span: text.span })
    }

    fn texts(&self, key: &str, node: &Node) -> Checked<Vec<At<String>>> {
        let texts = self.source.texts(key, node)?.into_iter();
        Ok(texts.map(|text| At { value: self.variables.apply(&text.value), span: text.span }).collect())
    }

    /// Says that something means nothing here.
    pub(super) fn note(&mut self, at: &std::ops::Range<usize>, text: &str) {
        let (line, _) = self.source.wrong(at, "").position();
        let file = self.place.file.strip_prefix(self.place.project).unwrap_or(self.place.file);
        self.extra.notes.push(format!("{}:{line}: {text}", file.display()));
    }

    /// Says that a key of one of the tables in the file means nothing here.
    pub(super) fn meaningless_key(&mut self, table: &str, key: &At<String>) {
        self.note(&key.span, &format!("`{table}.{}` has no meaning here", key.value));
    }

    fn workspace(&mut self, mount: Option<&Node>, folder: Option<&At<String>>, default: &str) -> Checked<()> {
        let at = |value: &str, span: &std::ops::Range<usize>| At { value: value.to_owned(), span: span.clone() };
        let Some(mount) = mount else {
            let path = folder.cloned().unwrap_or_else(|| at(default, &(0..0)));
            self.raw.project.path = Some(path);
            return Ok(());
        };
        let Some(folder) = folder else {
            return Err(self.source.wrong(&mount.span, "`workspaceMount` needs a `workspaceFolder` beside it").into());
        };
        self.extra.folder = Some(PathBuf::from(&folder.value));
        if matches!(&mount.value, Json::Text(text) if text.is_empty()) {
            self.note(&mount.span, "the project is mounted all the same, at `workspaceFolder`");
            self.raw.project.path = Some(folder.clone());
            return Ok(());
        }
        let substitute = |text: &str| self.variables.apply(text);
        match mounts::entry(&self.source, "workspaceMount", mount, &substitute)? {
            Ok(Entry { kind: Kind::Bind, source, target, read_only })
                if Path::new(&source.value) == self.place.project =>
            {
                self.raw.project.path = Some(target);
                self.raw.project.read_only = Some(At { value: read_only, span: mount.span.clone() });
            }
            // The project is where the file lies, whatever else is shown to the box.
            other => {
                let place = format!("{default}.project");
                self.raw.project.path = Some(at(&place, &mount.span));
                self.note(&mount.span, &format!("the project itself is mounted at `{place}` as well"));
                self.mount(other, &mount.span)?;
            }
        }
        Ok(())
    }

    fn base(
        &mut self,
        image: Option<&Node>,
        build: Option<&Node>,
        file: Option<&Node>,
        context: Option<&Node>,
    ) -> Checked<()> {
        if build.is_none() && file.is_none() {
            self.raw.image = image.map(|image| self.text("image", image)).transpose()?;
            return Ok(());
        }
        if let Some(image) = image {
            self.note(&image.span, "the `image` is not used: the file also says what is built");
        }
        let mut raw = RawBuild::default();
        let mut dockerfile = file.map(|file| self.text("dockerFile", file)).transpose()?;
        let mut folder = context.map(|context| self.text("context", context)).transpose()?;
        let span = build.or(file).map(|node| node.span.clone()).unwrap_or_default();
        if let Some(build) = build {
            for (name, node) in self.source.table("build", build)?.to_vec() {
                let key = format!("build.{}", name.value);
                match name.value.as_str() {
                    "dockerfile" => dockerfile = Some(self.text(&key, &node)?),
                    "context" => folder = Some(self.text(&key, &node)?),
                    "target" => raw.target = Some(self.text(&key, &node)?),
                    "args" => {
                        for (name, value) in self.source.table(&key, &node)?.to_vec() {
                            let value = self.text(&format!("{key}.{}", name.value), &value)?;
                            raw.args.insert(name, value);
                        }
                    }
                    // Steps are found again whoever built them.
                    "cacheFrom" => {}
                    _ => self.meaningless_key("build", &name),
                }
            }
        }
        let Some(dockerfile) = dockerfile else {
            return Err(self.source.wrong(&span, "missing key `build.dockerfile`").into());
        };
        raw.containerfile = Some(self.beside(&dockerfile)?);
        let here = At { value: ".".to_owned(), span: dockerfile.span.clone() };
        raw.context = Some(self.beside(&folder.unwrap_or(here))?);
        self.raw.build = Some(At { value: raw, span });
        Ok(())
    }

    /// A path beside the file, relative to the project.
    fn beside(&self, path: &At<String>) -> Checked<At<String>> {
        let folder = self.place.file.parent().unwrap_or(self.place.project);
        let mut whole = PathBuf::new();
        for component in folder.join(&path.value).components() {
            match component {
                Component::ParentDir => {
                    whole.pop();
                }
                Component::CurDir => {}
                other => whole.push(other),
            }
        }
        let Ok(inside) = whole.strip_prefix(self.place.project) else {
            let outside = self.source.wrong(&path.span, format!("`{}` is outside the project", path.value));
            return Err(outside.help("open the folder that holds both in devbox").into());
        };
        let text = inside.to_string_lossy();
        let value = if text.is_empty() { ".".to_owned() } else { text.into_owned() };
        Ok(At { value, span: path.span.clone() })
    }

    fn key(&mut self, name: &At<String>, node: &Node) -> Checked<()> {
        let key = name.value.as_str();
        match key {
            "containerEnv" => {
                for (name, value) in self.source.table(key, node)?.to_vec() {
                    let value = self.text(&format!("{key}.{}", name.value), &value)?;
                    self.variable(name, value);
                }
            }
            "remoteEnv" => {
                for (name, value) in self.source.table(key, node)?.to_vec() {
                    let value = match value.value {
                        Json::Null => None,
                        _ => Some(self.text(&format!("{key}.{}", name.value), &value)?.value),
                    };
                    self.session.push((name.value, value));
                }
            }
            "remoteUser" => self.user[0] = Some(self.text(key, node)?),
            "containerUser" => self.user[1] = Some(self.text(key, node)?),
            "mounts" => {
                for entry in self.source.list(key, node)?.to_vec() {
                    let substitute = |text: &str| self.variables.apply(text);
                    let mounted = mounts::entry(&self.source, "mounts[]", &entry, &substitute)?;
                    self.mount(mounted, &entry.span)?;
                }
            }
            "runArgs" => {
                for argument in run_args::split(self.texts(key, node)?) {
                    self.run_argument(argument)?;
                }
            }
            "capAdd" => {
                for name in self.texts(key, node)? {
                    self.capability(name);
                }
            }
            "securityOpt" => {
                for option in self.texts(key, node)? {
                    self.security_option(&option);
                }
            }
            "privileged" if self.source.boolean(key, node)? => self.privileged(&node.span),
            "init" | "privileged" | "updateRemoteUserUID" => drop(self.source.boolean(key, node)?),
            "overrideCommand" if !self.source.boolean(key, node)? => {
                self.note(&node.span, "the command of the image is not started");
            }
            "overrideCommand" => {}
            "shutdownAction" => {
                let action = self.source.one_of(key, node, &["none", "stopContainer", "stopCompose"])?;
                if action == "none" {
                    self.raw.lifetime = Some(At { value: Lifetime::Keep, span: node.span.clone() });
                }
            }
            "appPort" | "forwardPorts" | "portsAttributes" | "otherPortsAttributes" => self.ports(key, node)?,
            "features" => self.features(node)?,
            "overrideFeatureInstallOrder" => {
                self.extra.feature_order = self.texts(key, node)?.into_iter().map(|text| text.value).collect();
            }
            hooks::INITIALIZE => {
                let substitute = |text: &str| self.variables.apply(text);
                let hook = hooks::hook(&self.source, key, node, &substitute)?;
                let shown = hooks::shown(&self.source, key, node, &substitute)?;
                self.extra.initialize = hook.map(|hook| Initialize { command: hook.command, shown });
            }
            "waitFor" => {
                self.extra.wait_for = Some(self.source.one_of(key, node, &hooks::waitable().collect::<Vec<_>>())?)
            }
            "hostRequirements" => self.requirements(node)?,
            "secrets" => self.secrets(node)?,
            "userEnvProbe" => drop(self.source.one_of(key, node, &PROBES)?),
            "customizations" => drop(self.source.table(key, node)?),
            "name" | "service" => drop(self.source.text(key, node)?),
            _ if hooks::KEYS.contains(&key) => {
                let substitute = |text: &str| self.variables.apply(text);
                self.hooks.extend(hooks::hook(&self.source, key, node, &substitute)?);
            }
            _ if known().any(|known| known == key) => {}
            _ => {
                let meant = crate::text::closest(key, known()).map(|meant| format!(" (did you mean `{meant}`?)"));
                self.note(&name.span, &format!("the key `{key}` is not known{}", meant.unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// A variable of every process. One that names others has its value only in the box.
    pub(super) fn variable(&mut self, name: At<String>, value: At<String>) {
        if value.value.contains("${containerEnv:") {
            self.session.push((name.value, Some(value.value)));
        } else {
            self.raw.env.set.insert(name, value);
        }
    }

    /// Adds a mount; of two with the same target the last one counts.
    pub(super) fn mount(&mut self, mounted: Mounted, span: &std::ops::Range<usize>) -> Checked<()> {
        let entry = match mounted {
            Ok(entry) => entry,
            Err(what) => {
                self.note(span, &format!("{what} has no meaning here"));
                return Ok(());
            }
        };
        let is_same = |target: &At<String>| target.value == entry.target.value;
        self.raw.mounts.retain(|mount| !is_same(&mount.value.target));
        self.volumes.retain(|(target, _)| !is_same(target));
        match entry.kind {
            Kind::Bind => {
                let read_only = Some(At { value: entry.read_only, span: span.clone() });
                let mount = RawMount { source: entry.source, target: entry.target, read_only };
                self.raw.mounts.push(At { value: mount, span: span.clone() });
            }
            Kind::Volume => {
                let volume = Volume { name: entry.source.value, target: PathBuf::new(), read_only: entry.read_only };
                self.volumes.push((entry.target, volume));
            }
        }
        Ok(())
    }

    fn features(&mut self, node: &Node) -> Checked<()> {
        for (name, value) in self.source.table("features", node)? {
            let key = format!("features.{}", name.value);
            let mut options = Vec::new();
            match &value.value {
                Json::Text(version) => options.push(("version".to_owned(), version.clone())),
                Json::Boolean(_) => {}
                Json::Table(entries) => {
                    for (option, value) in entries {
                        let text = match &value.value {
                            Json::Text(text) => text.clone(),
                            Json::Boolean(on) => on.to_string(),
                            _ => {
                                let key = format!("{key}.{}", option.value);
                                return Err(self.source.unexpected(&key, value, "a string or a boolean"));
                            }
                        };
                        options.push((option.value.clone(), text));
                    }
                }
                _ => return Err(self.source.unexpected(&key, value, "a table, a string or a boolean")),
            }
            self.extra.features.push(Feature { reference: self.variables.apply(&name.value), options });
        }
        Ok(())
    }

    /// Variables of the host that the user gives, and is asked for.
    fn secrets(&mut self, node: &Node) -> Checked<()> {
        for (name, about) in self.source.table("secrets", node)? {
            let mut secret = Secret { name: name.value.clone(), description: None, url: None };
            for (key, value) in self.source.table(&format!("secrets.{}", name.value), about)? {
                match key.value.as_str() {
                    "description" => secret.description = Some(self.source.text(&key.value, value)?.value),
                    "documentationUrl" => secret.url = Some(self.source.text(&key.value, value)?.value),
                    _ => self.meaningless_key("secrets", key),
                }
            }
            self.raw.env.pass.push(name.clone());
            self.extra.secrets.push(secret);
        }
        Ok(())
    }

    fn finish(mut self) -> Checked<Layer> {
        self.raw.user = std::mem::take(&mut self.user).into_iter().flatten().find(|user| !user.value.is_empty());
        let forwarded = std::mem::take(&mut self.forwarded);
        for At { value, span } in forwarded {
            // What listens is forwarded by itself, under another number where the host's is taken.
            let is_ignored = value
                .parse()
                .is_ok_and(|port| Attributes::of(&self.extra.ports, port).is_some_and(|said| said.is_ignored));
            if self.is_off || is_ignored || self.local_ports.contains(&value) {
                self.raw.network.ports.push(At { value: format!("{value}:{value}"), span });
            }
        }
        if self.is_off {
            self.raw.network.forward = Some(At { value: ForwardMode::Off, span: 0..0 });
        }
        let Place { file, text, project, home, .. } = *self.place;
        let origin = Origin { file, text, folder: project, home };
        let mut volumes = Vec::with_capacity(self.volumes.len());
        for (target, volume) in self.volumes {
            volumes.push(Volume { target: origin.box_path(&target, "the target of a mount")?, ..volume });
        }
        self.extra.variables = self.variables.asked.into_inner().into_iter().collect();
        let mut layer = origin.check(self.raw)?;
        // They run in their own order, however the file lists them.
        self.hooks.sort_by_key(|hook| hooks::position(&hook.name));
        for hook in self.hooks {
            match Moment::of(&hook.name) {
                Moment::Create => layer.create.push(hook),
                Moment::Start => layer.start.push(hook),
                Moment::Enter => layer.enter.push(hook),
            }
        }
        layer.session_env = self.session.into_iter().collect();
        layer.volumes = volumes;
        layer.devcontainer = Some(Box::new(self.extra));
        Ok(layer)
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
