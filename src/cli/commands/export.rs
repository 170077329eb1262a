//! `devbox export`.

use std::path::Path;

use crate::cli::args::profile::Export;
use crate::cli::{Outcome, print};
use crate::devcontainer::export::{self, ExportError};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::{Profile, load};
use crate::ui;

/// Prints the profile of the project in `folder` in another form.
pub fn run(folder: &Path, form: Export) -> Outcome {
    let paths = Paths::from_environment()?;
    let mut loaded = Profile::load(&paths, folder)?;
    // The image with the Features is known to this machine alone.
    let below = loaded.devcontainer.as_ref().and_then(|own| own.below.clone());
    if let Some(below) = below {
        loaded.profile.base = below;
    }
    let text = match form {
        Export::Devcontainer if loaded.devcontainer.is_some() => {
            return Err(Error::new(format!("`{}` has a devcontainer file already", loaded.project.display()))
                .hint("`devbox import` writes a devbox.toml, and that can be exported"));
        }
        Export::Devcontainer => export::devcontainer(&loaded.profile, &loaded.project),
        Export::Containerfile => {
            let file = loaded.profile.build.as_ref().map(|build| {
                let usual = ["Containerfile", "Dockerfile"].map(|name| build.context.join(name));
                let found = usual.iter().find(|file| loaded.project.join(file).exists());
                loaded.project.join(build.containerfile.as_ref().or(found).unwrap_or(&usual[0]))
            });
            let own = file.map(|file| load::read(&file)).transpose()?;
            let features = loaded.devcontainer.iter().flat_map(|own| &own.features);
            let lacks = features.map(|feature| format!("# the Feature {} is left out\n", feature.reference));
            let lacks: String = lacks.collect();
            export::containerfile(&loaded.profile, own.as_ref().map(|file| file.text.as_str()))
                .map(|text| lacks + &text)
        }
    };
    let text = text.map_err(|error| {
        Error::new(error.to_string()).hint(match error {
            ExportError::NoImage { .. } => {
                "other programs need one: name an `image`, a `distro` or a `[build]` in devbox.toml first"
            }
            ExportError::ControlCharacters { .. } => "name another `[project] path`",
        })
    })?;
    print(&ui::foreign_text(&text))
}
