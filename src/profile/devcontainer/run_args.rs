//! `runArgs`: options of `docker run`, as far as they mean something here. Pure.

use crate::profile::schema::At;

/// One option, with its value where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its long name, without the dashes.
    pub name: String,
    /// Its value; of a switch nothing.
    pub value: Option<At<String>>,
    /// Where it stands.
    pub place: At<String>,
}

/// Options that mean something here or are known not to, and whether they take a value. Others are taken by their
/// spelling.
const KNOWN: [(&str, char, bool); 52] = [
    ("add-host", ' ', true),
    ("annotation", ' ', true),
    ("attach", 'a', true),
    ("blkio-weight", ' ', true),
    ("cap-add", ' ', true),
    ("cap-drop", ' ', true),
    ("cgroup-parent", ' ', true),
    ("cgroupns", ' ', true),
    ("cpu-shares", 'c', true),
    ("cpus", ' ', true),
    ("cpuset-cpus", ' ', true),
    ("detach", 'd', false),
    ("device", ' ', true),
    ("device-cgroup-rule", ' ', true),
    ("dns", ' ', true),
    ("dns-search", ' ', true),
    ("entrypoint", ' ', true),
    ("env", 'e', true),
    ("env-file", ' ', true),
    ("expose", ' ', true),
    ("gpus", ' ', true),
    ("group-add", ' ', true),
    ("hostname", 'h', true),
    ("init", ' ', false),
    ("interactive", 'i', false),
    ("ipc", ' ', true),
    ("label", 'l', true),
    ("log-driver", ' ', true),
    ("log-opt", ' ', true),
    ("mac-address", ' ', true),
    ("memory", 'm', true),
    ("memory-swap", ' ', true),
    ("mount", ' ', true),
    ("name", ' ', true),
    ("network", ' ', true),
    ("net", ' ', true),
    ("pid", ' ', true),
    ("pids-limit", ' ', true),
    ("platform", ' ', true),
    ("privileged", ' ', false),
    ("publish", 'p', true),
    ("read-only", ' ', false),
    ("restart", ' ', true),
    ("rm", ' ', false),
    ("security-opt", ' ', true),
    ("shm-size", ' ', true),
    ("sysctl", ' ', true),
    ("tmpfs", ' ', true),
    ("tty", 't', false),
    ("ulimit", ' ', true),
    ("user", 'u', true),
    ("volume", 'v', true),
];

/// Splits the list into options. What is no option comes as one with the empty name.
#[must_use]
pub fn split(words: Vec<At<String>>) -> Vec<Argument> {
    let mut found = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let (name, inline, takes_value) = parts(&word.value);
        let value = match inline {
            Some(value) => Some(At { value, span: word.span.clone() }),
            None if takes_value => words.next(),
            // Of an unknown option the next word is its value unless it is an option itself.
            None if !name.is_empty() && !is_known(&name) => words.next_if(|next| !next.value.starts_with('-')),
            None => None,
        };
        found.push(Argument { name, value, place: word });
    }
    found
}

fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|(known, ..)| *known == name)
}

/// The long name, the value in the same word, and whether one is to follow.
fn parts(word: &str) -> (String, Option<String>, bool) {
    if let Some(long) = word.strip_prefix("--") {
        let (name, inline) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
        let takes = KNOWN.iter().any(|(known, _, takes)| known == &name && *takes);
        return (name.to_owned(), inline, takes);
    }
    let mut letters = word.chars();
    if letters.next() == Some('-')
        && let Some(letter) = letters.next()
    {
        let rest = letters.as_str();
        let inline = Some(rest.strip_prefix('=').unwrap_or(rest).to_owned()).filter(|rest| !rest.is_empty());
        return match KNOWN.iter().find(|(_, short, _)| *short == letter) {
            Some((name, _, true)) => ((*name).to_owned(), inline, true),
            Some((name, _, false)) => ((*name).to_owned(), None, false),
            None => (format!("-{letter}"), inline, false),
        };
    }
    (String::new(), Some(word.to_owned()), false)
}

/// `4g` as docker has it, in the units of a profile.
#[must_use]
pub fn size(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    let number = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    match &upper[number.len()..] {
        "" => format!("{number}B"),
        // Docker's `kb` are 1024 bytes.
        unit => format!(
            "{number}{}",
            unit.strip_suffix("IB").or(unit.strip_suffix('B').filter(|u| !u.is_empty())).unwrap_or(unit)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::amount::parse_size;

    #[test]
    fn options_are_split_as_docker_splits_them() {
        for (words, expected) in [
            (&[][..], ""),
            (&["--cap-add=SYS_PTRACE", "--init"], "cap-add=SYS_PTRACE init"),
            (&["--cap-add", "SYS_PTRACE", "-e", "A=b c", "-eX=1"], "cap-add=SYS_PTRACE env=A=b c env=X=1"),
            (&["-v", "/a:/b:ro", "-it", "--rm"], "volume=/a:/b:ro interactive rm"),
            (&["--no-such", "value", "--other", "--init"], "no-such=value other init"),
            (&["--memory"], "memory"),
            (&["stray", "-"], "=stray =-"),
            (&["--env="], "env="),
        ] {
            let words = words.iter().map(|word| At { value: (*word).to_owned(), span: 0..0 }).collect();
            let found: Vec<String> = split(words)
                .into_iter()
                .map(|one| one.value.map_or(one.name.clone(), |value| format!("{}={}", one.name, value.value)))
                .collect();
            assert_eq!(found.join(" "), expected);
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in
            [("64b", 64), ("100", 100), ("2k", 2048), ("1.5g", 3 << 29), ("8gb", 8 << 30), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse_size(&size(text)), Some(bytes), "{text}");
        }
        assert_eq!(parse_size(&size("lots")), None);
    }
}
