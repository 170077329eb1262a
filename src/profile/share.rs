//! `[share]`: what of the host is given by name, checked.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{At, RawShare};
use super::validate::{Checked, Origin};

/// A share that is on or off, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The socket at `$SSH_AUTH_SOCK`.
    SshAgent,
    /// The restricted socket of `gpg-agent`, and the public keys.
    GpgAgent,
    /// The user's git configuration, read-only.
    GitConfig,
    /// The user's logins of registries, read-only.
    DockerConfig,
    /// The socket of the Wayland compositor.
    Wayland,
    /// The socket of the X server, with a cookie of the box's own.
    X11,
    /// The sockets of PipeWire and PulseAudio.
    Audio,
    /// The render nodes of graphics cards.
    Gpu,
    /// The host's extra CA certificates and proxy variables.
    CaCertificates,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SshAgent,
        Self::GpgAgent,
        Self::GitConfig,
        Self::DockerConfig,
        Self::Wayland,
        Self::X11,
        Self::Audio,
        Self::Gpu,
        Self::CaCertificates,
    ];

    /// The key in `[share]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SshAgent => "ssh_agent",
            Self::GpgAgent => "gpg_agent",
            Self::GitConfig => "git_config",
            Self::DockerConfig => "docker_config",
            Self::Wayland => "wayland",
            Self::X11 => "x11",
            Self::Audio => "audio",
            Self::Gpu => "gpu",
            Self::CaCertificates => "ca_certificates",
        }
    }

    /// Whether a profile that says nothing has it.
    #[must_use]
    pub fn by_default(self) -> bool {
        self == Self::CaCertificates
    }

    /// The rest of the sentence "this profile wants to ...".
    #[must_use]
    pub fn wish(self) -> &'static str {
        match self {
            Self::SshAgent => "use your SSH agent: it can sign in wherever your keys can",
            Self::GpgAgent => "use your GPG agent: it can sign and decrypt with your keys",
            Self::GitConfig => "read your git configuration",
            Self::DockerConfig => "read your logins of image registries",
            Self::Wayland => "open windows on your Wayland desktop",
            Self::X11 => "use your X display, where programs can watch and control each other",
            Self::Audio => "play and record sound, and see the cameras that PipeWire offers",
            Self::Gpu => "use your graphics cards",
            Self::CaCertificates => {
                "see the host's CA certificates and proxy settings, which your configuration denies"
            }
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A package manager whose downloads are kept for all boxes that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Crates, and checkouts of git dependencies.
    Cargo,
    /// Modules and compiled packages.
    Go,
    /// Artifacts of Maven's local repository.
    Maven,
    /// Packages.
    Npm,
    /// Wheels and answers of the index.
    Pip,
    /// Wheels and environments.
    Uv,
    /// Packages.
    Yarn,
}

impl Cache {
    /// The name in `home_cache`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Go => "go",
            Self::Maven => "maven",
            Self::Npm => "npm",
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Yarn => "yarn",
        }
    }

    /// Where the program keeps it, below the home directory.
    #[must_use]
    pub fn directories(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &[".cargo/registry", ".cargo/git"],
            Self::Go => &["go/pkg/mod", ".cache/go-build"],
            Self::Maven => &[".m2/repository"],
            Self::Npm => &[".npm/_cacache"],
            Self::Pip => &[".cache/pip"],
            Self::Uv => &[".cache/uv"],
            Self::Yarn => &[".cache/yarn"],
        }
    }
}

/// Named grants of host things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What is on.
    #[serde(flatten, serialize_with = "by_name")]
    pub grants: BTreeSet<Grant>,
    /// Names of the session bus that can be talked to.
    pub dbus: Vec<String>,
    /// Caches of package managers.
    pub home_cache: Vec<Cache>,
}

impl Share {
    /// Whether `grant` is on.
    #[must_use]
    pub fn has(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }
}

fn by_name<S: serde::Serializer>(grants: &BTreeSet<Grant>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Grant::ALL.iter().map(|grant| (grant.name(), grants.contains(grant))))
}

/// What is on when files say this.
#[must_use]
pub(super) fn granted(stated: &BTreeMap<Grant, bool>) -> BTreeSet<Grant> {
    let on = |grant: &Grant| stated.get(grant).copied().unwrap_or_else(|| grant.by_default());
    Grant::ALL.into_iter().filter(on).collect()
}

/// The switches of one file.
pub(super) fn grants(raw: &RawShare) -> BTreeMap<Grant, bool> {
    let stated = [
        (Grant::SshAgent, &raw.ssh_agent),
        (Grant::GpgAgent, &raw.gpg_agent),
        (Grant::GitConfig, &raw.git_config),
        (Grant::DockerConfig, &raw.docker_config),
        (Grant::Wayland, &raw.wayland),
        (Grant::X11, &raw.x11),
        (Grant::Audio, &raw.audio),
        (Grant::Gpu, &raw.gpu),
        (Grant::CaCertificates, &raw.ca_certificates),
    ];
    stated.into_iter().filter_map(|(grant, on)| Some((grant, on.as_ref()?.value))).collect()
}

/// A well-known name of a bus: `org.freedesktop.Notifications`, or `org.example.*` for it and all below.
pub(super) fn bus_name(origin: &Origin<'_>, name: At<String>) -> Checked<String> {
    let text = name.value.strip_suffix(".*").unwrap_or(&name.value);
    let element = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || "_-".contains(c))
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if text.len() <= 255 && text.contains('.') && text.split('.').all(element) {
        return Ok(name.value);
    }
    Err(origin
        .wrong(&name, "this is not a name of the session bus")
        .label("such as `org.freedesktop.Notifications`; a last `.*` stands for all below")
        .into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::validate::parse_profile;
    use super::*;

    #[test]
    fn bus_names() {
        let folder = Path::new("/p");
        for (name, valid) in [
            ("org.freedesktop.Notifications", true),
            ("org.mpris.MediaPlayer2.*", true),
            ("org.kde.kded-5", true),
            ("*", false),
            ("org", false),
            ("org.*", false),
            ("org..x", false),
            ("org.x=y", false),
            ("org.1x", false),
            (":1.5", false),
        ] {
            let text = format!("[share]\ndbus = [\"{name}\"]\n");
            let parsed = parse_profile(&Origin { file: folder, text: &text, folder, home: folder });
            assert_eq!(parsed.is_ok(), valid, "{name}");
        }
    }
}
