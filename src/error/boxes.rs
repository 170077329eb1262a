//! Boxes: their state, their sessions, what is captured of them, their limits and their network.

use rustix::io::Errno;

use super::{COULD_NOT_RUN, Error, FAILED};
use crate::boxes::BoxesError;
use crate::boxes::capture::CaptureError;
use crate::boxes::commit::CommitError;
use crate::boxes::limits::ChangeError;
use crate::boxes::locking::LockingError;
use crate::boxes::packages_layer::PackagesError;
use crate::boxes::ports::PortError;
use crate::boxes::session::SessionError;
use crate::boxes::window::WindowError;
use crate::limits::{Key, LimitError};
use crate::sandbox::channel::Phase;
use crate::sandbox::net::NetError;
use crate::text::closest;
use crate::upkeep::UpkeepError;

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
            BoxesError::NoSuchSnapshot { suggestion: None, .. } => {
                shown.hint("`devbox snapshot list` shows those there are")
            }
            BoxesError::NoSuchBox { .. } => shown.hint("`devbox list` shows the boxes there are"),
            BoxesError::Newer { .. } => shown.hint("update devbox"),
            _ => shown,
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
            SessionError::Late { .. } => {
                Self::chain(&error).hint("see what `devbox run -- rpm -qa` does in the box; `devbox reset` begins anew")
            }
            SessionError::Unsettled { .. } => {
                Self::chain(&error).hint("`lifetime = \"keep\"` in the profile lets it run on between sessions")
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
            ChangeError::NoGroup { reason, .. } => shown.hint(format!("{reason}; `devbox doctor` knows the way out")),
            ChangeError::Unheld { .. } => shown.hint("`devbox doctor` knows the way out"),
            ChangeError::Fixed { .. } => {
                shown.hint("write it into `[limits]` of `devbox.toml`, and start the box anew")
            }
            ChangeError::Record(error) => error.into(),
            ChangeError::Kernel { key: Key::Files, source } if source.errno == Errno::PERM => shown
                .hint("a running box can have fewer files, not more; write it into `[limits]`, and start the box anew"),
            ChangeError::Kernel { .. } | ChangeError::Note(_) => shown,
        }
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
