//! Files of `ADD URL` that were fetched before: a server is asked whether its file is still the same.
//!
//! ```text
//! store/build/downloads/<digest of the URL>/
//!   about.json    Known: what the server said of the file, and its digest
//!   file          the file
//! ```
//!
//! Losing any of this costs time and nothing else. What does not agree with its digest is fetched anew.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{At, BuildError};
use crate::image::digest::{self, Algorithm, Digest, Hasher};
use crate::paths::Paths;
use crate::registry::Condition;

/// What is known of a file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What the server called this state of the file.
    pub condition: Condition,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Where the file of one URL is kept.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    /// That of `url`.
    #[must_use]
    pub fn of(paths: &Paths, url: &str) -> Self {
        Self(paths.store().join("build/downloads").join(&digest::of_bytes(url.as_bytes())[..32]))
    }

    /// What is known of the file, if it is here and whole.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        let known: Known = serde_json::from_slice(&std::fs::read(self.0.join("about.json")).ok()?).ok()?;
        (digest_of(&self.0.join("file"), Algorithm::Sha256).ok()? == known.digest).then_some(known)
    }

    /// Copies the file to `path`.
    pub fn take(&self, path: &Path) -> Result<(), BuildError> {
        let file = self.0.join("file");
        std::fs::copy(&file, path).at("copy", &file)?;
        // It was needed: the garbage collection goes by its age.
        let about = self.0.join("about.json");
        File::open(&about).and_then(|file| file.set_modified(std::time::SystemTime::now())).at("touch", &about)
    }

    /// Keeps the file at `path` for the next build; the newest one, if two builds do this at once.
    pub fn keep(&self, path: &Path, condition: Condition) -> Result<(), BuildError> {
        if condition == Condition::default() {
            return Ok(());
        }
        let parent = self.0.parent().unwrap_or(&self.0);
        std::fs::create_dir_all(parent).at("create", parent)?;
        let fresh = tempfile::Builder::new().prefix("new-").tempdir_in(parent).at("create", parent)?;
        std::fs::copy(path, fresh.path().join("file")).at("copy", path)?;
        let about = fresh.path().join("about.json");
        let known = Known { condition, digest: digest_of(path, Algorithm::Sha256)? };
        std::fs::write(&about, serde_json::to_vec(&known).unwrap_or_default()).at("write", &about)?;
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove", &self.0),
            _ => {}
        }
        match std::fs::rename(fresh.path(), &self.0) {
            // Another build was quicker.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            result => result.at("rename", fresh.path()),
        }
    }
}

/// The digest of a file.
pub fn digest_of(path: &Path, algorithm: Algorithm) -> Result<Digest, BuildError> {
    let mut hasher = Hasher::new(algorithm);
    let mut file = File::open(path).at("open", path)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).at("read", path)? {
            0 => return Ok(hasher.digest()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_while_they_are_whole() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place(directory.path().join("downloads/x"));
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let condition = Condition { etag: Some("\"1\"".into()), modified: None };
        assert_eq!(place.known(), None);
        for content in ["one", "two"] {
            std::fs::write(&from, content).unwrap();
            place.keep(&from, condition.clone()).unwrap();
            assert_eq!(place.known().unwrap().condition, condition);
            place.take(&to).unwrap();
            assert_eq!(std::fs::read_to_string(&to).unwrap(), content);
        }
        std::fs::write(place.0.join("file"), "damaged").unwrap();
        assert_eq!(place.known(), None);
        // Of a file that the server cannot be asked about nothing is kept.
        std::fs::write(&from, "three").unwrap();
        place.keep(&from, Condition::default()).unwrap();
        assert_eq!(place.known(), None);
    }
}
