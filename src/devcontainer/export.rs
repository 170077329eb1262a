//! A profile as a `devcontainer.json`, or as a Containerfile. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::base::BaseSpec;
use crate::limits::Key;
use crate::profile::bandwidth::Bandwidth;
use crate::profile::devcontainer::hooks::quote;
use crate::profile::devcontainer::substitute::names_variables;
use crate::profile::ports::{Protocol, Published};
use crate::profile::{DEFAULT_PASS, ForwardMode, Grant, Hook, Lifetime, NetworkMode, Profile};
use crate::text::{comma_field, sanitize};

/// What another form cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The profile stands on something that no other program can have.
    #[error("the base `{base}` is no image")]
    NoImage {
        /// What it stands on.
        base: String,
    },
    /// A line of a Containerfile has no escapes for them.
    #[error("a Containerfile cannot say `{}`, which has control characters", path.escape_debug())]
    ControlCharacters {
        /// Where the project appears.
        path: String,
    },
}

/// The text of a devcontainer file at `.devcontainer/devcontainer.json`; what it cannot say stands in comments. `project` is
/// the project's folder.
pub fn devcontainer(profile: &Profile, project: &Path) -> Result<String, ExportError> {
    let mut file = Map::new();
    file.insert("name".into(), json!(profile.name));
    match &profile.build {
        Some(build) => {
            let up = |path: &Path| Path::new("..").join(path).to_string_lossy().into_owned();
            let containerfile = build.containerfile.clone().unwrap_or_else(|| build.context.join("Containerfile"));
            let mut table = json!({"dockerfile": up(&containerfile), "context": up(&build.context)});
            if let Some(target) = &build.target {
                table["target"] = json!(target);
            }
            if !build.args.is_empty() {
                table["args"] = json!(build.args);
            }
            file.insert("build".into(), table);
        }
        None => drop(file.insert("image".into(), json!(image(profile)?))),
    }
    let own = mount("bind", "${localWorkspaceFolder}", &profile.project.path, profile.project.read_only);
    file.insert("workspaceMount".into(), json!(own));
    file.insert("workspaceFolder".into(), json!(profile.project.folder.as_deref().unwrap_or(&profile.project.path)));
    file.insert("remoteUser".into(), json!(profile.user));
    let mut variables: Map<String, Value> =
        profile.env.set.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    for name in profile.env.pass.iter().filter(|name| !DEFAULT_PASS.contains(&name.as_str())) {
        variables.insert(name.clone(), json!(format!("${{localEnv:{name}}}")));
    }
    if !variables.is_empty() {
        file.insert("containerEnv".into(), Value::Object(variables));
    }
    if !profile.env.session.is_empty() {
        file.insert("remoteEnv".into(), json!(profile.env.session));
    }
    let mounts: Vec<String> = mounts(profile, project);
    if !mounts.is_empty() {
        file.insert("mounts".into(), json!(mounts));
    }
    if profile.lifetime == Lifetime::Keep {
        file.insert("shutdownAction".into(), json!("none"));
    }
    if !profile.security.capabilities.more.is_empty() {
        let short = |name: &String| name.trim_start_matches("CAP_").to_owned();
        file.insert("capAdd".into(), json!(profile.security.capabilities.more.iter().map(short).collect::<Vec<_>>()));
    }
    if profile.security.no_new_privileges {
        file.insert("securityOpt".into(), json!(["no-new-privileges"]));
    }
    let ports: Vec<Value> = profile.network.ports.iter().map(|published| port(*published)).collect();
    if !ports.is_empty() {
        file.insert("appPort".into(), json!(ports));
    }
    if profile.network.forward == ForwardMode::Off {
        file.insert("otherPortsAttributes".into(), json!({"onAutoForward": "ignore"}));
    }
    if profile.share.has(Grant::Gpu) {
        file.insert("hostRequirements".into(), json!({"gpu": true}));
    }
    let arguments = run_arguments(profile);
    if !arguments.is_empty() {
        file.insert("runArgs".into(), json!(arguments));
    }
    hooks(profile, &mut file);
    let mut text = String::new();
    for lack in lacks(profile) {
        text += &format!("// {lack}\n");
    }
    // A map of JSON values: printing it cannot fail.
    Ok(text + &serde_json::to_string_pretty(&Value::Object(file)).unwrap_or_default() + "\n")
}

/// A Containerfile of what the profile's root file system holds. `own` is the text of the profile's own Containerfile, if it has one.
pub fn containerfile(profile: &Profile, own: Option<&str>) -> Result<String, ExportError> {
    let mut text = match own {
        Some(own) => own.trim_end().to_owned() + "\n",
        None => format!("FROM {}\n", image(profile)?),
    };
    if !profile.packages.is_empty() {
        text += &format!("RUN {}\n", install(profile));
    }
    for (name, value) in &profile.env.set {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', " ");
        text += &format!("ENV {name}=\"{value}\"\n");
    }
    text += &format!("WORKDIR {}\n", word(&profile.project.path.to_string_lossy())?);
    if profile.user != "root" {
        text += &format!("USER {}\n", profile.user);
    }
    if let Some(shell) = &profile.shell {
        text += &format!("CMD [{}]\n", Value::from(shell.to_string_lossy().into_owned()));
    }
    Ok(text)
}

/// A path as it is written after an instruction.
fn word(path: &str) -> Result<String, ExportError> {
    if path.contains(char::is_control) {
        return Err(ExportError::ControlCharacters { path: path.to_owned() });
    }
    let escape = |character| matches!(character, '\\' | '"' | '\'' | '$').then_some('\\');
    Ok(path.chars().flat_map(|character| escape(character).into_iter().chain([character])).collect())
}

/// The image that the profile stands on.
fn image(profile: &Profile) -> Result<String, ExportError> {
    match &profile.base {
        BaseSpec::Image(reference) => Ok(reference.familiar()),
        // The images of distributions are called as they are.
        BaseSpec::Distro(name) => Ok(name.clone()),
        BaseSpec::Host => Err(ExportError::NoImage { base: "host".to_owned() }),
        BaseSpec::Directory(path) | BaseSpec::Archive(path) => {
            Err(ExportError::NoImage { base: path.display().to_string() })
        }
    }
}

/// The command that installs the packages, by whichever package manager there is.
fn install(profile: &Profile) -> String {
    let names = profile.packages.iter().map(|name| quote(name)).collect::<Vec<_>>().join(" ");
    format!(
        "if command -v apt-get; then apt-get update && apt-get install -y --no-install-recommends {names}; \
         elif command -v apk; then apk add {names}; else dnf install -y {names}; fi"
    )
}

fn mounts(profile: &Profile, project: &Path) -> Vec<String> {
    let binds = profile.mounts.iter().map(|bind| {
        let source = match bind.source.strip_prefix(project) {
            Ok(inside) => format!("${{localWorkspaceFolder}}/{}", inside.display()),
            Err(_) => bind.source.to_string_lossy().into_owned(),
        };
        mount("bind", &source, &bind.target, bind.read_only)
    });
    let volumes = profile.volumes.iter().map(|one| mount("volume", &one.name, &one.target, one.read_only));
    binds.chain(volumes).collect()
}

/// A mount as docker's `--mount` has it.
fn mount(kind: &str, source: &str, target: &Path, read_only: bool) -> String {
    let fields = [format!("source={source}"), format!("target={}", target.display()), format!("type={kind}")];
    let read_only = read_only.then(|| "readonly".to_owned());
    fields.iter().chain(&read_only).map(|field| comma_field(field)).collect::<Vec<_>>().join(",")
}

/// A port as `appPort` has it. Docker opens a string without an address to other machines; a number is the loopback's.
fn port(published: Published) -> Value {
    let Published { address, host_port, box_port, protocol } = published;
    match (address, protocol) {
        (None, Protocol::Tcp) if host_port == Some(box_port) => json!(box_port),
        _ => {
            let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            json!(Published { address: Some(address), ..published }.to_string().trim_end_matches("/tcp"))
        }
    }
}

fn run_arguments(profile: &Profile) -> Vec<String> {
    let mut arguments = Vec::new();
    match profile.network.mode {
        NetworkMode::None => arguments.push("--network=none".to_owned()),
        NetworkMode::Host => arguments.push("--network=host".to_owned()),
        NetworkMode::Private | NetworkMode::Auto => {}
    }
    arguments.extend(
        profile.security.capabilities.less.iter().map(|name| format!("--cap-drop={}", name.trim_start_matches("CAP_"))),
    );
    arguments.extend(profile.limits.values.iter().filter_map(|(key, value)| limit(*key, *value)));
    arguments
}

/// The option of `docker run` for a limit, if there is one.
fn limit(key: Key, value: u64) -> Option<String> {
    match key {
        Key::Cpus => Some(format!("--cpus={}", key.format(value))),
        Key::Memory => Some(format!("--memory={value}b")),
        Key::Shm => Some(format!("--shm-size={value}b")),
        Key::Pids => Some(format!("--pids-limit={value}")),
        Key::Files => Some(format!("--ulimit=nofile={value}:{value}")),
        _ => None,
    }
}

fn hooks(profile: &Profile, file: &mut Map<String, Value>) {
    let join =
        |hooks: &[Hook]| hooks.iter().map(|hook| format!("(\n{}\n)", hook.command)).collect::<Vec<_>>().join(" && ");
    let one = |hooks: &[Hook]| match hooks {
        [only] => only.command.clone(),
        several => join(several),
    };
    if !profile.packages.is_empty() {
        file.insert("onCreateCommand".into(), json!(install(profile)));
    }
    let keys = [
        ("postCreateCommand", &profile.hooks.create),
        ("postStartCommand", &profile.hooks.start),
        ("postAttachCommand", &profile.hooks.enter),
    ];
    for (key, hooks) in keys.into_iter().filter(|(_, hooks)| !hooks.is_empty()) {
        file.insert(key.into(), json!(one(hooks)));
    }
}

/// What the profile says and no devcontainer file can, and what somebody who reads this one does otherwise.
fn lacks(profile: &Profile) -> Vec<String> {
    let (network, security) = (&profile.network, &profile.security);
    let shares =
        Grant::ALL.iter().any(|grant| profile.share.has(*grant) && !grant.by_default() && *grant != Grant::Gpu);
    let caches = !profile.share.dbus.is_empty() || !profile.share.home_cache.is_empty();
    let left_out = [
        (profile.shell.is_some(), "`shell` is left out"),
        (shares || caches, "`[share]` is left out: it has no equivalent"),
        (
            !profile.project.mask.is_empty() || !profile.project.protect.is_empty(),
            "`mask` and `protect` are left out: everything in the project can be seen and changed",
        ),
        (network.egress.is_some(), "`egress` is left out: everything can be reached"),
        (network.join.is_some(), "`join` is left out: the network is a container's own"),
        (network.bandwidth != Bandwidth::default(), "`bandwidth` is left out"),
        (!network.host_ports.is_empty(), "`host_ports` are left out"),
        (!security.seccomp.is_empty(), "`seccomp` is left out: docker's own list counts"),
        (!profile.tasks.is_empty(), "`[tasks]` are left out"),
        (profile.hooks.review, "`review` is left out"),
    ];
    let mut lacks: Vec<String> =
        left_out.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text.to_owned()).collect();
    let limits = profile.limits.values.keys().filter(|key| limit(**key, 0).is_none());
    lacks.extend(limits.map(|key| format!("the limit `{key}` is left out")));
    if profile.user != "root" {
        lacks.push(format!("the user `{}` must be one of the image", sanitize(&profile.user)));
        if !profile.packages.is_empty() {
            lacks.push("the packages are installed by `onCreateCommand`, which needs the rights of root".to_owned());
        }
    }
    let build = profile.build.iter().flat_map(|build| &build.args);
    let values = profile.env.set.iter().chain(build).map(|(name, value)| (name.as_str(), value));
    let hooks = &profile.hooks;
    let commands = [&hooks.create, &hooks.start, &hooks.enter].into_iter().flatten();
    let texts = values.chain(commands.map(|hook| (hook.name.as_str(), &hook.command)));
    lacks.extend(texts.filter(|(_, text)| names_variables(text)).map(|(name, _)| {
        format!("`{}`: what stands between `${{` and `}}` there is replaced by whoever reads this file", sanitize(name))
    }));
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_line() {
        assert_eq!(word("/a b/ü").unwrap(), "/a b/ü");
        assert_eq!(word(r#"/$x'"\"#).unwrap(), r#"/\$x\'\"\\"#);
        assert_eq!(word("/x\nRUN y"), Err(ExportError::ControlCharacters { path: "/x\nRUN y".into() }));
    }
}
