//! The rows of `ps`, and which containers are wanted.

use jiff::Timestamp;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::container::{Container, Digits, State, Status};
use super::error::{DockerError, DockerResult};
use super::events::has_label;
use super::images::parts;
use super::inspect::ports_text;
use super::time::{ago, listed};

/// Which containers are wanted: values of one key are alternatives, but labels; keys come together.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    filters: Vec<(String, String)>,
    /// Of the filters by name.
    names: Vec<Regex>,
    /// Those that do not run, too.
    pub all: bool,
}

const KEYS: [&str; 9] = ["label", "id", "name", "status", "ancestor", "exited", "volume", "network", "is-task"];

impl Wanted {
    /// Reads the values of `--filter`.
    pub fn parse(texts: &[String], all: bool) -> DockerResult<Self> {
        let (mut filters, mut names) = (Vec::new(), Vec::new());
        for text in texts {
            let wrong =
                |reason: &str| DockerError::Option { option: format!("--filter {text}"), reason: reason.to_owned() };
            let (key, value) = text.split_once('=').ok_or_else(|| wrong("write KEY=VALUE"))?;
            if !KEYS.contains(&key) {
                return Err(wrong("this is no filter of containers"));
            }
            if key == "name" {
                names.push(name_pattern(value)?);
            }
            filters.push((key.to_owned(), value.to_owned()));
        }
        // Asking for a state is asking for those that do not run.
        let all = all || filters.iter().any(|(key, _)| key == "status" || key == "exited");
        Ok(Self { filters, names, all })
    }

    /// Whether `container` is.
    #[must_use]
    pub fn has(&self, container: &Container, status: Status, state: &State) -> bool {
        let fits = |key: &str, value: &str| match key {
            "label" => has_label(&container.labels, value),
            "id" => container.id.starts_with(value),
            "name" => {
                // As docker keeps it, a name has a stroke in front.
                let whole = format!("/{}", container.name);
                self.names.iter().any(|name| name.is_match(&container.name) || name.is_match(&whole))
            }
            "status" => status.name() == value,
            "exited" => status == Status::Exited && state.exit_code.to_string() == value,
            "ancestor" => {
                let id = value.trim_start_matches("sha256:");
                parts(&container.image) == parts(value)
                    || !id.is_empty() && container.image_id.trim_start_matches("sha256:").starts_with(id)
            }
            "volume" => container.mounts.iter().any(|mount| mount.volume.as_deref() == Some(value)),
            "network" => container.network == value,
            _ => true,
        };
        let any_of = |key: &str| self.filters.iter().any(|(known, value)| known == key && fits(known, value));
        (self.all || status == Status::Running)
            && self.filters.iter().all(|(key, value)| if key == "label" { fits(key, value) } else { any_of(key) })
    }
}

/// What `--filter name=` matches: an expression, anywhere in the name.
pub fn name_pattern(text: &str) -> DockerResult<Regex> {
    Regex::new(text).map_err(|error| DockerError::Option {
        option: format!("--filter name={text}"),
        reason: format!("this is no regular expression: {error}"),
    })
}

/// One row, as `{{json .}}` prints it: every value is text, but that under `Label`, which is for `{{.Label "x"}}`.
#[must_use]
pub fn row(container: &Container, status: Status, state: &State, now: Timestamp, digits: Digits) -> Value {
    let created = ago(now, container.created) + " ago";
    let shown = match status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", ago(now, state.started.unwrap_or(now))),
        Status::Exited => {
            format!("Exited ({}) {} ago", state.exit_code, ago(now, state.finished.or(state.started).unwrap_or(now)))
        }
    };
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| mount.volume.clone().unwrap_or_else(|| mount.source.display().to_string()))
        .collect();
    let command = container.arguments().join(" ");
    let command: String = if digits == Digits::All || command.chars().count() <= 20 {
        command
    } else {
        command.chars().take(19).chain(['…']).collect()
    };
    json!({
        "Command": format!("\"{command}\""),
        "CreatedAt": listed(container.created),
        "ID": container.listed_id(digits),
        "Image": container.image,
        "Label": container.labels,
        "Labels": labels.join(","),
        "LocalVolumes": container.mounts.iter().filter(|mount| mount.volume.is_some()).count().to_string(),
        "Mounts": mounts.join(","),
        "Names": container.name,
        "Networks": container.network,
        "Ports": if status == Status::Running { ports_text(container) } else { String::new() },
        "RunningFor": created,
        "Size": "0B",
        "State": status.name(),
        "Status": shown,
    })
}

#[cfg(test)]
mod tests {
    use super::super::container::tests::container;
    use super::*;

    #[test]
    fn filters_choose() {
        let shop = container(&"ab".repeat(32), "shop");
        let state = State { exit_code: 3, ..State::default() };
        for (filters, all, status, expected) in [
            (&[][..], false, Status::Running, true),
            (&[], false, Status::Exited, false),
            (&[], true, Status::Exited, true),
            (&["label=a=b=c"], false, Status::Running, true),
            (&["label=a"], false, Status::Running, true),
            (&["label=a=b"], false, Status::Running, false),
            (&["label=a", "label=z"], false, Status::Running, false),
            (&["id=abab", "name=sho"], false, Status::Running, true),
            (&["name=^/shop$"], false, Status::Running, true),
            (&["name=x", "name=shop"], false, Status::Running, true),
            (&["name=^shop$"], false, Status::Running, true),
            (&["name=/sh.p"], false, Status::Running, true),
            (&["name=^ho"], false, Status::Running, false),
            (&["name=s.op|other"], false, Status::Running, true),
            (&["status=exited"], false, Status::Exited, true),
            (&["status=running"], true, Status::Exited, false),
            (&["exited=3"], false, Status::Exited, true),
            (&["ancestor=debian:12"], false, Status::Running, true),
            (&["ancestor=sha256:aaaa"], false, Status::Running, true),
            (&["ancestor=debian"], false, Status::Running, false),
            (&["volume=data"], true, Status::Running, false),
        ] {
            let texts: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
            let wanted = Wanted::parse(&texts, all).unwrap();
            assert_eq!(wanted.has(&shop, status, &state), expected, "{filters:?} {all} {status:?}");
        }
        let untagged = Container { image: "deb".to_owned(), ..shop };
        let wanted = Wanted::parse(&["ancestor=deb:latest".to_owned()], false).unwrap();
        assert!(wanted.has(&untagged, Status::Running, &state));
        for bad in ["label", "colour=red", "name=(", "name=*a"] {
            assert!(Wanted::parse(&[bad.to_owned()], false).is_err());
        }
    }

    #[test]
    fn rows_are_text() {
        let shop = container(&"ab".repeat(32), "shop");
        let now = Timestamp::from_second(1_700_000_060).unwrap();
        let state = State { started: Some(shop.created), ..State::default() };
        let short = row(&shop, Status::Running, &state, now, Digits::First);
        for (key, expected) in [
            ("ID", "abababababab"),
            ("Names", "shop"),
            ("Image", "debian:12"),
            ("Labels", "a=b=c"),
            ("Status", "Up 60 seconds"),
            ("State", "running"),
            ("CreatedAt", "2023-11-14 22:13:20 +0000 UTC"),
            ("Networks", "bridge"),
            ("Ports", ""),
        ] {
            assert_eq!(short[key], expected, "{key}");
        }
        assert_eq!(row(&shop, Status::Created, &state, now, Digits::All)["ID"], "ab".repeat(32));
    }
}
