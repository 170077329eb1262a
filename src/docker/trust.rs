//! What a container wants of the host, beyond the folder that it is for, is the user's to allow: as with profiles.
//!
//! Programs that call `docker run` pass on what a repository's files say, and cannot be asked. So what is wanted is refused at
//! first and written down, and `devbox docker allow` allows just that, for just that folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::{read_json, root};
use super::error::{DockerError, DockerResult};
use crate::boxes::state::write_json;
use crate::paths::{Paths, create_private};
use crate::profile::container::Asked;
use crate::profile::{LoadedProfile, Profile, trust};

/// The label that says for which folder a container is. The first one counts: it is the caller's own, and what a repository
/// says comes after it.
pub const FOLDER_LABEL: &str = "devcontainer.local_folder";

/// Digits of a key.
const KEY_DIGITS: usize = 12;

/// A question that nobody could be asked: `asked/<key>.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Question {
    folder: PathBuf,
    workspace: Option<PathBuf>,
    profile: String,
}

/// The folder that a container is for: that of the label or else the caller's, or the git repository that it is in. `None`
/// where that holds the home directory or what devbox itself believes: what lies there is asked for.
#[must_use]
pub fn workspace(paths: &Paths, label: Option<&str>, caller: &Path) -> Option<PathBuf> {
    let folder = label.map_or(caller, Path::new);
    let folder = std::fs::canonicalize(folder).ok()?;
    let own = [&paths.home, &paths.data, &paths.config, &paths.cache, &paths.runtime];
    let own: Vec<PathBuf> = own.iter().map(|path| std::fs::canonicalize(path).unwrap_or((*path).clone())).collect();
    let is_project = |folder: &Path| {
        !own.iter().any(|path| path.starts_with(folder)) && !own[1..].iter().any(|path| folder.starts_with(path))
    };
    let repository = folder.ancestors().find(|above| above.join(".git").exists()).filter(|above| is_project(above));
    repository.map(Path::to_owned).or_else(|| is_project(&folder).then_some(folder))
}

/// An error unless nothing is wanted, or all of it was allowed; what is wanted is remembered for [`allow`].
pub fn require(paths: &Paths, loaded: &LoadedProfile, asked: Asked<'_>) -> DockerResult<()> {
    if trust::is_trusted(paths, loaded)? {
        return Ok(());
    }
    let key = loaded.digest[..KEY_DIGITS].to_owned();
    let directory = root(paths).join("asked");
    create_private(&directory)?;
    let question = Question {
        folder: asked.folder.to_owned(),
        workspace: asked.workspace.map(Path::to_owned),
        profile: asked.text.to_owned(),
    };
    write_json(&directory.join(format!("{key}.json")), &question)?;
    Err(DockerError::NotTrusted { wishes: trust::describe(&loaded.wants), key })
}

/// What was refused under `key`.
pub fn asked(paths: &Paths, untrusted_key: &str) -> DockerResult<LoadedProfile> {
    let unknown = || DockerError::NotAsked { key: untrusted_key.to_owned() };
    if untrusted_key.len() != KEY_DIGITS || !untrusted_key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let path = root(paths).join("asked").join(format!("{untrusted_key}.json"));
    let question: Question = read_json(&path)?.ok_or_else(unknown)?;
    let asked = Asked { folder: &question.folder, workspace: question.workspace.as_deref(), text: &question.profile };
    let mut loaded = Profile::of_container(paths, asked)?;
    if !loaded.digest.starts_with(untrusted_key) {
        return Err(unknown());
    }
    // What the answer is remembered under for people.
    loaded.project = question.workspace.unwrap_or(question.folder);
    Ok(loaded)
}

/// Remembers that the user agreed to it.
pub fn allow(paths: &Paths, loaded: &LoadedProfile) -> DockerResult<()> {
    Ok(trust::trust(paths, loaded)?)
}

#[cfg(test)]
mod tests {
    use super::super::container::tests::paths;
    use super::*;

    #[test]
    fn what_is_allowed_is_just_that() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let text = |source: &str| format!("[[mounts]]\nsource = \"{source}\"\ntarget = \"/x\"\n");
        let (one, two) = (text("/a"), text("/b"));
        let folder = Path::new("/data/c");
        let check = |text: &str, workspace: &str| {
            let asked = Asked { folder, workspace: Some(Path::new(workspace)), text };
            require(&paths, &Profile::of_container(&paths, asked).unwrap(), asked)
        };
        let Err(DockerError::NotTrusted { wishes, key }) = check(&one, "/w") else { panic!("not asked for") };
        assert_eq!(wishes, ["read and change `/a` of the host, as `/x`"]);
        assert!(asked(&paths, "0123456789ab").is_err() && asked(&paths, "../../x").is_err());
        allow(&paths, &asked(&paths, &key).unwrap()).unwrap();
        assert!(check(&one, "/w").is_ok());
        assert!(check(&two, "/w").is_err() && check(&one, "/v").is_err());
        assert!(check(&one, "/a").is_ok(), "it is its own folder");
    }

    #[test]
    fn the_folder_that_a_container_is_for() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let paths = paths(&home);
        for folder in ["shop/.git", "shop/api", "loose", "data/docker"] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        for (label, caller, expected) in [
            (Some("shop"), "loose", Some("shop")),
            (Some("shop/api"), "loose", Some("shop")),
            (None, "shop/api", Some("shop")),
            (None, "loose", Some("loose")),
            (None, "", None),
            (Some("/"), "loose", None),
            (Some("nowhere"), "loose", None),
            (None, "data/docker", None),
        ] {
            let label = label.map(|label| home.join(label).to_string_lossy().into_owned());
            let found = workspace(&paths, label.as_deref(), &home.join(caller));
            assert_eq!(found, expected.map(|folder| home.join(folder)), "{label:?} {caller}");
        }
    }
}
