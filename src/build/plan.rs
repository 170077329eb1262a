//! What a Containerfile says is to be done, and what the checks say of that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::context::Context;
use super::copy::walk::Fate;
use super::error::BuildError;
use super::images::Images;
use super::language::lint::{CHECK_ARGUMENT, Checks, Surroundings, Warning, lint};
use super::language::{Containerfile, Environment, Globals, StageGraph, parse, platform_arguments};
use super::request::Request;
use super::stage::State;
use crate::image::platform::Platform;

/// A Containerfile with the values that it is built with.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The file.
    pub file: Containerfile,
    /// The arguments that hold for all of it.
    pub globals: Arc<Globals>,
    /// Which stage needs which.
    pub graph: StageGraph,
    predefined: BTreeMap<String, String>,
    request: &'a Request,
    context: &'a Context,
}

/// Who is asked what variables an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nobody: those of images that are not here are not known.
    Never,
    /// Registries, for images that are not here.
    Registries,
}

impl<'a> Plan<'a> {
    /// Reads the Containerfile of `context`.
    pub fn new(request: &'a Request, context: &'a Context) -> Result<Self, BuildError> {
        let (file, text) = &context.file;
        let file = parse(file, text)?;
        let target = request.target.as_deref();
        let predefined = platform_arguments(&Platform::host(), &request.platform, target);
        let globals = Globals::new(&file, request.arguments.iter().cloned().collect(), predefined.clone())?;
        let contexts = request.contexts.iter().map(|(name, _)| name.clone()).collect();
        let graph = StageGraph::new(&file, &globals, contexts, target)?;
        Ok(Self { file, globals: Arc::new(globals), graph, predefined, request, context })
    }

    /// What the checks find; an error where the file says that it is one.
    pub fn check(&self, images: &Images<'_>, ask: Ask) -> Result<Vec<Warning>, BuildError> {
        let found = self.look(images, ask)?;
        match found.first() {
            Some(first) if self.checks()?.is_error => {
                let rules = found.iter().map(|warning| warning.rule.name()).collect();
                Err(BuildError::Checks { first: first.diagnostic.clone(), rules })
            }
            _ => Ok(found),
        }
    }

    /// What the checks find.
    pub fn look(&self, images: &Images<'_>, ask: Ask) -> Result<Vec<Warning>, BuildError> {
        let environment = |name: &str| {
            if name == "scratch" {
                let state = State::scratch(&self.request.platform);
                return Some(Environment::from_config(state.config.config.env.iter().map(String::as_str)));
            }
            let entries = images.environment(self.request.image_of(name), &self.request.platform, ask)?;
            Some(Environment::from_config(entries.iter().map(String::as_str)))
        };
        let is_ignored = |path: &Path| self.context.fate(path) == Fate::Dropped;
        let around = Surroundings {
            globals: &self.globals,
            predefined: self.predefined.clone(),
            environment: &environment,
            is_ignored: &is_ignored,
        };
        Ok(lint(&self.file, &self.checks()?, &around))
    }

    fn checks(&self) -> Result<Checks, BuildError> {
        Ok(Checks::of(&self.file, self.globals.given(CHECK_ARGUMENT))?)
    }
}
