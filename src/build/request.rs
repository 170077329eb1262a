//! What is asked of a build.

use std::path::{Path, PathBuf};

use crate::base::OverlayDriver;
use crate::image::platform::Platform;
use crate::profile;
use crate::profile::lock::BuildInputs;

/// How a named context says that it is an image.
pub const IMAGE_CONTEXT: &str = "docker-image://";

/// A build that is wanted. Paths are absolute.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the files come from.
    pub context: ContextSource,
    /// The Containerfile; `None`: `Containerfile` or `Dockerfile` of the context.
    pub file: Option<PathBuf>,
    /// The stage to build; `None`: the last one.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: Vec<(String, String)>,
    /// `--secret`: name and content.
    pub secrets: Vec<(String, Vec<u8>)>,
    /// `--ssh`: name and socket.
    pub agents: Vec<(String, PathBuf)>,
    /// `--build-context`: name, and a directory, a repository, the URL of an archive, or `docker-image://REF`.
    pub contexts: Vec<(String, String)>,
    /// What inputs are known to be.
    pub pins: BuildInputs,
    /// Inputs without a pin are an error.
    pub only_pinned: bool,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--cache-from`: images whose steps need not be done again.
    pub caches: Vec<String>,
    /// When registries are asked for images.
    pub pull: Pull,
    /// Nothing is taken from earlier builds.
    pub no_cache: bool,
    /// Who stacks the layers of a `RUN`.
    pub driver: OverlayDriver,
    /// What the image is for.
    pub platform: Platform,
    /// Files and directories of the host that no instruction sees. Absolute.
    pub masked: Vec<PathBuf>,
    /// What commands reach of the network, where the profile of a box says it. Their own `--network` goes no further.
    pub network: Option<profile::Network>,
    /// Seconds since 1970 that take the place of the current time (`SOURCE_DATE_EPOCH`).
    pub epoch_seconds: Option<i64>,
}

/// When registries are asked for the images of `FROM` and `--from`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pull {
    /// For those that are not here.
    #[default]
    Missing,
    /// For all: a name may mean another image now.
    Always,
    /// Never.
    Never,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// Standard input: an archive, or a Containerfile alone.
    Standard,
    /// A git repository, `URL#REF:DIRECTORY`, or the URL of an archive.
    Remote(String),
}

impl Request {
    /// A build of the last stage of `context`, of whatever is here, without arguments and labels, and nothing else.
    #[must_use]
    pub fn new(context: ContextSource, driver: OverlayDriver, platform: Platform) -> Self {
        Self {
            context,
            file: None,
            target: None,
            arguments: Vec::new(),
            secrets: Vec::new(),
            agents: Vec::new(),
            contexts: Vec::new(),
            pins: BuildInputs::default(),
            only_pinned: false,
            labels: Vec::new(),
            caches: Vec::new(),
            pull: Pull::default(),
            no_cache: false,
            driver,
            platform,
            masked: Vec::new(),
            network: None,
            epoch_seconds: None,
        }
    }

    /// The socket of the agent with which repositories are fetched.
    #[must_use]
    pub fn agent(&self) -> Option<&Path> {
        self.agents.iter().find(|(id, _)| id == "default").map(|(_, socket)| socket.as_path())
    }

    /// The image that `name` means: a named context may stand for one.
    #[must_use]
    pub fn image_of<'a>(&'a self, name: &'a str) -> &'a str {
        let context = self.contexts.iter().find(|(known, _)| known == name);
        context.map_or(name, |(_, value)| value.strip_prefix(IMAGE_CONTEXT).unwrap_or(value))
    }

    /// The content of a secret.
    #[must_use]
    pub fn secret(&self, id: &str) -> Option<Vec<u8>> {
        self.secrets.iter().find(|(known, _)| known == id).map(|(_, content)| content.clone())
    }
}
