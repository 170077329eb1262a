//! `devbox freeze`.

use std::path::Path;

use crate::boxes::capture::{self, freeze};
use crate::boxes::diff::{ChangeKind, FileKind};
use crate::cli::args::packages::Freeze;
use crate::cli::args::{Format, Target};
use crate::cli::{Outcome, print, print_json};
use crate::error::FAILED;
use crate::paths::Paths;
use crate::profile::Profile;
use crate::profile::edit::{add_packages, remove_packages};
use crate::profile::load::PROFILE_FILE;
use crate::text::sanitize;
use crate::ui;

/// Writes what was installed by hand into the profile, and lists the changes that no package accounts for.
pub fn run(folder: &Path, args: &Freeze) -> Outcome {
    let paths = Paths::from_environment()?;
    let loaded = Profile::load(&paths, folder)?;
    let id = super::find(&paths, folder, &Target { name: None })?;
    let frozen = freeze::compare(&paths, &id, &ui::Terminal::default())
        .map_err(|error| crate::error::Error::from(error).with_status(FAILED))?;
    let new: Vec<String> = frozen.installed.iter().map(|package| package.name.clone()).collect();
    let differs = !new.is_empty() || !frozen.removed.is_empty();
    if differs && !args.dry_run {
        capture::rewrite(&paths, &loaded, |text| add_packages(&remove_packages(text, &frozen.removed)?, &new))?;
    }
    if args.format == Format::Json {
        return print_json(&frozen);
    }

    let verb = |done, to_do| if args.dry_run { to_do } else { done };
    let mut text = String::new();
    for package in &frozen.installed {
        text += &format!("{}  {} {}\n", verb("added", "add"), sanitize(&package.name), sanitize(&package.version));
    }
    for name in &frozen.removed {
        text += &format!("{}  {}\n", verb("removed", "remove"), sanitize(name));
    }
    if text.is_empty() {
        text = format!("{PROFILE_FILE} names every package that was installed by hand\n");
    }
    if !frozen.edited.is_empty() {
        text += "\nfiles of packages that were edited:\n";
        for file in &frozen.edited {
            text += &format!("  {}  ({})\n", sanitize(&file.path.to_string_lossy()), sanitize(&file.package));
        }
    }
    if !frozen.loose.is_empty() {
        text += "\nchanges that belong to no package:\n";
        for loose in &frozen.loose {
            let directory = loose.file_type == FileKind::Directory;
            let path = format!("{}{}", loose.path.to_string_lossy(), if directory { "/" } else { "" });
            let note = match (loose.kind, directory) {
                (ChangeKind::Removed, _) => "  (removed)".to_owned(),
                (_, true) => format!("  ({} files, {})", loose.files, ui::size(loose.size_bytes)),
                _ => String::new(),
            };
            text += &format!("  {}{note}\n", sanitize(&path));
        }
    }
    if frozen.unreadable_packages {
        ui::say("devbox: packages changed in an rpm database, and the box's `rpm` does not say which");
    }
    for skipped in &frozen.skipped {
        ui::say(&format!("devbox: could not read {}", sanitize(skipped)));
    }
    print(&text)
}
