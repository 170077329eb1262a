//! What an image carries along: the label `devcontainer.metadata`, and its user.

use std::path::{Path, PathBuf};

use super::error::FeatureError;
use crate::base::BaseSpec;
use crate::image::config::ImageConfig;
use crate::image::reference::Reference;
use crate::image::store::{Store, StoreError};
use crate::paths::Paths;
use crate::profile::devcontainer::Chosen;
use crate::profile::resolve::BUILT_IMAGES;
use crate::profile::validate::is_user_name;
use crate::profile::{LoadedProfile, Profile};
use crate::transfer::archives;

/// The label.
pub const LABEL: &str = "devcontainer.metadata";

/// What the configuration of an image says to devcontainer files that stand on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// The user of its commands; empty for root.
    pub user: String,
    /// Entries of the label, each as JSON.
    pub entries: Vec<String>,
}

impl Carried {
    /// Of a configuration. A label that is no JSON is left for the reader of the whole to complain about.
    #[must_use]
    pub fn of(config: &ImageConfig) -> Self {
        let label = config.config.labels.get(LABEL).map_or("", String::as_str);
        let entries = match serde_json::from_str::<serde_json::Value>(label) {
            Ok(serde_json::Value::Array(entries)) => entries.iter().map(ToString::to_string).collect(),
            Ok(entry) => vec![entry.to_string()],
            Err(_) if label.trim().is_empty() => Vec::new(),
            Err(_) => vec![label.to_owned()],
        };
        Self { user: config.config.user.clone(), entries }
    }

    /// The user of its commands without the group, which is put into Containerfiles and scripts: a plain name or an id;
    /// `None` if it is neither.
    #[must_use]
    pub fn plain_user(&self) -> Option<&str> {
        let name = self.user.split(':').next().filter(|name| !name.is_empty()).unwrap_or("root");
        let is_id = name.parse::<u32>().is_ok() && name.bytes().all(|byte| byte.is_ascii_digit());
        (is_id || is_user_name(name)).then_some(name)
    }

    /// The label of an image that adds `more` to this one.
    #[must_use]
    pub fn label_with(&self, more: &[String]) -> String {
        format!("[{}]", self.entries.iter().chain(more).map(String::as_str).collect::<Vec<_>>().join(","))
    }

    /// As entries for a profile: the user first, which every entry can replace.
    fn text(&self) -> Option<String> {
        let name = self.user.split(':').next().unwrap_or_default();
        // A number names nobody, and an image's root is everybody's.
        let is_name = !name.is_empty() && name != "root" && !name.starts_with(|c: char| c.is_ascii_digit());
        let user = is_name.then(|| format!("{{\"containerUser\":{}}}", serde_json::Value::from(name)));
        let entries: Vec<&str> = user.iter().chain(&self.entries).map(String::as_str).collect();
        (!entries.is_empty()).then(|| format!("[{}]", entries.join(",\n")))
    }
}

/// The configuration of an image of the store.
pub fn config(paths: &Paths, reference: &Reference) -> Result<Option<ImageConfig>, StoreError> {
    let store = Store::open(&paths.store())?;
    let Some(record) = store.find_image(reference)? else { return Ok(None) };
    let Some(manifest) = archives::manifest(&store, &record)? else { return Ok(None) };
    let bytes = store.blob(&manifest.config.digest)?;
    Ok(bytes.and_then(|bytes| ImageConfig::parse(&bytes).ok()))
}

/// The profile with what the image `base` carries along below the devcontainer file. An image that is not here carries nothing.
pub fn with_metadata(paths: &Paths, loaded: LoadedProfile, base: &BaseSpec) -> Result<LoadedProfile, FeatureError> {
    let (Some(_), BaseSpec::Image(reference)) = (&loaded.devcontainer, base) else { return Ok(loaded) };
    let Some(config) = config(paths, reference)? else { return Ok(loaded) };
    let mut carried = Carried::of(&config);
    // The last entry of an image with Features is this file's own.
    let below = loaded.devcontainer.as_ref().and_then(|own| own.below.as_ref());
    if reference.name() == BUILT_IMAGES && below.is_some_and(|below| below != base) {
        carried.entries.pop();
    }
    let Some(text) = carried.text() else { return Ok(loaded) };
    let label = PathBuf::from(format!("<{LABEL} of {}>", reference.familiar()));
    let chosen = Chosen { name: None, metadata: Some((Path::new(&label), &text)) };
    Ok(Profile::load_chosen(paths, &loaded.project, chosen)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lists_or_single_entries() {
        for (user, label, text) in [
            ("", "", None),
            ("root", "", None),
            ("1000:1000", "", None),
            ("node:node", "", Some("[{\"containerUser\":\"node\"}]")),
            ("", "{\"init\": true}", Some("[{\"init\":true}]")),
            ("a\"b", "[{\"a\": 1}, {\"b\": 2}]", Some("[{\"containerUser\":\"a\\\"b\"},\n{\"a\":1},\n{\"b\":2}]")),
            ("", "[]", None),
            ("", "no json", Some("[no json]")),
        ] {
            let mut config = ImageConfig::parse(
                b"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]},\"os\":\"linux\",\"architecture\":\"amd64\"}",
            )
            .unwrap();
            config.config.user = user.to_owned();
            config.config.labels.insert(LABEL.to_owned(), label.to_owned());
            assert_eq!(Carried::of(&config).text().as_deref(), text, "{label}");
        }
        let user = |user: &str| Carried { user: user.to_owned(), entries: Vec::new() }.plain_user().map(str::to_owned);
        for (user_and_group, plain) in [("", "root"), ("node:staff", "node"), ("1000:1000", "1000"), (":5", "root")] {
            assert_eq!(user(user_and_group).as_deref(), Some(plain));
        }
        for hostile in ["x\nRUN rm -rf /", "$(id)", "a b", "+1", "-u", "99999999999"] {
            assert_eq!(user(hostile), None, "{hostile}");
        }
        let carried = Carried { user: String::new(), entries: vec!["{\"a\":1}".to_owned()] };
        assert_eq!(carried.label_with(&["{\"b\":2}".to_owned()]), "[{\"a\":1},{\"b\":2}]");
    }
}
