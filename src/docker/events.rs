//! What happened to containers: one log, and those who read and follow it.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::container::{Container, root};
use super::error::DockerResult;
use crate::boxes::events::EventLog;
use crate::boxes::follow::{Follower, Woken};
use crate::paths::{Paths, create_private};

/// An event as docker prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// As `Action`, for older readers.
    pub status: String,
    /// As `Actor.ID`.
    pub id: String,
    /// The image.
    pub from: String,
    /// `container`
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `start`, `kill`, `die`, `stop`, `destroy`.
    #[serde(rename = "Action")]
    pub action: String,
    /// Whom it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local`
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// Whom an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The container.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its labels, its image and its name.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

fn log(paths: &Paths) -> PathBuf {
    root(paths).join("events.jsonl")
}

/// Writes down that `action` happened to `container` now.
pub fn append(paths: &Paths, container: &Container, action: &str, more: &[(&str, String)]) -> DockerResult<()> {
    let now = Timestamp::now();
    let mut attributes = container.labels.clone();
    attributes.insert("image".to_owned(), container.image.clone());
    attributes.insert("name".to_owned(), container.name.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let event = Event {
        status: action.to_owned(),
        id: container.id.clone(),
        from: container.image.clone(),
        kind: "container".to_owned(),
        action: action.to_owned(),
        actor: Actor { id: container.id.clone(), attributes },
        scope: "local".to_owned(),
        time: now.as_second(),
        time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
    };
    create_private(&root(paths))?;
    Ok(EventLog::open(&log(paths))?.append_line(&event)?)
}

/// Which events are wanted: values of one key are alternatives, keys come together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `(key, value)` of `--filter`.
    pub filters: Vec<(String, String)>,
    /// Not those before; nanoseconds since 1970.
    pub since: i64,
    /// Nor those after.
    pub until: Option<i64>,
}

impl Wanted {
    /// Whether `event` is.
    #[must_use]
    pub fn has(&self, event: &Event) -> bool {
        let fits = |key: &str, value: &str| match key {
            "event" => event.action == value,
            "type" => event.kind == value,
            "container" => {
                event.actor.attributes.get("name").is_some_and(|name| name == value)
                    || (!value.is_empty() && event.id.starts_with(value))
            }
            "image" => event.from == value,
            "label" => has_label(&event.actor.attributes, value),
            _ => true,
        };
        let of_key = |key: &str| {
            let mut values = self.filters.iter().filter(|(known, _)| known == key);
            values.any(|(_, value)| fits(key, value))
        };
        event.time_nano >= self.since
            && self.until.is_none_or(|until| event.time_nano <= until)
            && self.filters.iter().all(|(key, value)| if key == "label" { fits(key, value) } else { of_key(key) })
    }
}

/// `KEY` or `KEY=VALUE`, whose value may have any characters.
#[must_use]
pub fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        None => labels.contains_key(wanted),
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
    }
}

/// Gives every event that is `wanted` to `show`, those that were first, until nobody reads `output` any more, `show` says
/// no, or, with an end in time, there are none left.
pub fn follow(
    paths: &Paths,
    wanted: &Wanted,
    output: BorrowedFd<'_>,
    show: &mut dyn FnMut(&Event) -> bool,
) -> DockerResult<()> {
    create_private(&root(paths))?;
    let mut follower: Follower<Event> = Follower::watch(&root(paths), &log(paths))?;
    loop {
        for event in follower.read()? {
            if wanted.has(&event) && !show(&event) {
                return Ok(());
            }
        }
        if wanted.until.is_some() || follower.wait(output)? == Woken::Unread {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::container::tests::{container, paths};
    use super::*;

    #[test]
    fn what_happened_is_told_to_whom_it_concerns() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let shop = container(&"a".repeat(64), "shop");
        append(&paths, &shop, "create", &[]).unwrap();
        append(&paths, &shop, "start", &[]).unwrap();
        append(&paths, &shop, "die", &[("exitCode", "7".to_owned())]).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let told = |filters: &[&str], since: i64| {
            let filters = filters.iter().map(|text| text.split_once('=').unwrap());
            let wanted = Wanted {
                filters: filters.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
                since,
                until: Some(i64::MAX),
            };
            let mut found = Vec::new();
            let mut show = |event: &Event| {
                found.push(event.action.clone());
                true
            };
            follow(&paths, &wanted, null.as_fd(), &mut show).unwrap();
            found.join(" ")
        };
        for (filters, expected) in [
            (&[][..], "create start die"),
            (&["event=start"], "start"),
            (&["event=start", "event=die"], "start die"),
            (&["type=container", "event=start"], "start"),
            (&["type=image"], ""),
            (&["container=shop"], "create start die"),
            (&["container=aaaa", "event=die"], "die"),
            (&["container=b"], ""),
            (&["label=a"], "create start die"),
            (&["label=a=b=c", "event=start"], "start"),
            (&["label=a=b"], ""),
        ] {
            assert_eq!(told(filters, 0), expected, "{filters:?}");
        }
        assert_eq!(told(&[], i64::MAX), "");
    }
}
