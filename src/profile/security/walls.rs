//! What one key gives must not undo what another forbids; and what is typed changes what the files say.

use super::{Changes, Security, SecurityLayer};
use crate::profile::bandwidth::Bandwidth;
use crate::profile::{Profile, ProfileError};

impl SecurityLayer {
    /// From lists of names that were parsed.
    ///
    /// # Errors
    /// When a name is both given and taken.
    pub fn typed(
        capabilities: Changes,
        seccomp: Changes,
        no_new_privileges: Option<bool>,
    ) -> Result<Self, ProfileError> {
        for changes in [&capabilities, &seccomp] {
            if let Some(name) = changes.more.intersection(&changes.less).next() {
                return Err(ProfileError::GivenAndTaken { name: name.clone() });
            }
        }
        Ok(Self { capabilities, emulate_ids: None, no_new_privileges, seccomp })
    }
}

impl Profile {
    /// What `layer` says goes before what the profile says. Who types it is not asked to trust it.
    pub fn change_security(&mut self, layer: &SecurityLayer) -> Result<(), ProfileError> {
        let Security { capabilities, emulate_ids, no_new_privileges, seccomp } = &mut self.security;
        capabilities.extend(&layer.capabilities);
        seccomp.extend(&layer.seccomp);
        *emulate_ids = layer.emulate_ids.unwrap_or(*emulate_ids);
        *no_new_privileges = layer.no_new_privileges.unwrap_or(*no_new_privileges);
        self.require_walls()
    }

    /// Nothing in `[security]` undoes another key.
    pub(in crate::profile) fn require_walls(&self) -> Result<(), ProfileError> {
        let (network, project) = (&self.network, &self.project);
        let filter = if network.egress.is_some() { Some("egress") } else { network.join.as_ref().map(|_| "join") };
        let shaped = (network.bandwidth != Bandwidth::default()).then_some("bandwidth");
        let mounts = [("protect", !project.protect.is_empty()), ("mask", !project.mask.is_empty())];
        let mounts = mounts.into_iter().chain([("read_only", project.read_only)]);
        let mounts = mounts.into_iter().find_map(|(key, is_set)| is_set.then_some(key));
        let broken = [
            (filter.or(shaped), self.security.breaks_network(filter.is_some(), shaped.is_some())),
            (mounts, self.security.breaks_mounts()),
        ];
        match broken.into_iter().find_map(|(wall, grant)| wall.zip(grant)) {
            Some((wall, grant)) => Err(ProfileError::Undone { grant, wall }),
            None => Ok(()),
        }
    }
}
