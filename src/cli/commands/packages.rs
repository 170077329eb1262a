//! `devbox add` and `devbox remove`.

use std::path::Path;

use super::session::require_trust;
use crate::boxes::capture::{self, Act, Applied};
use crate::boxes::session::Options;
use crate::build::profile::Inputs;
use crate::cli::args::packages::{AddPackages, RemovePackages};
use crate::cli::{Outcome, print};
use crate::error::FAILED;
use crate::paths::Paths;
use crate::profile::Profile;
use crate::profile::load::PROFILE_FILE;
use crate::text::sanitize;
use crate::ui;

/// `devbox add`.
pub fn add(folder: &Path, args: &AddPackages) -> Outcome {
    change(folder, Act::Add, &args.packages)
}

/// `devbox remove`.
pub fn remove(folder: &Path, args: &RemovePackages) -> Outcome {
    change(folder, Act::Remove, &args.packages)
}

fn change(folder: &Path, act: Act, untrusted_entries: &[String]) -> Outcome {
    let paths = Paths::from_environment()?;
    let loaded = Profile::load(&paths, folder)?;
    super::session::refuse_home(&paths, &loaded)?;
    // The box may have to be started.
    require_trust(&paths, &loaded)?;
    super::session::build_base_of_stopped(&paths, &loaded, Inputs::Locked)?;
    let options = Options { directory: loaded.project.clone(), ..Options::default() };
    let changed = capture::change(&paths, &loaded, act, untrusted_entries, &options, &ui::Terminal::default())
        .map_err(|error| crate::error::Error::from(error).with_status(FAILED))?;

    let mut text = String::new();
    if !changed.entries.is_empty() {
        let entries = changed.entries.join(" ");
        text = match act {
            Act::Add => format!("added {entries} to {PROFILE_FILE}\n"),
            Act::Remove => format!("removed {entries} from {PROFILE_FILE}\n"),
        };
    }
    for (entry, file) in &changed.already {
        let file = sanitize(&file.to_string_lossy()).into_owned();
        text += &match act {
            Act::Add => format!("{entry} is there already: {file}\n"),
            Act::Remove => format!("{entry} stays installed: {file} names it, too\n"),
        };
    }
    text += match changed.applied {
        Applied::Now => "",
        Applied::NoNetwork => {
            "the box has no network: it changes at its next start, with the profile's layer of packages\n"
        }
        Applied::NoRoot => "the box has no root user: it changes at its next start\n",
    };
    print(&text)
}
