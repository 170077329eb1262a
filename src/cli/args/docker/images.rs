//! What can be typed of docker's commands for images, volumes and the rest.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::{Formatted, Inspect, Printed, Prune, Remove};

/// `build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The Containerfile
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A name for the image
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,
    /// The stage to build
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// A value for an `ARG`
    #[arg(long, value_name = "ARG")]
    pub build_arg: Vec<String>,
    /// Another directory or image for `--from`
    #[arg(long, value_name = "CONTEXT")]
    pub build_context: Vec<String>,
    /// A label for the image
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// A secret for `RUN --mount=type=secret`
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// An SSH agent for `RUN --mount=type=ssh`
    #[arg(long, value_name = "AGENT")]
    pub ssh: Vec<String>,
    /// An image whose steps need not be done again
    #[arg(long, value_name = "IMAGE")]
    pub cache_from: Vec<String>,
    /// Do every step
    #[arg(long)]
    pub no_cache: bool,
    /// Ask registries for every image
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub pull: bool,
    /// What the image is to run on
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Print only the id
    #[arg(short, long)]
    pub quiet: bool,
    /// Write the id into this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// How to show what is done: auto, plain, tty
    #[arg(long, value_name = "FORM")]
    pub progress: Option<String>,
    /// Into the images that are here: always so
    #[arg(long)]
    pub load: bool,
    /// Not possible here: `devbox image push` does it
    #[arg(long)]
    pub push: bool,
    /// `type=docker`, `type=image`
    #[arg(short, long, value_name = "OUTPUT")]
    pub output: Vec<String>,
    #[arg(long, hide = true)]
    cache_to: Vec<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    network: Option<String>,
    #[arg(long, hide = true)]
    add_host: Vec<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    provenance: Option<String>,
    #[arg(long, hide = true)]
    sbom: Option<String>,
    #[arg(long, hide = true)]
    shm_size: Option<String>,
    #[arg(long, hide = true)]
    ulimit: Vec<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Where files are copied from
    #[arg(value_name = "CONTEXT")]
    pub context: String,
}

/// `buildx`.
#[derive(Debug, Subcommand)]
pub enum Buildx {
    /// Build an image
    Build(Box<Build>),
    /// Print the version
    Version,
    /// List the builders: there is one
    Ls(Formatted),
    /// Show the builder
    Inspect {
        /// `default`
        #[arg(hide = true)]
        name: Option<String>,
        /// Without meaning here
        #[arg(long, hide = true)]
        bootstrap: bool,
    },
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images that are here
    #[command(visible_alias = "list")]
    Ls(ListImages),
    /// Show what is known of images
    Inspect(Inspect),
    /// Build an image
    Build(Box<Build>),
    /// Fetch an image
    Pull(Pull),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Remove what no image needs any more
    Prune(Prune),
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `images`.
#[derive(Debug, Args)]
pub struct ListImages {
    /// Without meaning here
    #[arg(short, long, hide = true)]
    pub all: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// With digests
    #[arg(long)]
    pub digests: bool,
    /// Only those: `reference=`, `label=`
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// How
    #[command(flatten)]
    pub format: Formatted,
    /// Only those of this repository, or with this name
    #[arg(value_name = "IMAGE")]
    pub name: Option<String>,
}

/// `pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Print only the name
    #[arg(short, long)]
    pub quiet: bool,
    /// What it is to run on
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// `tag`.
#[derive(Debug, Args)]
pub struct Tag {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Its new name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `system`.
#[derive(Debug, Subcommand)]
pub enum System {
    /// Print what there is
    Info(Printed),
    /// Print what happens to containers
    Events(super::Events),
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `volume`.
#[derive(Debug, Subcommand)]
pub enum Volume {
    /// List the volumes
    #[command(visible_alias = "list")]
    Ls {
        /// Names only
        #[arg(short, long)]
        quiet: bool,
        /// Only those: `name=`, `label=`, `dangling=`
        #[arg(short, long = "filter", value_name = "FILTER")]
        filters: Vec<String>,
        /// How
        #[command(flatten)]
        format: Formatted,
    },
    /// Make a volume unless it is there
    Create {
        /// A label
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        /// `local`
        #[arg(short, long, hide = true)]
        driver: Option<String>,
        /// Without meaning here
        #[arg(short, long, hide = true)]
        opt: Vec<String>,
        /// Its name, as it was written once
        #[arg(long = "name", hide = true)]
        long_name: Option<String>,
        /// Its name
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Remove volumes that no container has
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Show what is known of volumes
    Inspect(Inspect),
    /// Remove every volume that no container has
    Prune(Prune),
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `network`.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// List the networks
    #[command(visible_alias = "list")]
    Ls {
        /// Names only
        #[arg(short, long)]
        quiet: bool,
        /// Whole ids
        #[arg(long)]
        no_trunc: bool,
        /// Only those: `name=`, `id=`, `driver=`
        #[arg(short, long = "filter", value_name = "FILTER")]
        filters: Vec<String>,
        /// How
        #[command(flatten)]
        format: Formatted,
    },
    /// Show what is known of networks
    Inspect(Inspect),
    /// Remove every network that somebody made, of which there is none
    Prune(Prune),
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// `context`.
#[derive(Debug, Subcommand)]
pub enum Context {
    /// List the contexts
    #[command(visible_alias = "list")]
    Ls {
        /// Names only
        #[arg(short, long)]
        quiet: bool,
        /// How
        #[command(flatten)]
        format: Formatted,
    },
    /// Show the context
    Inspect {
        /// How
        #[command(flatten)]
        format: Printed,
        /// `default`
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print the context's name
    Show,
    /// Use the context, which is used anyway
    Use {
        /// `default`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Everything else
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}
