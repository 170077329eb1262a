//! `/etc/hostname` and `/etc/hosts`.

use super::Generated;

/// The longest host name that the kernel and the name system both take, in bytes.
const NAME_MAX: usize = 63;

/// A box's name as a host name: lower-case letters, digits and inner hyphens, at most 63 bytes, never empty.
#[must_use]
pub fn host_name(box_name: &str) -> String {
    let mut name: String = box_name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    name.truncate(NAME_MAX);
    let name = name.trim_matches('-');
    if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("box{name}")
    } else {
        name.to_owned()
    }
}

/// `/etc/hostname`; `name` comes from [`host_name`].
#[must_use]
pub fn hostname_file(name: &str) -> Generated {
    Generated::file("/etc/hostname", format!("{name}\n"))
}

/// `/etc/hosts`. On the host's network the host's own entries hold in the box too: `host_file` is its file.
#[must_use]
pub fn hosts_file(name: &str, host_file: Option<&str>) -> Generated {
    let mut text = match host_file {
        Some(text) => text.to_owned(),
        None => "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\n\
                 ff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // As Debian does, so that the loopback address itself stays `localhost`.
    text.push_str("127.0.1.1\t");
    text.push_str(name);
    text.push('\n');
    Generated::file("/etc/hosts", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(300);
        let table = [
            ("shop", "shop"),
            ("My Shop!", "my-shop"),
            ("../../etc", "etc"),
            ("a\n127.0.0.1 evil", "a-127-0-0-1-evil"),
            ("über", "ber"),
            ("", "box"),
            ("42", "box42"),
            ("---", "box"),
            (&long, &long[..63]),
        ];
        for (name, expected) in table {
            assert_eq!(host_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn hosts() {
        let own = String::from_utf8(hosts_file("shop", None).content).unwrap();
        assert!(own.starts_with("127.0.0.1\tlocalhost\n") && own.ends_with("\n127.0.1.1\tshop\n"));
        let host = hosts_file("shop", Some("192.0.2.1 nas")).content;
        assert_eq!(host, b"192.0.2.1 nas\n127.0.1.1\tshop\n");
    }
}
