//! What a box gets of the host: the profile's own files, mounts and shares.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::paths;
use crate::profile::{LoadedProfile, Profile};
use crate::sandbox::spec::MountOp;

/// Where the agent's socket appears.
const AGENT: &str = "/run/devbox/ssh-agent";

/// The box must not loosen its own profile, which takes effect at the next start without a question: its files can be
/// read in the box, not changed or replaced.
pub(super) fn own_profile(loaded: &LoadedProfile) -> impl Iterator<Item = MountOp> {
    let lock = crate::profile::lock::path(&loaded.project);
    let files = loaded.sources.iter().filter_map(|source| source.file().map(Path::to_owned));
    files.chain([lock]).filter_map(|file| {
        let below = file.strip_prefix(&loaded.project).ok()?;
        let target = loaded.profile.project.path.join(below);
        Some(MountOp::Bind { source: file, target, read_only: true, optional: true })
    })
}

/// What the profile mounts, and what it shares by name.
pub(super) fn binds(profile: &Profile) -> Vec<MountOp> {
    let mut binds: Vec<MountOp> = profile
        .mounts
        .iter()
        .map(|mount| MountOp::Bind {
            source: mount.source.clone(),
            target: mount.target.clone(),
            read_only: mount.read_only,
            optional: false,
        })
        .collect();
    if let Some(socket) = agent(profile) {
        binds.push(MountOp::Bind { source: socket.into(), target: AGENT.into(), read_only: false, optional: true });
    }
    if profile.share.git_config
        && let Some(home) = dirs::home_dir()
    {
        let inside =
            if profile.user == "root" { PathBuf::from("/root") } else { Path::new("/home").join(&profile.user) };
        for name in [".gitconfig", ".config/git"] {
            binds.push(MountOp::Bind {
                source: home.join(name),
                target: inside.join(name),
                read_only: true,
                optional: true,
            });
        }
    }
    binds
}

fn agent(profile: &Profile) -> Option<OsString> {
    paths::variable("SSH_AUTH_SOCK").filter(|path| profile.share.ssh_agent && Path::new(path).is_absolute())
}

/// Variables that lead to what is shared.
pub(super) fn variables(profile: &Profile) -> Vec<(String, String)> {
    agent(profile).map(|_| ("SSH_AUTH_SOCK".to_owned(), AGENT.to_owned())).into_iter().collect()
}
