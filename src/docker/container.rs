//! The record of a container: writing, reading and finding it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{At, DockerError, DockerResult};
use super::mounts::MountPoint;
use super::volumes;
use crate::boxes::directory::fresh_name;
use crate::boxes::lock::{BoxLock, Sharing};
use crate::boxes::state::write_json;
use crate::boxes::{BoxDir, BoxId, BoxesError};
use crate::paths::{Paths, create_private};
use crate::profile::container::Asked;
use crate::profile::{LoadedProfile, Mount, Profile, Root, Tmpfs};

/// The repository that containers' own names for images are in.
pub const HELD_IMAGES: &str = "localhost/devbox-container";

/// What a container is: `container.json`. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// How the user calls it.
    pub name: String,
    /// When it was made; identifies it for whoever does something once.
    pub created: Timestamp,
    /// The image as it was typed.
    pub image: String,
    /// The digest of its manifest.
    pub image_id: String,
    /// What is run before the command.
    pub entrypoint: Option<Vec<String>>,
    /// The command.
    pub command: Vec<String>,
    /// Who runs it, as the image or `--user` says; empty for root.
    pub user: String,
    /// The image's variables, then those of the command line, as `NAME=value`.
    pub environment: Vec<String>,
    /// The image's labels and those of the command line.
    pub labels: BTreeMap<String, String>,
    /// Where the command starts.
    pub working_dir: String,
    /// What asks the command to end.
    pub stop_signal: String,
    /// It goes with its end.
    pub remove: bool,
    /// Its standard input stays open.
    pub open_input: bool,
    /// A terminal was asked for.
    pub terminal: bool,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Memory that is mounted.
    #[serde(default)]
    pub tmpfs: Vec<Tmpfs>,
    /// Nothing can be written to its root file system.
    #[serde(default)]
    pub read_only: bool,
    /// What is published, as a profile has it.
    pub ports: Vec<String>,
    /// `bridge`, `host`, `none`.
    pub network: String,
    /// The folder that it is for.
    pub workspace: Option<PathBuf>,
    /// What its box is, in the words of `devbox.toml`.
    pub profile: String,
}

/// How a container is: `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// When that ended.
    pub finished: Option<Timestamp>,
    /// How.
    pub exit_code: i32,
    /// Why it could not begin.
    #[serde(default)]
    pub error: String,
    /// The process that looks after it, or did.
    pub monitor: Option<i32>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was never started.
    Created,
    /// Its first process runs.
    Running,
    /// That has ended.
    Exited,
}

impl Status {
    /// As docker writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

/// How much of an id is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// As many as tell containers apart.
    First,
    /// Every one.
    All,
}

impl Digits {
    /// As `--no-trunc` wants it.
    #[must_use]
    pub fn all_if(no_trunc: bool) -> Self {
        if no_trunc { Self::All } else { Self::First }
    }
}

/// The directory that everything of containers is in.
#[must_use]
pub fn root(paths: &Paths) -> PathBuf {
    paths.data.join("docker")
}

fn all(paths: &Paths) -> PathBuf {
    root(paths).join("containers")
}

/// 64 hexadecimal digits that nobody has used.
pub fn fresh_id() -> DockerResult<String> {
    Ok(fresh_name()? + &fresh_name()?)
}

impl Container {
    /// The id as it is listed.
    #[must_use]
    pub fn listed_id(&self, digits: Digits) -> &str {
        match digits {
            Digits::First => &self.id[..12],
            Digits::All => &self.id,
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self, paths: &Paths) -> PathBuf {
        all(paths).join(&self.id)
    }

    /// The box.
    #[must_use]
    pub fn box_directory(&self, paths: &Paths) -> BoxDir {
        BoxDir::new(paths, &BoxId::new(&self.name, &self.directory(paths)))
    }

    /// Held by the monitor while the first process runs.
    #[must_use]
    pub fn lock_path(&self, paths: &Paths) -> PathBuf {
        self.directory(paths).join("lock")
    }

    /// What the first process wrote: standard output, standard error.
    #[must_use]
    pub fn logs(&self, paths: &Paths) -> [PathBuf; 2] {
        ["stdout.log", "stderr.log"].map(|name| self.directory(paths).join(name))
    }

    /// What is run.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.entrypoint.iter().flatten().chain(&self.command).cloned().collect()
    }

    /// Writes it down; the caller holds [`lock_names`].
    pub fn save(&self, paths: &Paths) -> DockerResult<()> {
        let target = self.directory(paths);
        let fresh = all(paths).join(format!(".{}", self.id));
        create_private(&fresh)?;
        write_json(&fresh.join("container.json"), self)?;
        write_json(&fresh.join("state.json"), &State::default())?;
        fs::rename(&fresh, &target).at("rename", &fresh)
    }

    /// What is known of its runs.
    pub fn state(&self, paths: &Paths) -> DockerResult<State> {
        Ok(read_json(&self.directory(paths).join("state.json"))?.unwrap_or_default())
    }

    /// Writes that down.
    pub fn save_state(&self, paths: &Paths, state: &State) -> DockerResult<()> {
        Ok(write_json(&self.directory(paths).join("state.json"), state)?)
    }

    /// What it does. A monitor that was killed leaves a state behind that says otherwise: the lock tells the truth.
    pub fn status(&self, paths: &Paths) -> DockerResult<(Status, State)> {
        let state = self.state(paths)?;
        let running = state.started.is_some() && state.finished.is_none();
        let status = match (state.started, running && self.is_watched(paths)) {
            (None, _) => Status::Created,
            (Some(_), true) => Status::Running,
            (Some(_), false) => Status::Exited,
        };
        Ok((status, state))
    }

    /// Whether a monitor looks after it.
    #[must_use]
    pub fn is_watched(&self, paths: &Paths) -> bool {
        matches!(
            BoxLock::try_acquire(&self.lock_path(paths), Sharing::Shared, "devbox docker"),
            Err(BoxesError::Busy { .. })
        )
    }

    /// Its whole profile, with its volumes.
    pub fn load_profile(&self, paths: &Paths) -> DockerResult<LoadedProfile> {
        let folder = self.directory(paths);
        let asked = Asked { folder: &folder, workspace: self.workspace.as_deref(), text: &self.profile };
        let mut loaded = Profile::of_container(paths, asked)?;
        let volumes = self.mounts.iter().filter_map(|mount| {
            let source = volumes::data(paths, mount.volume.as_deref()?);
            Some(Mount { source, target: mount.target.clone(), read_only: mount.read_only })
        });
        loaded.profile.mounts.extend(volumes);
        loaded.profile.root = Root { read_only: self.read_only, tmpfs: self.tmpfs.clone() };
        Ok(loaded)
    }
}

/// The value of a JSON file; `None`: there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> DockerResult<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error).at("read", path),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| DockerError::Damaged { path: path.to_owned(), source })
}

/// Whoever makes a container holds it: two may not take the same name.
pub fn lock_names(paths: &Paths) -> DockerResult<File> {
    create_private(&all(paths))?;
    let path = root(paths).join("lock");
    let file = fs::OpenOptions::new().create(true).append(true).open(&path).at("open", &path)?;
    file.lock().at("lock", &path)?;
    Ok(file)
}

/// Every container, the newest first. Records that cannot be read are left out: one must not hide the others.
pub fn list(paths: &Paths) -> DockerResult<Vec<Container>> {
    let mut found: Vec<Container> = ids(paths)?.iter().filter_map(|id| load(paths, id).ok().flatten()).collect();
    found.sort_by_key(|container| std::cmp::Reverse(container.created));
    Ok(found)
}

fn ids(paths: &Paths) -> DockerResult<Vec<String>> {
    let mut names = names_in(&all(paths))?;
    names.retain(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Ok(names)
}

/// The names in a directory that need not be there, in any order.
pub(super) fn names_in(directory: &Path) -> DockerResult<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).at("list", directory),
    }
}

fn load(paths: &Paths, id: &str) -> DockerResult<Option<Container>> {
    read_json(&all(paths).join(id).join("container.json"))
}

/// The container with this id, this name, or whose id alone begins so.
pub fn find(paths: &Paths, untrusted_name: &str) -> DockerResult<Container> {
    let name = untrusted_name.strip_prefix('/').unwrap_or(untrusted_name);
    let no_such = || DockerError::NoSuchContainer { name: untrusted_name.to_owned() };
    let ids = ids(paths)?;
    if ids.iter().any(|id| id == name) {
        return load(paths, name)?.ok_or_else(no_such);
    }
    if let Some(named) = list(paths)?.into_iter().find(|container| container.name == name) {
        return Ok(named);
    }
    let mut fits = ids.iter().filter(|id| !name.is_empty() && id.starts_with(name));
    match (fits.next(), fits.next()) {
        (Some(id), None) => load(paths, id)?.ok_or_else(no_such),
        (Some(_), Some(_)) => Err(DockerError::Ambiguous { prefix: untrusted_name.to_owned() }),
        (None, _) => Err(no_such()),
    }
}

/// Names of containers and of volumes become those of boxes and directories.
pub fn check_name(name: &str) -> DockerResult<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if good { Ok(()) } else { Err(DockerError::Name { name: name.to_owned() }) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::docker) fn paths(home: &Path) -> Paths {
        let below = |name: &str| home.join(name);
        Paths {
            home: home.to_owned(),
            data: below("data"),
            config: below("config"),
            cache: below("cache"),
            runtime: below("run"),
        }
    }

    pub(in crate::docker) fn container(id: &str, name: &str) -> Container {
        Container {
            id: id.to_owned(),
            name: name.to_owned(),
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            image: "debian:12".to_owned(),
            image_id: format!("sha256:{}", "a".repeat(64)),
            entrypoint: None,
            command: vec!["sh".to_owned()],
            user: String::new(),
            environment: vec!["PATH=/bin".to_owned()],
            labels: BTreeMap::from([("a".to_owned(), "b=c".to_owned())]),
            working_dir: String::new(),
            stop_signal: "SIGTERM".to_owned(),
            remove: false,
            open_input: false,
            terminal: false,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            read_only: false,
            ports: Vec::new(),
            network: "bridge".to_owned(),
            workspace: None,
            profile: String::new(),
        }
    }

    #[test]
    fn containers_are_found_by_id_name_and_prefix() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        assert!(list(&paths).unwrap().is_empty());
        let _names = lock_names(&paths).unwrap();
        let (one, two) = (format!("ab{}", "0".repeat(62)), format!("ac{}", "0".repeat(62)));
        container(&one, "shop").save(&paths).unwrap();
        container(&two, "ab0").save(&paths).unwrap();
        for (typed, found) in [
            (one.as_str(), Ok(one.as_str())),
            ("shop", Ok(&one)),
            ("/shop", Ok(&one)),
            ("ac", Ok(&two)),
            ("ab0", Ok(&two)),
            ("ab00", Ok(&one)),
            ("a", Err("several ids begin with `a`")),
            ("x", Err("no such container: `x`")),
            ("", Err("no such container: ``")),
            ("../x", Err("no such container: `../x`")),
        ] {
            let result = find(&paths, typed).map(|container| container.id).map_err(|error| error.to_string());
            assert_eq!(result.as_deref(), found.map_err(str::to_owned).as_ref().copied(), "{typed}");
        }
        let shop = find(&paths, "shop").unwrap();
        assert_eq!(shop, container(&one, "shop"));
        assert_eq!(shop.status(&paths).unwrap().0, Status::Created);
        let begun = State { started: Some(Timestamp::now()), ..State::default() };
        shop.save_state(&paths, &begun).unwrap();
        assert_eq!(shop.status(&paths).unwrap().0, Status::Exited, "its monitor was killed");
        let _lock = BoxLock::try_acquire(&shop.lock_path(&paths), Sharing::Exclusive, "test").unwrap();
        assert_eq!(shop.status(&paths).unwrap().0, Status::Running);
    }

    #[test]
    fn names_are_checked() {
        for good in ["shop", "a", "9.b_c-d", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a/b", "..", "ä", "a b", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
