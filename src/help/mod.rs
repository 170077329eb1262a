//! Pages about topics: the files of `docs/`, for `devbox help TOPIC` and for `man`.
//!
//! What a page says is written once, in Markdown, and read in a repository, in a terminal and as a manual page. The pages
//! are compiled in. They use a part of Markdown that a test holds them to: headings, paragraphs, lists of one level, code, and
//! tables, which become lists of terms, since a terminal is too narrow for them.

pub mod page;
pub mod roff;
pub mod terminal;

use page::Page;

/// Something that a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// What is typed.
    pub name: &'static str,
    /// The manual page, and its section.
    pub manual: (&'static str, u8),
    /// A line for lists, as commands have.
    pub summary: &'static str,
    /// The file below `docs/`.
    file: &'static str,
    text: &'static str,
}

macro_rules! topic {
    ($name:literal, $manual:literal, $section:literal, $file:literal, $summary:literal) => {
        Topic {
            name: $name,
            manual: ($manual, $section),
            summary: $summary,
            file: $file,
            text: include_str!(concat!("../../docs/", $file)),
        }
    };
}

/// All topics, in the order in which somebody new would read.
pub const TOPICS: &[Topic] = &[
    topic!("profiles", "devbox.toml", 5, "profile.md", "What devbox.toml may say: every key"),
    topic!("images", "devbox-images", 7, "images.md", "Bases, images and registries"),
    topic!("builds", "devbox-builds", 7, "build.md", "Images from Containerfiles"),
    topic!("locks", "devbox.lock.toml", 5, "lock.md", "What devbox.lock.toml pins"),
    topic!("networks", "devbox-networks", 7, "network.md", "Names, ports, and what a box may reach"),
    topic!("limits", "devbox-limits", 7, "limits.md", "Processors, memory, processes and disks of a box"),
    topic!("security", "devbox-security", 7, "security.md", "What holds a box, and how to make that more or less"),
    topic!("editors", "devbox-editors", 7, "editors.md", "Terminals, editors, language servers and ssh"),
    topic!("devcontainers", "devbox-devcontainers", 7, "devcontainer.md", "Projects with a devcontainer.json"),
    topic!("containers", "devbox-containers", 7, "docker.md", "Programs that want a docker command"),
];

impl Topic {
    /// The topic of this name; one may leave its last `s` out.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TOPICS.iter().find(|topic| topic.name == name || topic.name.strip_suffix('s') == Some(name))
    }

    /// Its page.
    #[must_use]
    pub fn page(&self) -> Page {
        Page::parse(self.text)
    }

    /// The topic that a link of a page leads to: `network.md`, `profile.md#trust`.
    fn linked(target: &str) -> Option<&'static Self> {
        let file = target.split('#').next().unwrap_or_default();
        TOPICS.iter().find(|topic| topic.file == file)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn topics_are_found_by_name() {
        for (name, file) in [
            ("profiles", Some("profile.md")),
            ("profile", Some("profile.md")),
            ("security", Some("security.md")),
            ("securit", None),
            ("", None),
        ] {
            assert_eq!(Topic::find(name).map(|topic| topic.file), file, "{name}");
        }
        let names: BTreeSet<_> = TOPICS.iter().map(|topic| topic.name).collect();
        assert_eq!(names.len(), TOPICS.len());
    }

    #[test]
    fn pages_are_written_so_that_nothing_is_left_of_their_markup() {
        for topic in TOPICS {
            let page = topic.page();
            let plain = anstream::adapter::strip_str(&terminal::render(&page, 80)).to_string();
            // A line of code may have anything.
            for line in plain.lines().filter(|line| !line.starts_with("        ")) {
                let bare: String = line.split('`').step_by(2).collect();
                for mark in ["**", "](", "| ", "<!--", "```"] {
                    assert!(!bare.contains(mark), "{}: `{mark}` in {line}", topic.file);
                }
                assert!(line.chars().count() <= 80 || line.split_whitespace().count() < 3, "{}: {line}", topic.file);
            }
        }
    }
}
