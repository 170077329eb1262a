//! The keys of a profile as they are written, each value with its position in the file.
//!
//! Only shapes are checked here (unknown keys, wrong types); what the values may be is `validate`'s business. The doc
//! comments of the fields are the descriptions in the published JSON schema.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::registries::{RawImages, RawRegistries};
use super::share::Cache;
use super::user::RawBuildCache;
use super::{ForwardMode, Lifetime, NetworkMode, TerminalIntegration};
use crate::base::OverlayDriver;

/// A value and the bytes of the file that it was read from.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Byte offsets into the file's text.
    pub span: Range<usize>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for At<T> {}

impl<T: PartialOrd> PartialOrd for At<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for At<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A devbox profile: the description of a development environment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "devbox profile")]
pub struct RawProfile {
    /// The name of the box. Default: made from the name of the project folder.
    pub name: Option<At<String>>,
    /// The profile below this one: a shipped profile, one of the user's, or a path that ends with `.toml`.
    pub extends: Option<At<String>>,
    /// `"host"`: a copy-on-write view of the host's own system. The default; excludes the three below.
    pub base: Option<At<String>>,
    /// An image of a registry, such as `"docker.io/library/debian:bookworm"`, pulled once.
    pub image: Option<At<String>>,
    /// A distribution and its release, such as `"debian:bookworm"`, bootstrapped once.
    pub distro: Option<At<String>>,
    /// A directory or a tar archive (plain, gzip, zstd) with a root file system.
    pub rootfs: Option<At<String>>,
    /// An image that is built from a Containerfile of the project.
    #[serde(default)]
    #[schemars(with = "RawBuild")]
    pub build: Option<At<RawBuild>>,
    /// Packages of the base's own package manager, installed once.
    #[serde(default)]
    pub packages: Vec<At<String>>,
    /// The shell of `devbox enter`: an absolute path in the box.
    pub shell: Option<At<String>>,
    /// `"root"`, or the name of a user that is given the invoking user's id.
    pub user: Option<At<String>>,
    /// When the box stops: with its last session, or when told to.
    pub lifetime: Option<At<Lifetime>>,
    /// Whether sessions and shells tell the terminal about the box: in a terminal that understands it, or never.
    pub terminal_integration: Option<At<TerminalIntegration>>,
    /// How the project folder is seen in the box.
    #[serde(default)]
    pub project: RawProject,
    /// Environment variables, and the list `pass` of those that are taken from the host.
    #[serde(default)]
    pub env: RawEnv,
    /// Host directories and files that the box sees.
    #[serde(default)]
    pub mounts: Vec<At<RawMount>>,
    /// Named grants of host things.
    #[serde(default)]
    pub share: RawShare,
    /// The network of the box.
    #[serde(default)]
    pub network: RawNetwork,
    /// What the box may use at most.
    #[serde(default)]
    pub limits: RawLimits,
    /// What processes of the box may do.
    #[serde(default)]
    pub security: RawSecurity,
    /// Shell commands by name, for `devbox run NAME`.
    #[serde(default)]
    pub tasks: BTreeMap<At<String>, At<String>>,
    /// Shell commands that run in the box on their own.
    #[serde(default)]
    pub hooks: RawHooks,
}

/// `[build]`: paths are relative to the project, and in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawBuild {
    /// The Containerfile. Default: `Containerfile` or `Dockerfile` of the context.
    pub containerfile: Option<At<String>>,
    /// The folder that files are copied from. Default: the project.
    pub context: Option<At<String>>,
    /// The stage. Default: the last one.
    pub target: Option<At<String>>,
    /// Values for `ARG`.
    #[serde(default)]
    pub args: BTreeMap<At<String>, At<String>>,
}

/// `[project]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawProject {
    /// Where the project folder is mounted: `"same"` (the default) for its path on the host, or an absolute path.
    pub path: Option<At<String>>,
    /// Files and directories of the project, relative to it, that are seen as empty and cannot be changed.
    #[serde(default)]
    pub mask: Vec<At<String>>,
    /// Files and directories of the project, relative to it, that the box can read and not change.
    #[serde(default)]
    pub protect: Vec<At<String>>,
    /// The box cannot change the project. Default: false.
    pub read_only: Option<At<bool>>,
}

/// One of `[[mounts]]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawMount {
    /// On the host: absolute, below `~/`, or relative to the folder of the file that names it.
    pub source: At<String>,
    /// In the box: an absolute path.
    pub target: At<String>,
    /// The box cannot change it. Default: false.
    pub read_only: Option<At<bool>>,
}

/// `[share]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawShare {
    /// The SSH agent. Default: false.
    pub ssh_agent: Option<At<bool>>,
    /// The GPG agent, restricted, and the public keys, read-only. Default: false.
    pub gpg_agent: Option<At<bool>>,
    /// The user's git configuration, read-only. Default: false.
    pub git_config: Option<At<bool>>,
    /// The user's logins of image registries, read-only. Default: false.
    pub docker_config: Option<At<bool>>,
    /// The Wayland compositor. Default: false.
    pub wayland: Option<At<bool>>,
    /// The X display, with a cookie of the box's own. Default: false.
    pub x11: Option<At<bool>>,
    /// PipeWire and PulseAudio. Default: false.
    pub audio: Option<At<bool>>,
    /// Graphics cards, for computing and rendering. Default: false.
    pub gpu: Option<At<bool>>,
    /// The host's extra CA certificates and proxy variables. Default: true.
    pub ca_certificates: Option<At<bool>>,
    /// Names of the session bus that can be talked to, such as `"org.freedesktop.Notifications"`.
    #[serde(default)]
    pub dbus: Vec<At<String>>,
    /// Package managers whose downloads are shared by all boxes that name them.
    #[serde(default)]
    pub home_cache: Vec<At<Cache>>,
}

/// `[network]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawNetwork {
    /// `"private"`, `"host"`, `"none"`, or `"auto"` (the default): private where a helper program is installed.
    pub mode: Option<At<NetworkMode>>,
    /// Ports of the box that are reachable on the host: `"8080:80"`, `"127.0.0.1:5432:5432/tcp"`, `"[::1]:53:53/udp"`,
    /// `"8000-8010:8000-8010"`. Without an address on the host's loopback alone.
    #[serde(default)]
    pub ports: Vec<At<String>>,
    /// `"auto"` (the default): every TCP port that something in the box listens on appears on the host's loopback.
    /// `"off"`: only `ports` do.
    pub forward: Option<At<ForwardMode>>,
    /// Ports of the host's loopback that the box reaches at its own: `5432`, `"53/udp"`.
    #[serde(default)]
    pub host_ports: Vec<At<RawHostPort>>,
    /// What the box reaches, and nothing else: `"packages.example:443"`, `"*.github.com"`, `"10.0.0.0/8:22"`,
    /// `"udp/192.0.2.53:53"`, `"[2001:db8::/32]:80,8000-8010"`. Without this key everything, with an empty list nothing.
    pub egress: Option<Vec<At<String>>>,
    /// How fast the box may send and receive: `"50mbit"`, or `{ up = "10mbit", down = "50mbit" }`.
    pub bandwidth: Option<At<RawBandwidth>>,
    /// The name of another box, which runs: its network is this one's too.
    pub join: Option<At<String>>,
}

/// `network.bandwidth`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum RawBandwidth {
    /// In both directions.
    Both(String),
    /// In each.
    Each {
        /// What the box sends.
        up: Option<String>,
        /// What it receives.
        down: Option<String>,
    },
}

/// One of `network.host_ports`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum RawHostPort {
    /// A TCP port.
    Number(i64),
    /// With a protocol.
    Text(String),
}

/// `[limits]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawLimits {
    /// Processors at a time, such as `0.5` or `2`.
    pub cpus: Option<At<f64>>,
    /// The share of busy processors against other boxes: 1 to 10000. Everybody has 100.
    pub cpu_weight: Option<At<u64>>,
    /// Memory, such as `"4GiB"`: whoever needs more is killed.
    pub memory: Option<At<String>>,
    /// Memory above which the box is slowed down.
    pub memory_high: Option<At<String>>,
    /// Swap. Default: none when `memory` is limited.
    pub swap: Option<At<String>>,
    /// Processes and threads.
    pub pids: Option<At<u64>>,
    /// Read from disks, such as `"100MB/s"`.
    pub io_read: Option<At<String>>,
    /// Written to disks.
    pub io_write: Option<At<String>>,
    /// Open files of one process.
    pub files: Option<At<u64>>,
    /// `/dev/shm`. Default: half of the machine's memory.
    pub shm: Option<At<String>>,
    /// The box's writable layer.
    pub disk: Option<At<String>>,
    /// A limit that does not hold on this machine is an error. Default: false.
    pub require: Option<At<bool>>,
}

/// `[security]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawSecurity {
    /// Changes of the capabilities of the box's root: `{ add = ["NET_ADMIN"], drop = ["NET_RAW"] }`.
    #[serde(default)]
    pub capabilities: RawCapabilities,
    /// Where the box has one id only, files show the owners that `chown` gave them, and processes the ids that `setuid` gave
    /// them. Looking at files takes longer. Default: false.
    pub emulate_ids: Option<At<bool>>,
    /// No program gains anything by its setuid bit or its file capabilities. Default: false.
    pub no_new_privileges: Option<At<bool>>,
    /// Changes of the list of allowed system calls: `{ allow = ["keyctl"], deny = ["ptrace"] }`.
    #[serde(default)]
    pub seccomp: RawSeccomp,
}

/// `security.capabilities`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawCapabilities {
    /// Given besides those that every box has.
    #[serde(default)]
    pub add: Vec<At<String>>,
    /// Taken away.
    #[serde(default)]
    pub drop: Vec<At<String>>,
}

/// `security.seccomp`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawSeccomp {
    /// Whatever their arguments.
    #[serde(default)]
    pub allow: Vec<At<String>>,
    /// They fail with EPERM.
    #[serde(default)]
    pub deny: Vec<At<String>>,
}

/// `[hooks]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RawHooks {
    /// Run once, when the box is first made.
    #[serde(default)]
    pub create: Vec<At<String>>,
    /// Run whenever the box starts, before its first session.
    #[serde(default)]
    pub start: Vec<At<String>>,
    /// Run before each session.
    #[serde(default)]
    pub enter: Vec<At<String>>,
    /// A snapshot, `before`, whenever the box starts, and a list of what changed after the session. Default: false.
    pub review: Option<At<bool>>,
}

/// `[env]`: any key is a variable, but for `pass`.
#[derive(Debug, Clone, Default)]
pub struct RawEnv {
    /// Variables taken from the host.
    pub pass: Vec<At<String>>,
    /// Variables and their values.
    pub set: BTreeMap<At<String>, At<String>>,
}

impl<'de> Deserialize<'de> for RawEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvVisitor;
        impl<'de> Visitor<'de> for EnvVisitor {
            type Value = RawEnv;
            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("a table of variables")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEnv, A::Error> {
                let mut env = RawEnv::default();
                while let Some(key) = map.next_key::<At<String>>()? {
                    if key.value == "pass" {
                        env.pass = map.next_value()?;
                    } else {
                        let value = map.next_value()?;
                        env.set.insert(key, value);
                    }
                }
                Ok(env)
            }
        }
        deserializer.deserialize_map(EnvVisitor)
    }
}

impl JsonSchema for RawEnv {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Env".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "pass": {
                    "description": "Variables that are taken from the host when they are set there.",
                    "type": "array",
                    "items": { "type": "string" },
                    "default": [],
                },
            },
            "additionalProperties": { "type": "string" },
        })
    }
}

/// The user's `config.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// What every profile starts from.
    #[serde(default)]
    pub profile: RawProfile,
    /// Where images come from.
    #[serde(default)]
    pub registries: RawRegistries,
    /// How large images may become.
    #[serde(default)]
    pub images: RawImages,
    /// How layers are stacked.
    #[serde(default)]
    pub overlay: RawOverlay,
    /// What is kept of builds.
    #[serde(default)]
    pub build_cache: RawBuildCache,
}

/// `[overlay]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOverlay {
    /// Who stacks the layers of new boxes.
    #[serde(default)]
    pub driver: OverlayChoice,
}

/// `overlay.driver`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayChoice {
    /// The kernel where it can, else `fuse-overlayfs`.
    #[default]
    Auto,
    /// The kernel, or an error.
    Kernel,
    /// `fuse-overlayfs`, or an error.
    Fuse,
}

impl From<OverlayChoice> for Option<OverlayDriver> {
    fn from(choice: OverlayChoice) -> Self {
        match choice {
            OverlayChoice::Auto => None,
            OverlayChoice::Kernel => Some(OverlayDriver::Kernel),
            OverlayChoice::Fuse => Some(OverlayDriver::Fuse),
        }
    }
}

/// The sections and their keys, to say where a misplaced key belongs; the empty name is the top of the file.
#[rustfmt::skip]
pub const SECTIONS: &[(&str, &[&str])] = &[
    ("build", &["containerfile", "context", "target", "args"]),
    ("project", &["path", "mask", "protect", "read_only"]),
    (
        "share",
        &[
            "ssh_agent",
            "gpg_agent",
            "git_config",
            "docker_config",
            "wayland",
            "x11",
            "audio",
            "gpu",
            "ca_certificates",
            "dbus",
            "home_cache",
        ],
    ),
    ("network", &["mode", "ports", "forward", "host_ports", "bandwidth", "join", "egress"]),
    (
        "limits",
        &[
            "cpus",
            "cpu_weight",
            "memory",
            "memory_high",
            "swap",
            "pids",
            "io_read",
            "io_write",
            "files",
            "shm",
            "disk",
            "require",
        ],
    ),
    ("security", &["capabilities", "emulate_ids", "no_new_privileges", "seccomp"]),
    ("env", &["pass"]),
    ("hooks", &["create", "start", "enter", "review"]),
    ("mounts", &["source", "target"]),
    (
        "",
        &[
            "name", "extends", "base", "image", "distro", "rootfs", "build", "packages", "shell", "user", "lifetime",
            "terminal_integration", "project", "env", "mounts", "share", "network", "limits", "security", "tasks", "hooks",
        ],
    ),
];

/// The JSON schema of a profile, for editors.
pub fn schema_json() -> String {
    let schema = schemars::schema_for!(RawProfile);
    // A `Schema` is a JSON value already: printing it cannot fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_the_keys_of_every_section() {
        let schema: serde_json::Value = serde_json::from_str(&schema_json()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["env"]["additionalProperties"]["type"], "string");
        for (section, keys) in SECTIONS {
            let table = match *section {
                "" => &schema,
                "mounts" => &schema["properties"]["mounts"]["items"],
                name => &schema["properties"][name],
            };
            let properties = table["properties"].as_object().unwrap_or_else(|| panic!("[{section}] in {table}"));
            for key in *keys {
                assert!(properties.contains_key(*key), "[{section}] {key}");
            }
            for (key, value) in properties {
                assert!(keys.contains(&key.as_str()) || key == "read_only", "[{section}] {key} is not in SECTIONS");
                assert!(value["description"].is_string(), "[{section}] {key} has no description: {value}");
            }
        }
    }

    #[test]
    fn the_reference_has_every_key() {
        let reference = include_str!("../../docs/profile.md");
        for (section, keys) in SECTIONS {
            for key in *keys {
                let tables =
                    ["build", "project", "env", "mounts", "share", "network", "limits", "security", "tasks", "hooks"];
                let name = match *section {
                    "" if tables.contains(key) => format!("[{key}]"),
                    "" => format!("### `{key}`"),
                    _ => format!("`{key}`"),
                };
                assert!(reference.contains(&name), "docs/profile.md lacks {name}");
            }
        }
    }

    #[test]
    fn every_example_of_the_reference_is_valid() {
        let root = std::path::Path::new("/p");
        let reference = include_str!("../../docs/profile.md");
        let mut examples = 0;
        for block in reference.split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap();
            let origin = super::super::validate::Origin { file: root, text, folder: root, home: root };
            let checked = if ["[profile", "[registries", "[overlay", "[images"].iter().any(|name| text.contains(name)) {
                super::super::validate::parse_config(&origin)
            } else {
                super::super::validate::parse_profile(&origin)
            };
            checked.unwrap_or_else(|error| panic!("{}", error.render(false)));
            examples += 1;
        }
        assert!(examples > 5);
    }
}
