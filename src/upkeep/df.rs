//! `devbox df`: where the space goes. The lines add up to what `du` says of the data directory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use super::gc::{Kind as Garbage, Options, gc};
use super::roots::{Roots, layers};
use super::usage::{Extent, Tree, measure};
use super::{UpkeepError, children, name};
use crate::boxes::directory;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::user::BuildCache;
use crate::progress::Silent;
use crate::userns::idmap::IdMap;

/// What takes space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Layers of images.
    ImageLayers,
    /// Base archives and distributions.
    Bases,
    /// Layers of packages.
    Packages,
    /// The host base.
    HostBase,
    /// Boxes: what they wrote since their last snapshot.
    Boxes,
    /// Frozen layers of boxes: snapshots, and what clones share.
    BoxLayers,
    /// What builds remember.
    BuildCache,
    /// Dropped and unfinished trees, interrupted downloads.
    Trash,
    /// Records, manifests, locks.
    Records,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// The space that they take.
    pub size_bytes: u64,
    /// How much of that `devbox gc` would free.
    pub reclaimable_bytes: u64,
}

/// Everything in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// One line for each kind.
    pub lines: Vec<Line>,
    /// The sum.
    pub size_bytes: u64,
    /// How much of that `devbox gc` would free.
    pub reclaimable_bytes: u64,
}

/// Counts; `cache` is what `gc` keeps of builds. What never changes is counted once and remembered. The caller must be single-threaded.
pub fn df(paths: &Paths, map: &IdMap, cache: BuildCache) -> Result<Usage, UpkeepError> {
    let store = Store::open(&paths.store())?;
    let parts = parts(paths, &store, map)?;
    let trees: Vec<Tree> = parts.iter().map(|(_, tree)| tree.clone()).collect();
    let mut whole = trees.clone();
    whole.extend(skeleton(paths, &trees)?);
    let sizes = measure(paths, map, &whole)?;
    let garbage: BTreeMap<PathBuf, u64> =
        gc(paths, map, Options { dry_run: true, cache, ..Options::default() }, &Silent)?
            .items
            .into_iter()
            .filter(|item| item.kind != Garbage::BuildCache || item.path.exists())
            .map(|item| (item.path, item.size_bytes))
            .collect();
    let mut lines = BTreeMap::new();
    for kind in ALL {
        lines.insert(kind, Line { kind, count: 0, size_bytes: 0, reclaimable_bytes: 0 });
    }
    for ((kind, tree), size) in parts.iter().zip(&sizes) {
        if let Some(line) = lines.get_mut(kind) {
            line.count += 1;
            line.size_bytes += size;
            line.reclaimable_bytes += garbage.get(&tree.path).copied().unwrap_or_default().min(*size);
        }
    }
    if let Some(records) = lines.get_mut(&Kind::Records) {
        records.size_bytes += sizes[parts.len()..].iter().sum::<u64>();
        let blobs = garbage.iter().filter(|(path, _)| path.starts_with(store.path().join("blobs")));
        records.reclaimable_bytes += blobs.map(|(_, size)| size).sum::<u64>();
    }
    let lines: Vec<Line> = lines.into_values().collect();
    Ok(Usage {
        size_bytes: lines.iter().map(|line| line.size_bytes).sum(),
        reclaimable_bytes: lines.iter().map(|line| line.reclaimable_bytes).sum(),
        lines,
    })
}

const ALL: [Kind; 9] = [
    Kind::ImageLayers,
    Kind::Bases,
    Kind::Packages,
    Kind::HostBase,
    Kind::Boxes,
    Kind::BoxLayers,
    Kind::BuildCache,
    Kind::Trash,
    Kind::Records,
];

/// The trees that have a kind of their own.
fn parts(paths: &Paths, store: &Store, map: &IdMap) -> Result<Vec<(Kind, Tree)>, UpkeepError> {
    let roots = Roots::find(paths, store, map, BuildCache::UNLIMITED)?;
    let imaged = image_layers(store)?;
    let mut parts = Vec::new();
    for (name, path) in layers(store)? {
        let kind = match name.split('-').next() {
            Some("packages") => Kind::Packages,
            Some("archive" | "distro") => Kind::Bases,
            // A layer that a step made, and that no image has.
            _ if roots.layers.contains(&name) && !imaged.contains(&name) => Kind::BuildCache,
            _ => Kind::ImageLayers,
        };
        parts.push((kind, Tree { path, extent: Extent::Frozen }));
    }
    let root = store.path();
    let mut all = |kind, directory: PathBuf, extent: Extent| -> Result<(), UpkeepError> {
        let trees = children(&directory)?.into_iter().filter(|path| name(path) != "lock");
        parts.extend(trees.map(|path| (kind, Tree { path, extent: extent.clone() })));
        Ok(())
    };
    all(Kind::Boxes, paths.boxes(), Extent::Whole)?;
    all(Kind::BoxLayers, directory::pool(&paths.data), Extent::Frozen)?;
    all(Kind::Trash, directory::trash(&paths.data), Extent::Whole)?;
    all(Kind::Trash, root.join("tmp"), Extent::Whole)?;
    all(Kind::Trash, root.join("partial"), Extent::Whole)?;
    all(Kind::BuildCache, root.join("build/mounts"), Extent::Whole)?;
    all(Kind::BuildCache, root.join("build/downloads"), Extent::Whole)?;
    for path in children(&root.join("host"))?.into_iter().filter(|path| path.is_dir()) {
        parts.push((Kind::HostBase, Tree { path, extent: Extent::Witnessed("index") }));
    }
    Ok(parts)
}

fn image_layers(store: &Store) -> Result<BTreeSet<String>, UpkeepError> {
    let names = |record: ImageRecord| {
        let names = record.layers.into_iter();
        names.flat_map(|(layout, names)| names.into_iter().map(move |name| format!("{name}.{layout}")))
    };
    Ok(store.images()?.into_iter().flat_map(names).collect())
}

/// Everything else in the data directory: its directories one by one, and the trees in them that are no part.
fn skeleton(paths: &Paths, parts: &[Tree]) -> Result<Vec<Tree>, UpkeepError> {
    let mut skeleton = Vec::new();
    let is_part: HashSet<&PathBuf> = parts.iter().map(|tree| &tree.path).collect();
    let holders: HashSet<PathBuf> =
        parts.iter().flat_map(|tree| tree.path.ancestors().skip(1)).map(Into::into).collect();
    let mut waiting = vec![paths.data.clone()];
    while let Some(path) = waiting.pop() {
        if is_part.contains(&path) {
            continue;
        }
        // Of a directory that is looked into, only itself is counted.
        let extent = if holders.contains(&path) { Extent::Root } else { Extent::Whole };
        if extent == Extent::Root {
            waiting.extend(children(&path)?);
        }
        skeleton.push(Tree { path, extent });
    }
    Ok(skeleton)
}
