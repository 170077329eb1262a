//! `devbox init`.

use std::path::Path;

use crate::cli::args::profile::Init;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::load::PROFILE_FILE;
use crate::profile::{detect, validate};

/// Writes a commented profile for the kind of project that `folder` looks like.
pub fn run(folder: &Path, args: &Init) -> Outcome {
    let path = folder.join(PROFILE_FILE);
    if path.symlink_metadata().is_ok() && !args.force {
        return Err(Error::new(format!("`{}` exists", path.display())).hint("`devbox init --force` replaces it"));
    }
    let read = |error| Error::new(format!("cannot read `{}`: {error}", folder.display()));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map_err(read)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let image = match &args.image {
        Some(image) => Some(super::image::reference(&Paths::from_environment()?, image)?),
        None => None,
    };
    let detected = match image {
        Some(_) => Vec::new(),
        None => detect::detect(names.iter().map(String::as_str)),
    };
    let text = detect::init_text(&validate::default_name(folder), &detected, image.as_ref());
    write(folder, &text)?;
    let kinds: Vec<&str> = detected.iter().map(|kind| kind.kind.profile()).collect();
    let what = if kinds.is_empty() { String::new() } else { format!(" for {}", kinds.join(", ")) };
    print(&format!("wrote {PROFILE_FILE}{what}; `devbox enter` opens the box\n"))
}

/// Writes the profile of the project in `folder`: it is there as a whole, or as it was.
pub(super) fn write(folder: &Path, text: &str) -> Result<(), Error> {
    let path = folder.join(PROFILE_FILE);
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("cannot write `{}`: {error}", path.display()));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| failed(&error))?;
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(|error| failed(&error))?;
    file.persist(&path).map(drop).map_err(|error| failed(&error.error))
}
