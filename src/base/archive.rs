//! A tar archive as the base: unpacked once into a layer that is named after its content. One that holds an image is
//! loaded instead.
//!
//! What is known of an archive's content is remembered in `store/archives/`, so that starting from an unchanged archive
//! costs a `stat` and the reading of one small file.

use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BaseError;
use super::{OverlayDriver, RootLayers, image, root};
use crate::image::digest;
use crate::image::layer::{Owners, UnpackLimits, UnpackOptions, UnpackReport, Whiteouts, unpack_layer};
use crate::image::reference::Reference;
use crate::image::store::{LayerBuild, LayerRecord, Store, write_durably};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::text::with_causes;
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage;

/// The digest of an archive as long as these stay the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    version: u32,
    path: PathBuf,
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Changes with everything, also with what sets the modification time back.
    changed: (i64, i64),
    /// Hexadecimal SHA-256 of the content; empty for an image.
    digest: String,
    /// What the image in it is called here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Reference>,
}

impl Known {
    fn new(path: &Path, meta: &Metadata, digest: String) -> Self {
        Self {
            version: 1,
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
            size_bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            digest,
            image: None,
        }
    }

    /// Where it is remembered.
    fn file(store: &Store, path: &Path) -> PathBuf {
        store.path().join("archives").join(digest::of_bytes(path.as_os_str().as_encoded_bytes()))
    }

    /// What is remembered of `path`, if it still is the same file. Anything unreadable is forgotten.
    fn load(store: &Store, path: &Path, meta: &Metadata) -> Option<Self> {
        let text = std::fs::read(Self::file(store, path)).ok()?;
        let known: Self = serde_json::from_slice(&text).ok()?;
        let same = Self { image: known.image.clone(), ..Self::new(path, meta, known.digest.clone()) };
        (known == same).then_some(known)
    }

    fn save(&self, store: &Store) -> Result<(), BaseError> {
        let file = Self::file(store, &self.path);
        let text =
            serde_json::to_vec(self).map_err(|error| BaseError::Read { path: file.clone(), source: error.into() })?;
        Ok(write_durably(&file, &text)?)
    }
}

/// Unpacks `archive` (absolute) for `map` unless that has been done. The caller must be single-threaded.
pub fn prepare(
    paths: &Paths,
    map: &IdMap,
    archive: &Path,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let store = Store::open(&paths.store())?;
    let read = |source| BaseError::Read { path: archive.to_owned(), source };
    let meta = std::fs::metadata(archive).map_err(read)?;
    if !meta.is_file() {
        return Err(BaseError::NotAFile { path: archive.to_owned() });
    }
    let known = Known::load(&store, archive, &meta);
    if known.as_ref().is_some_and(|known| known.image.is_some()) {
        return prepare_image(paths, map, archive, limits, progress);
    }
    if let Some(known) = known
        && let Some(tree) = store.tree(&layer_name(&known.digest), &map.layout())
    {
        return Ok(layers(&known.digest, tree));
    }
    let file = File::open(archive).map_err(read)?;
    // Of the file that was opened: the name may have got another one meanwhile.
    let meta = file.metadata().map_err(read)?;
    let digest = match Known::load(&store, archive, &meta) {
        Some(known) => known.digest,
        None => {
            progress.begin(&format!("reading {}", archive.display()), Some(meta.len()));
            let digest = digest::of_reader(&file, |done| progress.advance(done));
            progress.end();
            digest.map_err(read)?
        }
    };
    let name = layer_name(&digest);
    let _using = store.lock_shared()?;
    let _making = store.lock_name(&name)?;
    let tree = match store.tree(&name, &map.layout()) {
        Some(tree) => tree,
        None => match unpack(&store, map, archive, &file, &digest, limits, progress) {
            Err(BaseError::Image { .. }) => return prepare_image(paths, map, archive, limits, progress),
            other => other?,
        },
    };
    let layers = layers(&digest, tree);
    Known::new(archive, &meta, digest).save(&store)?;
    Ok(layers)
}

/// Loads the image in an archive or in a directory, unless that has been done. The caller must be single-threaded.
pub(super) fn prepare_image(
    paths: &Paths,
    map: &IdMap,
    path: &Path,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<RootLayers, BaseError> {
    let store = Store::open(&paths.store())?;
    // Whatever writes into a layout changes its index.
    let index = ["index.json", "manifest.json"].map(|name| path.join(name)).into_iter().find(|index| index.exists());
    let file = index.as_deref().unwrap_or(path);
    let meta = std::fs::metadata(file).map_err(|source| BaseError::Read { path: file.to_owned(), source })?;
    if let Some(image) = Known::load(&store, file, &meta).and_then(|known| known.image)
        && let Some(layers) = image::find(&store, map, &image)?
    {
        return Ok(layers);
    }
    let (image, layers) = image::load(&store, map, path, limits, progress)?;
    Known { image: Some(image), ..Known::new(file, &meta, String::new()) }.save(&store)?;
    Ok(layers)
}

fn layer_name(digest: &str) -> String {
    format!("archive-{digest}")
}

fn layers(digest: &str, tree: PathBuf) -> RootLayers {
    RootLayers {
        id: layer_name(digest),
        lower: vec![tree],
        digest: format!("sha256:{digest}").parse().ok(),
        driver: OverlayDriver::Kernel,
        ..RootLayers::default()
    }
}

fn unpack(
    store: &Store,
    map: &IdMap,
    archive: &Path,
    file: &File,
    digest: &str,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<PathBuf, BaseError> {
    store.sweep(map)?;
    let build = store.begin(map)?;
    let report = unpack_into(&build, map, archive, file, limits, progress)?;
    if report.blob != Some(format!("sha256:{digest}")) {
        return Err(BaseError::Changed { path: archive.to_owned() });
    }
    let mut record = LayerRecord::new(&layer_name(digest), map, &archive.display().to_string());
    record.diff_id = Some(report.diff_id);
    record.entries = report.entries;
    record.size_bytes = report.size_bytes;
    Ok(build.commit(record)?.tree())
}

/// Unpacks an open archive into the tree of `build`, as root of a namespace with `map`, and checks that the result
/// looks like a root file system. `shown` names the archive in errors and notes.
pub(super) fn unpack_into(
    build: &LayerBuild,
    map: &IdMap,
    shown: &Path,
    file: &File,
    limits: UnpackLimits,
    progress: &dyn Progress,
) -> Result<UnpackReport, BaseError> {
    use std::io::Seek;
    let read = |source| BaseError::Read { path: shown.to_owned(), source };
    let size = file.metadata().map_err(read)?.len();
    let mut reader = file;
    reader.rewind().map_err(read)?;
    let tree = crate::sys::fs::open_directory(&build.tree()).map_err(|error| read(error.into()))?;
    let owners = if map.mode == IdMode::Single { Owners::Remember } else { Owners::Keep };
    let result = stage::run_mapped(map, || {
        progress.begin(&format!("unpacking {}", shown.display()), Some(size));
        // Often enough for a bar, seldom enough to cost nothing.
        let told = std::cell::Cell::new(0);
        let advance = |done: u64| {
            if done >= told.get() + (1 << 20) {
                told.set(done);
                progress.advance(done);
            }
        };
        let advance: Option<&dyn Fn(u64)> = Some(&advance);
        let options = UnpackOptions { owners, whiteouts: Whiteouts::Literal, limits, advance, names_blob: true };
        let unpacked = unpack_layer(file, tree.as_fd(), options);
        progress.end();
        unpacked.map_err(|error| with_causes(&error))
    });
    let report = result.map_err(|source| BaseError::Unpack { path: shown.to_owned(), source })?;
    root::check(&build.tree(), shown)?;
    for note in notes(&report, map) {
        progress.note(&note);
    }
    Ok(report)
}

/// What was left out and may be missed. Devices are not: a box has its own.
fn notes(report: &UnpackReport, map: &IdMap) -> Vec<String> {
    let mut notes = Vec::new();
    if report.owners_lost > 0 {
        notes.push(format!(
            "{} files belong to root: their owners do not exist in {} mode",
            report.owners_lost, map.mode
        ));
    }
    if report.xattrs_skipped > 0 {
        notes.push(format!("{} extended attributes of files could not be kept", report.xattrs_skipped));
    }
    notes
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
