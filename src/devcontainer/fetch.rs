//! Features from registries, from URLs of archives, and from folders of the project.
//!
//! ```text
//! <cache>/features/
//!   <sha256 of the archive>/   an unpacked Feature: appears by one rename and never changes
//!   names/<digest of a name>   which one a name meant when it was asked for; asked again after a day
//! ```

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{At, FeatureError};
use crate::image::digest::{self, Hasher};
use crate::image::layer::{Owners, UnpackOptions, Whiteouts, unpack_layer};
use crate::image::manifest::{Document, parse_document};
use crate::paths::Paths;
use crate::registry::{Client, Condition};

/// How long an answer to what a name means is believed.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// No archive of a Feature is larger.
const MAX_BYTES: u64 = 256 << 20;

/// Where Features come from.
#[derive(Debug)]
pub struct Origin<'a> {
    /// Where they are kept.
    pub paths: &'a Paths,
    /// The registries.
    pub client: &'a Client,
    /// The project's folder, symlinks resolved.
    pub project: &'a Path,
    /// That of the devcontainer file.
    pub folder: &'a Path,
}

impl Origin<'_> {
    /// The folder of the Feature `reference`.
    pub fn fetch(&self, reference: &str) -> Result<PathBuf, FeatureError> {
        if reference.starts_with("./") || reference.starts_with("../") {
            return self.local(reference);
        }
        let cache = self.paths.cache.join("features");
        let name = cache.join("names").join(digest::of_bytes(reference.as_bytes()));
        let known = std::fs::read_to_string(&name).ok().map(|known| cache.join(known.trim())).filter(|it| it.is_dir());
        let age = std::fs::metadata(&name).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if let Some(known) = known.as_ref().filter(|_| age.is_some_and(|age| age < DAY)) {
            return Ok(known.clone());
        }
        let place = cache.join("names");
        std::fs::create_dir_all(&place).at("create", &place)?;
        let fetched = match self.download(reference, &cache) {
            // Without a network what is known goes on to count.
            Err(FeatureError::Fetch { .. }) if known.is_some() => return Ok(known.unwrap_or_default()),
            fetched => fetched?,
        };
        let own = fetched.file_name().unwrap_or_default().as_encoded_bytes();
        let mut file = tempfile::NamedTempFile::new_in(&place).at("create a file in", &place)?;
        std::io::Write::write_all(&mut file, own).at("write", file.path())?;
        file.persist(&name).map_err(|error| error.error).at("write", &name)?;
        Ok(fetched)
    }

    fn local(&self, reference: &str) -> Result<PathBuf, FeatureError> {
        let path = self.folder.join(reference);
        let real = std::fs::canonicalize(&path).at("open", &path)?;
        if real.starts_with(self.project) {
            Ok(real)
        } else {
            Err(FeatureError::Outside { reference: reference.to_owned() })
        }
    }

    /// Fetches the archive and unpacks it below `cache`, unless one of the same content is there.
    fn download(&self, reference: &str, cache: &Path) -> Result<PathBuf, FeatureError> {
        let failed = |source| FeatureError::Fetch { reference: reference.to_owned(), source };
        let mut archive = tempfile::tempfile_in(cache).at("create a file in", cache)?;
        if reference.starts_with("https://") || reference.starts_with("http://") {
            self.client.download(reference, &Condition::default(), &mut archive).map_err(failed)?;
        } else {
            self.pull(reference, &mut archive)?;
        }
        let mut hasher = Hasher::default();
        archive.seek(SeekFrom::Start(0)).at("read", cache)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match archive.read(&mut buffer).at("read", cache)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let target = cache.join(hasher.digest().hexadecimal());
        if target.is_dir() {
            return Ok(target);
        }
        archive.seek(SeekFrom::Start(0)).at("read", cache)?;
        let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(cache).at("create", cache)?;
        let inside = fresh.path().join("feature");
        std::fs::create_dir(&inside).at("create", &inside)?;
        let directory = File::open(&inside).at("open", &inside)?;
        let options =
            UnpackOptions { owners: Owners::Squash, whiteouts: Whiteouts::Literal, ..UnpackOptions::default() };
        unpack_layer(archive, directory.as_fd(), options)
            .map_err(|source| FeatureError::Unpack { reference: reference.to_owned(), source })?;
        match std::fs::rename(&inside, &target) {
            // Somebody else was quicker.
            Err(_) if target.is_dir() => {}
            result => result.at("rename", &inside)?,
        }
        Ok(target)
    }

    fn pull(&self, reference: &str, archive: &mut File) -> Result<(), FeatureError> {
        let failed = |source| FeatureError::Fetch { reference: reference.to_owned(), source };
        let not_one = |reason| FeatureError::NotAFeature { reference: reference.to_owned(), reason };
        let name = self.client.settings().reference(reference);
        let name = name.map_err(|source| FeatureError::Reference { reference: reference.to_owned(), source })?;
        let fetched = self.client.manifest(&name).map_err(failed)?;
        let layer = match parse_document(&fetched.bytes, Some(&fetched.media_type)) {
            Ok(Document::Manifest(manifest)) => manifest.layers.into_iter().next(),
            _ => return Err(not_one("the registry has something else under this name")),
        };
        let layer = layer.filter(|layer| layer.media_type.starts_with("application/vnd.devcontainers.layer"));
        let layer = layer.ok_or_else(|| not_one("the registry has an image under this name"))?;
        if layer.size > MAX_BYTES {
            return Err(not_one("its archive is too large"));
        }
        let bytes = self.client.blob_bytes(&name, &layer).map_err(failed)?;
        std::io::Write::write_all(archive, &bytes).at("write", "the archive")
    }
}
