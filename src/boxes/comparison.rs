//! A box beside its base: which layers are whose.

use std::path::PathBuf;

use super::capture::question::Ground;
use super::capture::rpm;
use super::diff::{Diff, DiffSpec, Sides};
use super::session::SessionError;
use super::{BoxDir, BoxId, BoxRecord, diff, generated, packages, packages_layer, state};
use crate::base::{self, OverlayDriver, RootLayers};
use crate::paths::Paths;
use crate::profile::{LoadedProfile, Profile};
use crate::progress::Progress;

/// A box, and what it stands on by the profile that applies to its project now.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) record: BoxRecord,
    pub(super) loaded: LoadedProfile,
    pub(super) base: RootLayers,
    /// The box's writable layers, the topmost first.
    pub(super) own: Vec<PathBuf>,
    pub(super) generated: PathBuf,
    pub(super) packages: Option<PathBuf>,
}

impl Comparison {
    /// Prepares the base. The caller must be single-threaded.
    pub(super) fn open(paths: &Paths, id: &BoxId, progress: &dyn Progress) -> Result<Self, SessionError> {
        let directory = BoxDir::new(paths, id);
        let record = state::load(&directory)?;
        let loaded = Profile::load(paths, &record.project)?;
        let driver = Some(OverlayDriver::of_base(&record.base_id));
        let base = base::prepare(paths, &record.id_map, &loaded.profile.base, driver, &loaded.registries, progress)?;
        let mut own = vec![directory.upper()];
        own.extend(directory.frozen_layers(&record));
        let packages = packages_layer::find(paths, &loaded, &record.id_map, &base)?;
        Ok(Self { record, loaded, base, own, generated: generated::tree(&directory.generated()), packages })
    }

    /// Where programs of the box can be asked.
    pub(super) fn ground(&self) -> Ground<'_> {
        Ground { map: &self.record.id_map, base: &self.base, named: &self.loaded.profile.base }
    }

    /// What the box itself wrote, against everything below.
    pub(super) fn spec(&self) -> DiffSpec {
        let mut below = vec![self.generated.clone()];
        below.extend(self.packages.clone());
        below.extend(self.base.lower.iter().cloned());
        let fixed = ["/proc", "/sys", "/dev", "/run", "/tmp", "/etc/hosts", "/etc/resolv.conf"];
        let mut ignore: Vec<PathBuf> = fixed.into_iter().map(PathBuf::from).collect();
        ignore.push(self.loaded.profile.project.path.clone());
        ignore.extend(self.loaded.profile.mounts.iter().map(|mount| mount.target.clone()));
        DiffSpec {
            own: self.own.clone(),
            base: below,
            data_only: self.base.data_only.clone(),
            host_directories: self.base.host_directories.clone(),
            ignore,
            driver: self.base.driver,
            sides: Sides::Stacked,
        }
    }
}

/// What a box changed of its base. The base is that of the profile which applies to the box's project. Packages in a database of
/// rpm are those that the box's own `rpm` tells of, if it does.
pub fn diff(paths: &Paths, id: &BoxId, progress: &dyn Progress) -> Result<Diff, SessionError> {
    let comparison = Comparison::open(paths, id, progress)?;
    let mut diff = diff::diff(&comparison.spec(), &comparison.record.id_map)?;
    if diff.unreadable_packages {
        let both = match rpm::read(paths, &comparison, progress) {
            Err(SessionError::Late { .. }) => None,
            other => other?,
        };
        if let Some(both) = both {
            diff.packages.extend(packages::compare(&rpm::versions(&both.before), &rpm::versions(&both.now)));
            diff.unreadable_packages = false;
        }
    }
    Ok(diff)
}
