//! `devbox image`.

use std::path::Path;

use crate::cli::Outcome;
use crate::cli::args::image::Image;
use crate::error::Error;
use crate::image::config::ImageConfig;
use crate::image::manifest::{Document, Manifest, parse_document};
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::profile::registries;
use crate::text::sanitize;

pub(super) mod build;
mod commit;
mod diff;
mod history;
mod inspect;
mod list;
mod load;
mod login;
mod logout;
pub(super) mod pull;
pub mod push;
mod rm;
mod save;
mod tag;

/// The sub-commands.
pub fn run(folder: &Path, command: &Image) -> Outcome {
    match command {
        Image::Build(args) => build::run(folder, args),
        Image::Pull(args) => pull::run(args),
        Image::Push(args) => push::run(args),
        Image::Save(args) => save::run(folder, args),
        Image::Commit(args) => commit::run(folder, args),
        Image::Load(args) => load::run(args),
        Image::List(args) => list::run(args.format),
        Image::Tag(args) => tag::run(args),
        Image::Rm(args) => rm::run(args),
        Image::Inspect(args) => inspect::run(args),
        Image::History(args) => history::run(args),
        Image::Diff(args) => diff::run(args),
        Image::Login(args) => login::run(args),
        Image::Logout(args) => logout::run(args),
    }
}

/// What was typed, with the user's aliases.
pub(super) fn reference(paths: &Paths, typed: &str) -> Result<Reference, Error> {
    Ok(registries::load(paths)?.reference(typed)?)
}

/// A name for an image: not one with a digest, which is what the image is and not how it is called.
pub(super) fn new_name(paths: &Paths, typed: &str) -> Result<Reference, Error> {
    let reference = reference(paths, typed)?;
    if reference.digest().is_none() {
        return Ok(reference);
    }
    Err(Error::new("a name with a digest cannot be given: the digest is the image's own")
        .hint("write `repository:tag`"))
}

/// An image that must be here.
fn find(paths: &Paths, store: &Store, typed: &str) -> Result<(Reference, ImageRecord), Error> {
    let reference = reference(paths, typed)?;
    match store.image(&reference)? {
        Some(record) => Ok((reference, record)),
        None => Err(Error::new(format!("there is no image `{}` here", sanitize(&reference.familiar())))
            .hint("`devbox image list` shows what is here, `devbox image pull` fetches")),
    }
}

/// The manifest of an image, its configuration, and the configuration's own bytes.
fn contents(store: &Store, record: &ImageRecord) -> Result<(Manifest, ImageConfig, Vec<u8>), Error> {
    let damaged = || {
        Error::new(format!("the image `{}` is damaged", sanitize(&record.name)))
            .hint("`devbox image pull` fetches what is missing")
    };
    let bytes = store.blob(&record.manifest.digest)?.ok_or_else(damaged)?;
    let Ok(Document::Manifest(manifest)) = parse_document(&bytes, Some(&record.manifest.media_type)) else {
        return Err(damaged());
    };
    let bytes = store.blob(&manifest.config.digest)?.ok_or_else(damaged)?;
    let config = ImageConfig::parse(&bytes).map_err(|_| damaged())?;
    Ok((manifest, config, bytes))
}
