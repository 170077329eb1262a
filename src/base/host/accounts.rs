//! Files of `/etc` that are made for the box, because the host's are private. Pure.

/// `/etc/shadow` for the users of `passwd`: every password locked, nothing of the host's.
#[must_use]
pub fn shadow(passwd: &str) -> String {
    names(passwd).map(|name| format!("{name}:*:19000:0:99999:7:::\n")).collect()
}

/// `/etc/gshadow` for the groups of `group`.
#[must_use]
pub fn gshadow(group: &str) -> String {
    group
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| is_name(name))?;
            Some(format!("{name}:*::{}\n", fields.nth(2).unwrap_or_default()))
        })
        .collect()
}

/// `/etc/sudoers` where the host has one: root of the box may become anybody, and the groups that are for it.
pub const SUDOERS: &str = "Defaults env_reset\n\
    Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
    root ALL=(ALL:ALL) ALL\n\
    %sudo ALL=(ALL:ALL) ALL\n\
    %wheel ALL=(ALL:ALL) ALL\n\
    @includedir /etc/sudoers.d\n";

fn names(passwd: &str) -> impl Iterator<Item = &str> {
    passwd.lines().filter_map(|line| line.split(':').next()).filter(|name| is_name(name))
}

/// NIS compatibility lines (`+@group`) and comments are no users.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['+', '-', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_locked() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n+@nis\n\nann:$6$abc:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(shadow(passwd), "root:*:19000:0:99999:7:::\nann:*:19000:0:99999:7:::\n");
        assert_eq!(gshadow("root:x:0:\nsudo:x:27:ann,bob\n"), "root:*::\nsudo:*::ann,bob\n");
    }
}
