//! The host's package sources, as far as a distribution can be made from them. Pure.

/// One entry of the host's apt configuration, in either of its two formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub enabled: bool,
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Other fields, by their deb822 names.
    pub options: Vec<(String, String)>,
}

/// What is known of the host itself: `ID` of os-release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostId(pub String);

/// `debian:bookworm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    pub name: String,
    pub release: String,
}

impl Release {
    /// Parses `name:release`; both are letters, digits, `.` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, release) = text.split_once(':')?;
        let good = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
                && part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.len() <= 40
        };
        (good(name) && good(release)).then(|| Self { name: name.to_owned(), release: release.to_owned() })
    }

    /// Unstable releases have no updates beside them.
    fn has_updates(&self) -> bool {
        !matches!(self.release.as_str(), "sid" | "unstable" | "experimental" | "devel")
    }
}

/// Entries of a `.list` file. What cannot be understood is left out: apt itself complains about it.
pub(super) fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '[']))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    let options = options.split_whitespace().filter_map(|option| option.split_once('=')).map(|(key, value)| {
        let name = match key {
            "signed-by" => "Signed-By".to_owned(),
            "arch" => "Architectures".to_owned(),
            "lang" => "Languages".to_owned(),
            "target" => "Targets".to_owned(),
            other => other.to_owned(),
        };
        (name, value.replace(',', " "))
    });
    Some(Source {
        enabled: true,
        uris: vec![uri],
        suites: vec![suite],
        components: words.collect(),
        options: options.collect(),
    })
}

/// Entries of a `.sources` file (deb822).
pub(super) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(from_fields(std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sources
}

fn from_fields(mut fields: Vec<(String, String)>) -> Option<Source> {
    let mut take = |name: &str| {
        let at = fields.iter().position(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(fields.remove(at).1)
    };
    let words = |value: Option<String>| -> Vec<String> {
        value.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    if !words(take("Types")).iter().any(|kind| kind == "deb") {
        return None;
    }
    let enabled =
        take("Enabled").is_none_or(|value| !matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0"));
    let (uris, suites, components) = (words(take("URIs")), words(take("Suites")), words(take("Components")));
    Some(Source { enabled, uris, suites, components, options: fields })
}

/// The suites that a release is made of.
const SUFFIXES: [&str; 4] = ["", "-updates", "-security", "/updates"];

/// The sources from which `wanted` can be made, as deb822 text, or `None` when the host has none.
///
/// Sources of exactly this release go first, then those of another release of the same distribution: they name a
/// mirror, and keyrings of a distribution usually hold the keys of several releases. Sources with `Enabled: no` are
/// used when there are no others, so that a machine can know of a distribution without using it.
pub(super) fn select(sources: &[Source], wanted: &Release, host: &HostId) -> Option<String> {
    for exact in [true, false] {
        for enabled in [true, false] {
            let mut text = String::new();
            let mut has_release = false;
            for source in sources.iter().filter(|source| source.enabled == enabled && is_of(source, wanted, host)) {
                for suite in &source.suites {
                    let Some(suffix) = suffix(suite, wanted, exact) else { continue };
                    if !suffix.is_empty() && !wanted.has_updates() {
                        continue;
                    }
                    has_release |= suffix.is_empty();
                    let stanza = render(source, &format!("{}{suffix}", wanted.release));
                    if !text.contains(&stanza) {
                        text.push_str(&stanza);
                    }
                }
            }
            if has_release {
                return Some(text);
            }
        }
    }
    None
}

/// The part of `suite` behind the name of the release, if that is the release wanted or may stand for it.
fn suffix(suite: &str, wanted: &Release, exact: bool) -> Option<&'static str> {
    let split = |suffix: &&str| suite.strip_suffix(*suffix).is_some_and(|base| !base.contains(['-', '/']));
    let suffix = SUFFIXES.into_iter().rev().find(split)?;
    let base = suite.strip_suffix(suffix)?;
    ((base == wanted.release) == exact).then_some(suffix)
}

/// Whether a source is the distribution's own: by the directory on the mirror, by its keyring, or because the host is
/// of that distribution and the source is signed by a key that the host trusts for everything.
fn is_of(source: &Source, wanted: &Release, host: &HostId) -> bool {
    let keyring = option(source, "Signed-By");
    let reachable = |uri: &String| !["cdrom:", "file:", "copy:"].iter().any(|scheme| uri.starts_with(scheme));
    let directory = |uri: &String| {
        let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        last == wanted.name || last.strip_prefix(&wanted.name).is_some_and(|rest| rest.starts_with('-'))
    };
    source.components.iter().any(|component| component == "main")
        && !source.uris.is_empty()
        && source.uris.iter().all(reachable)
        && (source.uris.iter().all(directory)
            || keyring.is_some_and(|keyring| keyring.contains(&format!("{}-archive", wanted.name)))
            || (keyring.is_none() && host.0 == wanted.name))
}

fn option<'a>(source: &'a Source, name: &str) -> Option<&'a str> {
    source.options.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// One suite of a source. Architectures and languages are the host's wishes, not the box's.
fn render(source: &Source, suite: &str) -> String {
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: {}\n",
        source.uris.join(" "),
        source.components.join(" ")
    );
    for (name, value) in &source.options {
        if ["Signed-By", "Trusted", "Check-Valid-Until"].iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    text.push('\n');
    text
}

/// Files named by `Signed-By` below `/etc`, which no package puts into the box.
pub(super) fn keyring_files(selected: &str) -> Vec<String> {
    let mut files: Vec<String> = selected
        .lines()
        .filter_map(|line| line.strip_prefix("Signed-By:"))
        .flat_map(str::split_whitespace)
        .filter(|path| path.starts_with("/etc/"))
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# a comment
Types: deb deb-src
# another
URIs: http://mirror.test/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Architectures: amd64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz

Types: deb
URIs: https://vendor.test/linux/debian
Suites: bookworm
Components: stable

Types: deb-src
URIs: http://mirror.test/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.test/ubuntu
Suites: noble noble-updates
Components: main universe
Signed-By: /etc/apt/keyrings/ubuntu.gpg
";

    fn release(text: &str) -> Release {
        Release::parse(text).unwrap()
    }

    fn suites(selected: &str) -> Vec<&str> {
        selected.lines().filter_map(|line| line.strip_prefix("Suites: ")).collect()
    }

    #[test]
    fn names() {
        assert_eq!(release("debian:bookworm"), Release { name: "debian".into(), release: "bookworm".into() });
        for bad in ["", "debian", "debian:", ":x", "a/b:c", "Debian:x", "debian:../x", "debian:a b", "-x:y"] {
            assert_eq!(Release::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn deb822_is_read_and_selected() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 4);
        let host = HostId("debian".into());
        let text = select(&sources, &release("debian:bookworm"), &host).unwrap();
        assert_eq!(suites(&text), ["bookworm", "bookworm-updates", "bookworm-security"]);
        assert!(!text.contains("vendor") && !text.contains("amd64") && !text.contains("backports"));
        assert!(text.contains("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz\n"), "{text}");
        assert_eq!(keyring_files(&text), [""; 0]);
        // Another release of the same distribution comes from the same mirror.
        let text = select(&sources, &release("debian:trixie"), &host).unwrap();
        assert_eq!(suites(&text), ["trixie", "trixie-updates", "trixie-security"]);
        let text = select(&sources, &release("debian:sid"), &host).unwrap();
        assert_eq!(suites(&text), ["sid"]);
        // Disabled here, but known.
        let text = select(&sources, &release("ubuntu:noble"), &host).unwrap();
        assert_eq!(suites(&text), ["noble", "noble-updates"]);
        assert_eq!(keyring_files(&text), ["/etc/apt/keyrings/ubuntu.gpg"]);
        assert_eq!(select(&sources, &release("kali:rolling"), &host), None);
        // What was written can be read.
        assert_eq!(suites(&select(&parse_deb822(&text), &release("ubuntu:noble"), &host).unwrap()).len(), 2);
    }

    #[test]
    fn lists_are_read_and_selected() {
        let text = "\
deb http://proxy.test/remote bookworm main non-free-firmware # ours
deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/debian-archive.gpg] http://proxy.test/sec bookworm-security main
deb-src http://mirror.test/debian bookworm main
#deb http://old.test/debian bookworm main
deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.test/apt bookworm main
deb cdrom:[Debian]/ bookworm main
debug
deb [ http://broken.test
";
        let sources = parse_list(text);
        assert_eq!(sources.len(), 4);
        let selected = select(&sources, &release("debian:bookworm"), &HostId("debian".into())).unwrap();
        assert_eq!(
            selected,
            "Types: deb\nURIs: http://proxy.test/remote\nSuites: bookworm\nComponents: main non-free-firmware\n\n\
             Types: deb\nURIs: http://proxy.test/sec\nSuites: bookworm-security\nComponents: main\n\
             Signed-By: /etc/apt/keyrings/debian-archive.gpg\n\n"
        );
        // On a host of another distribution nothing says that the first one is Debian's.
        assert_eq!(select(&sources, &release("debian:bookworm"), &HostId("ubuntu".into())), None);
    }
}
