//! Arguments of `devbox image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::Format;
use crate::cli::complete;
use crate::image::layer::Method;

/// `image`.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Build an image from a Containerfile
    Build(Box<Build>),
    /// Fetch an image from its registry, or what has changed of it
    Pull(Pull),
    /// Give an image to a registry
    Push(Push),
    /// Make an image of a box
    Commit(Commit),
    /// Write an image into a file, for `podman load`, `docker load` or `skopeo`
    Save(Save),
    /// Take images from a file: of `docker save`, an OCI archive or an OCI layout
    Load(Load),
    /// List the images that are here
    List(super::Listing),
    /// Give an image another name as well
    Tag(Tag),
    /// Forget an image; what only it needs is removed
    Rm(Names),
    /// Show what is known of an image, as JSON
    Inspect(Name),
    /// Show how an image was made, the newest step first
    History(History),
    /// Show what differs between two images, or what an image's last layer changes
    Diff(Diff),
    /// Check a login with a registry, and keep it where docker and podman look
    Login(Login),
    /// Forget the login of a registry
    Logout(Logout),
}

/// `image build`.
#[derive(Debug, Args)]
pub struct Build {
    /// Where files are copied from: a directory, a git repository (URL#REF:DIRECTORY), the URL of an archive, or `-` for
    /// an archive or a Containerfile on standard input
    #[arg(value_name = "CONTEXT", value_hint = ValueHint::DirPath)]
    pub context: String,
    /// The Containerfile; by default `Containerfile` or `Dockerfile` of the context, `-` for standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// A name for the image; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,
    /// The stage to build; by default the last one
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// A value for an `ARG`: NAME=VALUE, or NAME for that of the environment
    #[arg(long = "build-arg", value_name = "ARG")]
    pub build_args: Vec<String>,
    /// A secret for `RUN --mount=type=secret`: id=ID,src=FILE or id=ID,env=VARIABLE
    #[arg(long = "secret", value_name = "SECRET")]
    pub secrets: Vec<String>,
    /// An SSH agent for `RUN --mount=type=ssh`: `default`, which fetches repositories as well, or ID=SOCKET
    #[arg(long, value_name = "AGENT")]
    pub ssh: Vec<String>,
    /// Another directory or image for `--from`: NAME=DIRECTORY, NAME=docker-image://IMAGE, or NAME=URL of a git repository
    /// or an archive
    #[arg(long = "build-context", value_name = "CONTEXT")]
    pub build_contexts: Vec<String>,
    /// A label for the image: NAME=VALUE
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// An image whose steps need not be done again, if they are the same; may be given more than once
    #[arg(long = "cache-from", value_name = "IMAGE")]
    pub cache_from: Vec<String>,
    /// When to ask registries for the images of FROM and --from
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value_t, default_missing_value = "always")]
    pub pull: BuildPull,
    /// Do every step, also those that an earlier build has done
    #[arg(long)]
    pub no_cache: bool,
    /// What the image is to run on, like linux/arm64; by default this machine
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Build nothing; only show what the checks find in the Containerfile. The status is 1 if that is something
    #[arg(long)]
    pub check: bool,
    /// How to show what is done
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub progress: BuildProgress,
    /// Where the image's id is written: `--iidfile` of docker's command line
    #[arg(skip)]
    pub id_file: Option<PathBuf>,
}

/// When a build asks registries for images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BuildPull {
    /// For every image, each time
    Always,
    /// For images that are not here
    #[default]
    Missing,
    /// Never
    Never,
}

/// How a build shows itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BuildProgress {
    /// A screen on a terminal, else plain lines
    #[default]
    Auto,
    /// Lines that stay
    Plain,
    /// A screen on which the running steps move
    Tty,
    /// One JSON object a line
    Json,
    /// Only what fails
    Quiet,
}

/// `image pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Which: `[registry/]repository[:tag][@digest]`
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// What it is to run on, like linux/arm64; by default this machine
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
}

/// `image push`.
#[derive(Debug, Args)]
pub struct Push {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// Its name there; by default the same
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// How layers that were made here are compressed: gzip or zstd; with a level, as in zstd:19
    #[arg(long, value_name = "METHOD")]
    pub compression: Option<Method>,
}

/// `image save`.
#[derive(Debug, Args)]
pub struct Save {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// Where to; by default standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub output: Option<PathBuf>,
    /// What it becomes
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: SaveFormat,
}

/// Forms of an image outside a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SaveFormat {
    /// A tar that docker reads as well
    #[default]
    DockerArchive,
    /// A tar of an OCI image layout
    OciArchive,
    /// A directory with an OCI image layout
    OciDir,
}

/// `image commit`.
#[derive(Debug, Args)]
pub struct Commit {
    /// The image's name
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// The box; by default that of this folder's project
    #[arg(long = "box", value_name = "NAME", add = ArgValueCandidates::new(complete::boxes))]
    pub name: Option<String>,
    /// How its new layer is compressed: gzip, which every program reads, or zstd; with a level, as in zstd:19
    #[arg(long, default_value = "gzip", value_name = "METHOD")]
    pub compression: Method,
    /// A remark for its history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// `image load`.
#[derive(Debug, Args)]
pub struct Load {
    /// The archive or directory; by default standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub file: Option<PathBuf>,
    /// What the image is to be called; by default what the file says
    #[arg(short, long, value_name = "NAME")]
    pub tag: Option<String>,
    /// Of images for several platforms, which one; by default this machine's
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
}

/// `image tag`.
#[derive(Debug, Args)]
pub struct Tag {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// Its other name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// One image.
#[derive(Debug, Args)]
pub struct Name {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
}

/// Several images.
#[derive(Debug, Args)]
pub struct Names {
    /// Images that are here
    #[arg(value_name = "IMAGE", required = true, add = ArgValueCandidates::new(complete::images))]
    pub images: Vec<String>,
}

/// `image history`.
#[derive(Debug, Args)]
pub struct History {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `image diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// An image that is here
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(complete::images))]
    pub image: String,
    /// The image to compare it with; without it, what the image's last layer changes of those below is shown
    #[arg(value_name = "OTHER", add = ArgValueCandidates::new(complete::images))]
    pub other: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `image login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The registry; by default Docker Hub
    #[arg(value_name = "REGISTRY", value_hint = ValueHint::Hostname)]
    pub registry: Option<String>,
    /// The user; by default you are asked
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Read the password or token from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
}

/// `image logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// The registry; by default Docker Hub
    #[arg(value_name = "REGISTRY", value_hint = ValueHint::Hostname)]
    pub registry: Option<String>,
}
