//! What builds remember, and what of it is too old or too much.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::usage::{Extent, Tree, measure};
use super::{At, UpkeepError, children};
use crate::build::cache::records::step_layer;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::user::BuildCache;
use crate::userns::idmap::IdMap;

/// Something that a build remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file or directory.
    pub path: PathBuf,
    /// For a step that changed something, the directory in `store/layers`.
    pub layer: Option<String>,
    /// When it was needed last.
    used: SystemTime,
}

/// What builds remember, divided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// What stays.
    pub kept: Vec<Entry>,
    /// What goes: it is old, or there is no room for it, or it cannot be read.
    pub surplus: Vec<PathBuf>,
}

/// Divides what builds remember. `needed`: the layers that images and boxes have, which take no room of the cache. The
/// caller must be single-threaded.
pub fn divide(
    paths: &Paths,
    store: &Store,
    map: &IdMap,
    needed: &BTreeSet<String>,
    limits: BuildCache,
) -> Result<Division, UpkeepError> {
    let mut division = Division::default();
    let mut entries = Vec::new();
    for path in children(&store.path().join("build/steps"))? {
        match step_layer(&path) {
            Some(layer) => entries.push(Entry { used: used(&path)?, layer, path }),
            None => division.surplus.push(path),
        }
    }
    for (directory, witness) in [("sources", ""), ("downloads", "about.json"), ("mounts", "lock")] {
        for path in children(&store.path().join("build").join(directory))? {
            let witness = path.join(witness);
            let used = used(if witness.exists() { &witness } else { &path })?;
            entries.push(Entry { path, layer: None, used });
        }
    }
    let now = SystemTime::now();
    // A clock that was set back makes nothing old.
    let is_old = |entry: &Entry| now.duration_since(entry.used).is_ok_and(|age| age >= limits.max_age);
    let (old, mut young) = entries.into_iter().partition::<Vec<_>, _>(is_old);
    division.surplus.extend(old.into_iter().map(|entry| entry.path));
    let Some(max_bytes) = limits.max_size_bytes else { return Ok(Division { kept: young, ..division }) };

    young.sort_by_key(|entry| std::cmp::Reverse(entry.used));
    let trees: Vec<Tree> = young.iter().map(|entry| tree(store, entry)).collect();
    let mut counted = needed.clone();
    let mut sum = 0;
    for (entry, size) in young.into_iter().zip(measure(paths, map, &trees)?) {
        if entry.layer.clone().is_none_or(|layer| counted.insert(layer)) {
            sum += size;
        }
        if sum > max_bytes {
            division.surplus.push(entry.path);
        } else {
            division.kept.push(entry);
        }
    }
    Ok(division)
}

/// Where its room is taken: the record of a step takes next to none.
fn tree(store: &Store, entry: &Entry) -> Tree {
    match &entry.layer {
        Some(layer) => Tree { path: store.path().join("layers").join(layer), extent: Extent::Frozen },
        None => Tree { path: entry.path.clone(), extent: Extent::Whole },
    }
}

fn used(path: &Path) -> Result<SystemTime, UpkeepError> {
    path.symlink_metadata().and_then(|meta| meta.modified()).at("read", path)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_old_or_too_much_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let paths =
            Paths { home: at("home"), data: at("data"), config: at("config"), cache: at("cache"), runtime: at("run") };
        let store = Store::open(&paths.store()).unwrap();
        let build = store.path().join("build");
        let hour = Duration::from_secs(3600);
        // Each of about 100 KB, and used so many hours ago.
        for (name, hours) in [("mounts/new", 1_u32), ("downloads/middle", 5), ("sources/old", 9)] {
            let path = build.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("file"), vec![1; 100_000]).unwrap();
            let witness = match name.split_once('/').unwrap().0 {
                "mounts" => path.join("lock"),
                "downloads" => path.join("about.json"),
                _ => path,
            };
            if !witness.exists() {
                fs::write(&witness, "").unwrap();
            }
            File::open(&witness).unwrap().set_modified(SystemTime::now() - hours * hour).unwrap();
        }
        fs::create_dir_all(build.join("steps")).unwrap();
        fs::write(build.join("steps/broken.root"), "{").unwrap();
        let kept = |limits: BuildCache| {
            let found = divide(&paths, &store, &IdMap::root(), &BTreeSet::new(), limits).unwrap();
            assert_eq!(found.kept.len() + found.surplus.len(), 4);
            let mut names: Vec<_> =
                found.kept.iter().map(|entry| entry.path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let all = BuildCache { max_age: Duration::MAX, max_size_bytes: None };
        assert_eq!(kept(all), ["middle", "new", "old"]);
        assert_eq!(kept(BuildCache { max_age: 7 * hour, ..all }), ["middle", "new"]);
        assert_eq!(kept(BuildCache { max_age: Duration::ZERO, ..all }), [""; 0]);
        assert_eq!(kept(BuildCache { max_size_bytes: Some(250_000), ..all }), ["middle", "new"]);
        assert_eq!(kept(BuildCache { max_size_bytes: Some(150_000), ..all }), ["new"]);
        assert_eq!(kept(BuildCache { max_size_bytes: Some(0), ..all }), [""; 0]);
    }
}
