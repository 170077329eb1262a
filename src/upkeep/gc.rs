//! `devbox gc`: removing what nothing needs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::roots::{Roots, layers};
use super::usage::{Extent, Tree, measure};
use super::{At, UpkeepError, children, name};
use crate::base::host;
use crate::boxes::pool::{self, Unneeded};
use crate::boxes::{BoxDir, directory, guards, list, remove};
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::user::BuildCache;
use crate::progress::Progress;
use crate::userns::idmap::IdMap;

/// What to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Nothing; only say what.
    pub dry_run: bool,
    /// How much is looked at.
    pub scope: Scope,
    /// What is kept of builds.
    pub cache: BuildCache,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    Everything,
    /// What builds remember, and the layers that only that needs.
    BuildCache,
}

/// What a piece of garbage was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An image from a file that no box stands on any more.
    Image,
    /// A layer that no image, box or step needs.
    Layer,
    /// A frozen writable layer, or a box that was never finished.
    BoxLayer,
    /// A manifest, index or configuration, or the archive of a layer.
    Blob,
    /// A layer's archive that was not fetched to its end.
    Download,
    /// What a build remembers.
    BuildCache,
    /// A tree that was dropped or never finished.
    Trash,
}

/// A piece of garbage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it was.
    pub kind: Kind,
    /// Its name in the store.
    pub name: String,
    /// The space that it takes.
    pub size_bytes: u64,
    /// Where it is.
    #[serde(skip)]
    pub path: PathBuf,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By kind, then name.
    pub items: Vec<Item>,
    /// The sum of their sizes.
    pub size_bytes: u64,
    /// Something is being pulled, built or installed: layers and blobs were left alone.
    pub busy: bool,
    /// Boxes and records that cannot be read: layers were left alone, because nobody knows what they need.
    pub unreadable: Vec<String>,
}

/// Removes everything that [`Roots`] do not keep. The caller must be single-threaded.
pub fn gc(paths: &Paths, map: &IdMap, options: Options, progress: &dyn Progress) -> Result<Report, UpkeepError> {
    let store = Store::open(&paths.store())?;
    let mut report = Report::default();
    // Held until everything is out of the way, so that nothing begins to need what is found.
    let lock = store.try_lock_exclusive()?;
    report.busy = lock.is_none();
    if lock.is_some() {
        let roots = Roots::find(paths, &store, map, options.cache)?;
        report.unreadable.extend(roots.unknown_boxes.iter().map(ToString::to_string));
        report.unreadable.extend(roots.unknown_images.iter().map(|path| path.display().to_string()));
        if !roots.are_unknown() {
            find_layers(paths, &store, map, &roots, options.scope, &mut report.items)?;
            if options.scope == Scope::Everything {
                find_blobs(&store, &roots, &mut report.items)?;
                for path in roots.old_images {
                    add(&mut report.items, Kind::Image, path);
                }
                if !options.dry_run {
                    host::collect(paths, map, roots.host).map_err(|error| UpkeepError::Host(Box::new(error)))?;
                }
            }
            for path in roots.old_cache {
                add(&mut report.items, Kind::BuildCache, path);
            }
        }
        if options.scope == Scope::Everything {
            find_leftovers(&store, &mut report.items)?;
        }
    }
    if options.scope == Scope::Everything {
        if let Unneeded::Trees(trees) = pool::unneeded(paths)? {
            trees.into_iter().for_each(|path| add(&mut report.items, Kind::BoxLayer, path));
        }
        for path in children(&directory::trash(&paths.data))? {
            add(&mut report.items, Kind::Trash, path);
        }
    }
    weigh(paths, map, &mut report)?;
    if options.dry_run {
        return Ok(report);
    }
    for item in &report.items {
        match item.kind {
            Kind::Trash | Kind::BoxLayer => {}
            Kind::Layer => pool::discard(&paths.data, &item.path)?,
            Kind::BuildCache if item.path.is_dir() => pool::discard(&paths.data, &item.path)?,
            Kind::Image | Kind::Blob | Kind::Download | Kind::BuildCache => remove_file(&item.path)?,
        }
    }
    drop(lock);
    for id in list::ids(paths)? {
        // A project that cannot be written to keeps what lies in it.
        guards::sweep(&BoxDir::new(paths, &id)).ok();
    }
    pool::collect(paths)?;
    store.sweep(map)?;
    remove::empty_trash(paths, map, progress)?;
    // Should whoever made layers have been killed before the disk had them.
    store.settle_later()?;
    Ok(report)
}

fn add(items: &mut Vec<Item>, kind: Kind, path: PathBuf) {
    items.push(Item { kind, name: name(&path).to_owned(), size_bytes: 0, path });
}

fn find_layers(
    paths: &Paths,
    store: &Store,
    map: &IdMap,
    roots: &Roots,
    scope: Scope,
    items: &mut Vec<Item>,
) -> Result<(), UpkeepError> {
    let with_cache = match scope {
        Scope::Everything => None,
        Scope::BuildCache => Some(Roots::find(paths, store, map, BuildCache::UNLIMITED)?),
    };
    for (name, path) in layers(store)? {
        let is_looked_at = with_cache.as_ref().is_none_or(|roots| roots.keep(&name));
        if is_looked_at && !roots.keep(&name) {
            add(items, Kind::Layer, path);
        }
    }
    Ok(())
}

fn find_blobs(store: &Store, roots: &Roots, items: &mut Vec<Item>) -> Result<(), UpkeepError> {
    for algorithm in children(&store.path().join("blobs"))? {
        for path in children(&algorithm)? {
            let digest = format!("{}:{}", name(&algorithm), name(&path)).parse();
            if !digest.is_ok_and(|digest| roots.blobs.contains(&digest)) {
                add(items, Kind::Blob, path);
            }
        }
    }
    Ok(())
}

/// What commands that are over have left. Nobody is at it: the store's lock is held.
fn find_leftovers(store: &Store, items: &mut Vec<Item>) -> Result<(), UpkeepError> {
    for path in children(&store.path().join("partial"))? {
        add(items, Kind::Download, path);
    }
    let tmp = store.path().join("tmp");
    for path in children(&tmp)?.into_iter().filter(|path| *path != tmp.join("lock")) {
        add(items, Kind::Trash, path);
    }
    Ok(())
}

fn weigh(paths: &Paths, map: &IdMap, report: &mut Report) -> Result<(), UpkeepError> {
    let extent = |kind| if kind == Kind::Layer { Extent::Frozen } else { Extent::Whole };
    let trees: Vec<Tree> =
        report.items.iter().map(|item| Tree { path: item.path.clone(), extent: extent(item.kind) }).collect();
    for (item, size) in report.items.iter_mut().zip(measure(paths, map, &trees)?) {
        item.size_bytes = size;
        report.size_bytes += size;
    }
    report.items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), UpkeepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}
