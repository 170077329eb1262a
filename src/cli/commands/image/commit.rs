//! `devbox image commit`.

use std::path::Path;

use crate::boxes::commit::{CommitOptions, commit};
use crate::cli::args::Target;
use crate::cli::args::image::Commit;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::image::reference::Reference;
use crate::image::store::ImageRecord;
use crate::paths::Paths;
use crate::ui;

/// Makes an image of a box; prints its digest.
pub fn run(folder: &Path, args: &Commit) -> Outcome {
    let paths = Paths::from_environment()?;
    let (reference, record) = make(&paths, folder, args)?;
    print(&format!("{}@{}\n", reference.name(), record.manifest.digest))
}

/// Makes the image.
pub(super) fn make(paths: &Paths, folder: &Path, args: &Commit) -> Result<(Reference, ImageRecord), Error> {
    let reference = super::new_name(paths, &args.image)?;
    let id = crate::cli::commands::find(paths, folder, &Target { name: args.name.clone() })?;
    let options =
        CommitOptions { reference: reference.clone(), compression: args.compression, message: args.message.clone() };
    let record = commit(paths, &id, &options, &ui::Terminal::default())?;
    Ok((reference, record))
}
