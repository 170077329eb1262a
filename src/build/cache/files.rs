//! Digests of the context's files, so that an unchanged context is not read again.
//!
//! A file is told by device, inode, size, modification and change time: whatever changes its content, its attributes or
//! its name changes one of them. One line for each file:
//!
//! ```text
//! device inode size mtime_ns ctime_ns digest
//! ```

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use crate::build::copy::digest::{FileDigests, Reading};
use crate::build::copy::walk::Entry;
use crate::build::error::{At, BuildError};
use crate::image::digest;
use crate::image::store::Store;
use crate::sys::SysResult;

/// A file that changed this recently may change again within the same tick of the file system's clock.
const SETTLED_NS: i128 = 50_000_000;
/// More files than this are not remembered.
const MAX_FILES: usize = 500_000;

/// Everything that tells a file apart from an older state of it.
type Identity = (u64, u64, i64, i128, i128);

/// Digests of files, from this build and earlier ones.
#[derive(Debug)]
pub struct KnownFiles {
    path: PathBuf,
    earlier: HashMap<Identity, String>,
    /// Those that this build needed.
    used: HashMap<Identity, String>,
    /// Files that were read.
    read: usize,
    /// How long ago a file must have changed.
    settled_ns: i128,
    /// The context is gone after this build.
    is_temporary: bool,
}

impl KnownFiles {
    /// What is known of the files of the directory `context`.
    #[must_use]
    pub fn load(store: &Store, context: &Path) -> Self {
        let name = digest::of_bytes(context.as_os_str().as_encoded_bytes());
        let path = store.path().join("build/files").join(&name[..32]);
        let is_temporary = context.starts_with(store.path().join("tmp"));
        Self { earlier: load(&path), path, used: HashMap::new(), read: 0, settled_ns: SETTLED_NS, is_temporary }
    }

    /// Files that had to be read.
    #[must_use]
    pub fn read(&self) -> usize {
        self.read
    }

    /// Remembers what this build needed, if it learnt anything.
    pub fn save(&self) -> Result<(), BuildError> {
        if self.read == 0 || self.is_temporary {
            return Ok(());
        }
        let mut text = String::new();
        // Another stage may have remembered other files meanwhile.
        let meanwhile = load(&self.path);
        let others = meanwhile.iter().filter(|(identity, _)| !self.used.contains_key(identity));
        for ((device, inode, size, modified, changed), digest) in self.used.iter().chain(others).take(MAX_FILES) {
            // Writing to a `String` cannot fail.
            writeln!(text, "{device} {inode} {size} {modified} {changed} {digest}").unwrap_or_default();
        }
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).at("create", parent)?;
        }
        // Losing it costs nothing but time: it need not reach the disk at once.
        let fresh = self.path.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, text).at("write", &fresh)?;
        std::fs::rename(&fresh, &self.path).at("rename", &fresh)
    }
}

impl FileDigests for KnownFiles {
    fn digest(&mut self, leaf: &Entry<'_>) -> SysResult<String> {
        let identity = identity(leaf.stat);
        if let Some(known) = self.used.get(&identity).or_else(|| self.earlier.get(&identity)) {
            let known = known.clone();
            self.used.insert(identity, known.clone());
            return Ok(known);
        }
        let digest = Reading.digest(leaf)?;
        self.read += 1;
        let now = jiff::Timestamp::now().as_nanosecond();
        if now - identity.4 > self.settled_ns && now - identity.3 > self.settled_ns {
            self.used.insert(identity, digest.clone());
        }
        Ok(digest)
    }
}

fn load(path: &Path) -> HashMap<Identity, String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(parse).collect()
}

fn identity(stat: &Stat) -> Identity {
    let time = |seconds: i64, nanoseconds: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    (
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        time(stat.st_mtime, stat.st_mtime_nsec),
        time(stat.st_ctime, stat.st_ctime_nsec),
    )
}

fn parse(line: &str) -> Option<(Identity, String)> {
    let mut fields = line.split(' ');
    let identity = (
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
        fields.next()?.parse().ok()?,
    );
    fields.next().filter(|digest| digest.len() == 64).map(|digest| (identity, digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::digest::of_selected;
    use crate::build::copy::select::{Mounted, select};
    use crate::build::copy::walk::Fate;
    use crate::build::copy::write::Owner;
    use std::os::fd::AsFd;

    #[test]
    fn an_unchanged_context_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path().join("context");
        std::fs::create_dir(&context).unwrap();
        for name in ["a", "b"] {
            std::fs::write(context.join(name), name).unwrap();
        }
        let store = Store::open(&directory.path().join("store")).unwrap();
        let digest = |settled_ns: i128| {
            let root = crate::sys::fs::open_path(&context).unwrap();
            let all = select(Mounted(root.as_fd()), ".", &|_| false).unwrap();
            let mut known = KnownFiles { settled_ns, ..KnownFiles::load(&store, &context) };
            let fate = |_: &_, _: &std::path::Path, _: bool| Fate::Kept;
            let digest = of_selected(Mounted(root.as_fd()), &all, &fate, Owner::Set(0, 0), &mut known).unwrap();
            known.save().unwrap();
            (digest, known.read())
        };
        // Whatever is there has settled.
        let anyhow = i128::MIN;
        let (first, read) = digest(anyhow);
        assert_eq!(read, 2);
        assert_eq!(digest(anyhow), (first.clone(), 0));
        std::fs::write(context.join("b"), "c").unwrap();
        let hour_ns = 3_600_000_000_000;
        let (second, read) = digest(hour_ns);
        assert_ne!(second, first);
        assert_eq!(read, 1);
        // Changed a moment ago: not believed yet.
        assert_eq!(digest(hour_ns), (second, 1));
    }
}
