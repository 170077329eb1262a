//! `devbox add` and `devbox remove`: the list in `devbox.toml`, and the box that it is for.

use std::path::PathBuf;

use super::apply::{Act, Applied, apply};
use crate::boxes::manager::bare_name;
use crate::boxes::session::{Options, SessionError};
use crate::paths::Paths;
use crate::profile::edit::{self, EditError};
use crate::profile::load::{self, PROFILE_FILE};
use crate::profile::validate::package_fault;
use crate::profile::{LoadedProfile, Profile, ProfileError, trust};
use crate::progress::Progress;
use crate::text::closest;

/// The packages of a profile could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no file to change.
    #[error("`{}` has no {PROFILE_FILE}", project.display())]
    NoProfile {
        /// The folder.
        project: PathBuf,
    },
    /// Not something that `packages` can hold.
    #[error("`{name}` is not the name of a package: {fault}")]
    NotAName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Another file names the package.
    #[error("`{name}` is not named in {PROFILE_FILE} but in `{}`", file.display())]
    Elsewhere {
        /// The package.
        name: String,
        /// A file, or `<shipped NAME>`.
        file: PathBuf,
    },
    /// Nobody names the package.
    #[error("`{name}` is not among the packages of {PROFILE_FILE}")]
    NotNamed {
        /// The package.
        name: String,
        /// One that is.
        suggestion: Option<String>,
    },
    /// The text of the profile.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Reading or writing the profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Bringing it into the box.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Entries that came or went.
    pub entries: Vec<String>,
    /// Entries that were asked for and are in the list already, and where.
    pub already: Vec<(String, PathBuf)>,
    /// When the box has them.
    pub applied: Applied,
}

/// Adds packages to the profile of `loaded`'s project, or removes them. The file is written when they are installed, so
/// that one that cannot be leaves it as it was. The caller must be single-threaded.
pub fn change(
    paths: &Paths,
    loaded: &LoadedProfile,
    act: Act,
    untrusted_entries: &[String],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Changed, CaptureError> {
    if let Some((name, fault)) = untrusted_entries.iter().find_map(|name| Some((name, package_fault(name)?))) {
        return Err(CaptureError::NotAName { name: name.clone(), fault });
    }
    let file = profile_file(loaded)?;
    let text = load::read(&file)?.text;
    let mut wanted = loaded.clone();
    let mut already = Vec::new();
    let (entries, to_apply) = match act {
        Act::Add => {
            let (old, new) = split(untrusted_entries, |entry| loaded.profile.packages.contains(entry));
            already.extend(old.into_iter().map(|entry| {
                let source = loaded.origin(&format!("packages.{entry}")).map_or_else(PathBuf::new, |it| it.label());
                (entry, source)
            }));
            wanted.profile.packages.extend(new.iter().cloned());
            // What the list says already may have been written by hand just now.
            (new, untrusted_entries.to_vec())
        }
        Act::Remove => {
            let own = edit::list(&text)?;
            let entries: Vec<String> =
                untrusted_entries.iter().map(|entry| own_entry(loaded, &own, entry)).collect::<Result<_, _>>()?;
            let inherited = |entry: &String| {
                loaded.origin(&format!("packages.{entry}")).is_some_and(|source| source.file() != Some(&file))
            };
            let (stay, go) = split(&entries, inherited);
            already.extend(stay.into_iter().map(|entry| {
                let source = loaded.origin(&format!("packages.{entry}")).map_or_else(PathBuf::new, |it| it.label());
                (entry, source)
            }));
            wanted.profile.packages.retain(|entry| !go.contains(entry));
            (entries, go)
        }
    };
    // A layout that cannot be edited is found before anything is installed.
    edited(&text, act, &entries)?;
    let applied = apply(paths, &wanted, act, &to_apply, options, progress)?;
    rewrite(paths, loaded, |text| edited(text, act, &entries))?;
    Ok(Changed { entries, already, applied })
}

/// Changes `devbox.toml` of `loaded`'s project. A profile that was trusted before stays trusted when nothing but its
/// packages is different afterwards.
pub fn rewrite(
    paths: &Paths,
    loaded: &LoadedProfile,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<(), CaptureError> {
    let file = profile_file(loaded)?;
    // Read again: it may have been edited while packages were installed.
    let text = load::read(&file)?.text;
    let changed = change(&text)?;
    if changed == text {
        return Ok(());
    }
    let was_trusted = trust::is_trusted(paths, loaded)?;
    edit::write(&file, &changed)?;
    let mut after = Profile::load(paths, &loaded.project)?;
    let digest = after.digest.clone();
    after.profile.packages.clone_from(&loaded.profile.packages);
    let same = after.profile == loaded.profile && after.wants == loaded.wants && after.sources == loaded.sources;
    if was_trusted && same && !after.wants.is_empty() {
        after.digest = digest;
        trust::trust(paths, &after)?;
    }
    Ok(())
}

/// The file that is to be changed.
fn profile_file(loaded: &LoadedProfile) -> Result<PathBuf, CaptureError> {
    let file = loaded.project.join(PROFILE_FILE);
    match loaded.sources.iter().any(|source| source.file() == Some(&file)) {
        true => Ok(file),
        false => Err(CaptureError::NoProfile { project: loaded.project.clone() }),
    }
}

fn edited(text: &str, act: Act, entries: &[String]) -> Result<String, EditError> {
    match act {
        Act::Add => edit::add_packages(text, entries),
        Act::Remove => edit::remove_packages(text, entries),
    }
}

/// Those for which `test` holds, and the others; each once.
fn split(entries: &[String], test: impl Fn(&String) -> bool) -> (Vec<String>, Vec<String>) {
    let mut unique: Vec<String> = Vec::new();
    for entry in entries {
        if !unique.contains(entry) {
            unique.push(entry.clone());
        }
    }
    unique.into_iter().partition(test)
}

/// The entry of the project's own list that `name` means: itself, or the one that says more about it.
fn own_entry(loaded: &LoadedProfile, own: &[String], name: &str) -> Result<String, CaptureError> {
    if let Some(entry) = own.iter().find(|entry| *entry == name).or_else(|| own.iter().find(|it| bare_name(it) == name))
    {
        return Ok(entry.clone());
    }
    let name = name.to_owned();
    match loaded.origin(&format!("packages.{name}")) {
        Some(source) => Err(CaptureError::Elsewhere { name, file: source.label() }),
        None => {
            let suggestion = closest(&name, own.iter().map(String::as_str)).map(str::to_owned);
            Err(CaptureError::NotNamed { name, suggestion })
        }
    }
}
