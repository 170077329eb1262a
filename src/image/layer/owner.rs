//! Owners that a file was to have and could not get, because the user namespace has one id only: an extended attribute
//! of the file. Pure.
//!
//! `user.containers.override_stat`, as other rootless tools call it, holds `uid:gid:mode`; the mode in octal is written
//! for them and not read, for the file has its own. Only regular files and directories can have such an attribute.

/// The attribute's name.
pub const OVERRIDE: &str = "user.containers.override_stat";
/// No value of ours is longer, in bytes.
pub const MAX_BYTES: usize = 64;

/// Ids of the box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// Reads the attribute's value.
    #[must_use]
    pub fn parse(untrusted: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(untrusted).ok()?.split(':');
        let mut id = || fields.next()?.parse().ok();
        Some(Self { uid: id()?, gid: id()? })
    }

    /// The attribute's value for a file of these permissions.
    #[must_use]
    pub fn value(self, mode: u32) -> String {
        format!("{}:{}:{:04o}", self.uid, self.gid, mode & 0o7777)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let owner = Owner { uid: 999, gid: 12 };
        assert_eq!(owner.value(0o104_755), "999:12:4755");
        assert!(Owner { uid: u32::MAX, gid: u32::MAX }.value(0o7777).len() <= MAX_BYTES);
        for (text, expected) in [
            ("999:12:4755", Some(owner)),
            ("999:12:0755:file", Some(owner)),
            ("999:12", Some(owner)),
            ("999", None),
            ("", None),
            ("-1:0:0", None),
            ("4294967296:0:0", None),
            ("a:b:c", None),
        ] {
            assert_eq!(Owner::parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Owner::parse(b"\xff:1"), None);
    }
}
