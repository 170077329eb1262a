//! Whiteouts: how the OCI layer format and overlayfs say that something of a lower layer is gone. Pure.

/// Whether names of the OCI layer format mean something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// They are names like any other: a root file system.
    #[default]
    Literal,
    /// They become overlayfs' whiteouts: a layer of an image.
    Convert,
}

/// The extended attribute of a directory that hides what lower layers have there. In the `user.` name space because
/// layers are mounted with `userxattr`.
pub(super) const OPAQUE: &str = "user.overlay.opaque";

/// What the last component of a name in a layer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// An ordinary name.
    Plain,
    /// The object is gone.
    Gone(&'a [u8]),
    /// The directory hides lower ones.
    Opaque,
    /// Bookkeeping of a file system that nobody uses any more (aufs).
    Ignored,
    /// `.wh.` with nothing that could be gone.
    Invalid,
}

/// Reads a whole path as it stands below the root.
pub(super) fn parse(path: &[u8]) -> Meaning<'_> {
    let mut components = path.split(|byte| *byte == b'/').rev();
    let last = components.next().unwrap_or_default();
    for directory in components {
        if directory.starts_with(b".wh..wh.") {
            return Meaning::Ignored;
        }
        if directory.starts_with(b".wh.") {
            return Meaning::Invalid;
        }
    }
    match last.strip_prefix(b".wh.") {
        None => Meaning::Plain,
        Some(b".wh..opq") => Meaning::Opaque,
        Some(b"" | b"." | b"..") => Meaning::Invalid,
        Some(name) if name.starts_with(b".wh.") => Meaning::Ignored,
        Some(name) => Meaning::Gone(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean() {
        for (path, meaning) in [
            ("etc/passwd", Meaning::Plain),
            ("etc/.wh", Meaning::Plain),
            ("etc/x.wh.y", Meaning::Plain),
            ("etc/.wh.passwd", Meaning::Gone(b"passwd")),
            (".wh.passwd", Meaning::Gone(b"passwd")),
            ("etc/.wh..wh..opq", Meaning::Opaque),
            ("etc/.wh..wh.plnk", Meaning::Ignored),
            (".wh..wh.plnk/12.34", Meaning::Ignored),
            (".wh.etc/passwd", Meaning::Invalid),
            ("etc/.wh.", Meaning::Invalid),
            ("etc/.wh..", Meaning::Invalid),
            ("etc/.wh...", Meaning::Invalid),
            ("etc/.wh....", Meaning::Gone(b"...")),
        ] {
            assert_eq!(parse(path.as_bytes()), meaning, "{path}");
        }
    }
}
