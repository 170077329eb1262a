//! Mount points below a tree, and the data-only roots that follow from them. Pure.
//!
//! Overlayfs clones the mount of a data-only root without what is mounted below it, and in a user namespace the kernel
//! refuses that (`EINVAL`): it would show what the mount covers. A tree with mount points inside is therefore taken
//! apart: each mount point is a root of its own, and so is each sibling of the directories that lead to one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// File systems whose content is the kernel's, or appears only when it is asked for.
const WITHOUT_FILES: &[&str] =
    &["autofs", "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "bpf", "tracefs"];

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Whether it has ordinary files.
    pub has_files: bool,
}

/// Reads the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), keeping what lies at or below `trees`.
#[must_use]
pub fn parse(mountinfo: &[u8], trees: &[PathBuf]) -> Vec<MountPoint> {
    let mut points: Vec<MountPoint> = mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let path = PathBuf::from(OsStr::from_bytes(&unescape(fields.nth(4)?)));
            if !trees.iter().any(|tree| path.starts_with(tree)) {
                return None;
            }
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            Some(MountPoint { path, has_files: !WITHOUT_FILES.iter().any(|name| name.as_bytes() == kind) })
        })
        .collect();
    points.sort_by(|a, b| a.path.cmp(&b.path));
    // The last mount on a place is the one that is seen; for our purpose any without files hides the place.
    points.dedup_by(|later, kept| {
        let same = later.path == kept.path;
        if same {
            kept.has_files &= later.has_files;
        }
        same
    });
    points
}

/// `\040` for a space, `\011`, `\012`, `\134`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if *first == b'\\'
            && let Some(digits) = tail.get(..3)
            && let Some(code) = std::str::from_utf8(digits).ok().and_then(|text| u8::from_str_radix(text, 8).ok())
        {
            out.push(code);
            rest = &tail[3..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// The data-only roots of `tree`: itself, or what is left of it when `points` lie inside. `children` lists the
/// sub-directories of a directory. Files directly in a directory that is taken apart have no root.
pub fn data_roots(tree: &Path, points: &[MountPoint], children: &dyn Fn(&Path) -> Vec<PathBuf>) -> Vec<PathBuf> {
    if points.iter().any(|point| point.path == tree && !point.has_files) {
        return Vec::new();
    }
    if !points.iter().any(|point| point.path != tree && point.path.starts_with(tree)) {
        return vec![tree.to_owned()];
    }
    children(tree).iter().flat_map(|child| data_roots(child, points, children)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n\
        28 27 0:25 / /usr/share/a\\040b ro - tmpfs none ro\n\
        29 27 0:25 / /usr/auto rw,relatime shared:1 - autofs none rw\n\
        30 27 0:25 / /usr rw - ext4 /dev/vdb rw\nbroken\n";

    #[test]
    fn mount_points_are_read() {
        let points = parse(INFO, &["/usr".into(), "/opt".into()]);
        let read: Vec<_> = points.iter().map(|point| (point.path.to_str().unwrap(), point.has_files)).collect();
        assert_eq!(read, [("/usr", true), ("/usr/auto", false), ("/usr/share/a b", true)]);
    }

    #[test]
    fn a_tree_with_mounts_is_taken_apart() {
        let children = |path: &Path| -> Vec<PathBuf> {
            match path.to_str().unwrap() {
                "/usr" => vec!["/usr/auto".into(), "/usr/bin".into(), "/usr/share".into()],
                "/usr/share" => vec!["/usr/share/a b".into(), "/usr/share/doc".into()],
                _ => vec![],
            }
        };
        let points = parse(INFO, &["/usr".into(), "/opt".into()]);
        assert_eq!(data_roots(Path::new("/opt"), &points, &children), [PathBuf::from("/opt")]);
        let roots = data_roots(Path::new("/usr"), &points, &children);
        let roots: Vec<_> = roots.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(roots, ["/usr/bin", "/usr/share/a b", "/usr/share/doc"]);
    }
}
