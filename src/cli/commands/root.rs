//! `devbox root`.

use std::path::Path;

use crate::boxes::{BoxDir, window};
use crate::cli::args::Target;
use crate::cli::args::editor::RootArgs;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::paths::Paths;

/// Prints where the files of a running box can be read on the host.
pub fn run(folder: &Path, args: &RootArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let id = super::find(&paths, folder, &Target { name: args.name.clone() })?;
    let tree = window::open(&BoxDir::new(&paths, &id))?;
    let path = match &args.path {
        None => tree,
        Some(path) => match path.strip_prefix("/") {
            Ok(rest) => tree.join(rest),
            Err(_) => {
                return Err(Error::new(format!("`{}` is not an absolute path", path.display()))
                    .hint("name a path as the box sees it, like `/usr/include`"));
            }
        },
    };
    print(&format!("{}\n", path.display()))
}
