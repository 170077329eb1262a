//! Named volumes: directories that containers share, and that outlive them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::container::{check_name, list as containers, names_in, read_json, root};
use super::error::{At, DockerError, DockerResult};
use super::time::rfc3339;
use crate::boxes::pool::discard;
use crate::boxes::state::write_json;
use crate::paths::{Paths, create_private};

/// What is known of a volume: `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

fn all(paths: &Paths) -> PathBuf {
    root(paths).join("volumes")
}

/// The directory that containers see.
#[must_use]
pub fn data(paths: &Paths, name: &str) -> PathBuf {
    all(paths).join(name).join("_data")
}

/// Makes the volume unless it is there.
pub fn ensure(paths: &Paths, name: &str, labels: &BTreeMap<String, String>) -> DockerResult<Volume> {
    check_name(name)?;
    if let Some(volume) = load(paths, name)? {
        return Ok(volume);
    }
    create_private(&all(paths).join(name))?;
    let data = data(paths, name);
    fs::create_dir_all(&data).at("create", &data)?;
    // The directory above is closed to everybody else; this one belongs to whoever the container's user is.
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755)).at("change", &data)?;
    let volume = Volume { name: name.to_owned(), created: Timestamp::now(), labels: labels.clone() };
    write_json(&all(paths).join(name).join("volume.json"), &volume)?;
    Ok(volume)
}

fn load(paths: &Paths, name: &str) -> DockerResult<Option<Volume>> {
    read_json(&all(paths).join(name).join("volume.json"))
}

/// The volume of this name.
pub fn find(paths: &Paths, untrusted_name: &str) -> DockerResult<Volume> {
    let no_such = || DockerError::NoSuchVolume { name: untrusted_name.to_owned() };
    check_name(untrusted_name).map_err(|_| no_such())?;
    load(paths, untrusted_name)?.ok_or_else(no_such)
}

/// Every volume, by name.
pub fn list(paths: &Paths) -> DockerResult<Vec<Volume>> {
    let names = names_in(&all(paths))?;
    let mut found: Vec<Volume> = names.iter().filter_map(|name| load(paths, name).ok().flatten()).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The names of the volumes that containers have.
pub fn used(paths: &Paths) -> DockerResult<BTreeSet<String>> {
    let mounts = containers(paths)?.into_iter().flat_map(|container| container.mounts);
    Ok(mounts.filter_map(|mount| mount.volume).collect())
}

/// Moves a volume that no container has into the trash.
pub fn remove(paths: &Paths, untrusted_name: &str) -> DockerResult<()> {
    let volume = find(paths, untrusted_name)?;
    let name = volume.name;
    let user = containers(paths)?
        .into_iter()
        .find(|container| container.mounts.iter().any(|mount| mount.volume.as_deref() == Some(&name)));
    if let Some(container) = user {
        return Err(DockerError::VolumeInUse { name, container: container.name });
    }
    Ok(discard(&paths.data, &all(paths).join(name))?)
}

impl Volume {
    /// As `volume inspect` and `volume ls --format` print it.
    #[must_use]
    pub fn describe(&self, paths: &Paths) -> Value {
        json!({
            "CreatedAt": rfc3339(Some(self.created)),
            "Driver": "local",
            "Labels": self.labels,
            "Mountpoint": data(paths, &self.name),
            "Name": self.name,
            "Options": {},
            "Scope": "local",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::lock_names;
    use super::super::container::tests::{container, paths};
    use super::super::mounts::MountPoint;
    use super::*;

    #[test]
    fn volumes_are_made_once_and_removed_when_nobody_has_them() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        crate::boxes::directory::prepare(&paths).unwrap();
        let made = ensure(&paths, "data", &BTreeMap::new()).unwrap();
        assert_eq!(ensure(&paths, "data", &BTreeMap::from([("a".into(), "b".into())])).unwrap(), made);
        assert!(data(&paths, "data").is_dir());
        for bad in ["", "..", "a/b", "none"] {
            assert!(matches!(find(&paths, bad), Err(DockerError::NoSuchVolume { .. })), "{bad}");
        }
        let mount = |volume: &str| MountPoint {
            volume: Some(volume.to_owned()),
            source: PathBuf::new(),
            target: "/d".into(),
            read_only: false,
        };
        let _names = lock_names(&paths).unwrap();
        let mut shop = container(&"a".repeat(64), "shop");
        shop.mounts.push(mount("data"));
        shop.save(&paths).unwrap();
        assert!(matches!(remove(&paths, "data"), Err(DockerError::VolumeInUse { .. })));
        fs::remove_dir_all(shop.directory(&paths)).unwrap();
        remove(&paths, "data").unwrap();
        assert!(list(&paths).unwrap().is_empty());
    }
}
