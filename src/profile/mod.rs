//! `devbox.toml`: finding, reading, merging, checking, trusting.
//!
//! ```text
//! load::find, load::read ──> schema::RawProfile ──> validate::Layer ──> merge ──> Profile
//!   bytes of each file        keys with positions     checked, one file   all files   complete
//! ```
//!
//! Every file is checked on its own, so that an error always has a line to point at; merging cannot fail. Nothing here
//! runs a command, and nothing is written but the memory of [`trust`]. Called by `cli` and `boxes`.

pub mod bandwidth;
pub mod container;
pub mod detect;
pub mod devcontainer;
pub mod diagnostic;
pub mod edit;
pub mod egress;
pub mod error;
mod limits;
pub mod load;
pub mod lock;
pub mod merge;
pub mod ports;
pub mod registries;
pub mod resolve;
pub mod schema;
pub mod security;
pub mod share;
pub mod shipped;
pub mod show;
pub mod trust;
pub mod user;
pub mod validate;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::BaseSpec;
use crate::limits::Limits;

pub use devcontainer::Devcontainer;
pub use diagnostic::Diagnostic;
pub use error::ProfileError;
pub use load::Found;
pub use resolve::{Listed, LoadedProfile, Source};
pub use security::Security;
pub use share::{Cache, Grant, Share};
pub use trust::HostWish;

/// What a box is to be: every field has a value, every path is absolute, everything is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The box's name: 1 to 64 bytes of letters, digits, `-`, `_`, `.`; by default made from the project folder's.
    pub name: String,
    /// The root file system below the box.
    pub base: BaseSpec,
    /// How `base`, which is an image then, is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Packages of the base's own package manager, without duplicates, in the order they were named.
    pub packages: Vec<String>,
    /// The versions of packages that the lock file names. Others are taken as they come.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
    /// The shell of `enter`, absolute in the box. `None`: the best one that the box has.
    pub shell: Option<PathBuf>,
    /// Who the commands run as: `root`, or a name that is given the invoking uid.
    pub user: String,
    /// When the box stops.
    pub lifetime: Lifetime,
    /// Whether shells speak with the terminal.
    pub terminal_integration: TerminalIntegration,
    /// How the project folder is seen.
    pub project: Project,
    /// The environment of the commands.
    pub env: Env,
    /// Further host directories and files, each target once.
    pub mounts: Vec<Mount>,
    /// How its root file system differs from that of other boxes. Only containers' does.
    #[serde(skip)]
    pub root: Root,
    /// Directories of the box's own that outlive its root file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Named grants of host things.
    pub share: Share,
    /// The network.
    pub network: Network,
    /// What the box may use at most.
    pub limits: Limits,
    /// What its processes may do.
    pub security: Security,
    /// `devbox run NAME`: name to shell command.
    pub tasks: BTreeMap<String, String>,
    /// Shell commands that run in the box on their own.
    pub hooks: Hooks,
}

/// An image of the project's own. Paths are relative to the project, without `..`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The Containerfile; `None`: `Containerfile` or `Dockerfile` of the context.
    pub containerfile: Option<PathBuf>,
    /// The folder that files are copied from; empty for the project.
    pub context: PathBuf,
    /// The stage; `None`: the last one.
    pub target: Option<String>,
    /// Values for `ARG`.
    pub args: BTreeMap<String, String>,
}

/// What a Containerfile is called that nothing names, the best first.
pub const CONTAINERFILES: [&str; 2] = ["Containerfile", "Dockerfile"];

impl Build {
    /// The Containerfile, relative to `project`, if it is there. One that is reached through `..` is not told.
    #[must_use]
    pub fn file_in(&self, project: &Path) -> Option<PathBuf> {
        let usual = CONTAINERFILES.iter().map(|name| self.context.join(name));
        let usual = usual.filter(|_| self.containerfile.is_none());
        let path = self.containerfile.iter().cloned().chain(usual).find(|path| project.join(path).exists())?;
        let parts = path.components().filter(|part| *part != Component::CurDir);
        parts.map(|part| matches!(part, Component::Normal(_)).then_some(part)).collect()
    }
}

/// When a box stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// With its last session.
    #[default]
    Session,
    /// When it is told to.
    Keep,
}

/// Whether sessions and shells tell the terminal about the box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TerminalIntegration {
    /// In a terminal that understands it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// How the project folder is seen in the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Project {
    /// Where it is mounted, absolute in the box.
    pub path: PathBuf,
    /// Relative to the project: seen as empty and read-only in the box. Plain names only, no `.` and `..`.
    pub mask: Vec<PathBuf>,
    /// Relative to the project: read-only in the box.
    pub protect: Vec<PathBuf>,
    /// The box cannot change the project.
    pub read_only: bool,
    /// Where commands start, unless the caller is in the project; `None`: where it is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The box has a project. Always, but for containers.
    #[serde(skip)]
    pub is_mounted: bool,
}

/// The environment of the commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Env {
    /// Set to these values.
    pub set: BTreeMap<String, String>,
    /// Taken from the environment of the invoking command, when they are there. [`DEFAULT_PASS`] is always among them.
    pub pass: Vec<String>,
    /// Set after everything else, where values may have `${containerEnv:NAME}` in them. `None`: not set at all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub session: BTreeMap<String, Option<String>>,
}

/// Variables of the host that every box sees: what a terminal and its language need, and nothing secret.
pub const DEFAULT_PASS: &[&str] = &[
    "TERM",
    "COLORTERM",
    "LANG",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "VTE_VERSION",
    "KONSOLE_VERSION",
    "COLORFGBG",
    "NO_COLOR",
];

/// A host directory or file in the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// On the host: absolute, symlinks resolved as far as the path exists. To be opened without following symlinks, so
    /// that it is what trust was asked for.
    pub source: PathBuf,
    /// In the box: absolute, without `.` and `..`.
    pub target: PathBuf,
    /// The box cannot change it.
    pub read_only: bool,
}

/// How a root file system differs from that of other boxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Root {
    /// Nothing can be written to it, but to what is mounted on it: `/tmp` and `/run` among others.
    pub read_only: bool,
    /// Memory that is mounted on it, each target once.
    pub tmpfs: Vec<Tmpfs>,
}

/// Memory that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// In the box: absolute, without `.` and `..`.
    pub target: PathBuf,
    /// Permission bits of its root.
    pub mode: u32,
    /// The most that it may hold; `None`: half of the memory.
    pub size_bytes: Option<u64>,
}

/// A directory of the box's own: it is there before the base, is not part of snapshots, and goes with the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name among the box's: a plain file name.
    pub name: String,
    /// In the box: absolute, without `.` and `..`.
    pub target: PathBuf,
    /// The box cannot change it.
    pub read_only: bool,
}

/// The network of the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Which.
    pub mode: NetworkMode,
    /// Ports of the box that are reachable on the host.
    pub ports: Vec<ports::Published>,
    /// Whether whatever listens in the box is.
    pub forward: ForwardMode,
    /// Ports of the host's loopback that the box reaches at its own.
    pub host_ports: Vec<ports::HostPort>,
    /// How fast the box sends and receives.
    pub bandwidth: bandwidth::Bandwidth,
    /// The box whose network this one shares, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// What the box reaches; nothing here: everything. An empty list: nothing.
    pub egress: Option<Vec<egress::Rule>>,
}

/// Whether what listens in the box appears on the host's loopback by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForwardMode {
    /// It does.
    #[default]
    Auto,
    /// It does not.
    Off,
}

/// Which network a box has.
///
/// The order is from the closed to the open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// Its own, through a helper program; an error without one.
    Private,
    /// Its own, or the host's when there is no helper program.
    #[default]
    Auto,
    /// The host's.
    Host,
}

/// One of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// What it is called when it fails: `create hook`, `postCreateCommand`.
    pub name: String,
    /// A line or a script for the shell.
    pub command: String,
    /// A shell that is opened does not wait for it.
    pub background: bool,
}

/// Shell commands that run in the box on their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hooks {
    /// Once, when the box is first made.
    pub create: Vec<Hook>,
    /// Whenever the box starts.
    pub start: Vec<Hook>,
    /// Before each session.
    pub enter: Vec<Hook>,
    /// A snapshot is made whenever the box starts, and what a session changed is listed.
    pub review: bool,
}
