//! Arguments of `devbox image`.

use clap::{Args, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::Format;
use crate::cli::complete;

/// `image`.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Fetch an image from its registry, or what has changed of it
    Pull(Pull),
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
    /// Check a login with a registry, and keep it where docker and podman look
    Login(Login),
    /// Forget the login of a registry
    Logout(Logout),
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
