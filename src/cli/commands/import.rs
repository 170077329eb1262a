//! `devbox import`.

use std::path::Path;

use crate::cli::args::profile::ImportArgs;
use crate::cli::{Outcome, print};
use crate::devcontainer::import::{OF_THE_HOST, to_toml};
use crate::error::Error;
use crate::paths::{Paths, variable};
use crate::profile::ProfileError;
use crate::profile::devcontainer::{find, read};
use crate::profile::load::{self, PROFILE_FILE};
use crate::ui;

/// Writes the profile that says what the devcontainer file says.
pub fn run(folder: &Path, args: &ImportArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let project = load::find(folder, &paths.home)?.project;
    let files = find::all(&project)?;
    let Some(file) = find::choose(&project, &files, args.name.as_deref())? else {
        return Err(Error::new(format!("`{}` has no devcontainer file", project.display()))
            .hint("`devbox init` writes a profile without one"));
    };
    let text = load::read(file)?.text;
    // Secrets of the host do not belong into a file: they stay names.
    let host = |name: &str| match name {
        "HOME" | "USER" | "LOGNAME" => variable(name).map(|value| value.to_string_lossy().into_owned()),
        _ => Some(format!("{OF_THE_HOST}{name}}}")),
    };
    let place = read::Place { file, text: &text, project: &project, home: &paths.home, host: &host };
    let layer = read::read(&place).map_err(ProfileError::from)?;
    let label = file.strip_prefix(&project).unwrap_or(file).to_string_lossy();
    let profile = to_toml(&layer, &label, &project, &paths.home);
    if args.print {
        return print(&ui::foreign_text(&profile));
    }
    let target = project.join(PROFILE_FILE);
    if load::exists(&target)? && !args.force {
        return Err(Error::new(format!("`{}` exists", target.display())).hint("`devbox import --force` replaces it"));
    }
    super::init::write(&project, &profile)?;
    print(&format!("wrote {PROFILE_FILE} from {label}; it counts instead of that from now on\n"))
}
