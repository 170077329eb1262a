//! Where the images of `FROM` and `--from` come from, and where built ones go.

use super::cache::carried;
use super::cache::key::Key;
use super::cache::records::Records;
use super::error::BuildError;
use super::events::{Event, StepId};
use super::language::Base;
use super::plan::Ask;
use super::request::Pull;
use super::stage::State;
use crate::image::config::ImageConfig;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::manifest::{Document, Manifest, parse_document};
use crate::image::media_type::{CONFIG, MANIFEST};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::registry::{Client, Settings};
use crate::transfer::pull::{image_config, pull};
use crate::userns::idmap::IdMap;

/// Whether the name of an image says which state of it is meant.
#[must_use]
pub fn is_fixed(name: &str) -> bool {
    name.parse::<Reference>().is_ok_and(|reference| reference.digest().is_some())
}

/// The store, and the registries behind it.
#[derive(Debug)]
pub struct Images<'a> {
    /// Where things lie.
    pub paths: &'a Paths,
    /// The store.
    pub store: &'a Store,
    /// The ids of the images' files.
    pub map: &'a IdMap,
    /// Aliases, mirrors and exceptions.
    pub registries: &'a Settings,
    /// When registries are asked.
    pub pull: Pull,
}

impl Images<'_> {
    /// The image `name` for `platform`, its layers unpacked, as a stage begins with it. The caller must be single-threaded,
    /// for what is not here, or is always to be asked for, is fetched. `pin`: which state of it. Returns also the digest that
    /// pins it.
    pub fn find(
        &self,
        name: &str,
        pin: Option<&Digest>,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<(State, Digest), BuildError> {
        let named = self.reference(name)?;
        let reference = pin.map_or_else(|| named.clone(), |digest| named.pinned(digest.clone()));
        if (self.pull != Pull::Always || pin.is_some())
            && let Some(found) = self.here(&reference, platform)?
        {
            return Ok(found);
        }
        if self.pull == Pull::Never {
            return Err(BuildError::NotHere { name: reference.familiar(), platform: platform.to_string() });
        }
        let record = self.fetch(&reference, platform, progress)?;
        let state = self.open(&record)?.ok_or_else(|| BuildError::DamagedImage { name: reference.familiar() })?;
        Ok((state, record.pin().clone()))
    }

    /// The image, if it is here; and the digest that pins it.
    fn here(&self, reference: &Reference, platform: &Platform) -> Result<Option<(State, Digest)>, BuildError> {
        let Some(record) = self.store.find_image(reference)? else { return Ok(None) };
        let Some(state) = self.open(&record)? else { return Ok(None) };
        let found = state.config.platform();
        let is_for = found.architecture == platform.architecture && found.os == platform.os;
        Ok(is_for.then(|| (state, record.pin().clone())))
    }

    /// What a stage begins with on the image `name`, in the state `pin`; `None`: it is not here.
    pub fn base(&self, name: &str, pin: Option<&Digest>, platform: &Platform) -> Option<Base> {
        let named = self.reference(name).ok()?;
        let reference = pin.map_or_else(|| named.clone(), |digest| named.pinned(digest.clone()));
        let config = self.here(&reference, platform).ok()??.0.config.config;
        Some(Base { environment: config.env, on_build: config.on_build })
    }

    /// Takes over the steps that the image `name` carries along, so that they need not be done here; returns how many. What
    /// is here counts where no registry has it. The caller must be single-threaded.
    pub fn adopt(
        &self,
        name: &str,
        platform: &Platform,
        records: &Records,
        progress: &dyn Progress,
    ) -> Result<usize, BuildError> {
        let reference = self.reference(name)?;
        let record = match (self.fetch(&reference, platform, progress), self.store.find_image(&reference)?) {
            (Ok(record), _) | (Err(_), Some(record)) => record,
            (Err(error), None) => return Err(error),
        };
        let manifest = self.manifest(&record.manifest)?;
        let untrusted = manifest.as_ref().and_then(|manifest| manifest.annotations.get(carried::ANNOTATION));
        untrusted.map_or(Ok(0), |untrusted| carried::adopt(records, self.map, untrusted))
    }

    /// The variables of the image `name`, as its configuration has them; `None`: it is not here, and no registry that is
    /// asked has it.
    pub fn environment(&self, name: &str, platform: &Platform, ask: Ask) -> Option<Vec<String>> {
        let reference = self.reference(name).ok()?;
        match self.store.find_image(&reference).ok()? {
            Some(record) => Some(record.environment),
            None if ask == Ask::Never || self.pull == Pull::Never => None,
            None => {
                let client = Client::new(self.registries.clone(), self.paths);
                Some(image_config(&client, self.store, &reference, platform).ok()?.config.env)
            }
        }
    }

    fn reference(&self, name: &str) -> Result<Reference, BuildError> {
        self.registries.reference(name).map_err(|source| BuildError::Reference { name: name.to_owned(), source })
    }

    fn fetch(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<ImageRecord, BuildError> {
        let client = Client::new(self.registries.clone(), self.paths).with_notice(progress.notice());
        Ok(pull(self.paths, self.map, &client, reference, platform, progress)?)
    }

    /// The image of a record; `None` if something of it is missing.
    fn open(&self, record: &ImageRecord) -> Result<Option<State>, BuildError> {
        let Some(trees) = self.store.image_trees(record, &self.map.layout()) else { return Ok(None) };
        let Some(manifest) = self.manifest(&record.manifest)? else { return Ok(None) };
        let Some(bytes) = self.store.blob(&manifest.config.digest)? else { return Ok(None) };
        let Ok(config) = ImageConfig::parse(&bytes) else { return Ok(None) };
        let diff_ids: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
        let fields: Vec<&str> = ["image"].into_iter().chain(diff_ids.iter().map(String::as_str)).collect();
        let origins = record.origins.clone();
        Ok(Some(State { key: Key::root(&fields), layers: manifest.layers, trees, origins, config, ..State::empty() }))
    }

    fn manifest(&self, manifest: &Descriptor) -> Result<Option<Manifest>, BuildError> {
        let Some(bytes) = self.store.blob(&manifest.digest)? else { return Ok(None) };
        match parse_document(&bytes, Some(&manifest.media_type)) {
            Ok(Document::Manifest(manifest)) => Ok(Some(manifest)),
            Ok(Document::Index(_)) | Err(_) => Ok(None),
        }
    }

    /// Makes what was built an image with these names. Its manifest names the plain archives of new layers: they are made
    /// again, compressed, when the image leaves the store.
    pub fn keep(&self, state: &State, names: &[Reference]) -> Result<Descriptor, BuildError> {
        let json = |source| BuildError::Json { source };
        let config = serde_json::to_vec(&state.config).map_err(json)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::of_bytes(CONFIG, &config),
            layers: state.layers.clone(),
            annotations: carried::annotation(self.map, &state.steps)
                .map(|steps| (carried::ANNOTATION.to_owned(), steps))
                .into_iter()
                .collect(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(json)?;
        let descriptor = Descriptor::of_bytes(MANIFEST, &bytes);
        self.store.put_blob(&manifest.config.digest, &config)?;
        self.store.put_blob(&descriptor.digest, &bytes)?;
        let layers: Vec<String> = state.trees.iter().filter_map(|tree| self.layer_of(tree)).collect();
        for name in names {
            let mut record = ImageRecord::new(name, descriptor.clone());
            record.environment.clone_from(&state.config.config.env);
            record.layers.insert(self.map.layout(), layers.clone());
            record.origins.clone_from(&state.origins);
            // A name that means this already keeps its record.
            if self.store.image(name)?.is_none_or(|known| known.manifest != record.manifest) {
                self.store.put_image(&record)?;
            }
        }
        Ok(descriptor)
    }

    /// The name of the layer whose tree this is: `<name>.<layout>/fs`.
    fn layer_of(&self, tree: &std::path::Path) -> Option<String> {
        let directory = tree.parent()?.file_name()?.to_str()?;
        directory.strip_suffix(&format!(".{}", self.map.layout())).map(str::to_owned)
    }
}

/// Passes on what is reported as events of a step.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Telling<'a> {
    step: &'a StepId,
    tell: &'a dyn Fn(Event),
    now: std::cell::RefCell<(String, Option<u64>, std::time::Instant)>,
}

impl<'a> Telling<'a> {
    /// Tells about `step`.
    pub fn new(step: &'a StepId, tell: &'a dyn Fn(Event)) -> Self {
        Self { step, tell, now: std::cell::RefCell::new((String::new(), None, std::time::Instant::now())) }
    }
}

/// Between two events about the same work.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

impl Progress for Telling<'_> {
    fn begin(&self, what: &str, total: Option<u64>) {
        *self.now.borrow_mut() = (what.to_owned(), total, std::time::Instant::now());
        (self.tell)(Event::Working { step: self.step.clone(), what: what.to_owned(), done: 0, total });
    }

    fn advance(&self, done: u64) {
        let mut now = self.now.borrow_mut();
        if now.2.elapsed() >= PAUSE {
            now.2 = std::time::Instant::now();
            let (what, total) = (now.0.clone(), now.1);
            (self.tell)(Event::Working { step: self.step.clone(), what, done, total });
        }
    }

    fn end(&self) {}

    fn note(&self, text: &str) {
        (self.tell)(Event::Note { step: self.step.clone(), text: text.to_owned() });
    }
}
