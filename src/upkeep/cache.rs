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
    let sizes = measure(paths, map, &trees)?;
    // Which of them, by their number, fit; the layers that several have take room once.
    let mut there = needed.clone();
    let room = young.iter().zip(sizes).map(|(entry, size)| (entry.layer.as_ref(), size));
    let stays = fitting(room, &mut there, max_bytes);
    for (entry, stays) in young.into_iter().zip(stays) {
        if stays { division.kept.push(entry) } else { division.surplus.push(entry.path) }
    }
    Ok(division)
}

/// Which of `entries` (layer and size), the one needed last first, stay so that all that stay have `max_bytes` at most: those
/// that were not needed for the longest time go first. One that alone is too much goes, and takes no other with it. What takes
/// no room stays; `there` are the layers that take none, to which those of what stays are added. Pure.
fn fitting<'a>(
    entries: impl Iterator<Item = (Option<&'a String>, u64)>,
    there: &mut BTreeSet<String>,
    max_bytes: u64,
) -> Vec<bool> {
    let (mut sum, mut is_full) = (0, false);
    let mut stays = |(layer, size): (Option<&String>, u64)| {
        if layer.is_some_and(|layer| there.contains(layer)) {
            return true;
        }
        if size > max_bytes {
            return false;
        }
        is_full = is_full || sum + size > max_bytes;
        if !is_full {
            sum += size;
            there.extend(layer.cloned());
        }
        !is_full
    };
    entries.map(&mut stays).collect()
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
    fn what_was_not_needed_for_the_longest_time_goes_first() {
        type Entries = &'static [(&'static str, u64)];
        // The one that was needed last stands first: layer, size; the limit; which stay.
        let cases: [(Entries, u64, &str); 9] = [
            (&[("a", 4), ("b", 4), ("c", 2)], 10, "abc"),
            (&[("a", 4), ("b", 4), ("c", 2)], 9, "ab"),
            // Alone too much: neither newer nor older ones go with it.
            (&[("a", 4), ("big", 90), ("c", 2)], 10, "ac"),
            (&[("big", 90), ("b", 4), ("c", 2)], 10, "bc"),
            (&[("a", 4), ("big", 90)], 10, "a"),
            // Older ones go before it, and it goes when that was not enough.
            (&[("a", 4), ("b", 8), ("c", 2)], 12, "ab"),
            (&[("a", 4), ("b", 8), ("c", 2)], 10, "a"),
            // A layer that several steps have, and one that an image has.
            (&[("a", 4), ("a", 4), ("b", 6), ("c", 1), ("a", 4), ("image", 50)], 10, "aabaimage"),
            (&[("a", 1), ("image", 50)], 0, "image"),
        ];
        for (entries, limit, expected) in cases {
            let layers: Vec<String> = entries.iter().map(|(layer, _)| (*layer).to_owned()).collect();
            let sizes = entries.iter().map(|(_, size)| *size);
            let mut there = BTreeSet::from(["image".to_owned()]);
            let stays = fitting(layers.iter().map(Some).zip(sizes), &mut there, limit);
            let kept: String =
                layers.iter().zip(stays).filter(|(_, stays)| *stays).map(|(layer, _)| layer.as_str()).collect();
            assert_eq!(kept, expected, "{entries:?} in {limit}");
        }
    }

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
