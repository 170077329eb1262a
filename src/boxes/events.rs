//! The event log of a box: one JSON object a line, only ever appended to.
//!
//! Each line is one `write` to a descriptor opened with `O_APPEND`, so that the supervisor, init and clients can write
//! at once, and from a fork. A line that was cut (a full disk, a power failure) is skipped by the reader.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{BoxesResult, IoContext};
use super::state::now;

/// A log that has grown to this size is put aside when it is opened for appending; the one put aside before is
/// dropped.
pub const MAX_LOG_BYTES: u64 = 4 << 20;

/// What can happen to a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The box was made.
    Created,
    /// The box was made from another one.
    Cloned,
    /// Init runs.
    Started,
    /// Init has ended.
    Stopped,
    /// A command began.
    SessionStarted,
    /// A command ended.
    SessionEnded,
    /// A snapshot was made.
    Snapshot,
    /// A snapshot was restored.
    Restored,
    /// A snapshot was removed.
    SnapshotRemoved,
    /// The box is as its base.
    Reset,
    /// A limit killed a process, or ended the box.
    LimitReached,
    /// A port of the box is reachable on the host.
    PortOpened,
    /// It is no longer.
    PortClosed,
    /// Something did not work.
    Failed,
    /// Written by a newer devbox.
    #[serde(other)]
    Unknown,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339, UTC.
    pub time: String,
    /// What happened.
    pub event: EventKind,
    /// What else is known: `{"status": 7}`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// An event log open for appending.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
    /// The log ends in the middle of a line.
    torn: bool,
}

impl EventLog {
    /// Opens the log at `path`, makes it if necessary, and puts it aside first if it is too big.
    pub fn open(path: &Path) -> BoxesResult<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.len() > MAX_LOG_BYTES => match std::fs::rename(path, aside(path)) {
                // Another command has just done so.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result.at("rename", path)?,
            },
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", path),
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .at("open", path)?;
        let torn = ends_torn(&file).at("read", path)?;
        Ok(Self { file, path: path.to_owned(), torn })
    }

    /// Appends an event that happens now.
    pub fn append(&self, event: EventKind, details: Map<String, Value>) -> BoxesResult<()> {
        self.append_line(&Event { time: now(), event, details })
    }

    /// Appends a line of another log of this kind.
    pub fn append_line<T: Serialize>(&self, value: &T) -> BoxesResult<()> {
        let mut line = if self.torn { b"\n".to_vec() } else { Vec::new() };
        serde_json::to_writer(&mut line, value).map_err(std::io::Error::from).at("write", &self.path)?;
        line.push(b'\n');
        let written = std::io::Write::write(&mut &self.file, &line).at("write", &self.path)?;
        if written < line.len() {
            // The rest must not follow as a line of its own.
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull)).at("write", &self.path);
        }
        Ok(())
    }
}

fn ends_torn(mut file: &File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte != *b"\n")
}

pub(super) fn aside(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

/// What the lines of a log's text say, in the order of writing. Lines that say nothing of the kind are left out.
#[must_use]
pub fn parse_lines<T: DeserializeOwned>(text: &[u8]) -> Vec<T> {
    text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The events of the log at `path` and of the one put aside before it. No log is no events.
pub fn read_events(path: &Path) -> BoxesResult<Vec<Event>> {
    read_lines(path)
}

/// The lines of the log at `path` and of the one put aside before it. No log is no lines.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> BoxesResult<Vec<T>> {
    let mut events = Vec::new();
    for path in [aside(path), path.to_owned()] {
        match std::fs::read(&path) {
            Ok(text) => events.extend(parse_lines(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", &path),
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn events_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        assert_eq!(read_events(&path).unwrap(), []);
        let log = EventLog::open(&path).unwrap();
        log.append(EventKind::Started, Map::new()).unwrap();
        EventLog::open(&path)
            .unwrap()
            .append(EventKind::SessionEnded, details(json!({"status": 7, "a": "x\ny"})))
            .unwrap();
        let events = read_events(&path).unwrap();
        assert_eq!(events.iter().map(|it| it.event).collect::<Vec<_>>(), [EventKind::Started, EventKind::SessionEnded]);
        assert_eq!(events[1].details["a"], "x\ny");
        assert!(events[0].time.parse::<jiff::Timestamp>().is_ok(), "{}", events[0].time);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn torn_lines_cost_only_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        std::fs::write(&path, b"{\"time\":\"t\",\"event\":\"created\"}\n\xff\xfe\n{\"time\":\"t\",\"ev").unwrap();
        EventLog::open(&path).unwrap().append(EventKind::Stopped, Map::new()).unwrap();
        let kinds: Vec<_> = read_events(&path).unwrap().iter().map(|it| it.event).collect();
        assert_eq!(kinds, [EventKind::Created, EventKind::Stopped]);
    }

    #[test]
    fn newer_events_are_kept() {
        let events: Vec<Event> =
            parse_lines(b"{\"time\":\"t\",\"event\":\"teleported\",\"details\":{\"to\":1},\"x\":2}");
        assert_eq!(events[0].event, EventKind::Unknown);
    }

    #[test]
    fn a_big_log_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let line = b"{\"time\":\"t\",\"event\":\"created\"}\n";
        std::fs::write(&path, line).unwrap();
        File::options().append(true).open(&path).unwrap().set_len(MAX_LOG_BYTES + 1).unwrap();
        EventLog::open(&path).unwrap().append(EventKind::Started, Map::new()).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 200);
        let kinds: Vec<_> = read_events(&path).unwrap().iter().map(|it| it.event).collect();
        assert_eq!(kinds, [EventKind::Created, EventKind::Started]);
    }

    #[test]
    fn many_write_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let log = EventLog::open(path).unwrap();
                    for number in 0..50 {
                        log.append(EventKind::SessionStarted, details(json!({"w": writer, "n": number}))).unwrap();
                    }
                });
            }
        });
        assert_eq!(read_events(&path).unwrap().len(), 400);
    }
}
