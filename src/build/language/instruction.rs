//! The instructions of a stage, typed.
//!
//! "Expanded" at a field means: by whoever executes the step, with the arguments and variables that hold there.

use std::time::Duration;

use super::containerfile::Word;
use super::heredoc::Heredoc;
use super::mount::MountFlag;

/// An instruction other than `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`
    Add(Add),
    /// `ARG`, at least one.
    Arg(Vec<Argument>),
    /// `CMD`. Not expanded.
    Cmd(Command),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`. Not expanded.
    Entrypoint(Command),
    /// `ENV`, at least one. All see the values from before the instruction.
    Env(Vec<Pair>),
    /// `EXPOSE`, at least one. Expanded into words: one may become several ports.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`. Not expanded.
    Healthcheck(Healthcheck),
    /// `LABEL`, at least one.
    Label(Vec<Pair>),
    /// `MAINTAINER`. Not expanded.
    Maintainer(Word),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`, at least one string. Not expanded.
    Shell(Vec<String>),
    /// `STOPSIGNAL`. Expanded.
    Stopsignal(Word),
    /// `USER`. Expanded.
    User(Word),
    /// `VOLUME`, at least one, none empty. Expanded.
    Volume(Vec<Word>),
    /// `WORKDIR`. Expanded.
    Workdir(Word),
}

impl Instruction {
    /// Its keyword.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Expanded, as docker does.
    pub name: Word,
    /// The default. Expanded; sees the arguments before it in the same instruction.
    pub value: Option<Word>,
}

/// One `key=value` of an `ENV` or a `LABEL`, both expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Not empty.
    pub key: Word,
    /// May be empty.
    pub value: Word,
}

/// A command line in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For the shell of `SHELL`.
    Shell(String),
    /// `["program", "argument"]`; may be empty, which clears an inherited one.
    Exec(Vec<String>),
}

/// What `COPY` and `ADD` share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// At least one.
    pub sources: Vec<FileSource>,
    /// Expanded. Ends in `/` when it must be a directory.
    pub destination: Word,
    /// `--chown=user:group`. Expanded.
    pub chown: Option<Word>,
    /// `--chmod=`: octal, or symbolic. Expanded.
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--exclude=PATTERN`, any number. Not expanded.
    pub exclude: Vec<Word>,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A path with wildcards; for `ADD` also a URL or a git repository. Expanded.
    Path(Word),
    /// A file that stands in the Containerfile itself. Its name is not expanded, its content is when it says so.
    Heredoc(Heredoc),
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What and where to.
    pub files: Files,
    /// `--from=`: a stage, an image or a build context. Not expanded, as docker refuses variables in it.
    pub from: Option<Word>,
    /// `--parents`: the directories of the sources are kept.
    pub parents: bool,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What and where to.
    pub files: Files,
    /// `--checksum=sha256:...`, or a commit for git. Expanded.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`: whether archives are unpacked. Without: local ones are, downloaded ones are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`. A duration that was not given, or given as zero, is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: an inherited one is off.
    None,
    /// `CMD`
    Check {
        /// What to run; an exec form is not empty.
        command: Command,
        /// `--interval`
        interval: Option<Duration>,
        /// `--timeout`
        timeout: Option<Duration>,
        /// `--start-period`
        start_period: Option<Duration>,
        /// `--start-interval`
        start_interval: Option<Duration>,
        /// `--retries`; zero is the default.
        retries: u32,
    },
}

/// `ONBUILD`: a step of the build that stands on this image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction as the image's configuration holds it; heredocs follow on lines of their own.
    /// [`parse_trigger`](super::parse_trigger) reads it again.
    pub text: String,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `--mount=`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network=`
    pub network: Network,
    /// `--security=`
    pub security: Security,
    /// What to run. Not expanded: that is the shell's.
    pub command: RunCommand,
}

/// What a `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunCommand {
    /// One line, or several with heredocs that the shell reads itself.
    Command(Command),
    /// `RUN <<EOF` alone. With `#!` at its start it is a program of its own, otherwise text for the shell.
    Script(Heredoc),
}

/// The network of a `RUN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// The build's.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// The privileges of a `RUN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// Those of any step.
    #[default]
    Sandbox,
    /// All that can be had.
    Insecure,
}
