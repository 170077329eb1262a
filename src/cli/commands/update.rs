//! `devbox update`.

use std::path::Path;

use crate::boxes::locking::Update;
use crate::cli::Outcome;
use crate::cli::args::packages::UpdateArgs;
use crate::paths::Paths;
use crate::profile::Profile;

/// Locks what the registry and the mirrors have now: everything, or the part that was asked for.
pub fn run(folder: &Path, args: UpdateArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let update = match (args.base, args.packages) {
        (true, _) => Update::Base,
        (false, packages) if packages.is_empty() => Update::Everything,
        (false, packages) => Update::Packages(packages),
    };
    // A lock file that cannot be read is replaced.
    let loaded = match update {
        Update::Everything => Profile::load(&paths, folder).or_else(|_| Profile::load_unlocked(&paths, folder))?,
        _ => Profile::load(&paths, folder)?,
    };
    super::lock::write(&paths, &loaded, &update)
}
