//! The profile of a box that was asked for on a command line and belongs to no project: a container of `devbox docker`.
//!
//! What was asked for is written in the words of `devbox.toml` and checked as one. The user's `config.toml` counts only for what it
//! forbids and for the network: its packages, hooks and shares are for projects.

use std::path::Path;

use super::error::ProfileError;
use super::merge::merge;
use super::resolve::{LoadedProfile, Loader, complete};
use super::trust;
use super::validate::{Layer, Origin, parse_profile};
use super::{Profile, registries};
use crate::limits::Limits;
use crate::paths::Paths;

/// A box without a project of its own.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The folder that stands for the project: absolute, never mounted.
    pub folder: &'a Path,
    /// The folder that the box is for: what lies in it needs no trust. Absolute, symlinks resolved.
    pub workspace: Option<&'a Path>,
    /// The profile as text; paths are absolute.
    pub text: &'a str,
}

impl Profile {
    /// The profile that `asked` comes to, and what it wants of the host beyond its workspace. Its digest names the workspace and
    /// those wishes.
    pub fn of_container(paths: &Paths, asked: Asked<'_>) -> Result<LoadedProfile, ProfileError> {
        let config = Loader { paths }.config()?;
        let driver = config.as_ref().and_then(|config| config.layer.driver);
        let baseline = config.map(|config| config.layer).unwrap_or_default();
        let label = Path::new("<docker run>");
        let own = parse_profile(&Origin { file: label, text: asked.text, folder: asked.folder, home: &paths.home })?;
        let below = Layer {
            network_mode: baseline.network_mode,
            network: baseline.network.clone(),
            security: baseline.security.clone(),
            ..Layer::default()
        };
        let name = own.name.clone();
        let (merged, origins) = merge([(0, &below), (0, &own)]);
        let registries = registries::load(paths)?;
        let mut profile = complete(merged, name, asked.folder, &[], &origins, &registries)?;
        profile.project.is_mounted = false;
        let own_limits = Limits { values: baseline.limits.clone(), require: baseline.require_limits.unwrap_or(false) };
        profile.limits.lower_to(&own_limits);
        // Where there is none, everything is outside of it; and what was allowed then holds for every such box.
        let wants = trust::wishes(asked.workspace.unwrap_or(asked.folder), &profile, &baseline, &[]);
        let digest = trust::digest(asked.workspace.unwrap_or(Path::new("/")), &[], &wants);
        Ok(LoadedProfile {
            project: asked.folder.to_owned(),
            asked_base: profile.base.clone(),
            profile,
            lock: None,
            registries,
            driver,
            sources: Vec::new(),
            wants,
            devcontainer: None,
            digest,
            origins,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::trust::describe;

    fn wants(config: &str, workspace: Option<&str>, text: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let below = |name: &str| home.path().join(name);
        let paths = Paths {
            home: home.path().to_owned(),
            data: below("data"),
            config: below("config"),
            cache: below("cache"),
            runtime: below("run"),
        };
        std::fs::create_dir(&paths.config).unwrap();
        std::fs::write(paths.config.join("config.toml"), config).unwrap();
        let asked = Asked { folder: Path::new("/data/c"), workspace: workspace.map(Path::new), text };
        match Profile::of_container(&paths, asked) {
            Ok(loaded) => describe(&loaded.wants).join("; "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn what_lies_outside_of_the_workspace_is_wanted() {
        let mount = "[[mounts]]\nsource = \"/work/shop\"\ntarget = \"/workspaces/shop\"\n";
        let wish = "read and change `/work/shop` of the host, as `/workspaces/shop`";
        for (config, workspace, text, expected) in [
            ("", Some("/work/shop"), mount, ""),
            ("", Some("/work"), mount, ""),
            ("", Some("/work/shop/api"), mount, wish),
            ("", None, mount, wish),
            ("", None, "[network]\nmode = \"none\"", ""),
            (
                "",
                None,
                "[network]\nmode = \"host\"",
                "use the host's network, with every service that listens on it locally",
            ),
            ("[profile.network]\nmode = \"host\"", None, "[network]\nmode = \"host\"", ""),
            ("[profile]\npackages = [\"git\"]\n[profile.network]\nmode = \"none\"", None, "", ""),
            ("", None, "[network]\nports = [\"0.0.0.0:80:80\"]", "let other machines reach it: `0.0.0.0:80:80/tcp`"),
            ("", None, "[security.capabilities]\nadd = [\"net_admin\"]", "have the capability `CAP_NET_ADMIN`"),
        ] {
            assert_eq!(wants(config, workspace, text), expected, "{workspace:?} {text}");
        }
    }
}
