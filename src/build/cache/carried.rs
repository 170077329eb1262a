//! Steps that an image carries along: what its build did, for builds on other machines (`--cache-from`).
//!
//! An annotation of the manifest names, by their keys, the steps that made the image and the layers that they made. Keys
//! are digests: the annotation tells nothing about contents. Whoever names an image as a cache believes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::records::{Record, Records};
use crate::build::error::BuildError;
use crate::userns::idmap::{IdMap, IdMode};

/// The annotation's name.
pub const ANNOTATION: &str = "devbox.build.steps";

/// The annotation's value, as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Carried {
    /// In single mode, where all files belong to one user. What was made so is of no use where that is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    single: bool,
    steps: BTreeMap<Key, Record>,
}

/// The annotation for an image that `steps` made with the ids of `map`; `None` without steps.
#[must_use]
pub fn annotation(map: &IdMap, steps: &BTreeMap<Key, Record>) -> Option<String> {
    let carried = Carried { single: map.mode == IdMode::Single, steps: steps.clone() };
    (!steps.is_empty()).then(|| serde_json::to_string(&carried).ok()).flatten()
}

/// Remembers the steps of an `untrusted` annotation whose layers are here and that are not known already; returns how
/// many those are.
pub fn adopt(records: &Records, map: &IdMap, untrusted: &str) -> Result<usize, BuildError> {
    let Ok(carried) = serde_json::from_str::<Carried>(untrusted) else { return Ok(0) };
    if carried.single && map.mode != IdMode::Single {
        return Ok(0);
    }
    let mut adopted = 0;
    for (key, record) in carried.steps.iter().filter(|(key, _)| key.is_well_formed()) {
        let is_here = record.layer.as_ref().is_none_or(|layer| records.tree(&layer.diff_id).is_some());
        if is_here && records.find(key).is_none() {
            records.remember(key, record.layer.clone(), record.created.clone())?;
            adopted += 1;
        }
    }
    Ok(adopted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::store::Store;

    #[test]
    fn steps_are_carried() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let (range, single) = (IdMap::root(), IdMap::single(0, 1000, 1000));
        let records = |map: &IdMap| Records::new(&store, map.layout());
        let key = Key::root(&["x"]);
        let record = records(&single).remember(&key, None, "2024-01-01T00:00:00Z".to_owned()).unwrap();
        let steps = BTreeMap::from([(key.clone(), record.clone())]);
        let text = annotation(&range, &steps).unwrap();
        assert_eq!(adopt(&records(&range), &range, &text).unwrap(), 1);
        assert_eq!(records(&range).find(&key), Some(record));
        // Known already; of a build that could not keep owners; damaged; with a key that leads elsewhere; absent.
        let of_single = annotation(&single, &steps).unwrap();
        let hostile = text.replace(key.as_str(), "../../../x");
        for text in [&text, &of_single, "{", "[]", &hostile] {
            assert_eq!(adopt(&records(&range), &range, text).unwrap(), 0, "{text}");
        }
        assert_eq!(annotation(&range, &BTreeMap::new()), None);
    }
}
