//! What can be typed of `devbox docker`: the words of docker's command line, as far as they mean something here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

mod create;
mod images;

pub use create::Run;
pub use images::{Build, Buildx, Context, ImageCommand, ListImages, Network, Pull, System, Tag, Volume};

/// `docker`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true, subcommand_required = false)]
pub struct Docker {
    /// Print the version
    #[arg(short = 'v', long)]
    pub version: bool,
    /// There is one context, `default`
    #[arg(short = 'c', long, value_name = "NAME", hide = true)]
    pub context: Option<String>,
    /// Another daemon than this program, which cannot be
    #[arg(short = 'H', long, value_name = "HOST", hide = true)]
    pub host: Option<String>,
    /// Without meaning here
    #[arg(long, value_name = "DIR", hide = true)]
    pub config: Option<PathBuf>,
    /// Without meaning here
    #[arg(short = 'l', long, value_name = "LEVEL", hide = true)]
    pub log_level: Option<String>,
    /// Without meaning here
    #[arg(short = 'D', long, hide = true)]
    pub debug: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Option<DockerCommand>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum DockerCommand {
    /// Commands of containers
    #[command(flatten)]
    Container(ContainerCommand),
    /// Work with containers
    #[command(subcommand, name = "container")]
    Containers(OfContainers),
    /// Show what is known of containers, images and volumes, as JSON
    Inspect(Inspect),
    /// Build an image
    Build(Box<Build>),
    /// Build an image, as BuildKit's client is asked to
    #[command(subcommand, visible_alias = "builder")]
    Buildx(Buildx),
    /// Work with images
    #[command(subcommand)]
    Image(ImageCommand),
    /// List the images that are here
    Images(ListImages),
    /// Fetch an image
    Pull(Pull),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    Rmi(Remove),
    /// Print what happens to containers: since this command began, and from then on
    Events(Events),
    /// Print the version
    Version(Printed),
    /// Print what there is
    Info(Printed),
    /// Print what there is, and what happens
    #[command(subcommand)]
    System(System),
    /// Work with named volumes
    #[command(subcommand)]
    Volume(Volume),
    /// Look at the networks
    #[command(subcommand)]
    Network(Network),
    /// Look at the contexts: there is one
    #[command(subcommand)]
    Context(Context),
    /// Allow what a container was refused
    Allow {
        /// What the refusal named
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Commands of containers.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// List containers
    #[command(visible_aliases = ["ls", "list"])]
    Ps(Ps),
    /// Make a container and start it
    Run(Box<Run>),
    /// Make a container
    Create(Box<Run>),
    /// Start containers
    Start(Start),
    /// Ask containers to end, and end them
    Stop(Stop),
    /// Stop containers, and start them again
    Restart(Stop),
    /// Send a signal to containers
    Kill {
        /// Which signal
        #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
        signal: String,
        /// The containers
        #[arg(value_name = "CONTAINER", required = true)]
        names: Vec<String>,
    },
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Run a command in a container
    Exec(Exec),
    /// Print what the first process of a container wrote
    Logs(Logs),
    /// Copy files out of a container or into it
    Cp(Copy),
    /// Wait until containers end; print how
    Wait {
        /// The containers
        #[arg(value_name = "CONTAINER", required = true)]
        names: Vec<String>,
    },
    /// Show what running containers use
    Stats(Stats),
    /// Show the published ports of a container
    Port {
        /// The container
        #[arg(value_name = "CONTAINER")]
        name: String,
        /// Where this one is: PORT or PORT/PROTOCOL
        #[arg(value_name = "PORT")]
        port: Option<String>,
    },
}

/// `container`.
#[derive(Debug, Subcommand)]
pub enum OfContainers {
    /// What needs no `container` before it
    #[command(flatten)]
    Common(ContainerCommand),
    /// Show what is known of containers
    Inspect(Inspect),
    /// Remove every container that does not run
    Prune(Prune),
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// How a list is printed.
#[derive(Debug, Args)]
pub struct Formatted {
    /// A template of Go's, `json`, or `table`
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// How a thing is printed.
#[derive(Debug, Args)]
pub struct Printed {
    /// A template of Go's, or `json`
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Those that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Only those: `label=KEY=VALUE`, `name=`, `id=`, `status=`, `ancestor=`
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// How
    #[command(flatten)]
    pub format: Formatted,
    /// The last one only
    #[arg(short, long)]
    pub latest: bool,
    /// The last few
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
    /// Without meaning here
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub size: Option<bool>,
}

/// `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// What they are: container, image or volume
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Without meaning here
    #[arg(short, long, hide = true)]
    pub size: bool,
    /// How
    #[command(flatten)]
    pub format: Printed,
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `exec`.
#[derive(Debug, Args)]
#[command(override_usage = "devbox docker exec [OPTIONS] CONTAINER COMMAND [ARGUMENT]...")]
pub struct Exec {
    /// In the background
    #[arg(short, long)]
    pub detach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// As this user: a name or a number, with or without a group
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// In this folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// With this variable
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// With the variables of this file
    #[arg(long = "env-file", value_name = "FILE")]
    pub environment_files: Vec<PathBuf>,
    /// Without meaning here
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub privileged: Option<bool>,
    /// Without meaning here
    #[arg(long, value_name = "KEYS", hide = true)]
    pub detach_keys: Option<String>,
    /// The container, and what is to be run
    #[arg(value_name = "CONTAINER COMMAND", required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = false)]
    pub words: Vec<OsString>,
}

/// `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Print what it writes, until it ends
    #[arg(short, long)]
    pub attach: bool,
    /// Without meaning here
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// The containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub names: Vec<String>,
}

/// `stop` and `restart`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Kill what has not ended after so many seconds
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        default_value_t = 10,
        allow_negative_numbers = true
    )]
    pub timeout: i64,
    /// Ask by another signal
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// The containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub names: Vec<String>,
}

/// `rm` and `rmi`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Also what runs; having none is no error
    #[arg(short, long)]
    pub force: bool,
    /// Without meaning here
    #[arg(short, long, hide = true)]
    pub volumes: bool,
    /// Which
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Without a question, which is never asked
    #[arg(short, long)]
    pub force: bool,
    /// Also what has a name
    #[arg(short, long)]
    pub all: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// And what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// So many of the last lines; `all` by default
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    pub tail: String,
    /// Not possible: when a line was written is not kept
    #[arg(short, long, hide = true)]
    pub timestamps: bool,
    /// The same
    #[arg(long, value_name = "TIME", hide = true)]
    pub since: Option<String>,
    /// The same
    #[arg(long, value_name = "TIME", hide = true)]
    pub until: Option<String>,
    /// Without meaning here
    #[arg(long, hide = true)]
    pub details: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub name: String,
}

/// `cp`.
#[derive(Debug, Args)]
pub struct Copy {
    /// Keep owners
    #[arg(short, long)]
    pub archive: bool,
    /// Without meaning here
    #[arg(short, long, hide = true)]
    pub quiet: bool,
    /// CONTAINER:PATH, a path of the host, or `-` for an archive
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The same
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// `stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// Also those that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Once, instead of each second
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_stream: Option<bool>,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// How
    #[command(flatten)]
    pub format: Formatted,
    /// The containers; all that run by default
    #[arg(value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Only those: `event=`, `container=`, `label=`, `type=`, `image=`
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// From then on: seconds since 1970, RFC 3339, or an age like `10m`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Until then; nothing is waited for
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How
    #[command(flatten)]
    pub format: Formatted,
}
