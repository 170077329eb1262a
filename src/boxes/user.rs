//! Which id of the box the profile's user is.

use std::path::Path;

use super::view::View;
use crate::base::{BaseSpec, RootLayers};
use crate::profile::Profile;
use crate::sandbox::etc::Base;
use crate::sandbox::passwd::Account;
use crate::userns::idmap::{IdMap, IdMode, RANGE_SIZE};

/// The uid of a user whom the base does not know, and the likely one of others.
pub const NAMED_USER_ID: u32 = 1000;

/// The id that is tried first.
#[must_use]
pub fn likely_id(profile: &Profile) -> u32 {
    if profile.user == "root" { 0 } else { NAMED_USER_ID }
}

/// The id that the image `base`, which was made ready with `map`, gives the profile's user, if that is another one than in
/// `map`: the invoking user's files are to belong to it.
#[must_use]
pub fn other_id(profile: &Profile, base: &RootLayers, map: &IdMap) -> Option<u32> {
    if profile.user == "root" || !matches!(profile.base, BaseSpec::Image(_)) {
        return None;
    }
    let id = id_in(&View::new(&[], base), &profile.user)?;
    (id != map.user && map.mode != IdMode::Root).then_some(id)
}

/// The id that `base` gives the name `user`.
#[must_use]
pub fn id_in(base: &View, user: &str) -> Option<u32> {
    let passwd = base.read(Path::new("/etc/passwd"))?;
    let account = Account::parse(&String::from_utf8_lossy(&passwd), "", user)?;
    (account.name == user && account.uid < RANGE_SIZE).then_some(account.uid)
}
