//! What can be typed. Types only: the doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::complete;

pub mod docker;
pub mod editor;
pub mod image;
pub mod network;
pub mod packages;
pub mod profile;
pub mod security;
pub mod ssh;
pub mod upkeep;

use editor::{EditorCommand, Hook, RootArgs, Shim};
use image::Image;
use network::{Net, NetworkArg, Port};
use packages::{AddPackages, Freeze, LockArgs, RemovePackages, UpdateArgs};
use profile::{ConfigArgs, Export, ImportArgs, Init, Profile};
use security::SecurityArgs;
use ssh::Ssh;
use upkeep::{CheckArgs, GcArgs};

/// A rootless sandbox for developer environments
///
/// In a project's folder, `devbox enter` gives a shell as root in a root file system of the project's own. The folder
/// is there, at the same path; nothing else of the host can be touched.
#[derive(Debug, Parser)]
#[command(
    name = "devbox",
    version,
    propagate_version = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
#[command(after_help = topics())]
pub struct Cli {
    /// Behave as if started in this folder
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented devbox.toml for the project in this folder
    Init(Init),
    /// Open a shell in the project's box; without a terminal, run the script on standard input
    Enter(Enter),
    /// Run a task of the profile, or a command, in the project's box
    Run(Run),
    /// List the boxes of this user
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Show one box
    Status(StatusArgs),
    /// Show what running boxes use: processors, memory, processes, disks, network
    Stats(StatsArgs),
    /// Show what the project's box may use, and change it while the box runs
    #[command(args_conflicts_with_subcommands = true)]
    Limits(LimitsArgs),
    /// Show which ports of a running box are reachable on the host, and change that
    #[command(subcommand)]
    Port(Port),
    /// Print where the files of a running box can be read on the host
    Root(RootArgs),
    /// Make programs for the host that run a tool of the box
    #[command(subcommand)]
    Shim(Shim),
    /// Write the project's settings for an editor, and take them back
    #[command(subcommand)]
    Editor(EditorCommand),
    /// Print a hook for a shell of the host: it offers the box when a project's folder is entered
    Hook(Hook),
    /// Stop a box and everything that runs in it
    Stop(Stop),
    /// Remove a box and everything it holds
    Rm(Remove),
    /// Throw away what was changed in a box
    Reset(Reset),
    /// Keep and restore states of a box
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Show what a box changed of its base
    Diff(StatusArgs),
    /// Add packages to devbox.toml, and to the box
    Add(AddPackages),
    /// Remove packages from devbox.toml, and from the box
    Remove(RemovePackages),
    /// Write devbox.lock.toml: the base and the versions of packages, for other machines and later days
    Lock(LockArgs),
    /// Lock the newest base and packages
    Update(UpdateArgs),
    /// Write what was installed by hand in the box into devbox.toml
    Freeze(Freeze),
    /// Make a box for another folder that begins as this one is now
    Clone(CloneArgs),
    /// Show what happened to a box
    Logs(Logs),
    /// See what a box was refused
    #[command(subcommand)]
    Log(Log),
    /// See what a box reaches over the network, and what it may reach
    #[command(subcommand)]
    Net(Net),
    /// Make an image of a box, and give it to a registry
    Push(image::Commit),
    /// Work with images and registries
    #[command(subcommand)]
    Image(Image),
    /// Containers as boxes, for programs that want docker's command line
    Docker(docker::Docker),
    /// Boxes over ssh
    #[command(flatten)]
    Ssh(Ssh),
    /// Remove what no image, box, snapshot or running session needs
    Gc(GcArgs),
    /// Show what takes how much space
    Df(Listing),
    /// Look whether every image, layer and box is sound
    Check(CheckArgs),
    /// Write devbox.toml from the project's devcontainer file
    Import(ImportArgs),
    /// Print the project's profile in another form
    #[command(subcommand)]
    Export(Export),
    /// Look at profiles
    #[command(subcommand)]
    Profile(Profile),
    /// Look for what this machine lacks, and say how to mend it
    Doctor(Listing),
    /// Show where devbox keeps its files, and your own configuration
    Config(ConfigArgs),
    /// Print the completions of a shell
    Completions(Completions),
    /// Print the manual page, or write those of all commands and topics
    Man(Man),
    /// Show the help of a command, or a page about a topic
    Help(Help),
}

/// The line that names the topics.
fn topics() -> String {
    let names: Vec<&str> = crate::help::TOPICS.iter().map(|topic| topic.name).collect();
    format!("`devbox help TOPIC` has a page about each of these topics:\n  {}", names.join(", "))
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// A format option alone.
#[derive(Debug, Args)]
pub struct Listing {
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Which box.
#[derive(Debug, Args)]
pub struct Target {
    /// The box; by default that of this folder's project
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
    pub name: Option<String>,
}

/// Options of a session.
#[derive(Debug, Default, Args)]
pub struct Session {
    /// Another network than the profile's
    #[arg(long, value_enum, value_name = "MODE")]
    pub network: Option<NetworkArg>,
    /// Be another user of the box than the profile's
    #[arg(long, short, value_name = "USER", add = ArgValueCandidates::new(complete::users))]
    pub user: Option<String>,
    /// Leave the box running after its last session
    #[arg(long)]
    pub keep: bool,
    /// Throw away what the session changes
    #[arg(long, conflicts_with = "keep")]
    pub rm: bool,
    /// Fail unless devbox.lock.toml is there and everything is as it says
    #[arg(long)]
    pub locked: bool,
    /// Of several devcontainer files, the one that is called so
    #[arg(long, value_name = "NAME")]
    pub devcontainer: Option<String>,
    /// Run none of the profile's hooks
    #[arg(long)]
    pub no_hooks: bool,
    /// What the box may do
    #[command(flatten)]
    pub security: SecurityArgs,
    /// Print what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `enter`.
#[derive(Debug, Args)]
pub struct Enter {
    /// How
    #[command(flatten)]
    pub session: Session,
    /// What belongs behind `run --`
    #[arg(last = true, hide = true)]
    pub command: Vec<OsString>,
}

/// `run`.
#[derive(Debug, Args)]
#[command(
    override_usage = "devbox run [OPTIONS] <TASK> [-- ARGUMENTS...]\n       devbox run [OPTIONS] -- <COMMAND>..."
)]
pub struct Run {
    /// How
    #[command(flatten)]
    pub session: Session,
    /// The command is a language server, and names files as the host does
    #[arg(long, conflicts_with_all = ["task", "rm"])]
    pub lsp: bool,
    /// A task of the profile
    #[arg(value_name = "TASK", add = ArgValueCandidates::new(complete::tasks), required_unless_present = "command")]
    pub task: Option<String>,
    /// A program and its arguments; after a task, arguments of the task
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `status` and `diff`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which
    #[command(flatten)]
    pub target: Target,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The boxes; by default all that run
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
    pub names: Vec<String>,
    /// Print once; without it a terminal shows a table that redraws
    #[arg(long)]
    pub once: bool,
    /// Look again after this many seconds
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: u32,
    /// How to print; JSON is an object for each box a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `limits`.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// What to do; by default, the limits are shown
    #[command(subcommand)]
    pub command: Option<Limits>,
    /// Which
    #[command(flatten)]
    pub show: StatusArgs,
}

/// What to do with limits.
#[derive(Debug, Subcommand)]
pub enum Limits {
    /// Show the limits of a box, and which of them do not hold
    Show(StatusArgs),
    /// Change limits of a running box until it stops
    Set {
        /// Such as `memory=2GiB` or `cpus=0.5`
        #[arg(value_name = "KEY=VALUE", required = true)]
        changes: Vec<String>,
        /// The box; by default that of this folder's project
        #[arg(long = "box", value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
        name: Option<String>,
    },
}

/// `stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Which
    #[command(flatten)]
    pub target: Target,
    /// Stop every box
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
    /// Kill what has not ended after this many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub time: u32,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Which
    #[command(flatten)]
    pub target: Target,
    /// Stop it first if it runs; having no box is no error
    #[arg(long)]
    pub force: bool,
}

/// `reset`.
#[derive(Debug, Args)]
pub struct Reset {
    /// Which
    #[command(flatten)]
    pub target: Target,
    /// Throw the snapshots away, too
    #[arg(long)]
    pub all: bool,
}

/// `snapshot`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Keep the state of a box under a name
    Create(SnapshotArgs),
    /// List the snapshots of a box
    List(StatusArgs),
    /// Return a box to a snapshot; what was changed since is lost
    Restore(SnapshotArgs),
    /// Remove a snapshot
    Rm(SnapshotArgs),
}

/// A snapshot.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The snapshot's name
    #[arg(value_name = "SNAPSHOT", add = ArgValueCandidates::new(complete::snapshots))]
    pub snapshot: String,
    /// Its box
    #[command(flatten)]
    pub target: Target,
}

/// `clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The folder that gets the new box
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The new box's name; by default the folder's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Which
    #[command(flatten)]
    pub target: Target,
    /// Print what happens from now on, too, until the box is removed
    #[arg(long, short)]
    pub follow: bool,
    /// How to print; with --follow, JSON is an object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show the system calls and mounts that the box's filter refused
    Denied(Logs),
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `help`.
#[derive(Debug, Args)]
pub struct Help {
    /// A topic, or the words of a command; by default, all commands are listed
    #[arg(value_name = "TOPIC|COMMAND", add = ArgValueCandidates::new(complete::help))]
    pub words: Vec<String>,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Where the pages go, below `man1`, `man5` and `man7`; by default, the first one is printed
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub target: Option<PathBuf>,
}
