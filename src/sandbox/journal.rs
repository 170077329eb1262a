//! A file in which what a box does is written down, such as `net.jsonl`: never larger than a limit, and one older one beside it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The file becomes the older one when it has so many bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max: u64,
}

/// Where the older lines are.
#[must_use]
pub fn older(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

impl Journal {
    /// At `path`; it is made with the first line.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, size: 0, max: MAX_BYTES }
    }

    /// Appends a line. A full disk must not end a box, so failure is not an error.
    pub fn append(&mut self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        self.write(&text).unwrap_or_default();
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        if self.file.is_some() && self.size + text.len() as u64 > self.max {
            std::fs::rename(&self.path, older(&self.path))?;
            self.file = None;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            // One call, so that a reader sees whole lines.
            self.size += file.write(text)? as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.jsonl");
        let mut journal = Journal { max: 100, ..Journal::new(&path) };
        let line = serde_json::json!({ "time": "", "more": 1 });
        for _ in 0..9 {
            journal.append(&line);
        }
        let count = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((count(&path), count(&older(&path))), (1, 4));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
