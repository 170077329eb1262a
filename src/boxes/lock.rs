//! One command at a time changes a box.
//!
//! Locks are `flock`s: they go with the process, whatever kills it. A fork shares them: the lock is released when the
//! process that took it drops it, and a fork that only inherited it must close it and not rely on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{BoxesError, BoxesResult, IoContext};
use crate::progress::Progress;

/// How long to wait before saying so.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// Between two attempts during the silent wait.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// Longest description of a holder that is read, in bytes.
const MAX_HOLDER_BYTES: u64 = 256;

/// Whether others may hold the lock as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Others may hold it, shared.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub struct BoxLock {
    file: File,
    owner: u32,
    sharing: Sharing,
}

impl BoxLock {
    /// Waits for the lock on `path`. `who` is what others are told to wait for ("devbox snapshot"). After a second
    /// without success, `progress` is told whom this is waiting for.
    ///
    /// When the file is replaced or goes while this waits (a box is removed), the new one is locked, or the error is
    /// `NotFound`.
    pub fn acquire(path: &Path, sharing: Sharing, who: &str, progress: &dyn Progress) -> BoxesResult<Self> {
        loop {
            let mut file = open(path)?;
            if !poll(&file, sharing, path)? {
                progress.note(&format!("waiting for {}", holder(&mut file)));
                match sharing {
                    Sharing::Shared => file.lock_shared(),
                    Sharing::Exclusive => file.lock(),
                }
                .at("lock", path)?;
            }
            if is_same_file(&file, path)? {
                return Self::held(file, sharing, who, path);
            }
        }
    }

    /// Takes the lock if it is free now; else the error is [`BoxesError::Busy`].
    pub fn try_acquire(path: &Path, sharing: Sharing, who: &str) -> BoxesResult<Self> {
        loop {
            let mut file = open(path)?;
            if !attempt(&file, sharing, path)? {
                return Err(BoxesError::Busy { holder: holder(&mut file) });
            }
            if is_same_file(&file, path)? {
                return Self::held(file, sharing, who, path);
            }
        }
    }

    fn held(mut file: File, sharing: Sharing, who: &str, path: &Path) -> BoxesResult<Self> {
        let owner = std::process::id();
        if sharing == Sharing::Exclusive {
            let text = format!("`{who}` (pid {owner})\n");
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
            // The text is for those who wait: a full disk must not keep anybody from removing a box.
            if let Err(error) = written
                && error.kind() != std::io::ErrorKind::StorageFull
            {
                return Err(error).at("write", path);
            }
        }
        Ok(Self { file, owner, sharing })
    }
}

impl BoxLock {
    /// Closes this copy of the lock and leaves it to a child that inherited it: held until the child ends.
    pub fn leave_to_child(mut self) {
        self.owner = 0;
    }
}

impl std::os::fd::AsFd for BoxLock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for BoxLock {
    fn drop(&mut self) {
        // A fork that drops its copy must not release the lock of the process that took it.
        if self.owner == std::process::id() {
            if self.sharing == Sharing::Exclusive {
                // A holder's name that stays behind misleads nobody: it is read only while somebody holds the lock.
                self.file.set_len(0).unwrap_or_default();
            }
            // Closing the last descriptor releases the lock too.
            self.file.unlock().unwrap_or_default();
        }
    }
}

fn open(path: &Path) -> BoxesResult<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .at("open", path)
}

fn attempt(file: &File, sharing: Sharing, path: &Path) -> BoxesResult<bool> {
    let result = match sharing {
        Sharing::Shared => file.try_lock_shared(),
        Sharing::Exclusive => file.try_lock(),
    };
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}

fn poll(file: &File, sharing: Sharing, path: &Path) -> BoxesResult<bool> {
    let start = Instant::now();
    loop {
        if attempt(file, sharing, path)? {
            return Ok(true);
        }
        if start.elapsed() >= SILENT_WAIT {
            return Ok(false);
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

/// Whether the locked file is still the one that others would lock.
fn is_same_file(file: &File, path: &Path) -> BoxesResult<bool> {
    let ours = file.metadata().at("read", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(theirs) => Ok(ours.ino() == theirs.ino() && ours.dev() == theirs.dev()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", path),
    }
}

/// Whoever holds the lock, as far as the file says.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(MAX_HOLDER_BYTES).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), name) if !name.is_empty() => name.to_owned(),
        _ => "another devbox".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::progress::Silent;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Progress for Notes {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    #[test]
    fn exclusive_shuts_out_and_names_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = BoxLock::acquire(&path, Sharing::Exclusive, "devbox snapshot", &Silent).unwrap();
        let error = BoxLock::try_acquire(&path, Sharing::Shared, "x").unwrap_err().to_string();
        assert_eq!(error, format!("the box is being changed by `devbox snapshot` (pid {})", std::process::id()));
        drop(first);
        let shared = BoxLock::try_acquire(&path, Sharing::Shared, "x").unwrap();
        let another = BoxLock::try_acquire(&path, Sharing::Shared, "y").unwrap();
        assert!(BoxLock::try_acquire(&path, Sharing::Exclusive, "z").is_err());
        drop((shared, another));
        BoxLock::try_acquire(&path, Sharing::Exclusive, "z").unwrap();
    }

    #[test]
    fn waits_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = BoxLock::acquire(&path, Sharing::Exclusive, "devbox rm", &Silent).unwrap();
        let notes = Notes::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| BoxLock::acquire(&path, Sharing::Exclusive, "devbox run", &notes));
            while notes.0.lock().unwrap().is_empty() {
                std::thread::sleep(RETRY_INTERVAL);
            }
            drop(first);
            waiter.join().unwrap().unwrap();
        });
        assert_eq!(*notes.0.lock().unwrap(), [format!("waiting for `devbox rm` (pid {})", std::process::id())]);
    }

    #[test]
    fn a_box_removed_while_waiting_is_not_locked() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("box");
        std::fs::create_dir(&home).unwrap();
        let path = home.join("lock");
        let first = BoxLock::acquire(&path, Sharing::Exclusive, "devbox rm", &Silent).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| BoxLock::acquire(&path, Sharing::Exclusive, "devbox run", &Silent));
            std::fs::rename(&home, directory.path().join("trash")).unwrap();
            drop(first);
            let error = waiter.join().unwrap().unwrap_err();
            assert!(matches!(&error, BoxesError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
        });
    }

    #[test]
    fn serialises() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let counter = directory.path().join("counter");
        std::fs::write(&counter, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _held = BoxLock::acquire(&path, Sharing::Exclusive, "devbox", &Silent).unwrap();
                        let value: u32 = std::fs::read_to_string(&counter).unwrap().parse().unwrap();
                        std::fs::write(&counter, (value + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&counter).unwrap(), "100");
    }
}
