//! `devbox lock`.

use std::path::Path;

use super::session::{build_base, refuse_home, require_trust};
use crate::boxes::locking::{self, Update};
use crate::build::{self, profile::Inputs};
use crate::cli::args::packages::LockArgs;
use crate::cli::{Outcome, print};
use crate::error::{Error, FAILED};
use crate::paths::Paths;
use crate::profile::lock::{LOCK_FILE, Lock, LockedBase, differences};
use crate::profile::{LoadedProfile, Profile};
use crate::text::sanitize;
use crate::ui;

/// Brings the lock file up to date with the profile; what is locked stays as it is.
pub fn run(folder: &Path, args: &LockArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let loaded = Profile::load(&paths, folder)?;
    if args.check {
        let build = build::profile::differences(&paths, &loaded)?;
        return match locking::require(&loaded, build) {
            Ok(()) => print(&format!("{LOCK_FILE} fits the profile\n")),
            Err(error) => Err(Error::from(error)),
        };
    }
    write(&paths, &loaded, &Update::Nothing)
}

/// Locks, and says what changed.
pub(super) fn write(paths: &Paths, loaded: &LoadedProfile, update: &Update) -> Outcome {
    refuse_home(paths, loaded)?;
    require_trust(paths, loaded)?;
    let progress = ui::Terminal::default();
    let inputs = match update {
        Update::Base | Update::Everything => Inputs::Newest,
        Update::Nothing | Update::Packages(_) => Inputs::Locked,
    };
    let inputs = build_base(paths, loaded, inputs)?;
    let (old, new) = locking::lock(paths, loaded, update, inputs, &progress)
        .map_err(|error| Error::from(error).with_status(FAILED))?;
    print(&report(old.as_ref(), &new))
}

fn report(old: Option<&Lock>, new: &Lock) -> String {
    let mut text = match old {
        None => match new.versions.len() {
            1 => format!("wrote {LOCK_FILE}: 1 package\n"),
            count => format!("wrote {LOCK_FILE}: {count} packages\n"),
        },
        Some(old) if old == new => format!("{LOCK_FILE} is up to date\n"),
        Some(old) => {
            let lines = differences(old, new).into_iter().map(|line| format!("{}\n", sanitize(&line)));
            lines.chain([format!("updated {LOCK_FILE}\n")]).collect()
        }
    };
    text += match new.base {
        LockedBase::Host => "the host base cannot be locked: another machine has its own\n",
        LockedBase::Directory { .. } => "a directory as the base cannot be locked: `image` and archives can\n",
        _ => "",
    };
    text
}
