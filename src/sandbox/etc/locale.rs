//! The host's time zone and locale in the box.

use std::path::Path;

use super::{Base, Generated, resolve};

/// The name of a time zone from where the host's `/etc/localtime` points: `/usr/share/zoneinfo/Europe/Berlin`.
#[must_use]
pub fn zone_name(localtime_target: &str) -> Option<&str> {
    let (_, name) = localtime_target.split_once("zoneinfo/")?;
    let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
    let valid = !name.is_empty()
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    valid.then_some(name)
}

/// `/etc/localtime` and `/etc/timezone`. `target` is where the host's `/etc/localtime` points (none if it is a file),
/// `content` what it holds.
#[must_use]
pub fn time_zone(target: Option<&str>, content: Option<&[u8]>, base: &dyn Base) -> Vec<Generated> {
    let name = target.and_then(zone_name);
    let mut files = Vec::new();
    let known = name.filter(|name| {
        let path = Path::new("/usr/share/zoneinfo").join(name);
        resolve(base, &path).is_some_and(|path| base.exists(&path))
    });
    match (known, content) {
        (Some(name), _) => files.push(Generated::symlink("/etc/localtime", &format!("/usr/share/zoneinfo/{name}"))),
        // The base has no time zones: bring this one along.
        (None, Some(content)) => files.push(Generated::file("/etc/localtime", content)),
        (None, None) => return files,
    }
    if let Some(name) = name {
        files.push(Generated::file("/etc/timezone", format!("{name}\n")));
    }
    files
}

/// The locale to use in a base for `wanted` (of the host's `LANG`, for example `de_DE.UTF-8`): `wanted` if the base has
/// it, else `C.UTF-8`. `exists` answers for absolute paths in the base.
///
/// A locale of glibc is a directory named after its normalised form (`de_DE.utf8`). Locales packed into `locale-archive`
/// cannot be told from outside without parsing it, and musl has none; a missing one makes every Perl program complain,
/// so anything unsure becomes `C.UTF-8`.
pub fn choose_locale(wanted: &str, exists: impl Fn(&Path) -> bool) -> String {
    const FALLBACK: &str = "C.UTF-8";
    let valid =
        !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte));
    if !valid || wanted.starts_with('.') {
        return FALLBACK.to_owned();
    }
    if matches!(wanted, "C" | "POSIX" | FALLBACK | "C.utf8") {
        return wanted.to_owned();
    }
    let (rest, modifier) = wanted.split_once('@').map_or((wanted, String::new()), |(a, b)| (a, format!("@{b}")));
    let (language, codeset) = rest.split_once('.').unwrap_or((rest, ""));
    let codeset: String = codeset.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let dot = if codeset.is_empty() { "" } else { "." };
    let directory = Path::new("/usr/lib/locale").join(format!("{language}{dot}{codeset}{modifier}"));
    if exists(&directory) { wanted.to_owned() } else { FALLBACK.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn zones() {
        let table = [
            ("/usr/share/zoneinfo/Europe/Berlin", Some("Europe/Berlin")),
            ("../usr/share/zoneinfo/Etc/GMT+5", Some("Etc/GMT+5")),
            ("/usr/share/zoneinfo/posix/UTC", Some("UTC")),
            ("/usr/share/zoneinfo/../../../etc/shadow", None),
            ("/etc/elsewhere", None),
            ("/usr/share/zoneinfo/", None),
        ];
        for (target, expected) in table {
            assert_eq!(zone_name(target), expected, "{target}");
        }
    }

    #[test]
    fn time_zone_by_base() {
        let berlin = Some("/usr/share/zoneinfo/Europe/Berlin");
        let base = Fake::new(&[("/usr/share/zoneinfo/Europe/Berlin", "TZif")]);
        let files = time_zone(berlin, Some(b"TZif"), &base);
        assert!(files[0].is_symlink());
        assert_eq!(files[1], Generated::file("/etc/timezone", "Europe/Berlin\n"));
        let files = time_zone(berlin, Some(b"TZif"), &Fake::default());
        assert_eq!(files[0], Generated::file("/etc/localtime", "TZif"));
        assert_eq!(time_zone(None, Some(b"TZif"), &base), [Generated::file("/etc/localtime", "TZif")]);
        assert_eq!(time_zone(None, None, &base), []);
    }

    #[test]
    fn locales() {
        let table = [
            ("de_DE.UTF-8", "de_DE.UTF-8"),
            ("de_DE@euro", "C.UTF-8"),
            ("fr_FR.UTF-8", "C.UTF-8"),
            ("C", "C"),
            ("", "C.UTF-8"),
            ("../../x", "C.UTF-8"),
        ];
        for (wanted, expected) in table {
            let got = choose_locale(wanted, |path| path == Path::new("/usr/lib/locale/de_DE.utf8"));
            assert_eq!(got, expected, "{wanted}");
        }
    }
}
