//! Every error as it is shown: a sentence, its causes, and what can be done.
//!
//! Modules below return facts; this is the one place where a fact gets its hint.

use std::error::Error as StdError;

use crate::base::BaseError;
use crate::base::host::HostError;
use crate::boxes::BoxesError;
use crate::boxes::capture::CaptureError;
use crate::boxes::commit::CommitError;
use crate::boxes::limits::ChangeError;
use crate::boxes::locking::LockingError;
use crate::boxes::packages_layer::PackagesError;
use crate::boxes::ports::PortError;
use crate::boxes::session::SessionError;
use crate::boxes::window::WindowError;
use crate::build::BuildError;
use crate::devcontainer::FeatureError;
use crate::editor::settings::SettingsError;
use crate::editor::shim::ShimError;
use crate::image::platform::PlatformError;
use crate::image::reference::ReferenceError;
use crate::image::store::StoreError;
use crate::limits::{Key, LimitError};
use crate::paths::PathsError;
use crate::profile::ProfileError;
use crate::registry::{CredentialError, Fault, RegistryError};
use crate::sandbox::channel::Phase;
use crate::sandbox::net::NetError;
use crate::ssh::SshError;
use crate::text::closest;
use crate::transfer::TransferError;
use crate::transfer::load::LoadError;
use crate::upkeep::UpkeepError;

/// What the user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The sentence, or a drawing with the line of a file, which then has its own `error:`.
    pub message: Message,
    /// Each cause on its own, the nearest first.
    pub causes: Vec<String>,
    /// What to do, each an action.
    pub hints: Vec<String>,
    /// The exit status.
    pub status: i32,
}

/// How an error begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One sentence.
    Sentence(String),
    /// A report that is complete in itself.
    Report(Box<crate::profile::Diagnostic>),
}

/// The exit status of a command of devbox that failed.
pub const FAILED: i32 = 1;
/// The exit status of `run` and `enter` when devbox itself failed, so that it differs from the command's own.
pub const COULD_NOT_RUN: i32 = 125;

impl Error {
    /// A sentence without causes.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: Message::Sentence(message.into()), causes: Vec::new(), hints: Vec::new(), status: FAILED }
    }

    /// Adds what can be done.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With another exit status.
    #[must_use]
    pub fn with_status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    /// The same as the cause of a larger failure. A report stands for itself.
    #[must_use]
    pub fn within(mut self, sentence: impl Into<String>) -> Self {
        if let Message::Sentence(inner) = &self.message {
            self.causes.insert(0, inner.clone());
            self.message = Message::Sentence(sentence.into());
        }
        self
    }

    /// The error itself if it is one, and else `sentence` with each as a cause; `None`: there are none.
    pub fn of_several(mut errors: Vec<Self>, sentence: String) -> Option<Self> {
        if errors.len() < 2 {
            return errors.pop();
        }
        let mut whole = Self::new(sentence);
        for Self { message, causes, hints, status } in errors {
            let text = match message {
                Message::Sentence(text) => text,
                Message::Report(diagnostic) => diagnostic.message,
            };
            whole.causes.extend([text].into_iter().chain(causes));
            whole.status = status;
            whole.hints.extend(hints);
        }
        whole.hints.dedup();
        Some(whole)
    }

    /// The chain of `error`.
    fn chain(error: &dyn StdError) -> Self {
        let mut shown = Self::new(error.to_string());
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // A transparent or forwarding error repeats its source.
            if shown.causes.last() != Some(&text) && shown.message != Message::Sentence(text.clone()) {
                shown.causes.push(text);
            }
            next = cause.source();
        }
        shown.explain_full_disk()
    }

    /// Adds a hint if the disk is full. Some causes crossed a process boundary as text, so the text is what counts.
    fn explain_full_disk(self) -> Self {
        const SIGNS: [&str; 5] = ["No space left on device", "ENOSPC", "Disk quota exceeded", "EDQUOT", "` is full"];
        let message = match &self.message {
            Message::Sentence(text) => text,
            Message::Report(diagnostic) => &diagnostic.message,
        };
        if self.causes.iter().chain([message]).any(|text| SIGNS.iter().any(|sign| text.contains(sign))) {
            self.hint("make room on the disk; `devbox gc`, `devbox rm` and `devbox snapshot rm` need none themselves")
        } else {
            self
        }
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        if let ProfileError::Directory(error) = error {
            return error.into();
        }
        match error.diagnostic() {
            Some(diagnostic) => Self { message: Message::Report(Box::new(diagnostic.clone())), ..Self::chain(&error) },
            None if matches!(error, ProfileError::SeveralDevcontainers { .. }) => {
                Self::chain(&error).hint("choose one: `devbox enter --devcontainer NAME`")
            }
            None if matches!(error, ProfileError::Undone { .. }) => Self::chain(&error)
                .hint("take one of the two out; `devbox profile show` says which file each comes from"),
            None if matches!(error, ProfileError::GivenAndTaken { .. }) => {
                Self::chain(&error).hint("each capability and each system call goes with one of the options")
            }
            None => Self::chain(&error),
        }
    }
}

impl From<PathsError> for Error {
    fn from(error: PathsError) -> Self {
        let shown = Self::chain(&error);
        match error {
            PathsError::ForeignOwner { .. } => {
                shown.hint("set `XDG_DATA_HOME` to a directory of your own, or `HOME` after `su` and `sudo`")
            }
            PathsError::NoHome { .. } => shown.hint("set `HOME`"),
            PathsError::Create { .. } => shown,
        }
    }
}

impl From<BoxesError> for Error {
    fn from(error: BoxesError) -> Self {
        if let BoxesError::Paths(error) = error {
            return error.into();
        }
        let shown = Self::chain(&error);
        match error {
            BoxesError::Running { .. } => shown.hint("`devbox stop` ends it"),
            BoxesError::Damaged { .. } | BoxesError::Misplaced { .. } => {
                shown.hint("`devbox rm --force NAME` removes the box")
            }
            BoxesError::NoSuchBox { .. } => shown.hint("`devbox list` shows the boxes there are"),
            BoxesError::Newer { .. } => shown.hint("update devbox"),
            _ => shown,
        }
    }
}

impl From<LimitError> for Error {
    fn from(error: LimitError) -> Self {
        let shown = Self::chain(&error);
        match &error {
            LimitError::Unknown { name } => match closest(name, Key::ALL.iter().map(|key| key.name())) {
                Some(known) => shown.hint(format!("did you mean `{known}`?")),
                None => shown.hint(format!("there are {}", Key::ALL.map(Key::name).join(", "))),
            },
            LimitError::Value { .. } => shown,
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        let shown = Self::chain(&error);
        match error {
            ChangeError::Stopped => shown.hint("`[limits]` in `devbox.toml` holds from the next start"),
            ChangeError::NoGroup { reason: Some(reason), .. } => {
                shown.hint(format!("{reason}; `devbox doctor` knows the way out"))
            }
            ChangeError::NoGroup { reason: None, .. } | ChangeError::Fixed { .. } => {
                shown.hint("write it into `[limits]` of `devbox.toml`, and start the box anew")
            }
            ChangeError::Kernel { .. } | ChangeError::Note(_) => shown,
        }
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Self {
        let shown = match error {
            CaptureError::Profile(error) => error.into(),
            CaptureError::Session(error) => error.into(),
            error => {
                let shown = Self::chain(&error);
                match error {
                    CaptureError::NoProfile { .. } => shown.hint("`devbox init` writes one"),
                    CaptureError::Elsewhere { file, .. } if !file.is_absolute() => {
                        shown.hint("what a shipped profile brings stays; `extends` can name another one")
                    }
                    CaptureError::Elsewhere { .. } => shown.hint("edit that file"),
                    CaptureError::NotNamed { suggestion: Some(known), .. } => {
                        shown.hint(format!("did you mean `{known}`?"))
                    }
                    CaptureError::NotNamed { .. } => shown.hint("`devbox profile show` lists what applies here"),
                    CaptureError::Edit(_) => {
                        shown.hint("write it as a list on its own: `packages = [\"git\", \"make\"]`")
                    }
                    _ => shown,
                }
            }
        };
        shown.with_status(FAILED)
    }
}

impl From<BaseError> for Error {
    fn from(error: BaseError) -> Self {
        if let BaseError::Host(HostError::Store(error)) = error {
            return error.into();
        }
        if let BaseError::Transfer(error) = error {
            return error.into();
        }
        let shown = Self::chain(&error);
        match error {
            // Whoever cannot make a namespace can use neither way; that is what has to be mended.
            BaseError::Host(HostError::Unsupported { reason, .. }) if reason.starts_with("clone3 ") => {
                Self { hints: crate::doctor::explain(Phase::Namespaces, &[]), ..shown }
            }
            BaseError::Host(HostError::Unsupported { fuse, .. }) => shown.hint(fuse.remedy()).hint(
                "or name another base in `devbox.toml`: `image = \"debian:bookworm\"` or `distro = \"debian:bookworm\"`",
            ),
            other => match other.hint() {
                Some(hint) => shown.hint(hint),
                None => shown,
            },
        }
    }
}

impl From<ReferenceError> for Error {
    fn from(error: ReferenceError) -> Self {
        Self::chain(&error).hint("write `[registry/]repository[:tag][@digest]`, like `debian:bookworm`")
    }
}

impl From<PlatformError> for Error {
    fn from(error: PlatformError) -> Self {
        Self::chain(&error).hint("write `linux/amd64`, `linux/arm64/v8` ...")
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let shown = Self::chain(&error);
        match error {
            StoreError::Version { .. } => shown.hint("update devbox"),
            _ => shown,
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Session(error) => Self::from(error).with_status(FAILED),
            CommitError::Store(error) => error.into(),
            CommitError::Transfer(error) => error.into(),
            CommitError::HostBase { .. } => {
                Self::chain(&error).hint("a box on an image or a distribution can become one: write `image = \"debian:bookworm\"` into `devbox.toml`")
            }
            CommitError::OtherBase { .. } => Self::chain(&error).hint("`devbox enter` once, and look whether it still works"),
            CommitError::Epoch { .. } => Self::chain(&error).hint("unset it, or give it a number"),
        }
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Registry(error) => error.into(),
            TransferError::Store(error) => error.into(),
            TransferError::Damaged { .. } => Self::chain(&error).hint("`devbox image pull` fetches what is missing"),
            TransferError::NoArchive { .. } => {
                Self::chain(&error).hint("`devbox image pull` of the image from a registry that has it makes one known")
            }
            TransferError::Platform { .. } => Self::chain(&error).hint("name one of these with `--platform`"),
            TransferError::Load { source: LoadError::NoName, .. } => {
                Self::chain(&error).hint("give it one with `--tag`")
            }
            TransferError::Load { source: LoadError::Several { .. }, .. } => {
                Self::chain(&error).hint("`devbox image load FILE` loads all of them under their own names")
            }
            TransferError::Load { source: LoadError::NoImage, .. } => {
                Self::chain(&error).hint("a root file system is used as it is: `rootfs = \"FILE\"` in `devbox.toml`")
            }
            error => Self::chain(&error),
        }
    }
}

impl From<FeatureError> for Error {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::Invalid(diagnostic) => Self { message: Message::Report(diagnostic), ..Self::new("") },
            FeatureError::Build(error) => error.into(),
            FeatureError::Base(error) => error.into(),
            FeatureError::Store(error) => error.into(),
            FeatureError::Profile(error) => error.into(),
            FeatureError::Cycle { .. } => Self::chain(&error)
                .hint("leave one of them out of `features`, or tell its author: see `dependsOn` and `installsAfter`"),
            FeatureError::Fetch { .. } | FeatureError::Reference { .. } => Self::chain(&error)
                .hint("look for a mistake in its name in `features`, and whether this machine needs `HTTPS_PROXY`"),
            FeatureError::Outside { .. } => {
                Self::chain(&error).hint("keep local Features beside the devcontainer file")
            }
            FeatureError::Unpack { .. } => {
                Self::chain(&error).hint("the archive is damaged or hostile: do not use this Feature")
            }
            _ => Self::chain(&error),
        }
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Step { diagnostic, causes, phase } => {
                let mut shown = Self { message: Message::Report(diagnostic), causes, ..Self::new("") };
                if let Some(phase) = phase {
                    shown.hints = crate::doctor::explain(phase, &shown.causes);
                }
                shown.explain_full_disk()
            }
            BuildError::Checks { first, rules } => {
                let shown = Self { message: Message::Report(first), ..Self::new("") };
                let rules = rules.join("`, `");
                shown.hint(format!("the Containerfile says `error=true`: mend what `{rules}` found, or `skip` it"))
            }
            BuildError::Language(diagnostic) => Self { message: Message::Report(diagnostic), ..Self::new("") },
            BuildError::Store(error) => error.into(),
            BuildError::Transfer(error) => error.into(),
            BuildError::Interrupted { signal } => Self::chain(&error).with_status(128 + signal),
            error => {
                let hint = error.hint();
                let shown = Self::chain(&error);
                match hint {
                    Some(hint) => shown.hint(hint),
                    None => shown,
                }
            }
        }
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        let shown = Self::chain(&error);
        match *error.fault {
            Fault::LoginRefused { .. } if error.operation == "log in to" => {
                shown.hint("look for a mistake in the user or the password; many registries want a token instead")
            }
            Fault::LoginMissing { .. } => shown
                .hint("`devbox image login REGISTRY` logs in; some registries say this of what does not exist, too"),
            Fault::LoginRefused { .. } => shown.hint("`devbox image login REGISTRY` replaces the login"),
            Fault::Status { status: 404, .. } => shown.hint("look for a mistake in the name or in the tag"),
            Fault::Status { status: 403, .. } => shown.hint("ask the registry's owner whether you may do this"),
            Fault::Status { status: 429, .. } => {
                shown.hint("`devbox image login` raises the limits of many registries; or try again later")
            }
            Fault::Status { status: 500.., .. } | Fault::TimedOut { .. } | Fault::Broken { .. } => {
                shown.hint("try again later; what has arrived is kept")
            }
            Fault::Unreachable { .. } => {
                shown.hint("look for a mistake in the name, and whether this machine needs `HTTPS_PROXY`")
            }
            Fault::Tls { .. } | Fault::Certificate { .. } => shown
                .hint("the authority of a registry belongs in `~/.config/containers/certs.d/HOST:PORT/ca.crt`")
                .hint("or `insecure = [\"HOST:PORT\"]` below `[registries]` in `config.toml` does without"),
            Fault::Redirect { .. } | Fault::Answer { .. } | Fault::Digest { .. } => {
                shown.hint("the registry, or something on the way to it, is broken or hostile: ask its owner")
            }
            Fault::Credentials(error) => hint_of_credentials(shown, &error),
            Fault::Proxy { .. } => shown.hint("it should be `http://HOST:PORT`"),
            Fault::Status { .. } | Fault::Source { .. } => shown,
        }
    }
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        hint_of_credentials(Self::chain(&error), &error)
    }
}

fn hint_of_credentials(shown: Error, error: &CredentialError) -> Error {
    match error {
        CredentialError::Content { .. } | CredentialError::Login { .. } | CredentialError::HelperName { .. } => {
            shown.hint("mend the file, or move it away and log in again")
        }
        CredentialError::HelperMissing { program, .. } => {
            shown.hint(format!("install `{program}`, or take its name out of the file"))
        }
        _ => shown,
    }
}

impl From<NetError> for Error {
    fn from(error: NetError) -> Self {
        let remedy = error.remedy();
        if let NetError::EgressInHostNetwork | NetError::NoNft = error {
            return Self::chain(&error).hint(remedy);
        }
        Self::chain(&error).hint(remedy).hint("or choose `--network none` or `--network host`")
    }
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        let shown = Self::chain(&error);
        match error {
            PortError::Stopped => shown.hint("`devbox enter` starts it"),
            PortError::Refused { .. } => {
                shown.hint("`devbox port list` shows what is reachable; `devbox logs` what happened")
            }
            PortError::Io(_) => shown,
        }
    }
}

impl From<WindowError> for Error {
    fn from(error: WindowError) -> Self {
        let shown = Self::chain(&error);
        match error {
            WindowError::Stopped => {
                shown.hint("`devbox run --keep -- true` starts it, and leaves it running until `devbox stop`")
            }
            _ => shown.hint("`devbox logs` shows what happened"),
        }
    }
}

impl From<ShimError> for Error {
    fn from(error: ShimError) -> Self {
        let hint = match error {
            ShimError::Directory(error) => return error.into(),
            ShimError::Name { .. } => "name a program, like `clangd`, without its directory",
            ShimError::Reserved { .. } => "call it in the box by `devbox run -- PROGRAM`",
            ShimError::InTheWay { .. } => "choose another directory with `--dir`, or move the file away",
            ShimError::Missing { .. } => "`devbox shim list` shows those there are",
            ShimError::Io { .. } => return Self::chain(&error),
        };
        Self::chain(&error).hint(hint)
    }
}

impl From<SshError> for Error {
    fn from(error: SshError) -> Self {
        match error {
            SshError::Boxes(error) => error.into(),
            SshError::Paths(error) => error.into(),
            SshError::Key { .. } => Self::chain(&error).hint("remove it; `devbox ssh-config install` makes a new one"),
            SshError::NothingInCommon { .. } | SshError::NotSsh => {
                Self::chain(&error).hint("a newer OpenSSH client knows all that devbox does")
            }
            _ => Self::chain(&error),
        }
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Text(error) => Self::from(error)
                .hint("nothing was changed; `devbox editor setup --print` shows what there is to write"),
            SettingsError::Directory(error) => error.into(),
            SettingsError::InTheWay { .. } => {
                Self::chain(&error).hint("move the file away, or copy what `--print` shows")
            }
            SettingsError::NotSet { .. } => Self::chain(&error).hint("`devbox editor setup` writes them"),
            SettingsError::System { .. } => Self::chain(&error).hint("no part of its path may be a symlink"),
            error => Self::chain(&error),
        }
    }
}

impl From<UpkeepError> for Error {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::Boxes(error) => error.into(),
            UpkeepError::Store(error) => error.into(),
            UpkeepError::Busy => {
                Self::chain(&error).hint("try again when that is over; `devbox check` alone only looks")
            }
            error => Self::chain(&error),
        }
    }
}

impl From<LockingError> for Error {
    fn from(error: LockingError) -> Self {
        if let LockingError::Pull(error) = error {
            return error.into();
        }
        let shown = Self::chain(&error);
        match error {
            LockingError::Missing { .. } => shown.hint("`devbox lock` writes it; it belongs under version control"),
            LockingError::OutOfDate { .. } => shown.hint("`devbox lock` brings it up to date"),
            LockingError::OtherBase { .. } => shown.hint("`devbox update --base` locks the base that is here"),
            LockingError::NotLocked { .. } => shown.hint("`devbox add` adds a package"),
            LockingError::Pull(_) | LockingError::Store(_) => shown,
        }
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        let shown = match error {
            SessionError::Boxes(error) => error.into(),
            SessionError::Base(error) => error.into(),
            SessionError::Profile(error) => error.into(),
            SessionError::Network(error) => error.into(),
            SessionError::NotExecuted { ref program, status, .. } => {
                let missing = status == 127;
                let shown = Self::chain(&error).with_status(status);
                return if missing && !program.contains('/') {
                    shown.hint("a task needs an entry in `[tasks]`; a program must be installed in the box")
                } else {
                    shown
                };
            }
            SessionError::Start(failure) => {
                let mut causes = failure.causes.clone().into_iter();
                let mut shown = Self::new("cannot start the box");
                shown.causes.extend(causes.by_ref());
                shown.hints = crate::doctor::explain(failure.phase, &failure.causes);
                shown.explain_full_disk()
            }
            SessionError::OtherSecurity => {
                Self::chain(&error).hint("`devbox stop` ends it; the next start takes the options")
            }
            SessionError::OtherNetwork { .. } => {
                Self::chain(&error).hint("`devbox stop` ends it; the next start has the network that is asked for")
            }
            SessionError::Limits { .. } => {
                let mut shown = Self::chain(&error);
                shown.hints = crate::doctor::explain(Phase::Limits, &[]);
                shown.hint("or take `require` out of `[limits]`, and go without")
            }
            SessionError::Locking(error) => error.into(),
            SessionError::Packages(PackagesError::LockedFailed { .. } | PackagesError::OtherVersions { .. }) => {
                Self::chain(&error)
                    .hint("mirrors keep the newest version only: `devbox update` locks what there is now")
                    .hint("`devbox update PACKAGE` does so for one")
            }
            SessionError::Placeholders { .. } => {
                Self::chain(&error).hint("what `mask` in `[project]` lists must be yours to create").explain_full_disk()
            }
            SessionError::Packages(_) | SessionError::Store(_) | SessionError::Lost | SessionError::Io { .. } => {
                Self::chain(&error)
            }
        };
        shown.with_status(COULD_NOT_RUN)
    }
}
