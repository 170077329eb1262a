//! What a terminal is told around a session: that a box is in it, and which.
//!
//! Three forms of the same, for terminals that know one of them; all others ignore them: OSC 777 (toolbox, Ptyxis, Konsole), OSC 666 (VTE 0.78) and
//! OSC 3008 (UAPI.15, systemd).

use std::io::Write;

/// Where the machine and its boot have their numbers.
const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NEW_ID: &str = "/proc/sys/kernel/random/uuid";

/// Says when the session is over.
#[derive(Debug)]
pub struct Announcement {
    end: String,
}

/// What is said.
#[derive(Debug)]
struct Facts<'a> {
    /// A new number of this session.
    id: &'a str,
    /// Plain letters, as all that follow: they were sanitised.
    name: &'a str,
    user: &'a str,
    target_user: &'a str,
    host: &'a str,
    machine_id: &'a str,
    boot_id: &'a str,
    pid: u32,
    uid: u32,
}

impl Announcement {
    /// Tells the terminal that the box `name`, which holds letters, digits, `_`, `.` and `-`, begins.
    #[must_use]
    pub fn begin(name: &str, user: &str, target_user: &str) -> Self {
        let line = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().replace('-', "")
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let facts = Facts {
            id: &line(NEW_ID),
            name,
            user,
            target_user,
            host: &host,
            machine_id: &line(MACHINE_ID),
            boot_id: &line(BOOT_ID),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
        };
        say(&begin(&facts));
        Self { end: end(&facts) }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        say(&self.end);
    }
}

/// A terminal that is gone needs not be told.
fn say(text: &str) {
    let mut output = std::io::stdout();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).ok();
}

fn begin(facts: &Facts<'_>) -> String {
    let Facts { id, name, uid, pid, .. } = facts;
    let fields = [
        ("user", facts.user),
        ("hostname", facts.host),
        ("machineid", facts.machine_id),
        ("bootid", facts.boot_id),
        ("targetuser", facts.target_user),
    ];
    let known = fields.iter().filter(|(_, value)| !value.is_empty());
    let known: String = known.map(|(key, value)| format!(";{key}={}", escape(value))).collect();
    format!(
        "\x1b]777;container;push;{name};devbox;{uid}\x1b\\\
         \x1b]666;vte.container.name={name};vte.container.runtime=devbox;vte.container.uid={uid}\x1b\\\
         \x1b]3008;start={id};type=container;container={name};pid={pid};comm=devbox{known}\x1b\\"
    )
}

fn end(facts: &Facts<'_>) -> String {
    let Facts { id, uid, .. } = facts;
    format!("\x1b]3008;end={id}\x1b\\\x1b]666;vte.container.\x1b\\\x1b]777;container;pop;;;{uid}\x1b\\")
}

/// As UAPI.15 wants it. Nothing that could end the sequence is left.
fn escape(value: &str) -> String {
    let plain = value.chars().filter(|c| !c.is_control()).take(64);
    plain.collect::<String>().replace('\\', "\\x5c").replace(';', "\\x3b")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told() {
        let facts = Facts {
            id: "0a",
            name: "shop",
            user: "a;\x1bb\\",
            target_user: "root",
            host: "here",
            machine_id: "",
            boot_id: "1f",
            pid: 7,
            uid: 1000,
        };
        let expected = "\x1b]777;container;push;shop;devbox;1000\x1b\\\
            \x1b]666;vte.container.name=shop;vte.container.runtime=devbox;vte.container.uid=1000\x1b\\\
            \x1b]3008;start=0a;type=container;container=shop;pid=7;comm=devbox;user=a\\x3bb\\x5c;hostname=here;bootid=1f;\
            targetuser=root\x1b\\";
        assert_eq!(begin(&facts), expected);
        assert_eq!(
            end(&facts),
            "\x1b]3008;end=0a\x1b\\\x1b]666;vte.container.\x1b\\\x1b]777;container;pop;;;1000\x1b\\"
        );
    }
}
