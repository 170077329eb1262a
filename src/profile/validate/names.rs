//! What names of packages, distributions and users may be. Pure.

/// Why `name` cannot be an entry of `packages`.
pub fn package_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.starts_with('-') {
        Some("it would be taken for an option")
    } else if name.ends_with('-') {
        Some("apt would remove it")
    } else if name.contains(char::is_whitespace) {
        Some("it contains a blank: write one package per entry")
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@')
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:~=/@^<>".contains(c))
    {
        Some("letters, digits and `+-._:~=/@^<>` only")
    } else {
        None
    }
}

/// Whether a user can be called so.
#[must_use]
pub fn is_user_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && name.len() <= 32
}

/// Why `distro` is not a distribution and its release.
pub(super) fn distro_fault(distro: &str) -> Option<&'static str> {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match distro.split_once(':') {
        None => Some("the release is missing"),
        Some((name, release)) if word(name) && word(release) => None,
        Some(_) => Some("letters, digits, `-`, `_` and `.` around one `:`"),
    }
}
