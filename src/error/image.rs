//! Images: names, registries, the store, bases and builds.

use super::{Error, Message};
use crate::base::BaseError;
use crate::base::host::HostError;
use crate::build::BuildError;
use crate::devcontainer::FeatureError;
use crate::image::platform::PlatformError;
use crate::image::reference::ReferenceError;
use crate::image::store::StoreError;
use crate::registry::{CredentialError, Fault, RegistryError};
use crate::sandbox::channel::Phase;
use crate::transfer::TransferError;
use crate::transfer::load::LoadError;

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
            FeatureError::Install { .. } => {
                Self::chain(&error).hint("what its `install.sh` said stands above; its options are those of `features`")
            }
            FeatureError::Outside { .. } => {
                Self::chain(&error).hint("keep local Features beside the devcontainer file")
            }
            FeatureError::User { .. } => Self::chain(&error).hint("the image is damaged or hostile: use another one"),
            FeatureError::Unpack { .. } => {
                Self::chain(&error).hint("the archive is damaged or hostile: do not use this Feature")
            }
            _ => Self::chain(&error),
        }
    }
}
