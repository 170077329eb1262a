//! `image commit`: a box as an image.
//!
//! On an image the box becomes one layer more: what it and the profile's packages changed. On anything else the whole
//! root file system becomes the only layer of a new image. Either way without what is not the box's own: the project's
//! folder, everything else that is mounted, and the files that devbox makes at each start, which lie in a layer of
//! their own.
//!
//! The same box gives the same digest. So the image is as old as the newest file in its layer, not as the moment it was
//! made; `SOURCE_DATE_EPOCH` sets another time, and makes later ones of files that time too.

use super::comparison::Comparison;
use super::error::BoxesError;
use super::lock::{BoxLock, Sharing};
use super::session::SessionError;
use super::{BoxDir, BoxId, running};
use crate::base::BaseSpec;
use crate::image::config::{History, ImageConfig, RunConfig};
use crate::image::descriptor::Descriptor;
use crate::image::layer::Method;
use crate::image::layer::pack::{Content, Contents, PackSpec};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store, StoreError};
use crate::paths::{self, Paths};
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer::TransferError;
use crate::transfer::archives;
use crate::transfer::compose::{NewImage, compose, pack};

/// What programs are looked for in where a base says nothing.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A box could not become an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The box, its profile or its base.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packing, or the image.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The base is this machine.
    #[error("the box `{name}` stands on this machine's own system, which is not for an image")]
    HostBase {
        /// The box.
        name: String,
    },
    /// The profile has got another base since the box was last entered.
    #[error("the box `{name}` was last entered on another base than its profile names now")]
    OtherBase {
        /// The box.
        name: String,
    },
    /// A time that is no number.
    #[error("SOURCE_DATE_EPOCH is no number of seconds since 1970: {found:?}")]
    Epoch {
        /// What it is.
        found: String,
    },
}

impl From<BoxesError> for CommitError {
    fn from(error: BoxesError) -> Self {
        Self::Session(error.into())
    }
}

/// How a box becomes an image.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// The name of the image.
    pub reference: Reference,
    /// How its layer is compressed.
    pub compression: Method,
    /// A remark for its history.
    pub message: Option<String>,
}

/// Makes an image of the box `id`. The caller must be single-threaded.
pub fn commit(
    paths: &Paths,
    id: &BoxId,
    options: &CommitOptions,
    progress: &dyn Progress,
) -> Result<ImageRecord, CommitError> {
    let latest = epoch()?;
    let directory = BoxDir::new(paths, id);
    let _unchanged = BoxLock::acquire(&directory.lock(), Sharing::Shared, "devbox image commit", progress)?;
    let found = Comparison::open(paths, id, progress)?;
    let name = || found.record.name.clone();
    if found.loaded.profile.base == BaseSpec::Host {
        return Err(CommitError::HostBase { name: name() });
    }
    if found.record.base_id != found.base.id {
        return Err(CommitError::OtherBase { name: name() });
    }
    if running::connect(&directory).is_some() {
        progress.note("the box is running: what is written just now may be in the image or not");
    }
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let client = Client::new(found.loaded.registries.clone(), paths).with_notice(progress.notice());
    let base = base_image(&store, &found, &options.reference)?;

    let mut spec = pack_spec(&found, latest);
    if base.is_some() {
        spec.content = Content::Changes;
    }
    let map = found.record.id_map.for_installing();
    let image = options.reference.familiar();
    let (layer, report) = pack(&store, &map, &image, &spec, options.compression, progress)?;
    say_what_is_missing(&report.contents, progress);

    let Base { mut config, mut layers, origins } = base.unwrap_or_else(new_base);
    let newest = report.contents.newest.filter(|newest| *newest <= jiff::Timestamp::now().as_second());
    let created = latest.or(newest).and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let created = created.map(|time| time.to_string()).or_else(|| config.created.clone());
    config.created.clone_from(&created);
    let is_empty = report.contents.entries == 0;
    config.history.push(History {
        created,
        created_by: Some("devbox commit".to_owned()),
        comment: options.message.clone(),
        empty_layer: is_empty,
        ..History::default()
    });
    if !is_empty {
        layers.push(layer);
        config.rootfs.diff_ids.push(report.diff_id);
    }
    let new = NewImage { reference: &options.reference, config: &config, layers, origins };
    Ok(compose(&store, &client, &found.record.id_map, &new, progress)?)
}

/// The seconds of `SOURCE_DATE_EPOCH`: <https://reproducible-builds.org/specs/source-date-epoch/>
fn epoch() -> Result<Option<i64>, CommitError> {
    let Some(text) = paths::variable("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    text.parse().map(Some).map_err(|_| CommitError::Epoch { found: text.chars().take(40).collect() })
}

/// What an image begins with.
struct Base {
    config: ImageConfig,
    layers: Vec<Descriptor>,
    origins: Vec<Reference>,
}

/// The image that the box stands on, if it stands on one.
fn base_image(store: &Store, found: &Comparison, image: &Reference) -> Result<Option<Base>, CommitError> {
    let BaseSpec::Image(reference) = &found.loaded.profile.base else { return Ok(None) };
    let damaged = || TransferError::Damaged { image: reference.familiar() };
    let record = store.image(reference)?.ok_or_else(damaged)?;
    let manifest = archives::manifest(store, &record)?.ok_or_else(damaged)?;
    let bytes = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config =
        ImageConfig::parse(&bytes).map_err(|source| TransferError::Config { image: image.familiar(), source })?;
    Ok(Some(Base { config, layers: manifest.layers, origins: record.origins }))
}

/// Of a box that stands on no image.
fn new_base() -> Base {
    let platform = Platform::host();
    let config = ImageConfig {
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        config: RunConfig {
            env: vec![DEFAULT_PATH.to_owned()],
            cmd: Some(vec!["/bin/sh".to_owned()]),
            ..RunConfig::default()
        },
        ..ImageConfig::default()
    };
    Base { config, layers: Vec::new(), origins: Vec::new() }
}

fn pack_spec(found: &Comparison, latest: Option<i64>) -> PackSpec {
    let mut layers = found.own.clone();
    layers.extend(found.packages.clone());
    PackSpec {
        layers,
        below: found.base.lower.clone(),
        data_only: found.base.data_only.clone(),
        marks: found.base.driver.into(),
        content: Content::Everything,
        leave_out: found.spec().ignore.into_iter().collect(),
        latest,
    }
}

fn say_what_is_missing(contents: &Contents, progress: &dyn Progress) {
    let Contents { sockets_skipped, names_skipped, xattrs_skipped, .. } = contents;
    for (count, what) in [
        (sockets_skipped, "sockets"),
        (names_skipped, "files called `.wh.*`, which mean something else in an image"),
        (xattrs_skipped, "extended attributes that an image does not hold"),
    ] {
        if *count > 0 {
            progress.note(&format!("left out: {count} {what}"));
        }
    }
}
