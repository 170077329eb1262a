//! Copying a part of a tree as it is.

use std::os::fd::AsFd;
use std::path::Path;

use super::select::{Mounted, Selected, select};
use super::walk::Fate;
use super::write::{Destination, Options, Owner, copy};
use crate::build::error::BuildError;
use crate::sys::fs::open_path;

/// Copies what `source` selects in `root` to `destination` in the directory `target`, with owners and times; `fate` says
/// what is left out. `single_owner`: the caller cannot set owners.
pub fn copy_whole(
    root: Mounted<'_>,
    source: &Path,
    target: &Path,
    destination: &Destination,
    single_owner: bool,
    fate: &dyn Fn(&Path) -> Fate,
) -> Result<(), BuildError> {
    let target = open_path(target)?;
    let selected = select(root, &source.to_string_lossy(), &|_| false)?;
    let fate = |_: &Selected, path: &Path, _: bool| fate(path);
    let options = Options { owner: Owner::Kept, mode: None, single_owner, parents: false };
    copy(root, &selected, &fate, Mounted(target.as_fd()), destination, &options)?;
    Ok(())
}
