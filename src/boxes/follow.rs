//! Following the event log of a box: what it holds, and then each event as it is appended.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::directory::BoxDir;
use super::error::{BoxesResult, IoContext};
use super::events::{Event, aside, parse_lines};

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Something was written, or may have been.
    Changed,
    /// The box was removed: nothing more will come.
    Removed,
    /// Nobody reads the output any more.
    Unread,
}

/// Reads a log that grows, is put aside when it is too big, and goes with its box.
#[derive(Debug)]
pub struct Follower<T = Event> {
    directory: PathBuf,
    log: Log<T>,
    watch: OwnedFd,
}

impl Follower {
    /// Watches the event log of a box. The first [`Follower::read`] gives what it holds.
    pub fn new(directory: &BoxDir) -> BoxesResult<Self> {
        Self::of(directory, &directory.events())
    }
}

impl<T: DeserializeOwned> Follower<T> {
    /// Watches `log`, a log of the box in `directory`, each line of which is a `T`.
    pub fn of(directory: &BoxDir, log: &Path) -> BoxesResult<Self> {
        Self::watch(directory.path(), log)
    }

    /// Watches `log`, which goes with `directory`.
    pub fn watch(directory: &Path, log: &Path) -> BoxesResult<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .at("watch", directory)?;
        let logs = log.parent().unwrap_or(directory);
        for (path, flags) in [
            (directory, WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF),
            (logs, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO),
        ] {
            match inotify::add_watch(&watch, path, flags | WatchFlags::ONLYDIR) {
                // A box without a log has not been used; it may go without having had one.
                Err(Errno::NOENT) if path != directory => {}
                result => drop(result.map_err(std::io::Error::from).at("watch", path)?),
            }
        }
        Ok(Self { directory: directory.to_owned(), log: Log::new(log), watch })
    }

    /// The lines since the last call, the oldest first. At first those of the log put aside, too.
    pub fn read(&mut self) -> BoxesResult<Vec<T>> {
        let path = self.log.path.clone();
        self.log.read().at("read", &path)
    }

    /// Waits for more, however long that takes.
    ///
    /// `output` is where the events go: a pipe whose reader went away ends the waiting, not only the next write.
    pub fn wait(&self, output: BorrowedFd<'_>) -> BoxesResult<Woken> {
        let mut set = [PollFd::new(&self.watch, PollFlags::IN), PollFd::from_borrowed_fd(output, PollFlags::empty())];
        loop {
            match poll(&mut set, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error)).at("watch", &self.directory),
            }
        }
        self.forget_events().at("watch", &self.directory)?;
        if set[1].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Ok(Woken::Unread);
        }
        // The watch tells that something happened. What it was, the directory tells for sure.
        Ok(if self.directory.exists() { Woken::Changed } else { Woken::Removed })
    }

    fn forget_events(&self) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(self.watch.as_fd(), &mut buffer) {
                Ok(0) | Err(Errno::WOULDBLOCK) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The log itself, without the waiting.
#[derive(Debug)]
struct Log<T> {
    path: PathBuf,
    /// What is being read; `None` before the log was there.
    file: Option<File>,
    /// The part of a line that was there at the last reading.
    rest: Vec<u8>,
    /// The log put aside before everything else was read.
    is_begun: bool,
    lines: PhantomData<T>,
}

impl<T: DeserializeOwned> Log<T> {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, rest: Vec::new(), is_begun: false, lines: PhantomData }
    }

    fn read(&mut self) -> std::io::Result<Vec<T>> {
        let mut events = Vec::new();
        if !self.is_begun {
            // Opened first: if the log is put aside now, it is this very file that is read below.
            self.file = open(&self.path)?;
            if let Some(mut file) = open(&aside(&self.path))?
                && !self.file.as_ref().is_some_and(|own| is_same(own, &file))
            {
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                events = parse_lines(&text);
            }
            self.is_begun = true;
        }
        loop {
            // Asked before reading: what is appended between the two stays for the next time.
            let next = open(&self.path)?;
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut self.rest)?;
                let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                events.extend(parse_lines(&self.rest[..complete]));
                self.rest.drain(..complete);
            }
            match (next, &self.file) {
                (None, _) => return Ok(events),
                (Some(next), Some(own)) if is_same(own, &next) => return Ok(events),
                (Some(next), _) => {
                    self.file = Some(next);
                    self.rest.clear();
                }
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn is_same(a: &File, b: &File) -> bool {
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use serde_json::Map;

    use super::*;
    use crate::boxes::events::{EventKind, EventLog};
    use crate::boxes::id::BoxId;
    use crate::boxes::testing::Home;

    fn append(path: &Path, event: EventKind) {
        EventLog::open(path).unwrap().append(event, Map::new()).unwrap();
    }

    fn kinds(log: &mut Log<Event>) -> Vec<EventKind> {
        log.read().unwrap().into_iter().map(|event| event.event).collect()
    }

    #[test]
    fn each_event_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut log = Log::new(&path);
        assert_eq!(kinds(&mut log), []);
        append(&path, EventKind::Created);
        append(&path, EventKind::Started);
        assert_eq!(kinds(&mut log), [EventKind::Created, EventKind::Started]);
        assert_eq!(kinds(&mut log), []);
        append(&path, EventKind::Stopped);
        assert_eq!(kinds(&mut log), [EventKind::Stopped]);
    }

    #[test]
    fn a_log_that_is_put_aside_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        append(&aside(&path), EventKind::Created);
        append(&path, EventKind::Started);
        let mut log = Log::new(&path);
        assert_eq!(kinds(&mut log), [EventKind::Created, EventKind::Started]);
        append(&path, EventKind::Stopped);
        fs::rename(&path, aside(&path)).unwrap();
        append(&path, EventKind::Reset);
        assert_eq!(kinds(&mut log), [EventKind::Stopped, EventKind::Reset]);
        assert_eq!(kinds(&mut log), []);
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        append(&path, EventKind::Created);
        let line = fs::read(&path).unwrap();
        let (first, second) = line.split_at(line.len() / 2);
        fs::write(&path, first).unwrap();
        let mut log = Log::new(&path);
        assert_eq!(kinds(&mut log), []);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(second).unwrap();
        assert_eq!(kinds(&mut log), [EventKind::Created]);
    }

    #[test]
    fn the_end_of_the_box_and_of_the_reader_end_the_waiting() {
        let home = Home::new();
        let directory = BoxDir::new(&home.paths, &BoxId::new("shop", Path::new("/shop")));
        fs::create_dir_all(directory.events().parent().unwrap()).unwrap();
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let follower = Follower::new(&directory).unwrap();

        append(&directory.events(), EventKind::Created);
        assert_eq!(follower.wait(writer.as_fd()).unwrap(), Woken::Changed);
        // As removing does it: renamed first, and deleted somewhere else.
        fs::rename(directory.path(), home.scratch.path().join("trash")).unwrap();
        assert_eq!(follower.wait(writer.as_fd()).unwrap(), Woken::Removed);
        drop(reader);
        assert_eq!(follower.wait(writer.as_fd()).unwrap(), Woken::Unread);
    }
}
